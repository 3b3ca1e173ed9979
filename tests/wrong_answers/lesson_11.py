"""Lesson 11: the largest bound, points and per cent, votes for the price of a judge."""

from tests.wrong_answers import Wrong


def relative_to_tts(pairs):
    points = [b - a for a, b in pairs]
    return points, [100 * (1 - a / b) for a, b in pairs], points == sorted(points, reverse=True)


def never_falls(pairs):
    return [b - a for a, b in pairs], [100 * (b / a - 1) for a, b in pairs], False


WRONG = [
    Wrong("bound", "last over first as given", lambda budgets: budgets[-1] / budgets[0], "any order"),
    Wrong("bound", "the largest budget", lambda budgets: max(budgets), "64 / 4"),
    Wrong("relative", "relative to TTS", relative_to_tts, "Relative to CoT"),
    Wrong("relative", "always False", never_falls, "they fall"),
    Wrong("equal", "the judge alone", lambda n, p, q: int(n * q // p), "doubles the operations"),
    Wrong("equal", "rounded up", lambda n, p, q: -int(-n * (p + q) // p), "17 whole votes"),
    Wrong("equal", "not whole", lambda n, p, q: n * (p + q) / p, "17 whole votes"),
]
