"""Lesson 8: a judge for a purpose, a crossing with its uncertainty, a rule of one's own."""

import sys

import numpy as np

from tests.wrong_answers import Wrong


def _crossing(quality, difference):
    for i in range(1, len(quality)):
        if difference[i - 1] < 0 <= difference[i]:
            before, after = difference[i - 1], difference[i]
            return quality[i - 1] + (quality[i] - quality[i - 1]) * before / (before - after)
    return np.nan


def _middle(found):
    found = np.array(found)[~np.isnan(found)]
    return tuple(np.percentile(found, [2.5, 97.5])) if len(found) else (np.nan, np.nan)


def each_row_by_itself(quality, a, b, rng, resamples=200):
    found = []
    for _ in range(resamples):
        some = rng.integers(0, a.shape[1], a.shape)
        difference = np.take_along_axis(a, some, axis=1) - np.take_along_axis(b, some, axis=1)
        found.append(_crossing(quality, difference.mean(axis=1)))
    return _middle(found)


def without_putting_back(quality, a, b, rng, resamples=100):
    found = []
    for _ in range(resamples):
        some = rng.permutation(a.shape[1])
        found.append(_crossing(quality, (a[:, some] - b[:, some]).mean(axis=1)))
    return _middle(found)


def too_few_problems(quality, a, b, rng, resamples=200):
    found = []
    for _ in range(resamples):
        some = rng.integers(0, a.shape[1], 20)
        found.append(_crossing(quality, (a[:, some] - b[:, some]).mean(axis=1)))
    return _middle(found)


def high_before_low(quality, a, b, rng, resamples=200):
    found = []
    for _ in range(resamples):
        some = rng.integers(0, a.shape[1], a.shape[1])
        found.append(_crossing(quality, (a[:, some] - b[:, some]).mean(axis=1)))
    low, high = _middle(found)
    return high, low


def peeping(policy, judge, judge_auc):
    """Takes the better method on all problems, those it is scored on among them."""
    right = sys._getframe(1).f_globals["right"]
    return max(("best_of_n", "beam", "dvts"), key=lambda m: right[policy, judge, m].mean())


WRONG = [
    Wrong(
        "judges",
        "C to Best-of-N",
        {"beam search": {"B"}, "Best-of-N": {"A", "C"}, "ceiling": "pass@N"},
        "both lie above",
    ),
    Wrong(
        "judges",
        "majority as the ceiling",
        {"beam search": {"B", "C"}, "Best-of-N": {"A"}, "ceiling": "majority accuracy"},
        "perfect verifier",
    ),
    Wrong(
        "judges",
        "the AUC as the ceiling",
        {"beam search": {"B", "C"}, "Best-of-N": {"A"}, "ceiling": "AUC"},
        "how much there is to find",
    ),
    Wrong(
        "judges",
        "A to beam search",
        {"beam search": {"A", "B", "C"}, "Best-of-N": set(), "ceiling": "pass@N"},
        "A lies below",
    ),
    Wrong("crossing", "other problems for every row", each_row_by_itself, "same problems for every row"),
    Wrong("crossing", "without putting back", without_putting_back, "the two differ"),
    Wrong("crossing", "twenty problems", too_few_problems, "too wide"),
    Wrong("crossing", "the upper end first", high_before_low, "lower end comes first"),
    Wrong("rule", "a constant", lambda policy, judge, judge_auc: "beam", "constant"),
    Wrong(
        "rule",
        "no method",
        lambda policy, judge, judge_auc: "search" if "m" in policy else "beam",
        "no method",
    ),
    Wrong("rule", "looks at what it is scored on", peeping, "looks at the even problems"),
]
