"""What math-verify has said: a pair of answers is asked about once, and stored verdicts need no asking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

MAX_PAIRS = 1 << 18
"""So many verdicts are kept in memory; then the memory of this process starts anew."""

Pair = tuple[str, str]


class Verdicts:
    """Verdicts on pairs of tidied answers, the lesser answer first.

    >>> verdicts = Verdicts(ask=lambda a, b: False)
    >>> verdicts.remember({("2", "6/3"): True})
    >>> verdicts.of("2", "6/3"), verdicts.of("2", "7/3")
    (True, False)
    """

    def __init__(self, ask: Callable[[str, str], bool]) -> None:
        self._ask = ask
        self._known: dict[Pair, bool] = {}
        self._notes: list[dict[Pair, bool]] = []

    def of(self, a: str, b: str) -> bool:
        """Whether the two are equal, from memory, else by asking."""
        verdict = self._known.get((a, b))
        if verdict is None:
            verdict = self._ask(a, b)
            self.remember({(a, b): verdict})
        for notes in self._notes:
            notes[a, b] = verdict
        return verdict

    def remember(self, verdicts: Mapping[Pair, bool]) -> None:
        """Take verdicts that were stored, so that they are not asked for again."""
        if len(self._known) + len(verdicts) > MAX_PAIRS:
            self.forget()
        self._known.update(verdicts)

    def forget(self) -> None:
        """Begin anew."""
        self._known.clear()

    @contextmanager
    def noting(self) -> Iterator[dict[Pair, bool]]:
        """Within it, every verdict that is used is noted in the dictionary that it gives."""
        notes: dict[Pair, bool] = {}
        self._notes.append(notes)
        try:
            yield notes
        finally:
            self._notes = [other for other in self._notes if other is not notes]
