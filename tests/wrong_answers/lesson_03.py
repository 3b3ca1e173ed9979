"""Lesson 3: where a score is read, the first error, an honest threshold."""

from tests.wrong_answers import Wrong


def after_the_assistant(tokens):
    return [i + 1 for i, token in enumerate(tokens) if token == "<|assistant|>"]


def before_every_plus(tokens):
    return [i - 1 for i, token in enumerate(tokens) if token.strip() == "+"]


def only_the_first(tokens):
    return [tokens.index("<|assistant|>")]


def lowest(scores, threshold):
    place = min(range(len(scores)), key=lambda i: scores[i])
    return place if scores[place] < threshold else -1


def from_one(scores, threshold):
    return next((i for i, score in enumerate(scores, start=1) if score < threshold), -1)


def one_half(scores, threshold):
    return next((i for i, score in enumerate(scores) if score < 0.5), -1)


def or_equal(scores, threshold):
    return next((i for i, score in enumerate(scores) if score <= threshold), -1)


WRONG = [
    Wrong("positions", "at the answers", after_the_assistant, "one token earlier"),
    Wrong("positions", "before every +", before_every_plus, "policy's own"),
    Wrong("positions", "the first only", only_the_first, "two answers"),
    Wrong("firsterror", "the lowest score", lowest, "below the threshold first"),
    Wrong("firsterror", "counted from 1", from_one, "below the threshold first|Counted from 0"),
    Wrong("firsterror", "below or equal", or_equal, "not below it"),
    Wrong("firsterror", "threshold ignored", one_half, "is an argument"),
    Wrong("split", "the best F1", lambda f1_at, grid: max(map(f1_at, grid)), "Return the threshold"),
    Wrong("split", "the first best", lambda f1_at, grid: max(grid, key=f1_at), "nearer to one half"),
    Wrong("split", "the worst", lambda f1_at, grid: min(grid, key=f1_at), "reaches an F1 of 0.6"),
]
