"""The dial: accuracy against the quality of the judge; artificial judges as lines, real ones as marks."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from tts_utils.charts.lines import _banded, _described
from tts_utils.charts.theme import INK, dress, in_order, require, styles_of, with_controls

TITLE = "quality of the judge (AUC)"


def judge_dial(
    frame: pd.DataFrame, *, menu: str | Sequence[str] | None = None, height: int = 340
) -> alt.LayerChart:
    """Accuracy against the judge's AUC: a line per method of artificial judges, a mark per real judge.

    A slider moves a vertical line along the axis, to read methods off at one quality and to find where two
    lines cross. A click in the legend keeps one method.

    Args:
        frame: columns ``auc`` in [0, 1], ``accuracy``, ``low``, ``high`` (in [0, 1]), ``n``, ``rule`` (the
            method, a name of :data:`SERIES`), ``kind`` ("artificial" for a point of a line, "real" for a mark
            of its own), ``judge`` (its name). A control that needs no judge is a line with the same accuracy
            at two values of ``auc``.
        menu: a column, or several, whose values a menu chooses from, e.g. "policy".

    Raises:
        ValueError: a column is missing, or a kind is neither of the two.
    """
    menus = [menu] if isinstance(menu, str) else list(menu or ())
    require(
        frame,
        "judge_dial",
        ["auc", "accuracy", "low", "high", "n", "rule", "kind", "judge", *menus],
    )
    if other := set(frame["kind"]) - {"artificial", "real"}:
        raise ValueError(f"judge_dial: kind is 'artificial' or 'real', not {sorted(other)}")
    names = in_order(frame["rule"])
    styles = styles_of(names)
    labels = [style.label for style in styles]
    shown = frame.assign(series=frame["rule"].map(dict(zip(names, labels, strict=True))))
    low, high = float(shown["auc"].min()), float(shown["auc"].max())
    scale = alt.Scale(domain=[low, high], nice=False, padding=10)
    quality = alt.X("auc:Q", title=TITLE, axis=alt.Axis(format=".2f", grid=False, tickCount=6), scale=scale)
    artificial = alt.datum.kind == "artificial"
    what = (names, "auc", "accuracy", quality, "accuracy", "method", TITLE, ".2f", height)
    lines = _banded(shown, *what, points=False, only=artificial)
    base = alt.Chart(shown, height=height, width="container")
    colour = alt.Color(
        "series:N", sort=labels, scale=alt.Scale(domain=labels, range=[s.colour for s in styles])
    )
    real = base.transform_filter(alt.datum.kind == "real")
    bars = real.mark_rule(strokeWidth=1, opacity=0.5).encode(
        quality, alt.Y("low:Q"), alt.Y2("high:Q"), colour
    )
    shape = alt.Shape(
        "series:N", sort=labels, scale=alt.Scale(domain=labels, range=[s.shape for s in styles])
    )
    marks = real.mark_point(size=130, strokeWidth=2, filled=False, opacity=1).encode(
        quality,
        alt.Y("accuracy:Q"),
        colour,
        shape,
        tooltip=[
            alt.Tooltip("judge:N", title="real judge"),
            alt.Tooltip("series:N", title="method"),
            alt.Tooltip("auc:Q", title=TITLE, format=".3f"),
            alt.Tooltip("accuracy:Q", format=".1%"),
            alt.Tooltip("low:Q", title="from", format=".1%"),
            alt.Tooltip("high:Q", title="to", format=".1%"),
        ],
    )
    knob = alt.binding_range(min=round(low, 2), max=round(high, 2), step=0.01)
    knob.name = "judge quality: "
    at = alt.param(name="quality_set", value=round((low + high) / 2, 2), bind=knob)
    one_row = base.transform_aggregate(rows="count()").transform_calculate(at="quality_set")
    rule = one_row.mark_rule(color=INK, strokeDash=[4, 3]).encode(alt.X("at:Q", scale=scale)).add_params(at)
    chart = with_controls(lines + bars + marks + rule, frame, menus)

    first = shown[shown["kind"] == "artificial"]
    real_ones = shown.loc[shown["kind"] == "real", "judge"].nunique()
    about = _described(first, "accuracy", "auc", TITLE, menus, None)
    return dress(
        chart, f"Accuracy against {TITLE}. {about} {real_ones} real judges are marked beside the lines."
    )
