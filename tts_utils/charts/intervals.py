"""Estimates with their intervals as points and bars: differences, rates by category, calibration, pass@1."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from tts_utils.charts.theme import (
    INK,
    LEVEL_COLOURS,
    SERIES,
    dress,
    grouped,
    listed,
    require,
    with_controls,
)

TITLE_WRAP = (
    30  # characters a line of an axis title: beside the names of the rows a phone has no room for more
)


def paired_differences(
    frame: pd.DataFrame,
    *,
    group: str | None = None,
    menu: str | Sequence[str] | None = None,
    title: str = "difference, percentage points",
) -> alt.LayerChart:
    """Differences with their intervals as dots and bars, against a line at zero.

    Args:
        frame: columns ``comparison`` (the row's name), ``difference``, ``low``, ``high`` (fractions: 0.01 is
            one percentage point), ``n``; drawn in the order of the rows.
        group: a column that splits each row into colours and shapes, e.g. "policy".
        menu: a column, or several, whose values a menu under the chart chooses from. The horizontal axis
            stays the same for all of them.
    """
    require(
        frame,
        "paired_differences",
        ["comparison", "difference", "low", "high", "n", *listed(group), *listed(menu)],
    )
    shown = frame.assign(**{f"{name}_pp": 100 * frame[name] for name in ("difference", "low", "high")})
    order = list(dict.fromkeys(frame["comparison"]))
    row = alt.Y("comparison:N", sort=order, title=None, axis=alt.Axis(labelLimit=150))
    place, shape = grouped(frame, group, alt.YOffset)
    base = alt.Chart(shown, height=alt.Step(22 if group else 30), width="container")
    zero = base.mark_rule(color=INK, strokeDash=[4, 3], aria=False).encode(x=alt.datum(0))
    ends = [min(0.0, float(shown["low_pp"].min())), max(0.0, float(shown["high_pp"].max()))]
    scale = alt.Scale(domain=ends) if menu else alt.Undefined
    bar = base.mark_rule(strokeWidth=2).encode(
        alt.X("low_pp:Q", title=textwrap.wrap(title, TITLE_WRAP), scale=scale),
        alt.X2("high_pp:Q"),
        row,
        **place,
    )
    dot = base.mark_point(filled=True, size=70, opacity=1).encode(
        alt.X("difference_pp:Q"),
        row,
        tooltip=[
            "comparison:N",
            *([f"{group}:N"] if group else []),
            alt.Tooltip("difference_pp:Q", title="difference (points)", format="+.1f"),
            alt.Tooltip("low_pp:Q", title="from", format="+.1f"),
            alt.Tooltip("high_pp:Q", title="to", format="+.1f"),
            alt.Tooltip("n:Q", title="problems", format="d"),
        ],
        **place,
        **shape,
    )
    first, where = frame, ""
    for name in listed(menu):
        value = first[name].iloc[0]
        first, where = first[first[name] == value], f"{where}, {name} {value}"
    said = [
        f"{row.comparison}{f', {getattr(row, group)}' if group else ''}: {100 * row.difference:+.1f} "
        f"({100 * row.low:+.1f} to {100 * row.high:+.1f})"
        for row in first.itertuples()
    ]
    about = f"{title}, with 95 % intervals{where}. {'; '.join(said)}."
    return dress(with_controls(alt.layer(zero, bar, dot), frame, menu), about)


def rates(
    frame: pd.DataFrame,
    *,
    x: str,
    title: str,
    group: str | None = None,
    menu: str | None = None,
    height: int = 260,
) -> alt.LayerChart:
    """Fractions with their intervals by category, as points and bars, with a prediction where one is given.

    Args:
        frame: columns ``x`` (the category, in the order of the rows), ``rate``, ``low``, ``high`` (in
            [0, 1]), ``n``, and optionally ``predicted``, drawn as a dashed line.
        x: the column of categories; underscores in its name become blanks.
        title: what the fraction is of.
        group: a column that splits each category into colours and shapes, e.g. "policy".
        menu: a column whose values a menu under the chart chooses from.
    """
    require(frame, "rates", [x, "rate", "low", "high", "n", *listed(group), *listed(menu)])
    categories = list(dict.fromkeys(frame[x]))
    words = {"labelAngle": 0, "labelExpr": "split(datum.label, ' ')"}  # one word a line
    axis = alt.Axis(**words) if len(categories) < 7 else alt.Axis(labelAngle=-60)
    horizontal = alt.X(f"{x}:O", sort=categories, title=x.replace("_", " "), axis=axis)
    place, shape = grouped(frame, group, alt.XOffset)
    base = alt.Chart(frame, height=height, width="container")
    vertical = alt.Y("low:Q", title=title, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
    bar = base.mark_rule(strokeWidth=2).encode(horizontal, vertical, alt.Y2("high:Q"), **place)
    tooltip = [
        f"{x}:O",
        *([f"{group}:N"] if group else []),
        alt.Tooltip("rate:Q", title=title, format=".1%"),
        alt.Tooltip("low:Q", title="from", format=".1%"),
        alt.Tooltip("high:Q", title="to", format=".1%"),
        alt.Tooltip("n:Q", title="problems", format="d"),
    ]
    dot = base.mark_point(filled=True, size=60, opacity=1).encode(
        horizontal, alt.Y("rate:Q"), tooltip=tooltip, **place, **shape
    )
    layers = [bar, dot]
    if "predicted" in frame:
        line = base.mark_line(strokeDash=[4, 3], strokeWidth=1.5).encode(
            horizontal, alt.Y("predicted:Q"), **place
        )
        layers.insert(0, line)
    said = [
        f"{getattr(row, x)}{f', {getattr(row, group)}' if group else ''}: {row.rate:.0%} "
        f"({row.low:.0%} to {row.high:.0%})"
        for row in _first(frame, menu).itertuples()
    ]
    about = f"{title} by {x.replace('_', ' ')}, with 95 % intervals. {'; '.join(said)}."
    return dress(with_controls(alt.layer(*layers), frame, menu), about)


def calibration(
    frame: pd.DataFrame, *, menu: str | None = None, group: str | None = None, height: int = 280
) -> alt.LayerChart:
    """Share of right items against the score they were given, beside the diagonal of a calibrated scorer.

    Args:
        frame: one row per bin of scores: ``score`` (its mean, in [0, 1]), ``rate`` (share right), ``low``,
            ``high``, ``n`` (items in the bin; a larger mark holds more).
        menu: a column whose values a menu under the chart chooses from.
        group: a column that splits the bins into colours and shapes, e.g. "prm".
    """
    columns = ["score", "rate", "low", "high", "n"]
    require(frame, "calibration", [*columns, *([menu] if menu else []), *([group] if group else [])])
    place, shape = grouped(frame, group, alt.XOffset)
    place.pop("xOffset", None)
    base = alt.Chart(frame, height=height, width="container")
    unit = alt.Scale(domain=[0, 1])
    x = alt.X(
        "score:Q", title="score given", scale=unit, axis=alt.Axis(format=".1f", grid=False, tickCount=5)
    )
    # Of the same rows as the rest: a layer with data of its own would keep a menu's filter from all.
    ideal = base.mark_rule(color=INK, strokeDash=[4, 3], aria=False).encode(
        x=alt.datum(0), y=alt.datum(0), x2=alt.datum(1), y2=alt.datum(1)
    )
    y = alt.Y("low:Q", title="share that is right", scale=unit, axis=alt.Axis(format="%"))
    bar = base.mark_rule(strokeWidth=2).encode(x, y, alt.Y2("high:Q"), **place)
    line = base.mark_line(strokeWidth=1.5).encode(x, alt.Y("rate:Q"), **place)
    dot = base.mark_point(filled=True, opacity=1).encode(
        x,
        alt.Y("rate:Q"),
        size=alt.Size("n:Q", scale=alt.Scale(type="sqrt", range=[30, 300]), legend=None),
        tooltip=[
            *([f"{group}:N"] if group else []),
            alt.Tooltip("score:Q", title="mean score", format=".2f"),
            alt.Tooltip("rate:Q", title="share right", format=".1%"),
            alt.Tooltip("low:Q", title="from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
            alt.Tooltip("n:Q", title="items", format=","),
        ],
        **place,
        **shape,
    )
    said = [
        f"{f'{getattr(row, group)}, ' if group else ''}score {row.score:.2f}: {row.rate:.0%} right"
        for row in _first(frame, menu).itertuples()
    ]
    about = f"Share of right items against the score given; a dashed diagonal is perfect. {'; '.join(said)}."
    return dress(with_controls(alt.layer(ideal, bar, line, dot), frame, menu), about)


def pass_at_1_distribution(frame: pd.DataFrame, *, menu: str | None = None, height: int = 240) -> alt.Chart:
    """How many problems have which pass@1: never right, ten ranges between, always; coloured by difficulty.

    Problems that are never right and those that always are have bars of their own: no chooser matters there.

    Args:
        frame: one row per problem (and value of ``menu``): ``problem_id``, ``pass_at_1`` in [0, 1], and
            optionally ``difficulty`` ("easy", "medium", "hard").
        menu: a column whose values a menu under the chart chooses from, e.g. "policy".
    """
    require(frame, "pass_at_1_distribution", ["problem_id", "pass_at_1", *([menu] if menu else [])])
    order = ["never", *(f"{10 * i}–{10 * i + 10} %" for i in range(10)), "always"]
    by = ["bar", *(["difficulty"] if "difficulty" in frame else []), *([menu] if menu else [])]
    shown = frame.assign(bar=[_bar(value, order) for value in frame["pass_at_1"]])
    shown = shown.groupby(by, sort=False).size().reset_index(name="problems")
    tallest = int(shown.groupby(["bar", *listed(menu)])["problems"].sum().max())  # for every choice
    encodings: dict[str, Any] = {
        "x": alt.X(
            "bar:O",
            sort=order,
            title="pass@1 of the problem",
            scale=alt.Scale(domain=order),
            axis=alt.Axis(labelAngle=-60, grid=False, labelOverlap=False),
        ),
        "y": alt.Y("problems:Q", scale=alt.Scale(domain=[0, tallest])),
        "tooltip": [alt.Tooltip("bar:O", title="pass@1"), alt.Tooltip("problems:Q")],
    }
    if "difficulty" in frame:
        levels = list(LEVEL_COLOURS)
        scale = alt.Scale(domain=levels, range=list(LEVEL_COLOURS.values()))
        encodings["color"] = alt.Color(
            "difficulty:N", scale=scale, sort=levels, legend=alt.Legend(title=None, orient="bottom")
        )
        encodings["tooltip"].append(alt.Tooltip("difficulty:N"))
    bars = alt.Chart(shown, height=height, width="container").mark_bar(color=SERIES["majority"].colour)
    first = _first(shown, menu)
    counts = first.groupby("bar")["problems"].sum().reindex(order, fill_value=0)
    said = "; ".join(f"{name}: {count}" for name, count in counts.items())
    where = f" ({menu} {first[menu].iloc[0]})" if menu else ""
    about = f"Number of problems by pass@1{where}. {said}."
    return dress(with_controls(bars.encode(**encodings), frame, menu), about)


def _first(frame: pd.DataFrame, menu: str | None) -> pd.DataFrame:
    """The rows that are seen at first."""
    return frame if menu is None else frame[frame[menu] == frame[menu].iloc[0]]


def _bar(value: float, order: list[str]) -> str:
    return "never" if value == 0 else "always" if value == 1 else order[1 + min(int(value * 10), 9)]
