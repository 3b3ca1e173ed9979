"""Number the answers of one problem: equal number, same answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tts_utils.answers.comparison import Comparison
from tts_utils.answers.kinds import kind
from tts_utils.answers.spelling import Spelling, spell


def group(answers: Sequence[str], comparison: Comparison | None) -> NDArray[np.int64]:
    """Return (S,) the group of each answer, 0, 1, ... in order of first appearance, -1 for an empty answer.

    Answers are in one group when a chain of equal pairs joins them, so the groups do not depend on the order.
    Each distinct answer is read once. Without a comparison, answers are equal only
    when tidied to the same text.
    """
    spellings = [spell(answer) for answer in answers]
    distinct = [found for found in dict.fromkeys(spellings) if found.key]
    leader = list(range(len(distinct)))

    def find(n: int) -> int:
        while leader[n] != n:
            leader[n] = leader[leader[n]]
            n = leader[n]
        return n

    by_key: dict[str, int] = {}
    for n, spelling in enumerate(distinct):
        if comparison is None:
            leader[n] = by_key.setdefault(spelling.key, n)
    if comparison is not None:
        comparison.read_ahead(spelling.key for spelling in distinct)
        whole = [kind(spelling.key) == "integer" for spelling in distinct]
        sizes, numbers = _probes(distinct, comparison)
        for n, spelling in enumerate(distinct):
            near = np.abs(numbers[:n] - numbers[n]) <= 1e-9 * (np.abs(numbers[:n]) + abs(numbers[n]) + 1)
            for m in np.flatnonzero(near | (sizes[:n] != sizes[n]) | (sizes[n] == 0)).tolist():
                if whole[n] and whole[m] and spelling.key != distinct[m].key:
                    continue  # two integers
                if find(n) != find(m) and comparison.same(distinct[m], spelling):
                    first, second = sorted((find(n), find(m)))
                    leader[second] = first
    place = {spelling: find(n) for n, spelling in enumerate(distinct)}
    order: dict[int, int] = {}
    ids = np.full(len(answers), -1, dtype=np.int64)
    for i, spelling in enumerate(spellings):
        if spelling.key:
            ids[i] = order.setdefault(place[spelling], len(order))
    return ids


def _probes(
    distinct: Sequence[Spelling], comparison: Comparison
) -> tuple[NDArray[np.int64], NDArray[np.complex128]]:
    """Return the probe of every answer; a unit changes nothing, since it is compared besides."""
    probes = [comparison.probe(spelling.key) for spelling in distinct]
    numbers = np.array([number for _, number in probes], dtype=np.complex128)
    finite = np.isfinite(numbers)
    return np.where(finite, [size for size, _ in probes], 0), np.where(finite, numbers, 0)
