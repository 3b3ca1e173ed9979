"""Lesson 10: problems apart, what a judge leaves, how much two models may disagree."""

from tests.wrong_answers import Wrong


def without_whole_problems(first, second, n):
    return round(abs(first - second) / 100 * n)


def signed(first, second, n):
    counts = [round(share / 100 * n) for share in (first, second)]
    if any(abs(100 * c / n - s) > 0.051 for c, s in zip(counts, (first, second), strict=True)):
        return None
    return counts[0] - counts[1]


def without_the_bound(first, second, n):
    gap = abs(first - second) * n
    return gap**2 / 1.96**2 + gap**2 / n


WRONG = [
    Wrong("problems", "averages taken for problems", without_whole_problems, "average of several runs"),
    Wrong("problems", "with a sign", signed, "two problems"),
    Wrong("problems", "points", lambda a, b, n: round(abs(a - b)), "4 problems"),
    Wrong(
        "break-even",
        "the judge forgotten",
        lambda p, t, q, P, T: int(P * T // (p * t)),
        "judge of 7 parameters",
    ),
    Wrong("break-even", "lengths forgotten", lambda p, t, q, P, T: int(P // (p + q)), "Longer samples"),
    Wrong(
        "break-even",
        "at least one",
        lambda p, t, q, P, T: max(1, int(P * T // ((p + q) * t))),
        "already cost more",
    ),
    Wrong("overlap", "below the fewest possible", without_the_bound, "never settled"),
    Wrong("overlap", "the gap itself", lambda a, b, n: abs(a - b) * n, "should just reach"),
]
