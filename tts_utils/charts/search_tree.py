"""A search tree to walk through: every candidate step of every depth, what was kept, and what was right."""

from __future__ import annotations

import textwrap

import altair as alt
import pandas as pd

from tts_utils.charts.theme import (
    INK,
    PICKED,
    WRAP,
    contrasting,
    dress,
    inert,
    listed,
    require,
    room,
    score_colour,
    verdict_name,
    with_controls,
    with_detail,
)

_COLUMNS = ["run", "node", "parent", "depth", "text", "score", "kept", "finished", "verdict", "correct"]


def search_tree(
    frame: pd.DataFrame,
    *,
    menu: str | None = None,
    start_depth: int | None = None,
    row_height: int = 24,
    path_lines: int = 12,
) -> alt.LayerChart:
    """The candidates of a tree search by depth; a slider walks through the depths, a tap tells of a node.

    A mark is a candidate step, coloured by the PRM's score: large with a ring if it was kept, small if it was
    pruned; a square ends its path. A cross in it is the checker's: from here on the path is wrong. Lines join
    a candidate to the kept step it continues. Below, the picked node's whole path is written out.

    Args:
        frame: one row per node, as :func:`tts_utils.store.searches.read_searches` gives them for one problem:
            ``run``, ``node``, ``parent`` (-1 at the root), ``depth`` (from 1), ``text``, ``score`` in [0, 1]
            (NaN where there is none), ``kept``, ``finished``; and ``verdict`` (True if its path is right so
            far, False if not, None unchecked) and ``correct`` (whether a finished path's answer is right).
        menu: a column that names several trees of the same problem, e.g. "judge"; a menu chooses one.
        start_depth: how far the tree is shown at first; None shows all.
        row_height: pixels from one candidate to the next.
        path_lines: the last lines of a path that are written out.
    """
    require(frame, "search_tree", [*_COLUMNS, *listed(menu)])
    shown = pd.concat(
        [_placed(group, path_lines) for _, group in frame.groupby(menu or (lambda _: 0), sort=False)]
    )
    if menu:
        shown = shown.assign(**{menu: frame.loc[shown.index, menu]})
    rows, depths = int(shown["slot"].max()) + 1, int(shown["depth"].max())
    height = rows * row_height
    knob = alt.binding_range(min=1, max=depths, step=1)
    knob.name = "depths shown: "
    depth = alt.param(name="depth_shown", value=start_depth or depths, bind=knob)
    first = shown.iloc[0]
    pick = alt.selection_point(
        fields=["depth", "slot"],
        value=[{"depth": int(first["depth"]), "slot": int(first["slot"])}],
        empty=False,
        toggle=False,
        name="node_picked",
    )
    across = {
        "title": "depth (steps written)",
        "scale": alt.Scale(domain=[0.5, depths + 0.5], nice=False),
        "axis": alt.Axis(orient="top", grid=False, values=list(range(1, depths + 1)), format="d"),
    }
    down = {"axis": None, "scale": alt.Scale(domain=[rows - 0.4, -0.6], nice=False)}
    x, y = alt.X("depth:Q", **across), alt.Y("slot:Q", **down)
    # A menu is applied in every layer's own data by the filter on the whole chart; so is the depth.
    base = alt.Chart(shown, height=height, width="container").transform_filter(alt.datum.depth <= depth)
    edges = (
        base.transform_filter(alt.datum.depth > 1)
        .mark_rule(color=INK, aria=False)
        .encode(
            alt.X("parent_depth:Q", **across),
            alt.Y("parent_slot:Q", **down),
            alt.X2("depth:Q"),
            alt.Y2("slot:Q"),
            strokeWidth=alt.when(alt.datum.kept).then(alt.value(2)).otherwise(alt.value(0.6)),
            strokeOpacity=alt.when(alt.datum.kept).then(alt.value(0.9)).otherwise(alt.value(0.4)),
        )
    )
    is_picked = alt.when(pick)
    nodes = (
        base.mark_point(filled=True, cursor="pointer", opacity=1)
        .encode(
            x,
            y,
            score_colour("score", "PRM score"),
            shape=alt.Shape(
                "finished:N", legend=None, scale=alt.Scale(domain=[False, True], range=["circle", "square"])
            ),
            size=alt.when(alt.datum.kept).then(alt.value(300)).otherwise(alt.value(110)),
            stroke=is_picked.then(alt.value(PICKED)).otherwise(alt.value(INK)),
            strokeWidth=is_picked.then(alt.value(3))
            .when(alt.datum.kept)
            .then(alt.value(2.5))
            .otherwise(alt.value(0.8)),
            tooltip=[
                alt.Tooltip("depth:Q", format="d"),
                alt.Tooltip("score:Q", format=".2f"),
                alt.Tooltip("fate:N"),
                alt.Tooltip("verdict:N", title="checker"),
                alt.Tooltip("step:N"),
            ],
        )
        .add_params(pick)
    )
    crosses = (
        base.transform_filter(alt.datum.verdict == "wrong")
        .mark_text(text="✗", fontWeight="bold", tooltip=False)
        .encode(
            x,
            y,
            size=alt.when(alt.datum.kept).then(alt.value(13)).otherwise(alt.value(8)),
            color=contrasting("score"),
        )
        .properties(name="rejected")
    )
    chart = with_detail(alt.layer(edges, nodes, crosses), base, pick, height).add_params(depth)
    one = shown if menu is None else shown[shown[menu] == shown[menu].iloc[0]]
    about = _described(one, "" if menu is None else f" ({menu} {one[menu].iloc[0]})")
    return dress(with_controls(chart, shown, menu), about, bottom=room(shown["detail"]))


def _placed(tree: pd.DataFrame, path_lines: int) -> pd.DataFrame:
    """Rows of one search with their places, and the words for a tap."""
    tree = tree.sort_values(["depth", "run", "node"], kind="stable")
    slot = tree.groupby("depth").cumcount()
    key = list(zip(tree["run"], tree["node"], strict=True))
    slot_of = dict(zip(key, slot, strict=True))
    row_of = {k: row for k, row in zip(key, tree.itertuples(), strict=True)}
    records = []
    for (run, node), row in row_of.items():
        path = _path(row_of, run, node)
        parent = (run, row.parent)
        fate = "kept" if row.kept else "never scored" if pd.isna(row.score) else "pruned"
        head = f"Depth {row.depth}: {fate}. Checker: {verdict_name(row.verdict)} so far."
        if row.finished:
            head += f" Its answer is {'right' if row.correct else 'wrong'}."
        records.append(
            {
                "depth": int(row.depth),
                "slot": int(slot_of[run, node]),
                "parent_depth": int(row.depth) - 1,
                "parent_slot": int(slot_of.get(parent, 0)),
                "score": None if pd.isna(row.score) else round(float(row.score), 4),
                "kept": bool(row.kept),
                "finished": bool(row.finished),
                "fate": fate,
                "verdict": verdict_name(row.verdict),
                "step": inert(" ".join(str(row.text).split())),
                "detail": _written(head, path, path_lines),
            }
        )
    return pd.DataFrame(records, index=tree.index)


def _path(row_of: dict, run: int, node: int) -> list[str]:
    """The steps from the root to a node, each with its score and the checker's mark."""
    steps: list[str] = []
    while (run, node) in row_of:
        row = row_of[run, node]
        mark = {"right": "✓", "wrong": "✗"}.get(verdict_name(row.verdict), " ")
        score = "–" if pd.isna(row.score) else f"{row.score:.2f}"
        steps.append(f"{mark} {score} {' '.join(str(row.text).split())}")
        node = row.parent
    return steps[::-1]


def _written(head: str, path: list[str], limit: int) -> str:
    """A head and the last lines of a path, wrapped for a phone."""
    lines = [part for step in path for part in textwrap.wrap(step, WRAP, subsequent_indent="   ")]
    if len(lines) > limit:
        lines = ["…", *lines[1 - limit :]]
    return inert("\n".join([*textwrap.wrap(head, WRAP), *lines]))


def _described(tree: pd.DataFrame, where: str) -> str:
    kept, pruned = tree[tree["kept"]], tree[~tree["kept"]]
    ended = kept[kept["finished"]]
    right = [int((some["verdict"] == "right").sum()) for some in (kept, pruned)]
    return (
        f"Search tree{where}: {len(tree)} candidate steps over {int(tree['depth'].max())} depths, "
        f"{len(kept)} kept and {len(pruned)} pruned. By the checker {right[0]} of the kept and {right[1]} of "
        f"the pruned are right so far. {len(ended)} kept paths end."
    )
