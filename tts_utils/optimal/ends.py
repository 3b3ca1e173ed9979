"""What stored searches ended with, read off their nodes: the votes of a replay at a tenth of its time.

A replay runs the real algorithm again and is the measure of this: the two choose the same answers, which a
test holds. Only what can be voted on is read; a path that closed without an answer is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tts_utils import answers, search
from tts_utils.records import Continuation, Problem
from tts_utils.store import Pool
from tts_utils.voting import AGGREGATIONS, NO_SCORE


@dataclass(frozen=True, slots=True)
class Ends:
    """The finished paths of one search of every problem, and what the search spent.

    Attributes:
        pools: aggregation -> the (P, S) pool to vote on; problems in order of their identifiers, paths in the
            order in which they finished, the rest empty. Without ``num_prm_tokens``.
        policy_tokens: generated, mean over problems.
        prm_tokens: read by the PRM, mean over problems; trees of one problem share what was read.
    """

    pools: dict[str, Pool]
    policy_tokens: float
    prm_tokens: float


def ends_of(nodes: pd.DataFrame, problems: Sequence[Problem]) -> Ends:
    """Read the ends of one search off its nodes.

    Args:
        nodes: as :func:`tts_utils.store.read_searches` gives them, of a search whose finished paths retire
            and whose equal candidates stay (the defaults of ``TreeSearch``).
        problems: those that were searched.

    Raises:
        ValueError: a step is blank, or nodes are missing; replay such a search.
    """
    nodes = nodes.sort_values(["problem_id", "run", "node"], kind="stable").reset_index(drop=True)
    names = sorted(nodes["problem_id"].unique())
    problem = pd.Categorical(nodes["problem_id"], categories=names).codes.astype(np.int64)
    tree = nodes.groupby(["problem_id", "run"], sort=False).ngroup().to_numpy()
    start = np.searchsorted(tree, np.arange(tree.max() + 1))
    if (nodes["node"].to_numpy() != np.arange(len(nodes)) - start[tree]).any():
        raise ValueError("nodes of a tree are missing; read whole trees")
    if (nodes["text"].str.strip() == "").any():
        raise ValueError("a step is blank and gets no score of its own; replay this search")
    parent = nodes["parent"].to_numpy()
    above = np.where(parent < 0, -1, start[tree] + parent)  # the parent's row
    order, low, total = _ranked(nodes, tree, above)
    rows = np.array(order, dtype=np.int64)
    rows = rows[np.argsort(tree[rows], kind="stable")]  # by problem and run, then as they finished
    depth = nodes["depth"].to_numpy()[rows]
    scores = {"min": low[rows], "last": nodes["score"].to_numpy()[rows], "avg": total[rows] / depth}
    return Ends(
        _pools(nodes, rows, problem[rows], above, {p.problem_id: p for p in problems}, names, scores),
        float(nodes["num_tokens"].sum()) / len(names),
        _tokens_read(nodes, problem, above) / len(names),
    )


def _ranked(
    nodes: pd.DataFrame, tree: NDArray[np.int64], above: NDArray[np.int64]
) -> tuple[list[int], NDArray[np.float64], NDArray[np.float64]]:
    """Rows of the finished paths in order of finishing, and the least and the summed score of every path."""
    score, depth = nodes["score"].to_numpy(), nodes["depth"].to_numpy()
    kept, finished = nodes["kept"].to_numpy(), nodes["finished"].to_numpy()
    low, total = score.copy(), score.copy()
    place = np.zeros(len(nodes) + 1, dtype=np.int64)  # among the live paths; the last is the root's
    ended: list[int] = []
    for level in range(1, depth.max() + 1):
        at = np.flatnonzero((depth == level) & kept)
        if level > 1:
            low[at] = np.minimum(low[at], low[above[at]])
            total[at] += total[above[at]]
        # Ties go to the better parent, then to the step sampled first: how the search itself ranks.
        at = at[np.lexsort((at, place[above[at]], -score[at], tree[at]))]
        live = at[~finished[at]]
        place[live] = np.arange(len(live))
        ended += at[finished[at]].tolist()
    return ended, low, total


def _pools(nodes, rows, problem, above, problems, names, scores) -> dict[str, Pool]:
    texts, reasons = nodes["text"].to_numpy(), nodes["finish_reason"].to_numpy()
    steps = nodes["num_tokens"].to_numpy()
    first = np.searchsorted(problem, np.arange(len(names)))
    column = np.arange(len(rows)) - first[problem]
    shape = (len(names), int(column.max(initial=0)) + 1)
    said, right = np.full(shape, "", dtype=object), np.zeros(shape, dtype=bool)
    tokens = np.zeros(shape, dtype=np.int64)
    graded: dict[tuple[str, str], tuple[str, bool]] = {}
    for row, p, c in zip(rows, problem, column, strict=True):
        path = []
        while row >= 0:
            path.append(row)
            row = above[row]
        key = (names[p], "".join(texts[i] for i in reversed(path)))
        if key not in graded:
            whole = Continuation(key[1], 0, reasons[path[0]])
            done = search.finish(problems[names[p]], 0, whole)
            graded[key] = done.answer, done.correct
        said[p, c], right[p, c] = graded[key]
        tokens[p, c] = sum(steps[i] for i in path)
    pool = Pool(
        problem_ids=tuple(names),
        answers=said,
        answer_ids=np.array([answers.group_answers(row) for row in said], dtype=np.int64).reshape(shape),
        correct=right,
        num_tokens=tokens,
    )
    pools = {}
    for how in AGGREGATIONS:
        filled = np.full(shape, NO_SCORE)
        filled[problem, column] = scores[how]
        pools[how] = replace(pool, scores=filled)
    return pools


def _tokens_read(nodes: pd.DataFrame, problem: NDArray[np.int64], above: NDArray[np.int64]) -> float:
    """Tokens the PRM read of each distinct state of a problem, whichever trees reached it."""
    text, _ = pd.factorize(nodes["text"])
    depth, read = nodes["depth"].to_numpy(), nodes["num_prm_tokens"].to_numpy()
    state = np.empty(len(nodes), dtype=np.int64)
    num_texts, total = int(text.max(initial=0)) + 1, 0.0
    for level in range(1, depth.max() + 1):
        at = np.flatnonzero(depth == level)
        before = problem[at] if level == 1 else state[above[at]]
        state[at], distinct = pd.factorize(before * num_texts + text[at])
        most = np.zeros(len(distinct))
        np.maximum.at(most, state[at], read[at])
        total += most.sum()
    return total
