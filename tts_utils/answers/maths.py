"""Asks math-verify whether two answers are equal, in a process of its own, within a hard time limit.

Both ends of the pipe are here. :class:`MathProcess` is the near end. The far end, :func:`serve`, runs when
this file is run as a script. It takes one question per line on standard input,
``{"a": ..., "b": ..., "seconds": ...}``, and reports on standard output: ``{"stage": "ready"}`` once; then,
for each, the stages "a", "b" and "compare", and ``{"equal": true | false}``.

The limit is one of processor time, so that a verdict does not depend on what else the machine is doing; a
wall-clock limit, ten times as long, stands behind it.

Why a process: math-verify's own limit is a signal, which works in the main thread only, and nothing inside a
process ends one long operation on integers. Why not multiprocessing: it would import the caller's script
again, and pickle.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import json
import logging
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from functools import lru_cache
from importlib.util import find_spec

START_LIMIT = 120.0  # seconds; importing SymPy is slow on a cold disk
PATIENCE = 10.0  # wall-clock seconds allowed for each second of processor time
MAX_BYTES = 2 << 30  # address space of the far end: a tower of powers must not take the machine's memory


class MathProcess:
    """The process, started at the first question and again after every death; threads take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._process: subprocess.Popen[str] | None = None
        self._reports: queue.Queue[str | None] = queue.Queue()
        self._hopeless: set[str] = set()

    def equal(self, a: str, b: str, seconds: float) -> bool:
        """Say whether math-verify holds ``a`` and ``b`` equal, either way round; not in ``seconds`` means no.

        The seconds are of processor time, on systems that can count it (Windows counts wall-clock). Starting
        the process, once, comes on top. An answer found to be beyond the limit by itself is remembered, so
        that it costs the limit once and not once per comparison.

        Raises:
            RuntimeError: math-verify is missing, or its process does not start.
        """
        if self._owner != os.getpid():  # after a fork: the pipe, and perhaps a held lock, are the parent's
            self.__init__()
        with self._lock:
            if not self._hopeless.isdisjoint((a, b)):
                return False
            if self._process is None or self._process.poll() is not None:
                self._start()
            question = json.dumps({"a": a, "b": b, "seconds": seconds})
            try:
                return self._ask(question, {"a": a, "b": b}, time.monotonic() + PATIENCE * seconds)
            except BaseException:  # an interrupted question must not answer the next one
                self.stop()
                raise

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
        self._process = None

    def _start(self) -> None:
        self.stop()
        if find_spec("math_verify") is None:
            raise RuntimeError(
                "comparing answers that are not plain integers needs math-verify: pip install math-verify"
            )
        # -P: this folder's modules must not hide others of the same name
        command = [sys.executable, "-P", __file__]
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

    def _ask(self, question: str, answers: dict[str, str], deadline: float) -> bool:
        """Send one question; its answer, or False when the process dies or the time is over."""
        with contextlib.suppress(BrokenPipeError):  # a death is seen below
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        stage = ""
        while (report := self._report(deadline)) is not None:
            if "equal" in report:
                return report["equal"]
            stage = report["stage"]
        self.stop()
        if stage in answers:
            self._hopeless.add(answers[stage])
        return False

    def _report(self, deadline: float) -> dict | None:
        """The next report; None when the process is dead or the time is over."""
        try:
            line = self._reports.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None
        return None if line is None else json.loads(line)


def _forward(stream: object, reports: queue.Queue[str | None]) -> None:
    """Put every line of the stream in the queue, None at its end; a pipe cannot be read with a limit."""
    with stream:
        for line in stream:
            reports.put(line)
    reports.put(None)


def _limit(seconds: float) -> None:
    """End this process after so much processor time, or ten times that by the clock; 0 lifts the limit.

    Neither needs Python's attention, so they end it inside one long operation on integers too.
    """
    on_unix = hasattr(signal, "setitimer")
    if on_unix:
        signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends a process that does not catch it
    if seconds:
        wall = seconds * PATIENCE if on_unix else seconds
        faulthandler.dump_traceback_later(wall, exit=True, file=sys.stderr)
    else:
        faulthandler.cancel_dump_traceback_later()


def serve() -> None:
    """Answer questions until standard input ends; a question that takes longer than its seconds ends it."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    logging.disable(logging.CRITICAL)
    from math_verify import LatexExtractionConfig, parse, verify
    from sympy import Float, Integer, Symbol
    from sympy.parsing import sympy_parser

    def build(code: str, local_dict: dict, global_dict: dict) -> object:
        """Build what SymPy would eval(): a name, or one number or symbol; text from a model is never run."""
        found = re.fullmatch(r"\s*(Integer|Float|Symbol)?\s*\(?\s*'?([\w.+-]+)'?\s*\)?\s*", code)
        if not found:
            raise ValueError("not a name, a number or a symbol")
        kind, text = found.groups()
        if kind is None:
            return local_dict[text] if text in local_dict else global_dict[text]
        return Integer(int(text)) if kind == "Integer" else {"Float": Float, "Symbol": Symbol}[kind](text)

    sympy_parser.eval_expr = build
    latex_only = [LatexExtractionConfig()]  # the extraction of plain expressions hands text to eval()

    @lru_cache(maxsize=8192)
    def read(answer: str) -> list:
        parsed = parse(f"\\boxed{{{answer}}}", extraction_config=latex_only, parsing_timeout=None)
        # evaluates it, so that a hopeless one is found out here
        verify(parsed, [Integer(9973)], timeout_seconds=None)
        return parsed

    def say(**report: object) -> None:
        os.write(1, json.dumps(report).encode() + b"\n")

    say(stage="ready")
    for line in sys.stdin:
        question = json.loads(line)
        _limit(question["seconds"])
        try:
            say(stage="a")
            a = read(question["a"])
            say(stage="b")
            b = read(question["b"])
            say(stage="compare")
            equal = verify(a, b, timeout_seconds=None) or verify(b, a, timeout_seconds=None)
        except Exception:  # RecursionError and MemoryError too: what cannot be read is equal to nothing
            equal = False
        _limit(0)
        say(equal=bool(equal))


if __name__ == "__main__":
    serve()
