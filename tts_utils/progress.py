"""How far a command is: a bar on a terminal, a line now and then elsewhere (a log, a notebook, a queue)."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

FIRST = 4.0
"""Seconds after which the first line is said where there is no terminal."""
EVERY = 25.0
"""Seconds between lines after that; also while nothing moves."""


class Progress:
    """Called with (done, of all); used in a ``with`` block, which it watches from a thread of its own.

    Args:
        unit: what is counted.
        title: stands before every line.
        quiet_for: seconds that pass in silence, for commands that are mostly shorter.
        every: seconds between lines after that.
        stream: where to print; None means standard error.
        say: receives the lines instead of a stream, on a terminal too: there is no bar then.
    """

    def __init__(
        self,
        unit: str = "row",
        *,
        title: str = "",
        quiet_for: float = FIRST,
        every: float = EVERY,
        stream: TextIO | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.unit, self.title, self.quiet_for, self.every = unit, title, quiet_for, every
        self.stream = sys.stderr if stream is None else stream
        self._say = say or self._print
        self._has_bar = say is None and self.stream.isatty()
        self._bar = None
        self._began = time.monotonic()
        self._first: tuple[float, int] | None = None  # when work was first reported, and how much was there
        self._at = (0, 0)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        self._began = time.monotonic()
        if not self._has_bar:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __call__(self, done: int, total: int) -> None:
        if self._first is None:
            self._first = (time.monotonic(), done)
        self._at = (done, total)
        if self._has_bar:
            if self._bar is None and time.monotonic() - self._began >= self.quiet_for - FIRST:
                from tqdm import tqdm

                self._bar = tqdm(total=total, unit=self.unit, file=self.stream)
            if self._bar is not None:
                self._bar.update(done - self._bar.n)

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self._bar is not None:
            self._bar.close()

    def line(self) -> str:
        """How far it is, in words."""
        took, (done, total) = time.monotonic() - self._began, self._at
        words = f"{self.title}: " * bool(self.title) + f"{took:.0f} s: "
        if not total or self._first is None:
            return f"{words}loading, nothing finished yet"
        since, before = time.monotonic() - self._first[0], self._first[1]
        words += f"{done} of {total} {self.unit}s ({100 * done / total:.0f} %)"
        if done <= before or since <= 0:
            return words
        return f"{words}, about {duration((total - done) * since / (done - before))} to go"

    def _watch(self) -> None:
        wait = self.quiet_for
        while not self._over.wait(wait):
            self._say(self.line())
            wait = self.every

    def _print(self, line: str) -> None:
        print(line, file=self.stream, flush=True)


def duration(seconds: float) -> str:
    """A time in the unit that reads best.

    >>> duration(40), duration(400), duration(40_000)
    ('40 s', '7 min', '11.1 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
