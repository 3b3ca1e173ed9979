"""What the mathematics process says of an expression, and whether two such reports are of equal ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ldexp

Number = tuple[float, int, float, int]
"""A complex number beyond the range of floats: mantissa and power of two of its real and imaginary part."""

CLOSE = 1e-12
"""Numbers that differ by less than this part of themselves are the same; they are known to 30 digits."""

DECIMALS = 6
"""Decimals are compared to so many of them, as math-verify compares them."""

_LITERAL = re.compile(r"(-?)(?:([0-9]+)|([0-9]*\.[0-9]+))")
_RATIO = re.compile(r"(-?)(?:([0-9]+)?\\frac(?:\{(-?[0-9]+)\}\{([0-9]+)\}|([0-9])([0-9]))|([0-9]+)/([0-9]+))")


@dataclass(frozen=True, slots=True)
class Form:
    """One expression.

    Attributes:
        state: "known"; "open", where only math-verify can compare it; or "beyond", where it took too long.
        exact: its value, if it is a rational number written without a decimal point.
        decimal: whether it holds a decimal.
        values: its value at each of a fixed set of points; None where it has no (real) one.
    """

    state: str
    exact: Fraction | None = None
    decimal: bool = False
    values: tuple[Number | None, ...] = ()


OPEN, BEYOND = Form("open"), Form("beyond")


def literal(text: str, points: int) -> Form | None:
    """Return the form of a plain number or fraction, which needs no process; None for anything else."""
    if len(text) > 300:
        return None
    if found := _LITERAL.fullmatch(text):
        value = Fraction(found[2] or found[3])
        return of_rational(-value if found[1] else value, found[3] is not None, points)
    if found := _RATIO.fullmatch(text):
        over, under = Fraction(found[3] or found[5] or found[7]), int(found[4] or found[6] or found[8])
        if not under or (found[2] and over < 0):
            return None
        value = over / under + int(found[2] or 0)
        return of_rational(-value if found[1] else value, False, points)
    return None


def of_rational(value: Fraction, decimal: bool, points: int) -> Form:
    """Return the form of a rational number."""
    shift = value.numerator.bit_length() - value.denominator.bit_length()
    scaled = value / 2**shift if shift >= 0 else value * 2**-shift
    number = (float(scaled), shift, 0.0, 0)
    return Form("known", None if decimal else value, decimal, (number,) * points)


def same_forms(a: Form, b: Form) -> bool | None:
    """Say whether two expressions are equal; None where their forms leave it open.

    Rational numbers are equal when they are; others when they agree at every point at which both have a
    value, of which there must be two. A decimal agrees with anything that rounds to the same six decimals.
    """
    if "beyond" in (a.state, b.state):
        return False
    if "open" in (a.state, b.state):
        return None
    if a.exact is not None and b.exact is not None:
        return a.exact == b.exact
    decimal = a.decimal or b.decimal
    both = [(x, y) for x, y in zip(a.values, b.values, strict=True) if x is not None and y is not None]
    if len(both) < 2:
        return None
    return all(_agree(x, y, decimal) for x, y in both)


def proportional(a: tuple[Form, Form], b: tuple[Form, Form]) -> bool | None:
    """Say whether two equations, each by its sides, are the same but for a factor; None if that is open."""
    rows = []
    for left, right in (a, b):
        if left.state != "known" or right.state != "known":
            return None
        pairs = zip(left.values, right.values, strict=True)
        rows.append([None if x is None or y is None else as_complex(x) - as_complex(y) for x, y in pairs])
    both = [(x, y) for x, y in zip(*rows, strict=True) if x is not None and y is not None]
    if len(both) < 3:
        return None
    x0, y0 = max(both, key=lambda pair: abs(pair[0]))
    if not x0 or not y0:
        return None
    tolerance = 1e-6 if any(form.decimal for form in (*a, *b)) else 1e-9
    return all(abs(x * y0 - y * x0) <= tolerance * abs(x0) * abs(y0) for x, y in both)


def as_complex(number: Number) -> complex:
    """Return a number as a float of Python, infinite where it is too large for one."""
    try:
        return complex(ldexp(number[0], number[1]), ldexp(number[2], number[3]))
    except OverflowError:
        return complex("inf")


def _agree(a: Number, b: Number, decimal: bool) -> bool:
    top = max((e for m, e in (a[:2], a[2:], b[:2], b[2:]) if m), default=0)
    x, y = (complex(ldexp(n[0], max(n[1] - top, -2000)), ldexp(n[2], max(n[3] - top, -2000))) for n in (a, b))
    difference = abs(x - y)
    if difference <= CLOSE * max(abs(x), abs(y)):
        return True
    if not decimal or difference > 1e-5 * max(abs(x), abs(y)):
        return False
    u, v = as_complex(a), as_complex(b)
    return all(round(p, DECIMALS) == round(q, DECIMALS) for p, q in ((u.real, v.real), (u.imag, v.imag)))
