"""Stop sampling when the answers agree: majority voting that spends its budget where it is needed.

Both rules look at a pool in the order of its samples, so they replay from stored tables and cost nothing to
try. What a rule used is counted in samples, and so in tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from tts_utils.voting import check_ids, select


@dataclass(frozen=True, slots=True)
class Stopped:
    """What early stopping did on every problem.

    Attributes:
        used: (P,) how many samples were drawn.
        chosen: (P,) the column of the majority's first sample among those, -1 where none had an answer.
    """

    used: NDArray[np.int64]
    chosen: NDArray[np.int64]


def by_agreement(answer_ids: ArrayLike, share: float = 0.75, first: int = 2) -> Stopped:
    """Draw ``first`` samples, then twice as many in all, and so on, until one answer has enough votes.

    Args:
        answer_ids: (P, S) answer of each sample as a number, -1 where it has none; samples without an answer
            count among the votes cast.
        share: stop as soon as the leading answer has at least this share of all samples drawn, in (0, 1].
        first: samples of the first round, at least 1.

    Returns:
        After at most S samples; ties among answers go to the one seen first.

    Source: adaptive self-consistency (Aggarwal et al. 2023) in the doubling form in use today.

    >>> ids = [[0, 0, 1, 2], [0, 1, 1, 1]]  # agreed after two; after four, 3 of 4
    >>> by_agreement(ids).used.tolist(), by_agreement(ids).chosen.tolist()
    ([2, 4], [0, 1])
    """
    if not 0 < share <= 1 or first < 1:
        raise ValueError(f"share must be in (0, 1] and first at least 1, got {share!r} and {first!r}")
    ids = check_ids(answer_ids)
    return _stop(ids, _rounds(ids.shape[1], first), lambda votes, second, drawn: votes >= share * drawn)


def by_posterior(answer_ids: ArrayLike, certainty: float = 0.95, first: int = 2) -> Stopped:
    """Draw one sample after another until the leader would win a duel with the runner-up almost surely.

    Of the v + w votes that the two have, v are the leader's. With a flat prior, the chance that it is the
    more frequent of the two in the long run is P(Beta(v + 1, w + 1) > 1/2).

    Args:
        answer_ids: as in :func:`by_agreement`.
        certainty: stop once that chance is at least this, in (0.5, 1).
        first: never before so many samples, at least 1.

    Source: the Beta stopping rule of Aggarwal et al. 2023 (arXiv:2305.11860).

    >>> by_posterior([[0, 0, 0, 0, 0, 1]]).used.tolist()  # P(Beta(5, 1) > 1/2) = 31/32
    [4]
    """
    if not 0.5 < certainty < 1 or first < 1:
        raise ValueError(
            f"certainty must be in (0.5, 1) and first at least 1, got {certainty!r} and {first!r}"
        )
    ids = check_ids(answer_ids)
    sure = lambda votes, second, drawn: beta.sf(0.5, votes + 1, second + 1) >= certainty  # noqa: E731
    return _stop(ids, range(min(first, ids.shape[1]), ids.shape[1] + 1), sure)


def _rounds(most: int, first: int) -> list[int]:
    rounds = [min(first, most)]
    while rounds[-1] < most:
        rounds.append(min(2 * rounds[-1], most))
    return rounds


def _stop(ids: NDArray[np.int64], rounds, enough) -> Stopped:
    """Go through the rounds until ``enough(votes of the leader, of the runner-up, samples drawn)``."""
    used = np.full(len(ids), ids.shape[1])
    going = np.ones(len(ids), dtype=bool)
    for drawn in rounds:
        votes, second = _leaders(ids[:, :drawn])
        stops = going & (votes > 0) & enough(votes, second, drawn)
        used[stops] = drawn
        going &= ~stops
    seen = np.arange(ids.shape[1]) < used[:, None]  # (P, S)
    return Stopped(used, select(np.where(seen, ids, -1), None, "majority"))


def _leaders(ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(P,) votes of the most frequent answer and of the next one, 0 where there is none."""
    size = int(ids.max(initial=-1)) + 1
    counts = np.zeros((len(ids), max(size, 2)), dtype=np.int64)
    rows, columns = np.nonzero(ids >= 0)
    np.add.at(counts, (rows, ids[rows, columns]), 1)
    top = np.sort(counts, axis=1)
    return top[:, -1], top[:, -2]
