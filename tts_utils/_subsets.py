"""Counts how often a selection rule is right on random subsets of a pool: the inner loop of ``metrics``.

One random order of a problem's pool serves every budget: its first N samples are the subset of budget N.
Within an order, the winner after N samples is read off a running maximum of whole numbers (keys), each made
of three parts, from high bits to low:

* what the rule maximises: for votes, the total of the sample's answer so far; for "prm_max", the rank of the
  sample's score;
* how early that answer (or sample) came, so that ties go to the first drawn;
* whether it is correct.

The lowest bit of the running maximum is then the verdict at that budget. Totals only grow, so an old key of
an answer never wins over a newer one. P = problems, S = samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tts_utils.voting import SCORE_UNIT, vote_units

BLOCK = 64  # problems at a time: its arrays stay in the processor's cache


def count_hits(
    right: NDArray[np.bool_],
    ids: NDArray[np.int64],
    methods: Mapping[str, tuple[NDArray[np.float64], str]],
    longest: int,
    num_resamples: int,
    rng: np.random.Generator,
) -> dict[str, NDArray[np.int32]]:
    """Count right verdicts.

    Args:
        right: (P, S) whether a sample is correct; False without an answer.
        ids: (P, S) answer numbers; negative without an answer.
        methods: name -> ((P, S) checked weights, rule), as ``voting.check_scores`` gives them.
        longest: the largest budget, at most S.

    Returns:
        name -> (P, longest): in how many of ``num_resamples`` random orders the choice among the first N
        samples is correct, N = 1..longest.

    Raises:
        ValueError: S is too large (above 2,048) for keys of 63 bits.
    """
    num_problems, num_samples = ids.shape
    shift = 1 + max(1, (num_samples - 1).bit_length())  # bits of the two lower parts
    if round(num_samples / SCORE_UNIT) << shift >= 1 << 63:
        raise ValueError(
            f"a pool of {num_samples} samples is too large for exact votes; use at most 2048 of them"
        )
    hits = {name: np.zeros((num_problems, longest), dtype=np.int32) for name in methods}
    for begin in range(0, num_problems, BLOCK):
        block = slice(begin, begin + BLOCK)
        # 1) Lay the samples out by answer (those without one first): each answer's samples are one segment.
        layout = np.argsort(ids[block], axis=1, kind="stable")
        group = np.maximum(np.take_along_axis(ids[block], layout, axis=1), -1) + 1
        correct = np.take_along_axis(right[block], layout, axis=1)
        parts = {}
        for name, (weights, rule) in methods.items():
            parts[name] = _high_part(np.take_along_axis(weights[block], layout, axis=1), rule, group, shift)
        # 2) Draw and count.
        block_hits = {name: counts[block] for name, counts in hits.items()}
        _count_block(block_hits, parts, group, correct, longest, num_resamples, rng)
    return hits


def _high_part(
    weights: NDArray[np.float64], rule: str, group: NDArray[np.int64], shift: int
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Return the keys' high parts, and for votes (else None) the sum before each answer's segment."""
    answered = group > 0
    if rule == "prm_max":
        _, rank = np.unique(weights, return_inverse=True)
        return np.where(answered, rank.reshape(weights.shape), -1) << shift, None
    votes = np.ones(weights.shape, dtype=np.int64) if rule == "majority" else vote_units(weights)
    units = np.where(answered, votes, 0) << shift
    before = np.cumsum(units, axis=1) - units
    return units, np.take_along_axis(before, _segment_starts(group), axis=1)


def _segment_starts(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each place of a (B, S) layout where its segment begins."""
    begins = np.ones(group.shape, dtype=bool)
    begins[:, 1:] = group[:, 1:] != group[:, :-1]
    return np.maximum.accumulate(np.where(begins, np.arange(group.shape[1]), 0), axis=1)


def _count_block(hits, parts, group, correct, longest, num_resamples, rng) -> None:
    """Add the counts of one block of B problems to ``hits``; all arrays are (B, S), laid out by answer."""
    shape = num_problems, num_samples = group.shape
    places = np.broadcast_to(np.arange(num_samples), shape)
    offset = np.arange(num_problems)[:, None] * num_samples  # of each problem in flat arrays
    starts = _segment_starts(group) + offset
    small_group = group.astype(
        np.uint8 if group.max() < 256 else np.uint16 if group.max() < 1 << 16 else np.int64
    )
    first_bits = (num_samples - 1 - np.arange(num_samples)) << 1  # earlier is larger
    high, total, key = (np.empty(shape, dtype=np.int64) for _ in range(3))
    verdict = key[:, :longest]
    inverse = np.empty(shape, dtype=np.int64)
    for _ in range(num_resamples):
        drawn = rng.permuted(places, axis=1) + offset  # time -> place in the layout
        by_answer = np.argsort(small_group.ravel()[drawn], axis=1, kind="stable")  # times by (answer, time)
        by_answer += offset
        order = drawn.ravel()[by_answer]  # places by (answer, time)
        inverse.ravel()[by_answer] = places + offset  # time -> index into ``order``
        low_of_sample = first_bits + correct.ravel()[drawn]  # by time
        low_by_answer = low_of_sample.ravel()[by_answer].ravel()[starts]  # of the first of each answer
        low_by_answer[group == 0] = -2  # an empty answer's key is below all others, and its lowest bit 0
        low_of_answer = low_by_answer.ravel()[inverse]  # by time
        for name, (units, before) in parts.items():
            # mode="clip" (indices are in range) spares np.take a buffer
            if before is None:
                np.take(units, drawn, out=key, mode="clip")
                key += low_of_sample
            else:
                np.take(units, order, out=high, mode="clip")
                np.cumsum(high, axis=1, out=total)
                total -= before
                np.take(total, inverse, out=key, mode="clip")
                key += low_of_answer
            np.maximum.accumulate(verdict, axis=1, out=verdict)
            verdict &= 1
            hits[name] += verdict
