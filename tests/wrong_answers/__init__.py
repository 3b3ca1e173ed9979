"""Plausible wrong answers to the lessons' exercises, one module a lesson, and what the check says of each."""

from typing import Any, NamedTuple


class Wrong(NamedTuple):
    """One wrong answer.

    Attributes:
        exercise: its name, as in the cell ``NN-exercise-NAME``.
        mistake: what is wrong with it, in a few words.
        answer: what is given to the check.
        message: a regular expression that the check's message matches.
    """

    exercise: str
    mistake: str
    answer: Any
    message: str
