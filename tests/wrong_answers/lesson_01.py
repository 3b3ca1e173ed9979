"""Lesson 1: slip, value, Bellman's equation."""

import numpy as np

from tests.wrong_answers import Wrong
from tts_utils import mdp


def compared_as_text(prefix, texts, correct):
    ends = [right for text, right in zip(texts, correct, strict=True) if text.startswith("".join(prefix))]
    return (sum(ends) / len(ends), len(ends)) if ends else (None, 0)


def zero_without_rollouts(prefix, texts, correct):
    ends = [
        right
        for text, right in zip(texts, correct, strict=True)
        if mdp.split_steps(text)[: len(prefix)] == prefix
    ]
    return sum(ends) / max(len(ends), 1), len(ends)


def divided_by_nothing(prefix, texts, correct):
    ends = [
        right
        for text, right in zip(texts, correct, strict=True)
        if mdp.split_steps(text)[: len(prefix)] == prefix
    ]
    return sum(ends) / len(ends), len(ends)


def mean_of_slices(rollouts):
    return float(
        np.mean([np.mean([r for s, r in rollouts if s == step]) for step in {s for s, _ in rollouts}])
    )


def slip_after_a_right_step(v):
    return 1 if v == [False] else next((i + 1 for i in range(1, len(v)) if v[i - 1] and not v[i]), None)


WRONG = [
    Wrong("slip", "counted from 0", lambda v: v.index(False) if False in v else None, "Count from 1"),
    Wrong(
        "slip",
        "the last wrong step",
        lambda v: max((i + 1 for i, right in enumerate(v) if not right), default=None),
        "Count from 1",
    ),
    Wrong("slip", "0 for none", lambda v: v.index(False) + 1 if False in v else 0, "return None"),
    Wrong("slip", "the number of wrong steps", lambda v: sum(not x for x in v) or None, "count wrong steps"),
    Wrong(
        "slip",
        "only after a right step",
        lambda v: (
            1 if v == [False] else next((i + 1 for i in range(1, len(v)) if v[i - 1] and not v[i]), None)
        ),
        "wrong first step",
    ),
    Wrong("value", "compared as text", compared_as_text, "compare text"),
    Wrong("value", "0 without rollouts", zero_without_rollouts, "No completion has"),
    Wrong("value", "divides by no rollouts", divided_by_nothing, "no estimate"),
    Wrong("value", "no pair", lambda prefix, texts, correct: 0.5, "Return a pair"),
    Wrong(
        "value",
        "all completions counted",
        lambda prefix, texts, correct: (sum(correct) / len(correct), len(correct)),
        "you counted 5",
    ),
    Wrong("bellman", "unweighted", mean_of_slices, "weigh each step"),
    Wrong("bellman", "not divided", lambda rollouts: sum(r for _, r in rollouts), "weighted mean is 3"),
]
