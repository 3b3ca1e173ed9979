"""Completions step by step: a heat strip, and the tree of prefixes that completions share."""

from __future__ import annotations

import altair as alt
import pandas as pd

from tts_utils.charts.theme import (
    INK,
    PICKED,
    contrasting,
    detail,
    dress,
    inert,
    require,
    room,
    score_colour,
    verdict_name,
    with_detail,
)


def step_inspector(frame: pd.DataFrame, *, row_height: int = 16) -> alt.LayerChart:
    """A heat strip of completions by steps, coloured by PRM score; a click shows the step and the verdict.

    A cross marks a step that the checker rejects; a tick or cross beside the row says whether the answer is
    right.

    Args:
        frame: one row per step: ``sample``, ``step`` (from 1), ``text``, ``score`` in [0, 1], ``verdict``
            (True right, False wrong, None not checked), ``correct`` (the completion's final answer), and
            ``answer``; completions are drawn in the order of their first row.
    """
    require(frame, "step_inspector", ["sample", "step", "text", "score", "verdict", "correct", "answer"])
    rows = [f"{s} {'✓' if c else '✗'}" for s, c in zip(frame["sample"], frame["correct"], strict=True)]
    verdicts = [verdict_name(v) for v in frame["verdict"]]
    columns = zip(frame["sample"], frame["step"], frame["score"], verdicts, frame["text"], strict=True)
    details = [
        detail(f"Completion {sample}, step {step}: PRM {score:.2f}, checker {verdict}.", text)
        for sample, step, score, verdict, text in columns
    ]
    shown = pd.DataFrame(
        {
            "row": rows,
            "step": frame["step"].to_numpy(),
            "score": frame["score"].to_numpy(),
            "verdict": verdicts,
            "answer": [inert(str(answer)) for answer in frame["answer"]],
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
            score_colour("score", "PRM score"),
            stroke=alt.when(pick).then(alt.value(PICKED)).otherwise(alt.value("transparent")),
            strokeWidth=alt.value(3),
            tooltip=["row:N", "step:O", alt.Tooltip("score:Q", format=".2f"), "verdict:N", "answer:N"],
        )
        .add_params(pick)
    )
    crosses = (
        base.transform_filter(alt.datum.verdict == "wrong")
        .mark_text(text="✗", fontSize=min(row_height - 4, 12), fontWeight="bold", tooltip=False)
        .encode(x, y, color=contrasting("score"))
        .properties(name="rejected")
    )
    checked = [v for v in verdicts if v != "not checked"]
    about = (
        f"Heat strip of {len(order)} completions by up to {int(frame['step'].max())} steps, coloured by PRM "
        f"score. The checker rejects {checked.count('wrong')} of {len(checked)} steps."
    )
    return dress(with_detail(alt.layer(cells, crosses), base, pick, height), about, bottom=room(details))


def prefix_tree(frame: pd.DataFrame, *, height: int = 460) -> alt.LayerChart:
    """The tree of prefixes that completions share, as nested blocks; a click shows the step and its value.

    A block is one prefix: as tall as the number of completions that begin with it, coloured by its value, the
    fraction of them that end right. A cross marks a prefix whose last step the checker rejects.

    Args:
        frame: one row per prefix: ``depth`` (from 1), ``first`` and ``last`` (its completions are the rows
            first <= i < last once they are sorted), ``value`` in [0, 1], ``n`` = last - first, ``text`` (its
            last step), ``verdict`` (True right, False wrong, None not checked).
    """
    require(frame, "prefix_tree", ["depth", "first", "last", "value", "n", "text", "verdict"])
    verdicts = [verdict_name(v) for v in frame["verdict"]]
    columns = zip(frame["depth"], frame["n"], frame["value"], verdicts, frame["text"], strict=True)
    details = [
        detail(
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
            score_colour("value", "value (fraction that ends right)"),
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
    least = max(1.0, 11 * top / height)  # completions a block must hold before a cross fits into it
    crosses = (
        base.transform_filter((alt.datum.verdict == "wrong") & (alt.datum.n >= least))
        .mark_text(text="✗", fontSize=11, fontWeight="bold", tooltip=False)
        .encode(x, alt.Y("middle:Q", scale=scale), color=contrasting("value"))
        .properties(name="rejected")
    )
    about = (
        f"Tree of the {len(frame)} prefixes that {top} completions share, {int(frame['depth'].max())} steps "
        f"deep: {int((frame['depth'] == 1).sum())} different first steps; {verdicts.count('wrong')} prefixes "
        "end in a step that the checker rejects."
    )
    return dress(with_detail(alt.layer(blocks, crosses), base, pick, height), about, bottom=room(details))
