"""The process that reads mathematics; run as a script, it answers one question per line of standard input.

``{"read": TEXT, "seconds": S}`` is answered by ``{"state": "known", "exact": ..., "decimal": ..., "values":
[...]}``, or by state "open" or "beyond"; ``{"compare": [A, B], "seconds": S}``, which math-verify decides, by
``{"equal": ...}``. Text from a model is parsed and never run. What takes longer than S seconds of processor
time ends the process.
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
    from sympy import Integer

    from tts_utils.answers.values import form_of

    say(state="ready")
    for line in sys.stdin:
        question = json.loads(line)
        began = time.process_time()
        limit(question["seconds"], question["patience"])
        try:
            if "read" in question:
                expression = parse(question["read"])
                reply = form_of(expression)
                if reply["state"] == "open":  # evaluates it, so that a hopeless one is found out here, once
                    verify([expression], [Integer(9973)], timeout_seconds=None)
            else:
                a, b = map(parse, question["compare"])
                equal = verify([a], [b], timeout_seconds=None) or verify([b], [a], timeout_seconds=None)
                reply = {"equal": bool(equal)}
        except Exception:  # RecursionError and MemoryError too: what cannot be read is equal to nothing
            reply = {"state": "open", "equal": False}
        limit(0, 0)
        say(**reply, spent=time.process_time() - began)


def say(**report: object) -> None:
    """Report one line."""
    os.write(1, json.dumps(report).encode() + b"\n")


def limit(seconds: float, patience: float) -> None:
    """End this process after so much processor time, or ``patience`` times that by the clock; 0 lifts it.

    Neither needs Python's attention, so they end it inside one long operation on integers too.
    """
    on_unix = hasattr(signal, "setitimer")
    if on_unix:
        signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends a process that does not catch it
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
