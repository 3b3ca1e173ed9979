r"""Plain ways to write mathematics as LaTeX: ``sqrt(3)/2``, ``2pi``, ``1 1/4``, ``0.333...``."""

from __future__ import annotations

import re
from fractions import Fraction

_FUNCTIONS = "sinh|cosh|tanh|arcsin|arccos|arctan|sin|cos|tan|cot|sec|csc|ln|log|exp"
_TRIGONOMETRIC = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_DEGREES = re.compile(r"([0-9]+(?:\.[0-9]+)?|\\frac\{[0-9]+\}\{[0-9]+\}) ?\^\\circ ?")
_MIXED = re.compile(r"(?<![0-9.A-Za-z^_{/])([0-9]+) ([0-9]+)/([0-9]+)(?![0-9.])")
_OVER = re.compile(r"([0-9]+) ?\\over ?([0-9]+)")
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<![A-Za-z\\])sqrt(?![A-Za-z])", r"\\sqrt"),
        (r"\\sqrt ?\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"\\sqrt ?([0-9])", r"\\sqrt{\1}"),
        (r"(?<![A-Za-z\\])(pi|infty|theta|infinity)(?![A-Za-z])", r"\\\1 "),
        (r"\\infinity ", r"\\infty "),
        (rf"(?<![A-Za-z\\])({_FUNCTIONS})(?= ?[\^({{0-9]| [A-Za-z\\])", r"\\\1"),
        (r"\\exp ?\(([^()]*)\)", r"e^{\1}"),
        (r"\\exp ?\{([^{}]*)\}", r"e^{\1}"),
        (r"\\lg(?![A-Za-z])", r"\\log_{10} "),
        (r"\*\*", "^"),
        (r"(?<=[0-9A-Za-z)}]) ?\* ?(?=[0-9A-Za-z(\\])", r" \\cdot "),
        (r"(?<=[0-9]):(?=0?[0-9]{2}(?![0-9]))", ":"),
    )
]
_REPEATING = re.compile(
    r"(-?)([0-9]*)\.([0-9]*)(?:\\(?:overline|bar|dot) ?(?:\{([0-9]+)\}|([0-9]))|\(([0-9]+)\))"
)
_AND_SO_ON = re.compile(r"(-?)([0-9]*)\.([0-9]{2,})(?:\.\.\.+|\\dots)")


def plain_words_to_latex(text: str) -> str:
    """Return a text with plain names of functions and constants, mixed numbers and degrees as LaTeX."""
    text = _MIXED.sub(r"\1\\frac{\2}{\3}", text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _OVER.sub(r"\\frac{\1}{\2}", text)
    if _TRIGONOMETRIC.search(text):
        text = _DEGREES.sub(r"{(\\frac{\1\\pi}{180})}", text)
    return text


def repeating_to_fractions(text: str) -> str:
    r"""Return a repeating decimal as the fraction it is; any other text as it is.

    >>> repeating_to_fractions(r"1.1\overline{6}"), repeating_to_fractions("0.12")
    ('\\frac{7}{6}', '0.12')
    """
    text = text.strip()
    if len(text) > 100:
        return text
    if found := _REPEATING.fullmatch(text):
        return _fraction(found[1], found[2], found[3], found[4] or found[5] or found[6])
    if found := _AND_SO_ON.fullmatch(text):
        digits = found[3]
        for length in range(1, len(digits) // 2 + 1):
            period = digits[-length:]
            head = digits
            while head.endswith(period):
                head = head[:-length]
            repeats = (len(digits) - len(head)) // length
            if repeats >= 2 and len(head) <= 3:
                return _fraction(found[1], found[2], head, period)
    return text


def _fraction(sign: str, whole: str, head: str, period: str) -> str:
    value = Fraction(int(whole + head or "0"), 10 ** len(head))
    value += Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(head))
    if value.denominator == 1:
        return sign + str(value.numerator)
    return rf"{sign}\frac{{{value.numerator}}}{{{value.denominator}}}"
