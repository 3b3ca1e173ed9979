"""What stored searches ended with, read column by column; ``store.replay`` gives the same, more slowly.

Replaying runs the real algorithm again, node by node. Where a tree is regular, what it ended with can be read
off its kept nodes at once: that is done here for all problems together. A tree is regular if it has as many
finished paths as it keeps, each of steps with text and a score; the others (a path that was cut or grew too
long, a blank step, unusual settings) are replayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tts_utils import answers, voting
from tts_utils.data_folder import dataset_name
from tts_utils.records import Problem, SamplingConfig
from tts_utils.store import columns, files, pools, searches, verdicts
from tts_utils.store.pools import Pool
from tts_utils.store.tables import Table
from tts_utils.tree_search import TreeSearch

_COLUMNS = [
    *("problem_id", "run", "node", "parent", "depth", "text", "num_tokens"),
    *("score", "num_prm_tokens", "kept", "finished"),
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one search ended with on P problems, and what it spent on each.

    Attributes:
        pool: the trajectories that are voted on, as :func:`tts_utils.store.pool_of` gives them.
        num_policy_tokens: (P,) tokens generated, for discarded steps too.
        num_prm_tokens: (P,) tokens the PRM read.
    """

    pool: Pool
    num_policy_tokens: NDArray[np.int64]
    num_prm_tokens: NDArray[np.int64]


def read_outcome(
    dataset: str,
    policy: str,
    prm: str,
    tree_search: TreeSearch,
    how: str = "last",
    *,
    config: SamplingConfig | None = None,
    problems: Sequence[Problem] | None = None,
    data: Path | None = None,
) -> Outcome:
    """Read what a stored search ended with; arguments and errors as for ``store.read_searches``.

    Args:
        how: how to aggregate the step scores of the trajectories: "min", "last" or "avg".
    """
    which = searches.SearchSource(dataset, policy, prm, tree_search, config, problems, data)
    verdicts.recall(which.folder)
    rows = which.rows(_COLUMNS)
    by_id = {problem.problem_id: problem for problem in which.problem_set}
    trees = _Trees(rows, tree_search)
    names = [str(name) for name in trees.names]
    regular = trees.regular()
    replayed = [by_id[name] for name, plain in zip(names, regular, strict=True) if not plain]
    results = which.replay(replayed) if replayed else []
    pool_replayed = pools.pool_of(results, how) if results else None

    shape = (len(names), tree_search.num_kept * tree_search.num_subtrees)
    pool = trees.pool(shape, by_id, how)
    num_policy_tokens, num_prm_tokens = trees.spent()
    if pool_replayed is not None:
        irregular = np.flatnonzero(~regular)
        _put(pool, irregular, pool_replayed)
        for row, result in zip(irregular, sorted(results, key=lambda r: r.problem_id), strict=True):
            num_policy_tokens[row] = result.num_policy_tokens
            num_prm_tokens[row] = result.num_prm_tokens
    return Outcome(pool, num_policy_tokens, num_prm_tokens)


class _Trees:
    """The nodes of all trees as arrays, sorted by problem, run and node."""

    def __init__(self, rows: pa.Table, tree_search: TreeSearch) -> None:
        codes, names = columns.codes(rows, "problem_id")
        order = np.argsort(names.astype(str))
        rank = np.empty(len(names), dtype=np.int64)
        rank[order] = np.arange(len(names))
        problem, run, node = (
            rank[codes],
            *(columns.numbers(rows, name).astype(np.int64) for name in ("run", "node")),
        )
        at = np.lexsort((node, run, problem))
        self.search, self.names = tree_search, names[order]
        self.problem, self.run, self.node = problem[at], run[at], node[at]
        self.text, self.texts = columns.codes(rows, "text")
        self.text = self.text[at]
        self.depth, self.tokens, self.prm_tokens = (
            columns.numbers(rows, name)[at].astype(np.int64)
            for name in ("depth", "num_tokens", "num_prm_tokens")
        )
        self.score = columns.numbers(rows, "score")[at]
        self.kept, self.finished = (columns.numbers(rows, name)[at] for name in ("kept", "finished"))
        self.tree = self.problem * (int(self.run.max(initial=0)) + 1) + self.run
        first = np.flatnonzero(np.diff(self.tree, prepend=-1))  # where each tree begins
        self.start = np.repeat(first, np.diff(first, append=len(at)))
        parent = columns.numbers(rows, "parent")[at].astype(np.int64)
        self.parent = np.where(parent < 0, -1, self.start + parent)  # as a place in these arrays

    def regular(self) -> NDArray[np.bool_]:
        """(P,) whether all trees of a problem can be read off their kept nodes."""
        count = len(self.names)
        if self.search.method == "particles" or self.search.every > 1:
            return np.zeros(count, dtype=bool)
        if not self.search.retire or self.search.distinct or self.search.how != "last":
            return np.zeros(count, dtype=bool)
        blank = np.array([not text.strip() for text in self.texts], dtype=bool)
        odd = self.kept & (np.isnan(self.score) | blank[self.text])
        odd |= self.node != np.arange(len(self.node)) - self.start
        ends = np.bincount(self.problem[self.kept & self.finished], minlength=count)
        wanted = self.search.num_kept * self.search.num_subtrees
        return (np.bincount(self.problem[odd], minlength=count) == 0) & (ends == wanted)

    def pool(self, shape: tuple[int, int], by_id: dict[str, Problem], how: str) -> Pool:
        """The finished paths of regular problems, in the order in which they retired; the rest is empty."""
        regular = self.regular()
        ends = self._in_order(regular)
        texts, correct = np.full(shape, "", dtype=object), np.zeros(shape, dtype=bool)
        tokens, read = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        scores = np.full(shape, voting.NO_SCORE)
        if len(ends):
            paths = self._paths(ends)  # (C, H), the root's side first, -1 where a path is shorter
            steps = paths >= 0
            aggregated = voting.aggregate_flat(self.score[paths[steps]], steps.sum(axis=1), how)
            known: dict[tuple[int, str], tuple[str, bool]] = {}
            place = np.flatnonzero(np.repeat(regular, shape[1]))
            for cell, end, path in zip(place, ends, paths, strict=True):
                problem, text = self.problem[end], "".join(self.texts[self.text[path[path >= 0]]])
                if (problem, text) not in known:
                    answer = answers.extract_answer(text)
                    gold = by_id[str(self.names[problem])].answer
                    known[problem, text] = (answer, bool(answer) and answers.grade(answer, gold))
                texts.flat[cell], correct.flat[cell] = known[problem, text]
            tokens.flat[place] = np.where(steps, self.tokens[paths], 0).sum(axis=1)
            read.flat[place] = self._read_once()[1][ends]
            scores.flat[place] = aggregated
        return Pool(
            problem_ids=tuple(str(name) for name in self.names),
            answers=texts,
            answer_ids=pools.group(texts),
            correct=correct,
            num_tokens=tokens,
            scores=scores,
            num_prm_tokens=read,
        )

    def spent(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(P,) tokens generated and tokens read by the PRM; trees of a problem share what was read."""
        count = len(self.names)
        generated = np.bincount(self.problem, weights=self.tokens, minlength=count)
        text, tokens = self._read_once()
        _, first = np.unique(text, return_index=True)
        read = np.bincount(self.problem[first], weights=tokens[first], minlength=count)
        return generated.astype(np.int64), read.astype(np.int64)

    def _in_order(self, regular: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The places of finished kept nodes, by problem, run and order of retiring."""
        beam = np.zeros(len(self.node), dtype=np.int64)  # a kept node's rank among those of its depth
        for depth in range(1, int(self.depth.max(initial=0)) + 1):
            level = np.flatnonzero(self.kept & (self.depth == depth) & regular[self.problem])
            of_parent = beam[self.parent[level]] if depth > 1 else np.zeros(len(level), dtype=np.int64)
            level = level[np.lexsort((level, of_parent, -self.score[level], self.tree[level]))]
            first = np.flatnonzero(np.diff(self.tree[level], prepend=-1))
            beam[level] = np.arange(len(level)) - np.repeat(first, np.diff(first, append=len(level)))
        ends = np.flatnonzero(self.kept & self.finished & regular[self.problem])
        return ends[np.lexsort((beam[ends], self.depth[ends], self.tree[ends]))]

    def _paths(self, ends: NDArray[np.int64]) -> NDArray[np.int64]:
        """(C, H) the places of the nodes that lead to each end."""
        column, steps = ends, []
        while (column >= 0).any():
            steps.append(column)
            column = np.where(column >= 0, self.parent[column], -1)
        return np.stack(steps[::-1], axis=1)

    def _read_once(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The number of every node's state among the texts of its problem, and the tokens of its reading."""
        state = np.zeros(len(self.node), dtype=np.int64)
        used = len(self.names)
        for depth in range(1, int(self.depth.max(initial=0)) + 1):
            level = np.flatnonzero(self.depth == depth)
            before = state[self.parent[level]] if depth > 1 else self.problem[level]
            pair = before * len(self.texts) + self.text[level]
            codes, distinct = pd.factorize(pair)
            state[level] = used + codes
            used += len(distinct)
        tokens = np.zeros(used, dtype=np.int64)
        np.maximum.at(tokens, state, self.prm_tokens)
        return state, tokens[state]


def _put(pool: Pool, rows: NDArray[np.int64], other: Pool) -> None:
    """Put the problems of another pool into these rows; it may have fewer completions."""
    size = other.correct.shape[1]
    for name in ("answers", "answer_ids", "correct", "num_tokens", "scores", "num_prm_tokens"):
        values = getattr(other, name)
        if values is not None:
            getattr(pool, name)[rows, :size] = values


def searches_in(dataset: str, data: Path, policy: str = "", prm: str = "") -> list[tuple[Table, TreeSearch]]:
    """The stored tables of searches of a data set, each with the largest search that it holds whole.

    Raises:
        DamagedTable, ForeignTable: naming the file.
    """
    found = []
    for table in files.stored(data, "searches", dataset_name(dataset), policy):
        if policy in ("", table.policy) and prm in ("", table.prm):
            rows = files.load(table, data, columns=["run", "problem_id", "node"])
            roots = columns.numbers(rows, "node") == 0
            codes, names = columns.codes(rows, "problem_id")
            fewest = int(np.bincount(codes[roots], minlength=len(names)).min()) if len(names) else 0
            if fewest:
                found.append((table, TreeSearch.of_label(table.method, fewest)))
    return found
