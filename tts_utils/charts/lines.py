"""Curves with interval bands: accuracy against what it costs, and anything against a continuous quantity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from tts_utils.charts.theme import (
    dress,
    in_order,
    legend_below,
    listed,
    require,
    span,
    step_of,
    styles_of,
    with_controls,
)


def accuracy_by_budget(
    frame: pd.DataFrame,
    *,
    x: str = "budget",
    menu: str | Sequence[str] | None = None,
    slider: str | None = None,
    height: int = 300,
) -> alt.LayerChart:
    """Accuracy against budget, one line and interval band per rule; a click in the legend keeps one rule.

    Args:
        frame: columns ``rule``, ``accuracy``, ``low``, ``high`` (all in [0, 1]), ``n`` and ``x``; the rules
            named in :data:`SERIES` (the controls "random" and "pass_at_k" among them) have fixed styles,
            any other name is drawn under its own name.
        x: the cost on the (logarithmic) horizontal axis: "budget", or a column of tokens, e.g. "num_tokens".
        menu: a column, or several, whose values a menu under the chart chooses from, e.g. "policy". The
            vertical axis stays the same for all of them.
        slider: a column of evenly spaced numbers that a slider chooses from.

    Raises:
        ValueError: a column is missing, or a cost is not positive or None, as in imported runs of unknown
            length.
    """
    require(
        frame, "accuracy_by_budget", ["rule", "accuracy", "low", "high", "n", x, *_controls(menu, slider)]
    )
    if not (frame[x] > 0).all():
        worst = frame.loc[~(frame[x] > 0)].iloc[0]
        raise ValueError(
            f"accuracy_by_budget: {x} is {worst[x]} for the rule {worst['rule']!r}; a logarithmic axis has "
            "no place for it; a negative or absent token count means that the imported run did not say how "
            "many there were: leave these rows out, and say so"
        )
    axis = alt.Axis(title=_cost_title(x), format="~s", grid=False, tickCount=5)
    if x == "budget":
        axis = alt.Axis(
            title=_cost_title(x), values=sorted({int(b) for b in frame[x]}), format="d", grid=False
        )
    scale = alt.Scale(type="log", base=2 if x == "budget" else 10, nice=False, padding=12)
    cost = alt.X(f"{x}:Q", axis=axis, scale=scale)
    names = in_order(frame["rule"])
    labels = [style.label for style in styles_of(names)]
    shown = frame.assign(series=frame["rule"].map(dict(zip(names, labels, strict=True))))
    chart = _banded(shown, names, x, "accuracy", cost, "accuracy", "rule", _cost_title(x), ",.0f", height)
    about = _described(shown, "accuracy", x, _cost_title(x), menu, slider)
    return dress(with_controls(chart, frame, menu, slider), f"Accuracy against {_cost_title(x)}. {about}")


def curves(
    frame: pd.DataFrame,
    *,
    x: str,
    y: str,
    x_title: str,
    y_title: str,
    series: str = "series",
    log: bool = False,
    menu: str | Sequence[str] | None = None,
    slider: str | None = None,
    marker: str | None = None,
    height: int = 280,
) -> alt.LayerChart:
    """A fraction against a number, one line per series, with a band where ``low`` and ``high`` are given.

    Args:
        frame: columns ``x``, ``y`` (in [0, 1]), ``series``, and optionally ``low``, ``high``, ``n``.
        x, y: columns; ``x_title``, ``y_title`` say what they are.
        series: the column that names the lines; names of :data:`SERIES` have their fixed styles.
        log: whether the horizontal axis is logarithmic (base 10).
        menu, slider: as for :func:`accuracy_by_budget`.
        marker: instead of filtering, a slider named so moves a vertical line along the axis, and every line
            tells its value there; ``x`` must be evenly spaced.
    """
    require(frame, "curves", [x, y, series, *_controls(menu, slider)])
    names = in_order(frame[series])
    labels = [style.label for style in styles_of(names)]
    shown = frame.assign(series=frame[series].map(dict(zip(names, labels, strict=True))))
    if "low" not in shown:
        shown = shown.assign(low=shown[y], high=shown[y])
    scale = alt.Scale(type="log", nice=False, padding=12) if log else alt.Scale(nice=False, padding=6)
    form = "~s" if shown[x].max() >= 1000 else "~g"
    cost = alt.X(f"{x}:Q", title=x_title, axis=alt.Axis(format=form, grid=False, tickCount=6), scale=scale)
    chart = _banded(shown, names, x, y, cost, y_title, series, x_title, form, height, points=not marker)
    if marker is not None:
        chart = _marked(chart, shown, x, y, marker)
    about = _described(shown, y, x, x_title, menu, slider)
    return dress(with_controls(chart, frame, menu, slider), f"{y_title} against {x_title}. {about}")


def _banded(
    shown: pd.DataFrame,
    names: Sequence[str],
    x: str,
    y: str,
    cost: alt.X,
    title: str,
    what: str,
    x_title: str,
    x_format: str,
    height: int,
    points: bool = True,
    only: Any = None,
) -> alt.LayerChart:
    """Bands, lines and points; ``only`` filters the rows they are drawn from."""
    styles = styles_of(names)
    labels = [style.label for style in styles]
    legend = legend_below(labels, symbolOpacity=1)

    def series(channel: Any, values: list[Any], legend: alt.Legend | None) -> Any:
        return channel("series:N", sort=labels, legend=legend, scale=alt.Scale(domain=labels, range=values))

    colours, dashes = [s.colour for s in styles], [list(s.dash) for s in styles]
    shapes = [s.shape for s in styles]
    vertical = alt.Scale(domain=span(shown, "low", "high"))
    pick = alt.selection_point(fields=["series"], bind="legend", name="series_picked")
    base = alt.Chart(shown, height=height, width="container")
    if only is not None:
        base = base.transform_filter(only)
    fade = alt.when(pick)
    band = base.mark_area().encode(
        cost,
        alt.Y("low:Q", title=title, axis=alt.Axis(format="%"), scale=vertical),
        alt.Y2("high:Q"),
        series(alt.Color, colours, legend),
        opacity=fade.then(alt.value(0.22)).otherwise(alt.value(0.02)),
    )
    strength = fade.then(alt.value(1)).otherwise(alt.value(0.12))
    line = base.mark_line(strokeWidth=2).encode(
        cost,
        alt.Y(f"{y}:Q"),
        series(alt.Color, colours, legend),
        series(alt.StrokeDash, dashes, None),
        opacity=strength,
    )
    point = (
        base.mark_point(filled=True, size=60 if points else 12)
        .encode(
            cost,
            alt.Y(f"{y}:Q"),
            series(alt.Color, colours, legend),
            series(alt.Shape, shapes, legend),
            opacity=strength,
            tooltip=[
                alt.Tooltip("series:N", title=what),
                alt.Tooltip(f"{x}:Q", title=x_title, format=x_format),
                alt.Tooltip(f"{y}:Q", title=title, format=".1%"),
                alt.Tooltip("low:Q", title="from", format=".1%"),
                alt.Tooltip("high:Q", title="to", format=".1%"),
                *([alt.Tooltip("n:Q", title="problems", format="d")] if "n" in shown else []),
            ],
        )
        .add_params(pick)
    )
    return alt.layer(band, line, point)


def _marked(chart: alt.LayerChart, shown: pd.DataFrame, x: str, y: str, marker: str) -> alt.LayerChart:
    """A line at the slider's value, and beside it what each series is there."""
    values = np.unique(shown[x].to_numpy(dtype=float))
    step = step_of(values)
    knob = alt.binding_range(min=float(values[0]), max=float(values[-1]), step=step)
    knob.name = f"{marker}: "
    at = alt.param(name="marker_set", value=float(values[len(values) // 2]), bind=knob)
    here = alt.Chart(shown).transform_filter(alt.expr.abs(alt.datum[x] - at) < step / 2)
    rule = here.mark_rule(color="#757575", strokeDash=[4, 3]).encode(x=alt.X(f"{x}:Q"))
    # Labels stand on the side where there is room for them.
    late = f"marker_set > {(values[0] + 2 * values[-1]) / 3:.6g}"
    side = {"align": alt.expr(f"{late} ? 'right' : 'left'"), "dx": alt.expr(f"{late} ? -6 : 6")}
    label = here.mark_text(dy=-6, fontWeight="bold", **side).encode(
        x=alt.X(f"{x}:Q"),
        y=alt.Y(f"{y}:Q"),
        text=alt.Text(f"{y}:Q", format=".0%"),
        color=alt.Color("series:N"),
    )
    return (chart + rule + label).add_params(at)


def _controls(menu: str | Sequence[str] | None, slider: str | None) -> list[str]:
    return [*listed(menu), *listed(slider)]


def _described(
    shown: pd.DataFrame,
    y: str,
    x: str,
    x_title: str,
    menu: str | Sequence[str] | None,
    slider: str | None,
) -> str:
    """What the lines show at the right end, in words, for the first value of every menu."""
    first, where = shown, ""
    for name in listed(menu):
        value = first[name].iloc[0]
        first, where = first[first[name] == value], f"{where}{name} {value}, "
    if slider is not None:
        value = first[slider].iloc[0]
        first, where = first[first[slider] == value], f"{where}{slider} {value:g}, "
    ends = first.sort_values(x, kind="stable").groupby("series", sort=False).tail(1)
    said = [
        f"{row.series} {getattr(row, y):.1%}"
        + (f" ({row.low:.1%} to {row.high:.1%})" if row.high > row.low else "")
        for row in ends.itertuples()
    ]
    most = float(first[x].max())
    end = f"{x_title} {most:,.0f}" if most >= 1000 else f"{x_title} {most:.4g}"
    return f"{len(said)} lines; at their right end, {where}{end}: {'; '.join(said)}."


def _cost_title(x: str) -> str:
    return (
        "budget N (completions a problem)"
        if x == "budget"
        else x.removeprefix("num_").replace("_", " ") + " a problem"
    )
