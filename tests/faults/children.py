"""Run a function in a forked child, and end it at a durable operation or after a while.

A durable operation is what changes a disk: open for writing, rename, remove, make or remove a folder, copy,
and fsync. Python announces them all to an audit hook before they happen, the last aside, which is wrapped. A
kill before each of them, and one with the file half written that was opened last, leave every state that a
kill can leave on the disk.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 120.0  # seconds, by the clock; a child that lives longer is blocked
_EVENTS = {
    "open": 0,
    "os.rename": 0,
    "os.remove": 0,
    "os.rmdir": 0,
    "os.mkdir": 0,
    "os.truncate": 0,
    "os.link": 1,
    "os.symlink": 1,
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended.

    Attributes:
        killed: it was killed before it was done.
        blocked: it was not done in time.
        error: the traceback of an exception, or "".
        result: what the function returned.
        operations: the durable operations it came to, as "event: name".
        seconds: from start to end, by the clock.
    """

    killed: bool
    blocked: bool = False
    error: str = ""
    result: Any = None
    operations: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Durable:
    """Counts durable operations below a folder, and ends the process at a given one."""

    def __init__(self, folder: Path, at: int | None, half: bool) -> None:
        self.folder, self.at, self.half = str(folder), at, half
        self.seen: list[str] = []
        self.opened = ""
        self._lock = threading.RLock()
        self._fsync = os.fsync

    def watch(self) -> None:
        """Begin; there is no end, but that of the process."""
        sys.addaudithook(self._heard)
        os.fsync = self._synced  # type: ignore[assignment]

    def _heard(self, event: str, args: tuple) -> None:
        if event not in _EVENTS or (event == "open" and not (args[2] or 0) & _WRITES):
            return
        path = args[_EVENTS[event]]
        if isinstance(path, bytes | os.PathLike):
            path = os.fsdecode(path)
        if not isinstance(path, str) or (os.path.isabs(path) and not path.startswith(self.folder)):
            return
        with self._lock:
            self._next(f"{event}: {os.path.basename(path)}")
            if event == "open":
                self.opened = path

    def _synced(self, handle: int) -> None:
        with self._lock:
            self._next("fsync")
        self._fsync(handle)

    def _next(self, operation: str) -> None:
        if len(self.seen) == self.at:
            self.at = None  # cutting a file is announced too
            if self.half and os.path.isfile(self.opened):
                os.truncate(self.opened, os.path.getsize(self.opened) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen.append(operation)


def run(
    function: Callable[[Path], Any],
    folder: Path,
    *,
    at: int | None = None,
    half: bool = False,
    after: float | None = None,
) -> Ended:
    """Run ``function(folder)`` in a child.

    Args:
        function: what is run; its result must be JSON.
        folder: below which operations count; the child's working directory.
        at: end it before this durable operation, counted from 0.
        half: with the file that was opened last cut to half of its length.
        after: end it after so many seconds.
    """
    reading, writing = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _live(function, folder, at, half, writing)
    os.close(writing)
    said, over = b"", False
    end = began + (PATIENCE if after is None else after)
    while select.select([reading], [], [], max(0.0, end - time.monotonic()))[0]:
        piece = os.read(reading, 1 << 16)
        if not piece:
            break
        said += piece
    else:
        over = True
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    seconds = time.monotonic() - began
    killed = os.WIFSIGNALED(status)
    if killed or not said:
        return Ended(killed=killed, blocked=over and after is None, seconds=seconds)
    return Ended(killed=False, seconds=seconds, **json.loads(said))


def _live(function: Callable[[Path], Any], folder: Path, at: int | None, half: bool, writing: int) -> None:
    """The life of a child, which ends here."""
    said: dict[str, Any] = {}
    try:
        os.chdir(folder)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        durable = Durable(folder, at, half)
        durable.watch()
        said["result"] = function(folder)
        said["operations"] = durable.seen
    except BaseException:
        said = {"error": traceback.format_exc()}
    with os.fdopen(writing, "wb") as file:
        file.write(json.dumps(said).encode())
    os._exit(0)
