"""Asks about mathematics in a process of its own, within a hard time limit: the near end of the pipe.

The far end is ``far_end.py``, run as a script; it takes one question per line on standard input and reports
on standard output. The limit is one of processor time, so that a verdict does not depend on what else the
machine is doing; a wall-clock limit, ten times as long, stands behind it.

Why a process: math-verify's own limit is a signal, which works in the main thread only, and nothing inside a
process ends one long operation on integers. Why not multiprocessing: it would import the caller's script
again, and pickle.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

from tts_utils.answers.forms import BEYOND, OPEN, Form

START_LIMIT = 120.0  # seconds; importing SymPy is slow on a cold disk
START_COST = 1.0  # processor seconds that a new process counts for, after the death of one
TOGETHER = 32  # expressions sent at once, so that two processes need not wait for each other after each
PATIENCE = 20.0  # wall-clock seconds allowed for each second of processor time
MAX_CHARS = 1000  # of an expression: the near end never sends a longer one
FAR_END = Path(__file__).with_name("far_end.py")
_REMEMBERED = 1 << 16


class MathProcess:
    """The process, started at the first question and again after every death; threads take turns.

    Attributes:
        parses: how many expressions it was given to read.
        comparisons: how many pairs math-verify was asked about.
        spent: processor seconds that it has used; one that was ended counts for its whole limit.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._process: subprocess.Popen[str] | None = None
        self._reports: queue.Queue[str | None] = queue.Queue()
        self._forms: OrderedDict[str, Form] = OrderedDict()
        self._verdicts: OrderedDict[tuple[str, str], bool] = OrderedDict()
        self.parses = self.comparisons = 0
        self.spent = 0.0

    def form(self, text: str, seconds: float) -> Form:
        """Return the form of one expression; see :meth:`forms`."""
        return self.forms([text], seconds)[text]

    def forms(self, texts: Iterable[str], seconds: float, end: float = float("inf")) -> dict[str, Form]:
        """Return the form of every expression; ``BEYOND`` for one that takes longer than ``seconds``.

        The seconds are of processor time, on systems that can count it (Windows counts wall-clock). Starting
        the process, once, comes on top. Every expression is read once and remembered; but what is not read
        because :attr:`spent` has reached ``end`` is ``BEYOND`` for this call only.

        Raises:
            RuntimeError: math-verify is missing, or its process does not start.
        """
        self._after_a_fork()
        with self._lock:
            wanted = dict.fromkeys(texts)
            new = [text for text in wanted if text not in self._forms]
            found = {text: self._forms[text] for text in wanted if text in self._forms}
            while new and self.spent < end:
                if len(new[0]) > MAX_CHARS:
                    found[new.pop(0)] = BEYOND
                    continue
                some = [text for text in new[:TOGETHER] if len(text) <= MAX_CHARS]
                for text, reply in zip(
                    some, self._replies([{"read": t} for t in some], seconds, end), strict=False
                ):
                    self.parses += 1
                    found[text] = BEYOND if reply is None else _as_form(reply)
                    _remember(self._forms, text, found[text])
                    new.remove(text)
            return {text: found.get(text, BEYOND) for text in wanted}

    def equal(self, a: str, b: str, seconds: float) -> bool:
        """Say whether math-verify holds ``a`` and ``b`` equal, either way round; not in ``seconds`` means no.

        Raises:
            RuntimeError: math-verify is missing, or its process does not start.
        """
        pair = (a, b) if a < b else (b, a)
        if any(self.form(text, seconds) is BEYOND for text in pair):
            return False
        with self._lock:
            if pair not in self._verdicts:
                self.comparisons += 1
                (reply,) = self._replies([{"compare": pair}], seconds)
                _remember(self._verdicts, pair, reply is not None and reply["equal"])
            return self._verdicts[pair]

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
        self._process = None

    def _after_a_fork(self) -> None:
        if self._owner != os.getpid():  # the pipe, and perhaps a held lock, are the parent's
            self.__init__()

    def _start(self) -> None:
        self.stop()
        if find_spec("math_verify") is None:
            raise RuntimeError(
                "comparing answers that are not plain integers needs math-verify: pip install math-verify"
            )
        # -P: this folder's modules must not hide others of the same name
        command = [sys.executable, "-P", str(FAR_END)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, text=True, encoding="utf-8", **pipes)
        self._reports = queue.Queue()
        threading.Thread(target=_forward, args=(self._process.stdout, self._reports), daemon=True).start()
        atexit.register(self.stop)
        if self._report(time.monotonic() + START_LIMIT) is None:
            self.stop()
            raise RuntimeError(
                f"the process that compares answers did not start; see why: {' '.join(command)}"
            )

    def _replies(self, questions: list[dict], seconds: float, end: float = float("inf")) -> list[dict | None]:
        """Send questions together; return the reply to each, up to a None where the process ended.

        It is ended where :attr:`spent` reaches ``end`` before the last reply.
        """
        if self._process is None or self._process.poll() is not None:
            self._start()
        terms = {"seconds": seconds, "patience": PATIENCE}
        lines = [json.dumps(question | terms) + "\n" for question in questions]
        replies: list[dict | None] = []
        try:
            with contextlib.suppress(BrokenPipeError):  # a death is seen below
                self._process.stdin.write("".join(lines))
                self._process.stdin.flush()
            while len(replies) < len(questions) and None not in replies and self.spent < end:
                replies.append(self._report(time.monotonic() + PATIENCE * seconds + 2))
                self.spent += replies[-1]["spent"] if replies[-1] else seconds + 0.5 + START_COST
        except BaseException:  # an interrupt: a late reply must not be taken for the next one's
            self.stop()
            raise
        if None in replies or len(replies) < len(questions):
            self.stop()
        return replies

    def _report(self, deadline: float) -> dict | None:
        """The next report; None when the process is dead or the time is over."""
        try:
            line = self._reports.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None
        return None if line is None else json.loads(line)


def _remember(memory: OrderedDict, key: object, value: object) -> None:
    memory[key] = value
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)


def _as_form(reply: dict) -> Form:
    if reply["state"] != "known":
        return OPEN if reply["state"] == "open" else BEYOND
    exact = Fraction(int(reply["exact"][0], 16), int(reply["exact"][1], 16)) if reply["exact"] else None
    values = tuple(None if value is None else tuple(value) for value in reply["values"])
    return Form("known", exact, reply["decimal"], values)


def _forward(stream: object, reports: queue.Queue[str | None]) -> None:
    """Put every line of the stream in the queue, None at its end; a pipe cannot be read with a limit."""
    with stream:
        for line in stream:
            reports.put(line)
    reports.put(None)
