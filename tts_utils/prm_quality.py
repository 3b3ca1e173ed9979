"""How well step scores find the first wrong step of a solution: accuracy of verdicts, F1, AUC, calibration.

A PRM's verdict on a solution is its first step that scores below a threshold, or that there is none. What it
is held against is the first wrong step, or none. Of the steps behind the first wrong one nothing is asked,
for a step that builds on an error is neither right nor wrong, unless the source says which they are.
Source: Zheng et al. 2024 (ProcessBench, arXiv:2412.06559), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NONE = -1
"""The place of the first wrong step where no step is wrong."""

RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Judged:
    """A solution with its step scores and what is known of its steps.

    Attributes:
        scores: one per step, H of them, at least 1.
        first_error: index of the first wrong step, or ``NONE``.
        wrong: indices of all wrong steps where the source says which they are, else None.
        group: what is drawn as one in the bootstrap, such as the problem.
    """

    scores: tuple[float, ...]
    first_error: int
    wrong: frozenset[int] | None = None
    group: str = ""


def first_below(scores: Sequence[float], threshold: float) -> int:
    """Index of the first score below a threshold, or ``NONE``; a score equal to it is not below.

    >>> first_below([0.9, 0.4, 0.1], 0.5), first_below([0.5], 0.5)
    (1, -1)
    """
    return next((i for i, score in enumerate(scores) if score < threshold), NONE)


def f1(error: float, correct: float) -> float:
    """The harmonic mean of the two accuracies; 0 where both are, NaN where one is not known.

    >>> f1(0.5, 1.0), f1(0.0, 0.0)
    (0.6666666666666666, 0.0)
    """
    return 0.0 if error == correct == 0 else 2 * error * correct / (error + correct)


def accuracies(judged: Sequence[Judged], threshold: float, seed: int = 0) -> pd.DataFrame:
    """The share of wrong solutions whose first wrong step is named, of right ones let pass, and F1.

    Returns:
        One row for each of "error", "correct" and "F1", with measure, estimate, low, high (95 %, bootstrap
        over groups, solutions of a group drawn together) and n (solutions behind it); NaN without any.
    """
    hits = np.zeros((len(judged), 4))  # error hits, errors, correct hits, corrects
    for row, one in zip(hits, judged, strict=True):
        at = 0 if one.first_error != NONE else 2
        row[at : at + 2] = first_below(one.scores, threshold) == one.first_error, 1
    groups = np.unique([one.group or str(i) for i, one in enumerate(judged)], return_inverse=True)[1]
    sums = np.zeros((groups.max(initial=-1) + 1, 4))
    np.add.at(sums, groups, hits)
    size = max(len(sums), 1)
    draws = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), size=RESAMPLES)
    drawn = _shares(draws[:, : len(sums)] @ sums)
    found = _shares(sums.sum(axis=0, keepdims=True))[0]
    totals = sums.sum(axis=0)
    rows = []
    for i, (name, n) in enumerate(
        (("error", totals[1]), ("correct", totals[3]), ("F1", totals[1] + totals[3]))
    ):
        known = drawn[~np.isnan(drawn[:, i]), i]
        low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
        rows.append((name, found[i], low, high, int(n)))
    return pd.DataFrame(rows, columns=["measure", "estimate", "low", "high", "n"])


def best_threshold(judged: Sequence[Judged]) -> float:
    """The threshold of highest F1: to be chosen on other solutions than those it is reported on.

    Candidates lie halfway between scores that occur; of equally good ones the lowest is taken.

    Raises:
        ValueError: no solution is wrong, or none is right.

    >>> best_threshold([Judged((0.9, 0.2), 1), Judged((0.6, 0.4), NONE)])
    0.30000000000000004
    """
    # A wrong solution is a hit for thresholds in (score of its error, lowest score before]; a right one for
    # all up to its lowest score.
    wrong = [one for one in judged if one.first_error != NONE]
    right = np.array([min(one.scores) for one in judged if one.first_error == NONE])
    if not wrong or not len(right):
        raise ValueError("a threshold is chosen on wrong and right solutions, and one kind is lacking")
    low = np.array([one.scores[one.first_error] for one in wrong])
    high = np.array([min(one.scores[: one.first_error], default=np.inf) for one in wrong])
    known = np.unique([score for one in judged for score in one.scores])
    candidates = np.concatenate([known[:1], (known[:-1] + known[1:]) / 2, [np.nextafter(known[-1], np.inf)]])
    error = np.array([np.mean((low < t) & (t <= high)) for t in candidates])
    correct = np.array([np.mean(right >= t) for t in candidates])
    return float(candidates[int(np.argmax([f1(e, c) for e, c in zip(error, correct, strict=True)]))])


def verdicts(judged: Sequence[Judged], threshold: float) -> dict[str, float]:
    """Of the wrong solutions: the shares of verdicts too early, at the error, too late, and never given."""
    pairs = [
        (first_below(one.scores, threshold), one.first_error) for one in judged if one.first_error != NONE
    ]
    kinds = {
        "too early": [NONE < said < truth for said, truth in pairs],
        "at the error": [said == truth for said, truth in pairs],
        "too late": [said > truth for said, truth in pairs],
        "never": [said == NONE for said, _ in pairs],
    }
    return {name: float(np.mean(found)) if found else np.nan for name, found in kinds.items()}


def known_steps(judged: Sequence[Judged]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores (K,) of all steps of which it is known whether they are right, and whether they are."""
    scores: list[float] = []
    right: list[bool] = []
    for one in judged:
        if one.wrong is not None:
            known = [i not in one.wrong for i in range(len(one.scores))]
        elif one.first_error == NONE:
            known = [True] * len(one.scores)
        else:
            known = [True] * one.first_error + [False]
        scores += one.scores[: len(known)]
        right += known
    return np.array(scores, dtype=float), np.array(right, dtype=bool)


def auc(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """The chance that a right step scores higher than a wrong one; ties count one half. NaN without both.

    >>> auc(np.array([0.9, 0.5, 0.5]), np.array([True, True, False]))
    0.75
    """
    from scipy.stats import rankdata  # half of what every command would import before its first word

    num_right, num_wrong = int(right.sum()), int((~right).sum())
    if not num_right or not num_wrong:
        return float("nan")
    ranks = rankdata(scores)[right].sum() - num_right * (num_right + 1) / 2
    return float(ranks / (num_right * num_wrong))


def prm_score(scores: NDArray[np.float64], right: NDArray[np.bool_], threshold: float) -> float:
    """PRMBench's PRMScore: the mean of the F1 of right and of wrong steps. NaN without both kinds.

    Source: Song et al. 2025 (PRMBench, arXiv:2501.03124).

    >>> prm_score(np.array([0.9, 0.8, 0.2]), np.array([True, False, False]), 0.5)
    0.6666666666666666
    """
    if right.all() or not right.any():
        return float("nan")
    said = scores >= threshold
    kinds = ((said, right), (~said, ~right))
    halves = [2 * (found & true).sum() / (found.sum() + true.sum()) for found, true in kinds]
    return float(np.mean(halves))


def calibration(scores: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 10) -> pd.DataFrame:
    """What a score is worth: the share of right steps among those of like score.

    Returns:
        One row per bin of equal width with score_low, score_high (the last bin holds 1 as well), n_steps,
        mean_score, share_right and half_width_95 (normal approximation); bins without steps are left out.
    """
    at = np.clip((scores * bins).astype(int), 0, bins - 1)
    rows = []
    for k in range(bins):
        inside = at == k
        if n := int(inside.sum()):
            share = float(right[inside].mean())
            half = 1.96 * float(np.sqrt(share * (1 - share) / n))
            rows.append((k / bins, (k + 1) / bins, n, float(scores[inside].mean()), share, half))
    names = ["score_low", "score_high", "n_steps", "mean_score", "share_right", "half_width_95"]
    return pd.DataFrame(rows, columns=names)


def calibration_error(table: pd.DataFrame) -> float:
    """The mean distance of score and share of right steps over the bins, weighed by their steps."""
    return float(np.average((table["mean_score"] - table["share_right"]).abs(), weights=table["n_steps"]))


def _shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R, 4) hits and totals as (R, 3) error, correct, F1; NaN where there is nothing to judge."""
    with np.errstate(invalid="ignore", divide="ignore"):
        error, correct = counts[:, 0] / counts[:, 1], counts[:, 2] / counts[:, 3]
        both = np.where((error == 0) & (correct == 0), 0.0, 2 * error * correct / (error + correct))
    return np.stack([error, correct, both], axis=1)
