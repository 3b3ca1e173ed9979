"""Altair charts, one function per kind of figure: a tidy frame in, a chart out.

Nothing here computes a statistic or reads a file; what is drawn is what the frame holds. Every chart
takes the width of its container (a phone or a page), has a transparent ground with greys that can be
read on white and on near-black, and says every distinction twice (colour and dash, mark or place), so
that it survives colour blindness and a grey printout.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from itertools import cycle
from typing import Any, NamedTuple

import altair as alt
import pandas as pd

INK = "#757575"  # contrast 4.6 on white and 3.9 on #14181e; the book's dark mode lightens it further
GRID = "#8c8c8c"
PICKED = "#d6006e"
WRAP = 46  # characters a line of a step's text: about 290 px, the width of a small phone


class Style(NamedTuple):
    """How one series is drawn: its name for readers, colour, dash of the line and shape of the points."""

    label: str
    colour: str
    dash: tuple[int, ...]
    shape: str


SOLID, DASHED, DOTTED = (1, 0), (6, 4), (2, 3)
SERIES: dict[str, Style] = {
    "pass_at_k": Style("perfect verifier", "#6e6e6e", DOTTED, "triangle-up"),
    "prm_vote": Style("PRM-Vote", "#c2510c", SOLID, "circle"),
    "prm_max": Style("PRM-Max", "#a8418f", SOLID, "diamond"),
    "majority": Style("majority", "#0072b2", SOLID, "square"),
    "random": Style("random choice", "#6e6e6e", DASHED, "triangle-down"),
    "greedy": Style("greedy (CoT)", "#00876c", SOLID, "cross"),
}
SPARE_COLOURS = ("#0072b2", "#c2510c", "#a8418f", "#00876c", "#8a6d00", "#c0392b", "#5b57c7")
SPARE_SHAPES = ("square", "circle", "diamond", "cross", "triangle-up", "triangle-down")
LEVEL_COLOURS = {"easy": "#0072b2", "medium": "#8a6d00", "hard": "#c2510c"}


def accuracy_by_budget(
    frame: pd.DataFrame, *, x: str = "budget", menu: str | None = None, height: int = 300
) -> alt.LayerChart:
    """Accuracy against budget, one line and interval band per rule; a click in the legend keeps one rule.

    Args:
        frame: columns ``rule``, ``accuracy``, ``low``, ``high`` (all in [0, 1]), ``n`` and ``x``; the rules
            named in :data:`SERIES` (the controls "random" and "pass_at_k" among them) have fixed styles,
            any other name is drawn under its own name.
        x: the cost on the (logarithmic) horizontal axis: "budget", or a column of tokens, e.g. "num_tokens".
        menu: a column whose values a menu under the chart chooses from, e.g. "policy".

    Raises:
        ValueError: a column is missing, or a cost is not positive or None, as in imported runs of unknown
            length.
    """
    _require(
        frame, "accuracy_by_budget", ["rule", "accuracy", "low", "high", "n", x, *([menu] if menu else [])]
    )
    if not (frame[x] > 0).all():
        worst = frame.loc[~(frame[x] > 0)].iloc[0]
        raise ValueError(
            f"accuracy_by_budget: {x} is {worst[x]} for the rule {worst['rule']!r}; a logarithmic axis has "
            "no place for it; a negative or absent token count means that the imported run did not say how "
            "many there were: leave these rows out, and say so"
        )
    names = [rule for rule in SERIES if rule in set(frame["rule"])]
    names += [rule for rule in frame["rule"].unique() if rule not in SERIES]
    others = zip(cycle(SPARE_COLOURS), cycle(SPARE_SHAPES), strict=False)
    styles = [SERIES[rule] if rule in SERIES else Style(rule, *_spare(next(others))) for rule in names]
    shown = frame.assign(series=frame["rule"].map(dict(zip(names, (s.label for s in styles), strict=True))))

    labels = [style.label for style in styles]
    legend = alt.Legend(title=None, orient="bottom", columns=2, symbolOpacity=1)

    def series(channel: Any, values: list[Any], legend: alt.Legend | None) -> Any:
        return channel("series:N", sort=labels, legend=legend, scale=alt.Scale(domain=labels, range=values))

    colours, dashes, shapes = (
        [s.colour for s in styles],
        [list(s.dash) for s in styles],
        [s.shape for s in styles],
    )
    axis = alt.Axis(title=_cost_title(x), format="~s", grid=False, tickCount=5)
    if x == "budget":
        axis = alt.Axis(
            title=_cost_title(x), values=sorted({int(b) for b in frame[x]}), format="d", grid=False
        )
    scale = alt.Scale(type="log", base=2 if x == "budget" else 10, nice=False, padding=12)
    cost = alt.X(f"{x}:Q", axis=axis, scale=scale)

    pick = alt.selection_point(fields=["series"], bind="legend", name="series_picked")
    base = alt.Chart(shown, height=height, width="container")
    fade = alt.when(pick)
    band = base.mark_area().encode(
        cost,
        alt.Y("low:Q", title="accuracy", axis=alt.Axis(format="%"), scale=alt.Scale(zero=False)),
        alt.Y2("high:Q"),
        series(alt.Color, colours, legend),
        opacity=fade.then(alt.value(0.22)).otherwise(alt.value(0.02)),
    )
    strength = fade.then(alt.value(1)).otherwise(alt.value(0.12))
    line = base.mark_line(strokeWidth=2).encode(
        cost,
        alt.Y("accuracy:Q"),
        series(alt.Color, colours, legend),
        series(alt.StrokeDash, dashes, None),
        opacity=strength,
    )
    point = (
        base.mark_point(filled=True, size=60)
        .encode(
            cost,
            alt.Y("accuracy:Q"),
            series(alt.Color, colours, legend),
            series(alt.Shape, shapes, legend),
            opacity=strength,
            tooltip=[
                alt.Tooltip("series:N", title="rule"),
                alt.Tooltip(f"{x}:Q", title=_cost_title(x), format=",.0f"),
                alt.Tooltip("accuracy:Q", format=".1%"),
                alt.Tooltip("low:Q", title="from", format=".1%"),
                alt.Tooltip("high:Q", title="to", format=".1%"),
                alt.Tooltip("n:Q", title="problems", format="d"),
            ],
        )
        .add_params(pick)
    )
    return _dress(_with_menu(alt.layer(band, line, point), frame, menu))


def pass_at_1_distribution(frame: pd.DataFrame, *, menu: str | None = None, height: int = 220) -> alt.Chart:
    """How many problems have which pass@1: a histogram of ten bins, coloured by difficulty where given.

    Args:
        frame: one row per problem (and value of ``menu``): ``problem_id``, ``pass_at_1`` in [0, 1], and
            optionally ``difficulty`` ("easy", "medium", "hard").
        menu: a column whose values a menu under the chart chooses from, e.g. "policy".
    """
    _require(frame, "pass_at_1_distribution", ["problem_id", "pass_at_1", *([menu] if menu else [])])
    by = ["bin", *(["difficulty"] if "difficulty" in frame else []), *([menu] if menu else [])]
    shown = frame.assign(bin=(frame["pass_at_1"] * 10).clip(upper=9.999).astype(int) / 10)
    shown = shown.groupby(by, sort=False).size().reset_index(name="problems")
    shown = shown.assign(bin_end=shown["bin"] + 0.1)
    encodings: dict[str, Any] = {
        "x": alt.X(
            "bin:Q",
            bin="binned",
            title="pass@1 of the problem",
            axis=alt.Axis(format="%", values=[0.1, 0.5, 1.0], grid=False),
            scale=alt.Scale(domain=[0, 1]),
        ),
        "x2": alt.X2("bin_end:Q"),
        "y": alt.Y("problems:Q"),
        "tooltip": [
            alt.Tooltip("bin:Q", title="from", format=".0%"),
            alt.Tooltip("bin_end:Q", title="to", format=".0%"),
            alt.Tooltip("problems:Q"),
        ],
    }
    if "difficulty" in frame:
        levels = list(LEVEL_COLOURS)
        scale = alt.Scale(domain=levels, range=list(LEVEL_COLOURS.values()))
        encodings["color"] = alt.Color(
            "difficulty:N", scale=scale, sort=levels, legend=alt.Legend(title=None, orient="bottom")
        )
        encodings["tooltip"].append(alt.Tooltip("difficulty:N"))
    bars = alt.Chart(shown, height=height, width="container").mark_bar(color=SERIES["majority"].colour)
    return _dress(_with_menu(bars.encode(**encodings), frame, menu))


def paired_differences(
    frame: pd.DataFrame, *, group: str | None = None, title: str = "difference, percentage points"
) -> alt.LayerChart:
    """Differences with their intervals as dots and bars, against a line at zero.

    Args:
        frame: columns ``comparison`` (the row's name), ``difference``, ``low``, ``high`` (fractions: 0.01 is
            one percentage point), ``n``; drawn in the order of the rows.
        group: a column that splits each row into colours and shapes, e.g. "policy".
    """
    _require(
        frame,
        "paired_differences",
        ["comparison", "difference", "low", "high", "n", *([group] if group else [])],
    )
    shown = frame.assign(**{f"{name}_pp": 100 * frame[name] for name in ("difference", "low", "high")})
    order = list(dict.fromkeys(frame["comparison"]))
    row = alt.Y("comparison:N", sort=order, title=None, axis=alt.Axis(labelLimit=150))
    place, shape = _grouped(frame, group, alt.YOffset)
    base = alt.Chart(shown, height=alt.Step(22 if group else 30), width="container")
    zero = alt.Chart(pd.DataFrame({"zero": [0]})).mark_rule(color=INK, strokeDash=[4, 3]).encode(x="zero:Q")
    bar = base.mark_rule(strokeWidth=2).encode(
        alt.X("low_pp:Q", title=title), alt.X2("high_pp:Q"), row, **place
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
    return _dress(alt.layer(zero, bar, dot))


def rates(
    frame: pd.DataFrame, *, x: str, title: str, group: str | None = None, height: int = 260
) -> alt.LayerChart:
    """Fractions with their intervals by category, as points and bars, with a prediction where one is given.

    Args:
        frame: columns ``x`` (the category, in the order of the rows), ``rate``, ``low``, ``high`` (in
            [0, 1]), ``n``, and optionally ``predicted``, drawn as a dashed line.
        x: the column of categories; underscores in its name become blanks.
        title: what the fraction is of.
        group: a column that splits each category into colours and shapes, e.g. "policy".
    """
    _require(frame, "rates", [x, "rate", "low", "high", "n", *([group] if group else [])])
    categories = list(dict.fromkeys(frame[x]))
    horizontal = alt.X(f"{x}:O", sort=categories, title=x.replace("_", " "), axis=alt.Axis(labelAngle=0))
    place, shape = _grouped(frame, group, alt.XOffset)
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
    return _dress(alt.layer(*layers))


def step_inspector(frame: pd.DataFrame, *, row_height: int = 16) -> alt.LayerChart:
    """A heat strip of completions by steps, coloured by PRM score; a click shows the step and the verdict.

    A cross marks a step that the checker rejects; a tick or cross beside the row says whether the answer is
    right.

    Args:
        frame: one row per step: ``sample``, ``step`` (from 1), ``text``, ``score`` in [0, 1], ``verdict``
            (True right, False wrong, None not checked), ``correct`` (the completion's final answer), and
            ``answer``; completions are drawn in the order of their first row.
    """
    _require(frame, "step_inspector", ["sample", "step", "text", "score", "verdict", "correct", "answer"])
    rows = [f"{s} {'✓' if c else '✗'}" for s, c in zip(frame["sample"], frame["correct"], strict=True)]
    verdicts = [_verdict(v) for v in frame["verdict"]]
    columns = zip(frame["sample"], frame["step"], frame["score"], verdicts, frame["text"], strict=True)
    details = [
        _detail(f"Completion {sample}, step {step}: PRM {score:.2f}, checker {verdict}.", text)
        for sample, step, score, verdict, text in columns
    ]
    shown = pd.DataFrame(
        {
            "row": rows,
            "step": frame["step"].to_numpy(),
            "score": frame["score"].to_numpy(),
            "verdict": verdicts,
            "answer": [_inert(str(answer)) for answer in frame["answer"]],
            "detail": details,
        }
    )
    order = list(dict.fromkeys(rows))
    height = row_height * len(order)
    start = [{"row": rows[0], "step": int(frame["step"].iloc[0])}]
    pick = alt.selection_point(
        fields=["row", "step"], value=start, empty=False, toggle=False, name="step_picked"
    )
    x = alt.X("step:O", title="step", axis=alt.Axis(orient="top", labelAngle=0))
    y = alt.Y("row:N", sort=order, title="completion (tick: right answer)", axis=alt.Axis(labelFontSize=10))
    base = alt.Chart(shown, height=height, width="container")
    cells = (
        base.mark_rect(cursor="pointer")
        .encode(
            x,
            y,
            _score_colour("score", "PRM score"),
            stroke=alt.when(pick).then(alt.value(PICKED)).otherwise(alt.value("transparent")),
            strokeWidth=alt.value(3),
            tooltip=["row:N", "step:O", alt.Tooltip("score:Q", format=".2f"), "verdict:N", "answer:N"],
        )
        .add_params(pick)
    )
    crosses = (
        base.transform_filter(alt.datum.verdict == "wrong")
        .mark_text(text="✗", fontSize=min(row_height - 4, 12), fontWeight="bold", tooltip=False)
        .encode(x, y, color=_contrasting("score"))
        .properties(name="rejected")
    )
    return _dress(_with_detail(alt.layer(cells, crosses), base, pick, height), bottom=_room(details))


def prefix_tree(frame: pd.DataFrame, *, height: int = 360) -> alt.LayerChart:
    """The tree of prefixes that completions share, as nested blocks; a click shows the step and its value.

    A block is one prefix: as tall as the number of completions that begin with it, coloured by its value, the
    fraction of them that end right. A cross marks a prefix whose last step the checker rejects.

    Args:
        frame: one row per prefix: ``depth`` (from 1), ``first`` and ``last`` (its completions are the rows
            first <= i < last once they are sorted), ``value`` in [0, 1], ``n`` = last - first, ``text`` (its
            last step), ``verdict`` (True right, False wrong, None not checked).
    """
    _require(frame, "prefix_tree", ["depth", "first", "last", "value", "n", "text", "verdict"])
    verdicts = [_verdict(v) for v in frame["verdict"]]
    columns = zip(frame["depth"], frame["n"], frame["value"], verdicts, frame["text"], strict=True)
    details = [
        _detail(
            f"Step {depth}, shared by {n} {'completion' if n == 1 else 'completions'}, "
            f"value {value:.2f} ({round(n * value)} end right). Checker: {verdict}.",
            text,
        )
        for depth, n, value, verdict, text in columns
    ]
    shown = pd.DataFrame(
        {
            **{name: frame[name].to_numpy() for name in ("depth", "first", "last", "value", "n")},
            "middle": ((frame["first"] + frame["last"]) / 2).to_numpy(),
            "verdict": verdicts,
            "detail": details,
        }
    )
    top = int(frame["last"].max())
    start = [{"depth": int(frame["depth"].iloc[0]), "first": int(frame["first"].iloc[0])}]
    pick = alt.selection_point(
        fields=["depth", "first"], value=start, empty=False, toggle=False, name="prefix_picked"
    )
    x = alt.X(
        "depth:O", title="step", axis=alt.Axis(orient="top", labelAngle=0), scale=alt.Scale(padding=0.04)
    )
    scale = alt.Scale(domain=[top, 0], nice=False, zero=False)
    base = alt.Chart(shown, height=height, width="container")
    blocks = (
        base.mark_rect(cursor="pointer", stroke=INK, strokeWidth=0.5)
        .encode(
            x,
            alt.Y("first:Q", title="completions", scale=scale, axis=alt.Axis(grid=False, tickCount=5)),
            alt.Y2("last:Q"),
            _score_colour("value", "value (fraction that ends right)"),
            stroke=alt.when(pick).then(alt.value(PICKED)).otherwise(alt.value(INK)),
            strokeWidth=alt.when(pick).then(alt.value(3)).otherwise(alt.value(0.5)),
            tooltip=[
                "depth:O",
                alt.Tooltip("n:Q", title="completions"),
                alt.Tooltip("value:Q", format=".0%"),
                "verdict:N",
            ],
        )
        .add_params(pick)
    )
    room = max(1.0, 11 * top / height)  # completions a block must hold before a cross fits into it
    crosses = (
        base.transform_filter((alt.datum.verdict == "wrong") & (alt.datum.n >= room))
        .mark_text(text="✗", fontSize=11, fontWeight="bold", tooltip=False)
        .encode(x, alt.Y("middle:Q", scale=scale), color=_contrasting("value"))
        .properties(name="rejected")
    )
    return _dress(_with_detail(alt.layer(blocks, crosses), base, pick, height), bottom=_room(details))


def _require(frame: pd.DataFrame, chart: str, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"{chart}: the frame lacks {missing}; it has {list(frame.columns)}")
    if frame.empty:
        raise ValueError(f"{chart}: the frame has no rows, so there is nothing to draw")


def _grouped(frame: pd.DataFrame, group: str | None, offset: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The channels that set groups apart: offset and colour, and for points the shape too."""
    if group is None:
        return {"color": alt.value(SERIES["majority"].colour)}, {}
    groups = list(dict.fromkeys(frame[group]))
    legend = alt.Legend(title=None, orient="bottom")
    colours = alt.Scale(domain=groups, range=list(SPARE_COLOURS[: len(groups)]))
    shapes = alt.Scale(domain=groups, range=list(SPARE_SHAPES[: len(groups)]))
    colour = alt.Color(f"{group}:N", sort=groups, legend=legend, scale=colours)
    place = {offset.__name__[0].lower() + "Offset": offset(f"{group}:N", sort=groups), "color": colour}
    return place, {"shape": alt.Shape(f"{group}:N", sort=groups, legend=legend, scale=shapes)}


def _cost_title(x: str) -> str:
    return (
        "budget N (completions a problem)"
        if x == "budget"
        else x.removeprefix("num_").replace("_", " ") + " a problem"
    )


def _spare(pair: tuple[str, str]) -> tuple[str, tuple[int, ...], str]:
    return pair[0], SOLID, pair[1]


def _verdict(value: object) -> str:
    return "not checked" if value is None or pd.isna(value) else "right" if value else "wrong"


def _detail(head: str, text: str) -> str:
    lines = textwrap.wrap(head, WRAP) + [
        part for line in text.strip().splitlines() for part in textwrap.wrap(line, WRAP)
    ]
    return _inert("\n".join(lines if len(lines) <= 9 else [*lines[:8], "…"]))


def _inert(text: str) -> str:
    """Keep a text from ending the script that holds it: Altair writes "</script>" into a page as it is.

    An invisible word joiner after "<" does it; the text looks the same. A lone surrogate, which no page can
    hold, becomes "�".
    """
    text = re.sub(r"<(?=/|!|script)", "<\N{WORD JOINER}", text, flags=re.IGNORECASE)
    return re.sub("[\ud800-\udfff]", "�", text)


def _room(details: Sequence[str]) -> int:
    return 16 * max(detail.count("\n") + 1 for detail in details) + 12  # px, for the longest text


def _score_colour(field: str, title: str) -> alt.Color:
    scale = alt.Scale(domain=[0, 0.5, 1], range=["#a3440a", "#f2efe9", "#125a9c"], interpolate="lab")
    legend = alt.Legend(
        title=title, orient="bottom", direction="horizontal", gradientLength=150, format=".1f", titleLimit=260
    )
    return alt.Color(f"{field}:Q", scale=scale, legend=legend)


def _contrasting(field: str) -> Any:
    dark = (alt.datum[field] < 0.2) | (alt.datum[field] > 0.8)
    return alt.when(dark).then(alt.value("#ffffff")).otherwise(alt.value("#111111"))


def _with_menu(chart: Any, frame: pd.DataFrame, menu: str | None) -> Any:
    if menu is None:
        return chart
    options = list(dict.fromkeys(frame[menu]))
    box = alt.binding_select(options=options, name=f"{menu.replace('_', ' ')}: ")
    choice = alt.selection_point(fields=[menu], bind=box, value=options[0], name=f"{menu}_chosen")
    return chart.add_params(choice).transform_filter(choice)


def _with_detail(chart: alt.LayerChart, base: alt.Chart, pick: alt.Parameter, height: int) -> alt.LayerChart:
    # The text stands below the legend, in room that _dress reserves, so a click never moves the page.
    text = (
        base.transform_filter(pick)
        .mark_text(
            align="left", baseline="top", lineBreak="\n", lineHeight=16, fontSize=12, color=INK, tooltip=False
        )
        .encode(x=alt.value(-36), y=alt.value(height + 74), text="detail:N")
        .properties(name="detail")
    )
    return chart + text


def _dress(chart: Any, bottom: int = 5) -> Any:
    actions = {"export": True, "source": False, "compiled": False, "editor": False}
    return (
        chart.properties(
            padding={"left": 5, "top": 5, "right": 8, "bottom": bottom},
            usermeta={"embedOptions": {"renderer": "svg", "actions": actions}},
        )
        .configure(background="transparent", font="system-ui, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK,
            titleColor=INK,
            domainColor=GRID,
            tickColor=GRID,
            gridColor=GRID,
            gridOpacity=0.25,
            labelFontSize=11,
            titleFontSize=12,
            titleFontWeight="normal",
        )
        .configure_legend(
            labelColor=INK,
            titleColor=INK,
            labelFontSize=12,
            titleFontSize=12,
            titleFontWeight="normal",
            labelLimit=170,
        )
        .configure_title(color=INK)
    )
