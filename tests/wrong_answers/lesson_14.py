"""Lesson 14: solutions of a row, tokens in flight, the largest budget that one can pay."""

from tests.wrong_answers import Wrong


def affordable(cost):
    """The answer of someone who takes ``cost`` seconds for a row."""

    def answer(hours, wrote, reads, problems):
        best = 0
        for largest in (4, 16, 64, 256):
            budgets = [n for n in (4, 16, 64, 256) if n <= largest]
            if problems * cost(budgets, wrote, reads) <= 3600 * hours:
                best = largest
        return best

    return answer


def writing_alone(budgets, wrote, reads):
    return (1 + 2 * max(budgets) + sum(budgets)) * 400 / wrote


def read_once(budgets, wrote, reads):
    solutions = 1 + 2 * max(budgets) + sum(budgets)
    return solutions * (400 / wrote + 500 / reads)


def at_least_four(hours, wrote, reads, problems):
    right = affordable(
        lambda budgets, wrote, reads: (
            (1 + 2 * max(budgets) + sum(budgets)) * 400 / wrote
            + ((1 + max(budgets)) * 500 + (max(budgets) + sum(budgets)) * 2600) / reads
        )
    )
    return max(4, right(hours, wrote, reads, problems))


WRONG = [
    Wrong("rows", "every budget of every method", lambda budgets: 3 * sum(budgets), "pool of the largest N"),
    Wrong("rows", "no greedy sample", lambda budgets: 2 * max(budgets) + sum(budgets), "Greedy"),
    Wrong("rows", "one beam search for all", lambda budgets: 1 + 3 * max(budgets), "once for each budget"),
    Wrong(
        "cache",
        "no weights",
        lambda params, layers, heads, size, gigabytes: int(gigabytes * 1e9 // (4 * layers * heads * size)),
        "weights take their part",
    ),
    Wrong(
        "cache",
        "keys alone",
        lambda params, layers, heads, size, gigabytes: max(
            0, int((gigabytes * 1e9 - 2 * params) // (2 * layers * heads * size))
        ),
        r"Keys \*and\* values",
    ),
    Wrong(
        "cache",
        "less than nothing",
        lambda params, layers, heads, size, gigabytes: int(
            (gigabytes * 1e9 - 2 * params) // (4 * layers * heads * size)
        ),
        "nothing is in flight",
    ),
    Wrong("afford", "the judge is free", affordable(writing_alone), "the judge reads too"),
    Wrong("afford", "every path is read once", affordable(read_once), "every depth"),
    Wrong("afford", "never nothing", at_least_four, "pay for nothing"),
]
