"""What all charts share: colours and marks, the text of a step, controls, a description, and the dress.

Every distinction is said twice (colour and dash, mark or place), so that a chart survives colour blindness
and a grey printout. The greys and colours can be read on white and on near-black.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd

INK = "#757575"  # contrast 4.6 on white and 3.9 on #14181e; the book's dark mode lightens it further
GRID = "#8c8c8c"
PICKED = "#d6006e"
SHORT = 15  # characters of a name of which two stand side by side on a phone
BETWEEN = " · "
WRAP = 46  # characters a line of a step's text: about 290 px, the width of a small phone


class Style(NamedTuple):
    """How one series is drawn: its name for readers, colour, dash of the line and shape of the points."""

    label: str
    colour: str
    dash: tuple[int, ...]
    shape: str


SOLID, DASHED, DOTTED, DASHDOT, LONG = (1, 0), (6, 4), (2, 3), (8, 3, 2, 3), (12, 4)
SERIES: dict[str, Style] = {
    "pass_at_k": Style("perfect verifier", "#6e6e6e", DOTTED, "triangle-up"),
    "beam": Style("beam search", "#00876c", LONG, "triangle-right"),
    "dvts": Style("DVTS", "#5b57c7", DASHDOT, "triangle-left"),
    "best_of_n": Style("Best-of-N", "#c2510c", SOLID, "stroke"),
    "prm_vote": Style("PRM-Vote", "#c2510c", SOLID, "circle"),
    "prm_max": Style("PRM-Max", "#a8418f", SOLID, "diamond"),
    "majority": Style("majority", "#0072b2", SOLID, "square"),
    "random": Style("random choice", "#6e6e6e", DASHED, "triangle-down"),
    "greedy": Style("greedy (CoT)", "#00876c", SOLID, "cross"),
}
SPARE_COLOURS = ("#0072b2", "#c2510c", "#a8418f", "#00876c", "#8a6d00", "#c0392b", "#5b57c7")
SPARE_SHAPES = ("square", "circle", "diamond", "cross", "triangle-up", "triangle-down", "triangle-left")
SPARE_DASHES = (SOLID, DASHED, DOTTED, DASHDOT, LONG)
LEVEL_COLOURS = {"easy": "#0072b2", "medium": "#8a6d00", "hard": "#c2510c"}


def require(frame: pd.DataFrame, chart: str, columns: Sequence[str]) -> None:
    """Refuse a frame that lacks a column or has no rows, naming the chart."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"{chart}: the frame lacks {missing}; it has {list(frame.columns)}")
    if frame.empty:
        raise ValueError(f"{chart}: the frame has no rows, so there is nothing to draw")


def listed(names: str | Sequence[str] | None) -> list[str]:
    """One name, several or none, as a list."""
    return [] if names is None else [names] if isinstance(names, str) else list(names)


def styles_of(names: Sequence[str]) -> list[Style]:
    """Styles of series: those of :data:`SERIES`, and for other names spare ones, no two alike up to seven.

    A spare colour that one of the named series has is left out while there are others.
    """
    taken = {SERIES[name].colour for name in names if name in SERIES}
    others = [name for name in names if name not in SERIES]
    spare = [
        Style("", colour, SPARE_DASHES[i % len(SPARE_DASHES)], shape)
        for i, (colour, shape) in enumerate(zip(SPARE_COLOURS, SPARE_SHAPES, strict=True))
    ]
    free = [style for style in spare if style.colour not in taken]
    chosen = itertools.cycle(free if len(free) >= len(others) else spare)
    found = {name: style._replace(label=name) for name, style in zip(others, chosen, strict=False)}
    return [SERIES[name] if name in SERIES else found[name] for name in names]


def in_order(names: Sequence[str]) -> list[str]:
    """Distinct names, those of :data:`SERIES` first and in its order, the rest as they come."""
    distinct = list(dict.fromkeys(names))
    return [name for name in SERIES if name in distinct] + [name for name in distinct if name not in SERIES]


def span(frame: pd.DataFrame, low: str, high: str) -> list[float]:
    """A range of fractions for an axis, in steps of 5 %, that does not change when a control is moved."""
    bottom, top = float(frame[low].min()), float(frame[high].max())
    return [max(0.0, np.floor(bottom * 20) / 20), min(1.0, np.ceil(top * 20) / 20)]


def grouped(frame: pd.DataFrame, group: str | None, offset: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The channels that set groups apart: offset and colour, and for points the shape too."""
    if group is None:
        return {"color": alt.value(SERIES["majority"].colour)}, {}
    groups = list(dict.fromkeys(frame[group]))
    legend = legend_below(groups)
    colours = alt.Scale(domain=groups, range=list(SPARE_COLOURS[: len(groups)]))
    shapes = alt.Scale(domain=groups, range=list(SPARE_SHAPES[: len(groups)]))
    colour = alt.Color(f"{group}:N", sort=groups, legend=legend, scale=colours)
    place = {offset.__name__[0].lower() + "Offset": offset(f"{group}:N", sort=groups), "color": colour}
    return place, {"shape": alt.Shape(f"{group}:N", sort=groups, legend=legend, scale=shapes)}


def legend_below(labels: Sequence[str], **settings: Any) -> alt.Legend:
    """A legend without a title in two columns, or in one where a phone has no room for two."""
    wide = max(map(len, labels)) > SHORT
    return alt.Legend(title=None, orient="bottom", columns=1 if wide else 2, **settings)


def verdict_name(value: object) -> str:
    """A checker's verdict in words: True, False or None (not checked)."""
    return "not checked" if value is None or pd.isna(value) else "right" if value else "wrong"


def detail(head: str, text: str, limit: int = 9) -> str:
    """Lines below a chart: a head and a step's text, wrapped for a phone, at most ``limit`` of them."""
    lines = textwrap.wrap(head, WRAP) + [
        part for line in text.strip().splitlines() for part in textwrap.wrap(line, WRAP)
    ]
    return inert("\n".join(lines if len(lines) <= limit else [*lines[: limit - 1], "…"]))


def inert(text: str) -> str:
    """Keep a text from ending the script that holds it: Altair writes "</script>" into a page as it is.

    An invisible word joiner after "<" does it; the text looks the same. A lone surrogate, which no page can
    hold, becomes "�".
    """
    text = re.sub(r"<(?=/|!|script)", "<\N{WORD JOINER}", text, flags=re.IGNORECASE)
    return re.sub("[\ud800-\udfff]", "�", text)


def room(details: Sequence[str]) -> int:
    """Pixels that the longest of some details takes below a chart."""
    return 16 * max(detail.count("\n") + 1 for detail in details) + 12


def score_colour(field: str, title: str) -> alt.Color:
    """Orange for 0, pale for one half, blue for 1."""
    scale = alt.Scale(domain=[0, 0.5, 1], range=["#a3440a", "#f2efe9", "#125a9c"], interpolate="lab")
    legend = alt.Legend(
        title=title, orient="bottom", direction="horizontal", gradientLength=150, format=".1f", titleLimit=260
    )
    return alt.Color(f"{field}:Q", scale=scale, legend=legend)


def contrasting(field: str) -> Any:
    """White or near-black, whichever can be read on :func:`score_colour`."""
    dark = (alt.datum[field] < 0.2) | (alt.datum[field] > 0.8)
    return alt.when(dark).then(alt.value("#ffffff")).otherwise(alt.value("#111111"))


def step_of(values: np.ndarray) -> float:
    """The least distance of sorted numbers, without the last digits of binary fractions: sliders show it."""
    return round(float(np.diff(values).min()), 9)


def with_controls(
    chart: Any, frame: pd.DataFrame, menu: str | Sequence[str] | None, slider: str | None = None
) -> Any:
    """Menus, one per column of names, and a slider over a column of evenly spaced numbers, below a chart.

    Where several columns do not meet in all their values, one menu offers what there is: two menus would
    have choices that leave the chart empty.
    """
    names = listed(menu)
    menus = {name: list(dict.fromkeys(frame[name])) for name in names}
    there = set(frame[names].itertuples(index=False, name=None))
    if len(there) < math.prod(map(len, menus.values())):
        together = BETWEEN.join(names)
        words = functools.reduce(lambda a, b: a + BETWEEN + b, (alt.datum[name] for name in names))
        chart = chart.transform_calculate(**{together: words})
        choices = (choice for choice in itertools.product(*menus.values()) if choice in there)
        menus = {together: [BETWEEN.join(map(str, choice)) for choice in choices]}
    for name, options in menus.items():
        options = [option.item() if isinstance(option, np.generic) else option for option in options]
        box = alt.binding_select(options=options, name=f"{name.replace('_', ' ')}: ")
        variable = re.sub(r"\W+", "_", name)
        choice = alt.selection_point(fields=[name], bind=box, value=options[0], name=f"{variable}_chosen")
        chart = chart.add_params(choice).transform_filter(choice)
    if slider is not None:
        values = np.unique(frame[slider].to_numpy(dtype=float))
        step = step_of(values) if len(values) > 1 else 1.0
        if len(values) > 1 and not np.allclose(np.diff(values), step):
            raise ValueError(
                f"a slider needs evenly spaced values; {slider} has {values.tolist()}: make it a menu"
            )
        start = float(values[len(values) // 2])
        knob = alt.binding_range(min=float(values[0]), max=float(values[-1]), step=step)
        knob.name = f"{slider.replace('_', ' ')}: "
        chosen = alt.param(name=f"{slider}_set", value=start, bind=knob)
        near = alt.expr.abs(alt.datum[slider] - chosen) < step / 2
        chart = chart.add_params(chosen).transform_filter(near)
    return chart


def with_detail(
    chart: alt.LayerChart, base: alt.Chart, pick: alt.Parameter, height: int, below: int = 74
) -> alt.LayerChart:
    """The text of the picked item, in room that :func:`dress` reserves, so a click never moves the page."""
    text = (
        base.transform_filter(pick)
        .mark_text(
            align="left", baseline="top", lineBreak="\n", lineHeight=16, fontSize=12, color=INK, tooltip=False
        )
        .encode(x=alt.value(-36), y=alt.value(height + below), text="detail:N")
        .properties(name="detail")
    )
    return chart + text


def _harmless(part: Any) -> Any:
    """A chart, or a part of one, with every text in it inert: names too come from files of others."""
    if isinstance(part, str):
        return inert(part)
    if isinstance(part, pd.DataFrame):
        texts = [name for name in part.columns if not pd.api.types.is_numeric_dtype(part[name])]
        return part.assign(**{name: part[name].map(_harmless) for name in texts}) if texts else part
    if isinstance(part, list):
        return [_harmless(item) for item in part]
    if isinstance(part, dict):
        return {key: _harmless(value) for key, value in part.items()}
    if isinstance(part, alt.SchemaBase):
        found = part.copy(deep=False)
        # Altair's own setattr would make a property of it.
        object.__setattr__(found, "_kwds", {key: _harmless(value) for key, value in part._kwds.items()})
        return found
    return part


def dress(chart: Any, description: str, bottom: int = 5) -> Any:
    """The look of every chart, what a screen reader says of it, and a menu that saves the picture."""
    chart = _harmless(chart)  # a copy, so that its properties can be set: Altair's methods copy it for each
    actions = {"export": True, "source": False, "compiled": False, "editor": False}
    text = {"labelColor": INK, "titleColor": INK, "titleFontSize": 12, "titleFontWeight": "normal"}
    chart.description = inert(description)
    chart.padding = {"left": 5, "top": 5, "right": 8, "bottom": bottom}
    chart.usermeta = {"embedOptions": {"renderer": "svg", "actions": actions}}
    chart.config = alt.Config(
        background="transparent",
        font="system-ui, sans-serif",
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            **text,
            domainColor=GRID,
            tickColor=GRID,
            gridColor=GRID,
            gridOpacity=0.25,
            labelFontSize=11,
        ),
        legend=alt.LegendConfig(**text, labelFontSize=12, labelLimit=170),
        title=alt.TitleConfig(color=INK),
    )
    return chart
