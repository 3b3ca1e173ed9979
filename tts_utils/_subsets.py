"""Counts how often a selection rule is right on random subsets of a pool: the inner loop of ``metrics``.

One random order of a problem's pool serves every budget: its first N samples are the subset of budget N.
Within an order, the winner after N samples is read off a running maximum of whole numbers (keys), each made
of three parts, from high bits to low:

* what the rule maximises: for votes, the total of the sample's answer so far; for "prm_max", the rank of the
  sample's score;
* how early that answer (or sample) came, so that ties go to the first drawn;
* whether it is correct.

The lowest bit of the running maximum is then the verdict at that budget. Totals only grow, so an old key of
an answer never wins over a newer one. A sample without a score is laid out, for the rules that want one, like
a sample without an answer: hence one layout for every set of samples that vote. P = problems, S = samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tts_utils.voting import NO_SCORE, SCORE_UNIT, vote_units

BLOCK = 64  # problems at a time: its arrays stay in the processor's cache

Parts = tuple[NDArray[np.int64], NDArray[np.int64] | None]


@dataclass(frozen=True, slots=True)
class _Layout:
    """The samples of a block of B problems by answer, those that do not vote first, as some methods see it.

    Attributes:
        group: (B, S) answer number from 1; 0 where a sample does not vote.
        correct: (B, S) whether a sample votes and is correct.
        moved: (B, S) where the sample at each place of the layout of all answers stands in this one; None
            where that is this one.
        parts: method -> what :func:`_high_part` gives.
    """

    group: NDArray[np.int64]
    correct: NDArray[np.bool_]
    moved: NDArray[np.int64] | None
    parts: dict[str, Parts]


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
        # 1) Lay the samples out by answer: each answer's samples are one segment.
        chosen = {name: (weights[block], rule) for name, (weights, rule) in methods.items()}
        layouts = _layouts(right[block], ids[block], chosen, shift)
        # 2) Draw and count.
        block_hits = {name: counts[block] for name, counts in hits.items()}
        _count_block(block_hits, layouts, longest, num_resamples, rng)
    return hits


def _layouts(
    right: NDArray[np.bool_],
    ids: NDArray[np.int64],
    methods: Mapping[str, tuple[NDArray[np.float64], str]],
    shift: int,
) -> list[_Layout]:
    """One layout of a block for every set of samples that has no score with some method."""
    silent_of = {name: (weights == NO_SCORE) & (ids >= 0) for name, (weights, _) in methods.items()}
    alike: dict[bytes, list[str]] = {}
    for name, silent in silent_of.items():
        alike.setdefault(silent.tobytes(), []).append(name)
    all_answers = np.argsort(ids, axis=1, kind="stable")
    layouts = []
    for names in alike.values():
        silent = silent_of[names[0]]
        voting_ids, layout, moved = ids, all_answers, None
        if silent.any():
            voting_ids = np.where(silent, -1, ids)
            layout = np.argsort(voting_ids, axis=1, kind="stable")
            moved = np.take_along_axis(np.argsort(layout, axis=1), all_answers, axis=1)
        group = np.maximum(np.take_along_axis(voting_ids, layout, axis=1), -1) + 1
        parts = {}
        for name in names:
            weights, rule = methods[name]
            parts[name] = _high_part(np.take_along_axis(weights, layout, axis=1), rule, group, shift)
        correct = np.take_along_axis(right & ~silent, layout, axis=1)
        layouts.append(_Layout(group, correct, moved, parts))
    return layouts


def _high_part(weights: NDArray[np.float64], rule: str, group: NDArray[np.int64], shift: int) -> Parts:
    """Return the keys' high parts, and for votes (else None) the sum before each answer's segment."""
    answered = group > 0
    if rule == "prm_max":
        _, rank = np.unique(weights, return_inverse=True)
        return np.where(answered, rank.reshape(weights.shape), -1) << shift, None
    votes = answered.astype(np.int64) if rule == "majority" else vote_units(np.where(answered, weights, 0.0))
    units = votes << shift
    before = np.cumsum(units, axis=1) - units
    return units, np.take_along_axis(before, _segment_starts(group), axis=1)


def _segment_starts(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each place of a (B, S) layout where its segment begins."""
    begins = np.ones(group.shape, dtype=bool)
    begins[:, 1:] = group[:, 1:] != group[:, :-1]
    return np.maximum.accumulate(np.where(begins, np.arange(group.shape[1]), 0), axis=1)


def _count_block(hits, layouts, longest, num_resamples, rng) -> None:
    """Add the counts of one block of B problems to ``hits``; all arrays are (B, S), laid out by answer."""
    shape = num_problems, num_samples = layouts[0].group.shape
    places = np.broadcast_to(np.arange(num_samples), shape)
    offset = np.arange(num_problems)[:, None] * num_samples  # of each problem in flat arrays
    starts = [_segment_starts(layout.group) + offset for layout in layouts]
    small_groups = [_smallest(layout.group) for layout in layouts]
    first_bits = (num_samples - 1 - np.arange(num_samples)) << 1  # earlier is larger
    high, total, key = (np.empty(shape, dtype=np.int64) for _ in range(3))
    verdict = key[:, :longest]
    inverse = np.empty(shape, dtype=np.int64)
    for _ in range(num_resamples):
        subset = rng.permuted(places, axis=1)  # time -> place in the layout of all answers
        for layout, start, small_group in zip(layouts, starts, small_groups, strict=True):
            drawn = subset if layout.moved is None else np.take_along_axis(layout.moved, subset, axis=1)
            drawn = drawn + offset  # time -> place in this layout
            # times by (answer, time)
            by_answer = np.argsort(small_group.ravel()[drawn], axis=1, kind="stable")
            by_answer += offset
            order = drawn.ravel()[by_answer]  # places by (answer, time)
            inverse.ravel()[by_answer] = places + offset  # time -> index into ``order``
            low_of_sample = first_bits + layout.correct.ravel()[drawn]  # by time
            low_by_answer = low_of_sample.ravel()[by_answer].ravel()[start]  # of the first of each answer
            low_by_answer[layout.group == 0] = -2  # who has no vote is below all others, and its lowest bit 0
            low_of_answer = low_by_answer.ravel()[inverse]  # by time
            for name, (units, before) in layout.parts.items():
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


def _smallest(group: NDArray[np.int64]) -> NDArray:
    """The same numbers in few bytes, which sort faster."""
    return group.astype(np.uint8 if group.max() < 256 else np.uint16 if group.max() < 1 << 16 else np.int64)
