"""Number the answers of one problem: equal number, same answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tts_utils.answers.kinds import kind
from tts_utils.answers.spelling import Spelling, spell


def group(answers: Sequence[str], same: Callable[[Spelling, Spelling], bool] | None) -> NDArray[np.int64]:
    """Return (S,) the group of each answer, 0, 1, ... in order of first appearance, -1 for an empty answer.

    Answers are in one group when a chain of equal pairs joins them, so the groups do not depend on the order.
    Each distinct answer is read once. ``same`` None: equal only when tidied to the same text.
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
        if same is None:
            leader[n] = by_key.setdefault(spelling.key, n)
    if same is not None:
        whole = [kind(spelling.key) == "integer" for spelling in distinct]
        for n, spelling in enumerate(distinct):
            for m in range(n):
                if whole[n] and whole[m] and spelling.key != distinct[m].key:
                    continue  # two integers
                if find(n) != find(m) and same(distinct[m], spelling):
                    first, second = sorted((find(n), find(m)))
                    leader[second] = first
    place = {spelling: find(n) for n, spelling in enumerate(distinct)}
    numbers: dict[int, int] = {}
    ids = np.full(len(answers), -1, dtype=np.int64)
    for i, spelling in enumerate(spellings):
        if spelling.key:
            ids[i] = numbers.setdefault(place[spelling], len(numbers))
    return ids
