"""Sentences whose numbers are computed: a text that Jupyter, Colab and the book show as Markdown."""

from __future__ import annotations

from collections.abc import Sequence


class Prose:
    """A paragraph of Markdown; the last line of a cell shows it.

    >>> Prose("**7** of 9")
    **7** of 9
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


def say(text: str) -> Prose:
    """Show a paragraph whose numbers the cell has computed, so that it stays true when the tables change."""
    return Prose(text)


def interval(low: float, high: float, *, percent: bool = True, signed: bool = False) -> str:
    """An interval in brackets; fractions are printed as percentages.

    >>> interval(0.371, 0.455), interval(-0.01, 0.02, signed=True), interval(0.371, 0.455, percent=False)
    ('[37.1, 45.5]', '[-1.0, +2.0]', '[0.371, 0.455]')
    """
    factor, digits = (100, 1) if percent else (1, 3)
    return f"[{_number(factor * low, digits, signed)}, {_number(factor * high, digits, signed)}]"


def measured(value: Sequence[float], *, signed: bool = False) -> str:
    """A fraction with its interval, in per cent: of an :class:`~tts_utils.metrics.Interval`.

    >>> measured((0.412, 0.371, 0.455, 500)), measured((-0.01, -0.03, 0.02, 500), signed=True)
    ('41.2 % [37.1, 45.5]', '-1.0 points [-3.0, +2.0]')
    >>> measured((-0.0001, -0.03, 0.02, 500), signed=True)
    '+0.0 points [-3.0, +2.0]'
    """
    mean, low, high = value[:3]
    unit = "points" if signed else "%"
    return f"{_number(100 * mean, 1, signed)} {unit} {interval(low, high, signed=signed)}"


def _number(value: float, digits: int, signed: bool) -> str:
    """A number to some digits; what rounds to nothing has no minus."""
    return f"{round(value, digits) + 0.0:{'+' if signed else ''}.{digits}f}"
