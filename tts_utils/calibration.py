"""From a PRM's score to a probability, and from probabilities to votes that weigh what they are worth.

A score of 0.06 may mean "right in seven of ten cases": a scale is a PRM's own. Isotonic regression learns the
scale from completions whose answer is known; it keeps the order of the scores and assumes nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression

LEAST = 0.01
"""Probabilities stay this far from 0 and 1, so that one completion never outweighs all others."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A map from scores to probabilities: constant pieces, rising.

    Attributes:
        scores: (K,) the score at which each piece begins, ascending.
        probabilities: (K,) its probability.
    """

    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    def __call__(self, scores: ArrayLike) -> NDArray[np.float64]:
        """The probability of each score, in their shape; below the first piece it is the first's."""
        at = np.searchsorted(self.scores, np.asarray(scores, dtype=float), side="right") - 1
        return self.probabilities[np.maximum(at, 0)]


def fit(scores: ArrayLike, right: ArrayLike) -> Calibration:
    """Fit the rising map from scores to the share that is right, by least squares.

    Args:
        scores: scores of any shape, none of them NaN.
        right: whether each was right, in the same shape.

    Raises:
        ValueError: shapes differ, there is nothing to fit, or a score is NaN.

    Source: pool adjacent violators, by :func:`scipy.optimize.isotonic_regression`.

    >>> fit([0.1, 0.2, 0.3, 0.9], [False, True, False, True])([0.05, 0.25, 0.95]).tolist()
    [0.0, 0.5, 1.0]
    """
    x, y = np.asarray(scores, dtype=float).ravel(), np.asarray(right, dtype=float).ravel()
    if x.shape != y.shape or not len(x) or np.isnan(x).any():
        raise ValueError(
            f"need as many scores as verdicts, one or more and none NaN; got {len(x)} and {len(y)}"
        )
    places, group, sizes = np.unique(x, return_inverse=True, return_counts=True)
    share = np.bincount(group, y) / sizes
    rising = isotonic_regression(share, weights=sizes.astype(float)).x
    begins = np.concatenate([[True], np.diff(rising) > 1e-12])
    return Calibration(places[begins], rising[begins])


def log_odds_votes(probabilities: ArrayLike) -> NDArray[np.float64]:
    """The weight of each completion in a vote: the logarithm of its odds, 0 where it is rather wrong.

    For independent voters of known reliability these weights decide best between two answers; a completion
    that is probably wrong could count *against* its answer, which votes for named answers cannot express, so
    it counts nothing.

    >>> log_odds_votes([0.5, 0.9, 0.2, 1.0]).round(3).tolist()
    [0.0, 2.197, 0.0, 4.595]
    """
    p = np.clip(np.asarray(probabilities, dtype=float), LEAST, 1 - LEAST)
    return np.maximum(np.log(p / (1 - p)), 0.0)


def expected_error(probabilities: ArrayLike, right: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error: the mean distance of the share right from the probability, over equal bins.

    Args:
        probabilities: in [0, 1].
        right: whether each was right, in the same shape.
        bins: of equal width over [0, 1]; 1 belongs to the last.

    >>> expected_error([0.25, 0.25, 0.75, 0.75], [False, False, True, True])
    0.25
    """
    p, y = np.asarray(probabilities, dtype=float).ravel(), np.asarray(right, dtype=float).ravel()
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    gaps = np.bincount(bin_of, y - p, minlength=bins)
    return float(np.abs(gaps).sum() / len(p))
