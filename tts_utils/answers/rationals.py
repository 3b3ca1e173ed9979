"""The exact value of a parsed expression that is a rational number; runs in the mathematics process."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import sympy

MAX_BITS = 4096
"""Numerators and denominators of more bits are not worked out; the expression is compared by value."""


def rational(node: Any) -> Fraction | None:
    """Return the exact value of an expression, or None where it is not rational, or not quickly found."""
    if node.is_Rational:
        return Fraction(int(node.p), int(node.q)) if int(node.p).bit_length() <= MAX_BITS else None
    name = type(node).__name__
    if not (node.is_Add or node.is_Mul or node.is_Pow or name in ("UnevaluatedExpr", "factorial", "Abs")):
        return None
    parts = [rational(part) for part in node.args]
    if any(part is None for part in parts):
        return None
    if name == "UnevaluatedExpr":
        return parts[0]
    if name == "Abs":
        return abs(parts[0])
    if name == "factorial":
        return _factorial(parts[0])
    if node.is_Pow:
        return _rational_power(*parts)
    total = Fraction(node.is_Mul)
    for part in parts:
        total = total * part if node.is_Mul else total + part
        if max(total.numerator.bit_length(), total.denominator.bit_length()) > MAX_BITS:
            return None
    return total


def _factorial(value: Fraction) -> Fraction | None:
    if value.denominator != 1 or not 0 <= value <= 400:
        return None
    return Fraction(int(sympy.factorial(int(value))))


def _rational_power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1 or (not base and exponent <= 0):
        return None
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    return base**exponent.numerator if bits * abs(exponent.numerator) <= MAX_BITS else None
