"""The nodes of many stored search trees as arrays: which trees are regular, and the paths they ended with.

A tree is regular if what it ended with can be read off its nodes without running the search again: every path
that is voted on finished, and has only steps with text and a score. Of particles, whose draws are made again
from the stored scores, this must hold for every node. The others (a path that was cut or grew too long, a
blank step, unusual settings) have to be replayed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from tts_utils.records import Problem
from tts_utils.store import columns
from tts_utils.tree_search import TreeSearch
from tts_utils.tree_search.particles import pointers_of, resample

Places: TypeAlias = NDArray[np.int64]

COLUMNS = [
    *("problem_id", "run", "node", "parent", "depth", "text", "num_tokens"),
    *("score", "num_prm_tokens", "kept", "finished"),
]


class Trees:
    """The nodes of all trees, sorted by problem, run and node.

    Args:
        rows: nodes with ``COLUMNS``, of whole trees.
        tree_search: which search they are of.
        by_id: the problems, by their identifier.

    Attributes:
        names: (P,) identifiers of the problems, sorted.
        problem, text, tokens, score: one value per node; problem and text are places in names and texts.
    """

    def __init__(self, rows: pa.Table, tree_search: TreeSearch, by_id: dict[str, Problem]) -> None:
        codes, names = columns.codes(rows, "problem_id")
        order = np.argsort(names.astype(str))
        rank = np.empty(len(names), dtype=np.int64)
        rank[order] = np.arange(len(names))
        problem, run, node = (
            rank[codes],
            *(columns.numbers(rows, name).astype(np.int64) for name in ("run", "node")),
        )
        at = np.lexsort((node, run, problem))
        self.search, self.by_id, self.names = tree_search, by_id, names[order]
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

    @property
    def per_problem(self) -> int:
        """How many paths of a problem are voted on."""
        return self.search.num_kept * self.search.num_subtrees

    @cached_property
    def regular(self) -> NDArray[np.bool_]:
        """(P,) whether all trees of a problem can be read off their nodes."""
        count = len(self.names)
        if not self.search.retire or self.search.distinct or self.search.how != "last":
            return np.zeros(count, dtype=bool)
        blank = np.array([not text.strip() for text in self.texts], dtype=bool)
        odd = np.isnan(self.score) | blank[self.text]
        if self.search.method == "particles":
            ends = np.full(count, self.per_problem)
        else:
            odd &= self.kept
            ends = np.bincount(self.problem[self.kept & self.finished], minlength=count)
        odd |= self.node != np.arange(len(self.node)) - self.start
        return (np.bincount(self.problem[odd], minlength=count) == 0) & (ends == self.per_problem)

    def ends(self) -> Places:
        """The last nodes of the paths of regular problems, by problem and in the order of the completions."""
        if self.search.method == "particles":
            found = [end for i in np.flatnonzero(self.regular) for end in self._drawn(i)]
            return np.array(found, dtype=np.int64)
        return self._retired()

    def _retired(self) -> Places:
        """The finished kept nodes, by problem, run and order of retiring: by round, then by rank in it."""
        meant = self.kept & self.regular[self.problem]
        stride = self.search.every
        number = (self.depth - 1) // stride  # of the round, in which a path takes so many steps
        opening = np.arange(len(self.node))  # the first step of a node's round, on its path
        rank = np.zeros(len(self.node), dtype=np.int64)  # of a kept node among those at the end of its round
        for _, level in self._levels():
            later = level[(self.depth[level] - 1) % stride > 0]
            opening[later] = opening[self.parent[later]]
        tips = meant & (self.finished | (self.depth % stride == 0))
        for one in range(int(number.max(initial=-1)) + 1):
            level = np.flatnonzero(tips & (number == one))
            of_parent = rank[self.parent[opening[level]]] if one else np.zeros(len(level), dtype=np.int64)
            by = (opening[level], of_parent, -self.score[level], self.tree[level])
            level = level[np.lexsort(by)]
            first = np.flatnonzero(np.diff(self.tree[level], prepend=-1))
            rank[level] = np.arange(len(level)) - np.repeat(first, np.diff(first, append=len(level)))
        ends = np.flatnonzero(meant & self.finished)
        return ends[np.lexsort((rank[ends], number[ends], self.tree[ends]))]

    def _drawn(self, problem: int) -> Places:
        """The particles that one problem ends with: each draw is made again from the scores."""
        size, how = self.search.budget, self.search.resampling
        where = np.flatnonzero(self.problem == problem)
        particles, over = np.full(size, -1), np.zeros(size, dtype=bool)
        depth = 0
        while not over.all():
            depth += 1
            # One step of each that goes on, in their order: none was cut, so none was sampled again.
            particles = particles.copy()
            particles[~over] = where[self.depth[where] == depth]
            over = self.finished[particles]
            if not over.all():
                of = self.by_id[str(self.names[problem])]
                pointers = pointers_of(of, int(self.run[where[0]]), depth, size, how)
                chosen = resample(self.score[particles], pointers)
                particles, over = particles[chosen], over[chosen]
        return particles

    def paths(self, ends: Places) -> Places:
        """(C, H) the places of the nodes that lead to each end, -1 before the first of a shorter path."""
        column, steps = ends, []
        while (column >= 0).any():
            steps.append(column)
            column = np.where(column >= 0, self.parent[column], -1)
        return np.stack(steps[::-1], axis=1)

    def spent(self) -> tuple[Places, Places]:
        """(P,) tokens generated and tokens read by the PRM; trees of a problem share what was read."""
        count = len(self.names)
        generated = np.bincount(self.problem, weights=self.tokens, minlength=count)
        text, tokens = self.read_once
        _, first = np.unique(text, return_index=True)
        read = np.bincount(self.problem[first], weights=tokens[first], minlength=count)
        return generated.astype(np.int64), read.astype(np.int64)

    @cached_property
    def read_once(self) -> tuple[Places, Places]:
        """The number of every node's state among the texts of its problem, and the tokens of its reading."""
        state = np.zeros(len(self.node), dtype=np.int64)
        used = len(self.names)
        for depth, level in self._levels():
            before = state[self.parent[level]] if depth > 1 else self.problem[level]
            pair = before * len(self.texts) + self.text[level]
            codes, distinct = pd.factorize(pair)
            state[level] = used + codes
            used += len(distinct)
        tokens = np.zeros(used, dtype=np.int64)
        np.maximum.at(tokens, state, self.prm_tokens)
        return state, tokens[state]

    def _levels(self) -> Iterator[tuple[int, Places]]:
        """Each depth, and the places of its nodes."""
        for depth in range(1, int(self.depth.max(initial=0)) + 1):
            yield depth, np.flatnonzero(self.depth == depth)
