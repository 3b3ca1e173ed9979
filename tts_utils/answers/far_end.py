"""The process that reads mathematics; run as a script, it answers one question per line of standard input.

``{"read": TEXT, "seconds": S}`` is answered by ``{"state": "known", "exact": ..., "decimal": ..., "values":
[...]}``, or by state "open" or "beyond"; ``{"compare": [A, B], "seconds": S}``, which math-verify decides, by
``{"equal": ...}``. Text from a model is parsed and never run. What takes longer than S seconds of processor
time is "beyond"; where nothing else stops it, the process ends.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from functools import lru_cache

MAX_BYTES = 2 << 30  # address space: a tower of powers must not take the machine's memory


def main() -> None:
    """Answer questions until standard input ends."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    logging.disable(logging.CRITICAL)
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    parse = _parser()
    from math_verify import verify

    from tts_utils.answers.values import form_of

    def same(a: object, b: object) -> bool:
        return verify([a], [b], timeout_seconds=None)

    parse(r"\frac{x^{2}+1}{2}")  # the first parse is slow, and must not count for an answer
    say(state="ready")
    for line in sys.stdin:
        began = time.process_time()
        try:
            reply = answered(json.loads(line), parse, form_of, same)
        except OutOfTime:
            reply = {"state": "beyond", "equal": False}
        say(**reply, spent=time.process_time() - began)


def answered(question: dict, parse: Callable, form_of: Callable, same: Callable) -> dict:
    """Answer one question, within its seconds."""
    from sympy import Integer

    limit(question["seconds"], question["patience"])
    try:
        if "compare" in question:
            a, b = map(parse, question["compare"])
            return {"equal": bool(same(a, b) or same(b, a))}
        expression = parse(question["read"])
        form = form_of(expression)
        if form["state"] == "open":  # evaluates it, so that a hopeless one is found out here, once
            same(expression, Integer(9973))
        return form
    except Exception:  # RecursionError and MemoryError too: what cannot be read is equal to nothing
        return {"state": "open", "equal": False}
    finally:
        limit(0, 0)


class OutOfTime(BaseException):
    """The seconds are over; no library catches this by accident."""


def _raise(*_: object) -> None:
    raise OutOfTime


def say(**report: object) -> None:
    """Report one line."""
    os.write(1, json.dumps(report).encode() + b"\n")


def limit(seconds: float, patience: float) -> None:
    """Raise ``OutOfTime`` after so much processor time; 0 lifts the limit.

    One long operation on integers does not notice: half a second later, or after ``patience`` times the
    seconds by the clock, the process ends, which needs nobody's attention.
    """
    on_unix = hasattr(signal, "setitimer")
    if on_unix:
        signal.signal(signal.SIGPROF, _raise)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds and seconds + 0.5)  # SIGVTALRM is not caught
    if seconds:
        wall = seconds * patience if on_unix else seconds
        faulthandler.dump_traceback_later(wall, exit=True, file=sys.stderr)
    else:
        faulthandler.cancel_dump_traceback_later()


def _parser() -> object:
    """Return the function that reads LaTeX, with what SymPy would eval() built by hand."""
    from latex2sympy2_extended import NormalizationConfig, latex2sympy
    from sympy import E, Float, I, Integer, Symbol
    from sympy.parsing import sympy_parser

    def build(code: str, local_dict: dict, global_dict: dict) -> object:
        """Build a name, or one number or symbol; text from a model is never run."""
        found = re.fullmatch(r"\s*(Integer|Float|Symbol)?\s*\(?\s*'?([\w.+-]+)'?\s*\)?\s*", code)
        if not found:
            raise ValueError("not a name, a number or a symbol")
        kind, text = found.groups()
        if kind is None:
            return local_dict[text] if text in local_dict else global_dict[text]
        return Integer(int(text)) if kind == "Integer" else {"Float": Float, "Symbol": Symbol}[kind](text)

    sympy_parser.eval_expr = build
    # units were taken off before, and equations apart: here "5t" is a product
    as_it_is = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none", equations=False
    )

    @lru_cache(maxsize=4096)
    def parse(text: str) -> object:
        expression = latex2sympy(text, normalization_config=as_it_is)
        known = {"i": I, "e": E}  # one letter, one meaning: the imaginary unit and Euler's number
        symbols = {s: known.get(s.name, Symbol(s.name, real=True)) for s in expression.atoms(Symbol)}
        return expression.xreplace(symbols)

    return parse


if __name__ == "__main__":
    main()
