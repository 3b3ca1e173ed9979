"""The figures of a long run of faults: one line each, printed at its end and kept in a table for the book."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """What one kind of fault came to.

    Attributes:
        fault: "kills", "damage", "texts" and the like.
        case: which of them.
        tried: how many.
        failed: how many of them broke the promise.
        measure: what else was measured, with its unit; "" for nothing.
        value, limit: of that measure: the worst, and what it may be.
        seconds: processor seconds.
        seed: of the generator.
        date: when (UTC).
    """

    fault: str
    case: str
    tried: int
    failed: int
    measure: str = ""
    value: float | None = None
    limit: float | None = None
    seconds: float = 0.0
    seed: int = 0
    date: str = ""


FIGURES: list[Figure] = []
"""Of this run, in order."""


def note(fault: str, case: str, tried: int, failed: int, **more) -> None:
    """Add a figure of this run."""
    FIGURES.append(Figure(fault, case, tried, failed, date=f"{datetime.now(UTC):%Y-%m-%d}", **more))


def lines(figures: Iterable[Figure]) -> list[str]:
    """The figures as one table in Markdown."""
    table = [
        "| fault | case | tried | failed | worst | limit | CPU s |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for f in figures:
        worst, limit = (
            "" if x is None else f"{x:,.3g} {f.measure}" if x < 1000 else f"{x:,.0f} {f.measure}"
            for x in (f.value, f.limit)
        )
        table.append(
            f"| {f.fault} | {f.case} | {f.tried:,} | {f.failed:,} | {worst} | {limit} | {f.seconds:,.0f} |"
        )
    return table


def write(figures: Iterable[Figure], path: Path) -> None:
    """Put figures into a CSV file, in the place of those of the same cases."""
    names = [f.name for f in fields(Figure)]
    held: dict[tuple[str, str], dict] = {}
    if path.is_file():
        with open(path, newline="", encoding="utf-8") as file:
            held = {(row["fault"], row["case"]): row for row in csv.DictReader(file)}
    for figure in figures:
        row = asdict(figure) | {"seconds": round(figure.seconds, 1)}
        if figure.value is not None:
            row["value"] = float(f"{figure.value:.3g}")
        held[figure.fault, figure.case] = row
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(held.values())
