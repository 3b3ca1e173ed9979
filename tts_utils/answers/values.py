"""Numerical values of a parsed expression, for comparing it without asking what it simplifies to.

Runs in the mathematics process. Real functions are read as they are at school: an expression has no value
where a root or logarithm of something negative that depends on a letter is taken.
"""

from __future__ import annotations

import hashlib
from typing import Any

import mpmath
import sympy
from mpmath import mp
from sympy.core.function import AppliedUndef

from tts_utils.answers.rationals import rational

DIGITS = 30
POINTS = 8
MAX_POWER = 10**15  # of two: beyond it a number is too large to say anything about
_CONSTANTS = {sympy.pi: mp.pi, sympy.E: mp.e, sympy.I: mpmath.mpc(0, 1), sympy.GoldenRatio: mp.phi}
_NAMES = (
    "sin cos tan cot sec csc asin acos atan acot asec acsc sinh cosh tanh coth asinh acosh atanh floor re im"
)
_FUNCTIONS = {name: getattr(mp, name) for name in _NAMES.split()} | {
    **{"exp": mp.exp, "Abs": abs, "sign": mp.sign, "ceiling": mp.ceil, "conjugate": mp.conj, "arg": mp.arg},
    **{"factorial": mp.factorial, "gamma": mp.gamma, "factorial2": mp.fac2, "binomial": mp.binomial},
    **{"Max": max, "Min": min},
}
_REAL_RESULT = {"asin", "acos", "acosh", "atanh", "asec", "acsc"}
_OF_MODEST_NUMBERS = {"factorial", "gamma", "factorial2", "binomial", "exp", "sinh", "cosh"}


class NoValue(Exception):
    """The expression has no real value at this point."""


class Open(Exception):
    """The expression holds something that is not evaluated here."""


class Beyond(Exception):
    """A number is too large to be compared with another."""


def form_of(expression: Any) -> dict[str, object]:
    """Return what :class:`tts_utils.answers.forms.Form` holds of an expression, as JSON takes it."""
    if not isinstance(expression, sympy.Expr) or expression.is_Matrix:
        return {"state": "open"}
    with mp.workdps(DIGITS):
        return _form_of(expression)


def _form_of(expression: Any) -> dict[str, object]:
    decimal = bool(expression.atoms(sympy.Float))
    letters = sorted({symbol.name for symbol in expression.atoms(sympy.Symbol)})
    try:
        exact = None if decimal or letters else rational(expression)
        if exact is not None:
            value = _parts(mpmath.mpf(exact.numerator) / exact.denominator)
            digits = [hex(exact.numerator), hex(exact.denominator)]
            return {"state": "known", "exact": digits, "decimal": False, "values": [value] * POINTS}
        values = [_value_at(expression, letters, number) for number in range(POINTS if letters else 1)]
    except Open:
        return {"state": "open"}
    except (Beyond, OverflowError):
        return {"state": "beyond"}
    if not letters:
        values = values * POINTS
    return {"state": "known", "exact": None, "decimal": decimal, "values": values}


def _value_at(expression: Any, letters: list[str], number: int) -> list | None:
    try:
        value = _value(expression, {letter: _coordinate(letter, number) for letter in letters})
        return _parts(value)
    except (NoValue, ZeroDivisionError, ValueError, mpmath.libmp.ComplexResult):
        return None


def _coordinate(letter: str, number: int) -> mpmath.mpf:
    """One coordinate of a point: three points are positive, three of any sign, two of integers."""
    drawn = int.from_bytes(hashlib.sha256(f"{number} {letter}".encode()).digest()[:6])
    if number >= 6:
        return mpmath.mpf(2 + drawn % 37)
    fraction = mpmath.mpf(drawn) / 2**48
    return mpmath.mpf("0.25") + 3 * fraction if number < 3 else 6 * fraction - 3


def _parts(value: Any) -> list | None:
    value = mpmath.mpc(value)
    if not mp.isfinite(value.real) or not mp.isfinite(value.imag):
        return None
    small = abs(value) * mpmath.mpf("1e-24")
    parts: list = []
    for part in (value.real, value.imag):
        mantissa, exponent = mp.frexp(part) if abs(part) > small else (0.0, 0)
        parts += [float(mantissa), int(exponent)]
    return parts


def _value(node: Any, point: dict[str, Any]) -> Any:
    if node in _CONSTANTS:
        return +_CONSTANTS[node]
    if node.is_Rational:
        return mpmath.mpf(node.p) / node.q
    if node.is_Float:
        return mpmath.mpf(str(node))
    if node.is_Symbol:
        return point[node.name]
    if node.is_Pow:
        return _power(node, *(_value(part, point) for part in node.args))
    name = type(node).__name__
    if name in ("Sum", "Product", "Integral", "Limit", "Derivative", "Subs") or not node.args:
        raise Open(name)
    parts = [_value(part, point) for part in node.args]
    if node.is_Add:
        total = mp.fsum(parts)
        largest = max(abs(part) for part in parts)
        return total if abs(total) > largest * mpmath.mpf("1e-22") else mpmath.mpf(0)
    if node.is_Mul:
        return mp.fprod(parts)
    if name == "UnevaluatedExpr":
        return parts[0]
    if name == "log":
        return _logarithm(node, parts)
    if isinstance(node, AppliedUndef):
        return _unknown(name, parts)
    if name not in _FUNCTIONS:
        raise Open(name)
    if name in _OF_MODEST_NUMBERS and any(abs(part) > 10**6 for part in parts):
        raise Beyond(name)
    value = _FUNCTIONS[name](*parts)
    if name in _REAL_RESULT and node.free_symbols and mpmath.im(value):
        raise NoValue(name)
    return value


def _power(node: Any, base: Any, exponent: Any) -> Any:
    if not base:
        if mpmath.re(exponent) > 0:
            return mpmath.mpf(0)
        raise NoValue("zero to no positive power")
    if abs(exponent) * abs(mp.log(abs(base), 2)) > MAX_POWER:
        raise Beyond("power")
    negative = not mpmath.im(base) and mpmath.re(base) < 0
    if negative and not mp.isint(exponent):
        ratio = node.args[1]
        if ratio.is_Rational and ratio.q % 2:  # the real root
            return mp.power(-base, exponent) * (-1) ** ratio.p
        if node.free_symbols:
            raise NoValue("an even root of something negative")
    return mp.power(base, exponent)


def _logarithm(node: Any, parts: list) -> Any:
    for part in parts:
        if not part or (not mpmath.im(part) and mpmath.re(part) < 0 and node.free_symbols):
            raise NoValue("logarithm")
    return mp.log(parts[0]) / (mp.log(parts[1]) if len(parts) > 1 else 1)


def _unknown(name: str, parts: list) -> Any:
    """A function that only has a name: some function or other, the same one in every answer."""
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
    return sum((drawn % (7 + place) + 2) * part**2 + 3 * part + 1 for place, part in enumerate(parts))
