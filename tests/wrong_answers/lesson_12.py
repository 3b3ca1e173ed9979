"""Lesson 12: what an interval excludes, flukes, a stricter ledger."""

from tests.wrong_answers import Wrong
from tts_utils.ledger import verdict


def doubled(intervals, direction):
    return verdict([(low - (high - low) / 2, high + (high - low) / 2) for low, high in intervals], direction)


WRONG = [
    Wrong(
        "sides", "always the upper end", lambda low, high, direction: max(0, high), "turn the interval round"
    ),
    Wrong("sides", "the lower end", lambda low, high, direction: max(0, low), "upper end"),
    Wrong(
        "sides",
        "negative left",
        lambda low, high, direction: max(low * direction, high * direction),
        "Nothing positive",
    ),
    Wrong("flukes", "added up", lambda k: 0.025 * k, "Not twice that"),
    Wrong("flukes", "both sides", lambda k: 1 - 0.95**k, "One side"),
    Wrong("stricter", "not widened", verdict, "reaches below 0"),
    Wrong("stricter", "doubled for one", doubled, "nothing to correct"),
]
