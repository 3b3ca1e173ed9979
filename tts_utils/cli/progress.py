"""How far a command is: a bar on a terminal, a line now and then elsewhere (a log, a notebook, a queue)."""

from __future__ import annotations

import sys
import threading
import time
from typing import TextIO

FIRST = 4.0
"""Seconds after which the first line is printed where there is no terminal."""
EVERY = 25.0
"""Seconds between lines after that; also while nothing moves."""


class Progress:
    """Called with (done, of all); used in a ``with`` block, which it watches from a thread of its own.

    Args:
        unit: what is counted.
        quiet_for: seconds that pass in silence, for commands that are mostly shorter.
        stream: where to print; None means standard error.
    """

    def __init__(self, unit: str = "row", quiet_for: float = FIRST, stream: TextIO | None = None) -> None:
        self.unit, self.quiet_for = unit, quiet_for
        self.stream = sys.stderr if stream is None else stream
        self._bar = None
        self._began = time.monotonic()
        self._first: tuple[float, int] | None = None  # when work was first reported, and how much was there
        self._at = (0, 0)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        self._began = time.monotonic()
        if not self.stream.isatty():
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __call__(self, done: int, total: int) -> None:
        if self._first is None:
            self._first = (time.monotonic(), done)
        self._at = (done, total)
        if self._thread is None and self.stream.isatty():
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
        if not total or self._first is None:
            return f"{took:.0f} s: loading, nothing finished yet"
        since, before = time.monotonic() - self._first[0], self._first[1]
        words = f"{took:.0f} s: {done} of {total} {self.unit}s ({100 * done / total:.0f} %)"
        if done <= before or since <= 0:
            return words
        return f"{words}, about {_in_words((total - done) * since / (done - before))} to go"

    def _watch(self) -> None:
        wait = self.quiet_for
        while not self._over.wait(wait):
            print(self.line(), file=self.stream, flush=True)
            wait = EVERY


def _in_words(seconds: float) -> str:
    """
    >>> _in_words(40), _in_words(400), _in_words(40_000)
    ('40 s', '7 min', '11.1 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
