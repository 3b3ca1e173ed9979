"""Verdicts on pairs of answers that were stored beside tables, so that reading these needs no mathematics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

Pair = tuple[str, str]


class Verdicts:
    """Whether pairs of tidy answers are the same: stored verdicts, and notes of those that had to be made.

    >>> verdicts = Verdicts()
    >>> verdicts.remember({("2", "6/3"): True})
    >>> verdicts.of("6/3", "2", decide=lambda: (False, True))
    True
    """

    def __init__(self) -> None:
        self._stored: dict[Pair, bool] = {}
        self._notes: list[dict[Pair, bool]] = []

    def of(self, a: str, b: str, decide: Callable[[], tuple[bool, bool]]) -> bool:
        """The stored verdict, else what ``decide`` says, and whether the mathematics process was needed."""
        pair = (a, b) if a < b else (b, a)
        needed = True
        if (verdict := self._stored.get(pair)) is None:
            verdict, needed = decide()
        if needed:
            for notes in self._notes:
                notes[pair] = verdict
        return verdict

    @property
    def is_noting(self) -> bool:
        """Whether every verdict is wanted, also those that could be passed over."""
        return bool(self._notes)

    def hold_any(self, keys: Sequence[str]) -> bool:
        """Say whether the verdict on a pair of these tidy answers was stored; then those that matter were."""
        pairs = ((a, b) if a < b else (b, a) for n, a in enumerate(keys) for b in keys[:n])
        return bool(self._stored) and any(pair in self._stored for pair in pairs)

    def remember(self, verdicts: Mapping[Pair, bool]) -> None:
        """Take verdicts that were stored."""
        self._stored.update(verdicts)

    @contextmanager
    def noting(self) -> Iterator[dict[Pair, bool]]:
        """Within it, every verdict that needs mathematics is noted in the dictionary that it gives."""
        notes: dict[Pair, bool] = {}
        self._notes.append(notes)
        try:
            yield notes
        finally:
            self._notes = [other for other in self._notes if other is not notes]
