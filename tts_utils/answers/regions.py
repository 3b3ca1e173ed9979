r"""Sets of real numbers: inequalities, intervals, unions, set-builders and absolute values."""

from __future__ import annotations

import re

Interval = tuple[str, bool, str, bool]
"""Lower end, whether it belongs, upper end, whether it belongs; ends are LaTeX."""

Region = tuple[Interval, ...]

_LOW, _HIGH = r"-\infty", r"\infty"
_LINE: Region = ((_LOW, False, _HIGH, False),)
_NAME = r"(?:[a-zA-Z]|\\[a-z]+)(?:_(?:[0-9A-Za-z]|\{[0-9A-Za-z]+\}))?"
_NAME_ONLY = re.compile(rf"{_NAME}")
_SIGN = re.compile(r"(<|>|\\le(?![A-Za-z])|\\ge(?![A-Za-z])|\\ne(?![A-Za-z])|≤|≥)")
_INTERVAL = re.compile(
    r"([(\[])([^()\[\],]*(?:\([^()]*\)[^()\[\],]*)*), ?([^()\[\],]*(?:\([^()]*\)[^()\[\],]*)*)([)\]])"
)
_BUILDER = re.compile(rf"\\\{{({_NAME})(?:\\in ?\\mathbb\{{R\}})?(?:\\mid ?|:|\|)(.*)\\\}}")
_ABSOLUTE = re.compile(r"\|([^|]*)\|")
_REALS = re.compile(r"\\mathbb\{R\}|\\text\{all real numbers\}|\\mathbf\{R\}")


def as_region(text: str) -> Region | None:
    r"""Return the intervals that a text without spaces describes, or None where it is nothing of the kind.

    >>> as_region(r"2<x\le5"), as_region(r"x\ne2")
    ((('2', False, '5', True),), (('-\\infty', False, '2', False), ('2', False, '\\infty', False)))
    """
    if _REALS.fullmatch(text):
        return _LINE
    if builder := _BUILDER.fullmatch(text):
        return _conditions(builder[2])
    if len(united := re.split(r"\\cup(?![A-Za-z])", text)) > 1:
        parts = [as_region(part) for part in united]
        if any(part is None for part in parts) or len(parts) > 100:
            return None
        return tuple(piece for part in parts for piece in part)
    if r"\wedge" in text:
        return _both([as_region(part.strip()) for part in text.split(r"\wedge")])
    if r"\setminus" in text:
        whole, _, out = text.partition(r"\setminus")
        points = re.fullmatch(r"\\\{([^{}<>|:]*)\\\}", out)
        if _REALS.fullmatch(whole) and points and "," not in points[1]:
            return ((_LOW, False, points[1], False), (points[1], False, _HIGH, False))
        return None
    if found := _INTERVAL.fullmatch(text):
        low, high = (end.removeprefix("+") if "infty" in end else end for end in (found[2], found[3]))
        return ((low, found[1] == "[" and "infty" not in low, high, found[4] == "]" and "infty" not in high),)
    return _inequality(text)


def _conditions(text: str) -> Region | None:
    pieces: list[Interval] = []
    for part in re.split(r", ?|\\vee|\\lor", text):
        region = as_region(part)
        if region is None:
            return None
        pieces += region
    return tuple(pieces)


def _both(parts: list[Region | None]) -> Region | None:
    """Return what a lower and an upper bound have in common."""
    if len(parts) != 2 or any(part is None or len(part) != 1 for part in parts):
        return None
    (a,), (b,) = parts
    if a[0] == _LOW and b[2] == _HIGH:
        a, b = b, a
    return ((a[0], a[1], b[2], b[3]),) if a[2] == _HIGH and b[0] == _LOW else None


def _inequality(text: str) -> Region | None:
    sides = [side.strip() for side in _SIGN.split(text)]
    if len(sides) == 5:
        low, first, name, second, high = sides
        if not _NAME_ONLY.fullmatch(name) or _direction(first) != _direction(second) or not (low and high):
            return None
        if _direction(first) == "down":
            low, first, second, high = high, second, first, low
        return ((low, _closed(first) and "infty" not in low, high, _closed(second) and "infty" not in high),)
    if len(sides) != 3 or not sides[0] or not sides[2] or "=" in text:
        return None
    left, sign, right = sides
    direction = _direction(sign)
    if not _NAME_ONLY.fullmatch(left) and not _ABSOLUTE.fullmatch(left):
        left, right = right, left
        direction = {"up": "down", "down": "up"}.get(direction, direction)
    closed = _closed(sign)
    if inner := _ABSOLUTE.fullmatch(left):
        if not _NAME_ONLY.fullmatch(inner[1]) or "infty" in right:
            return None
        if direction == "up":
            return ((f"-({right})", closed, right, closed),)
        if direction == "down":
            return ((_LOW, False, f"-({right})", closed), (right, closed, _HIGH, False))
        return None
    if not _NAME_ONLY.fullmatch(left) or left in (r"\pi", r"\infty"):
        return None
    if direction == "apart":
        return ((_LOW, False, right, False), (right, False, _HIGH, False))
    if direction == "up":
        return ((_LOW, False, right, closed),)
    return ((right, closed, _HIGH, False),)


def _direction(sign: str) -> str:
    """Say which way a sign points: "up" for less than, "down" for greater than, "apart" for unequal."""
    return {"<": "up", "\\le": "up", "≤": "up", "\\ne": "apart"}.get(sign, "down")


def _closed(sign: str) -> bool:
    return sign not in ("<", ">")
