"""What stored searches ended with, read column by column; ``store.replay`` gives the same, more slowly.

Replaying runs the real algorithm again, node by node. Where a tree is regular (:mod:`tts_utils.store.trees`),
what it ended with is read off its nodes for all problems together; the others are replayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tts_utils import answers, voting
from tts_utils.data_folder import dataset_name
from tts_utils.records import Problem, SamplingConfig
from tts_utils.store import columns, files, pools, searches, verdicts
from tts_utils.store.pools import Pool
from tts_utils.store.tables import Table
from tts_utils.store.trees import COLUMNS, Trees
from tts_utils.tree_search import TreeSearch


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
    by_id = {problem.problem_id: problem for problem in which.problem_set}
    trees = Trees(which.rows(COLUMNS), tree_search, by_id)
    irregular = np.flatnonzero(~trees.regular)
    pool = _pool(trees, how)
    num_policy_tokens, num_prm_tokens = trees.spent()
    if len(irregular):
        results = which.replay([by_id[str(name)] for name in trees.names[irregular]])
        _put(pool, irregular, pools.pool_of(results, how))
        for row, result in zip(irregular, sorted(results, key=lambda r: r.problem_id), strict=True):
            num_policy_tokens[row] = result.num_policy_tokens
            num_prm_tokens[row] = result.num_prm_tokens
    return Outcome(pool, num_policy_tokens, num_prm_tokens)


def _pool(trees: Trees, how: str) -> Pool:
    """The paths of regular problems, in the order of their completions; the rest is empty."""
    shape = (len(trees.names), trees.per_problem)
    texts, correct = np.full(shape, "", dtype=object), np.zeros(shape, dtype=bool)
    tokens, read = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    scores = np.full(shape, voting.NO_SCORE)
    ends = trees.ends()
    if len(ends):
        paths = trees.paths(ends)
        steps = paths >= 0
        aggregated = voting.aggregate_flat(trees.score[paths[steps]], steps.sum(axis=1), how)
        known: dict[tuple[int, str], tuple[str, bool]] = {}
        place = np.flatnonzero(np.repeat(trees.regular, shape[1]))
        for cell, end, path in zip(place, ends, paths, strict=True):
            problem, text = trees.problem[end], "".join(trees.texts[trees.text[path[path >= 0]]])
            if (problem, text) not in known:
                answer = answers.extract_answer(text)
                gold = trees.by_id[str(trees.names[problem])].answer
                known[problem, text] = (answer, bool(answer) and answers.grade(answer, gold))
            texts.flat[cell], correct.flat[cell] = known[problem, text]
        tokens.flat[place] = np.where(steps, trees.tokens[paths], 0).sum(axis=1)
        read.flat[place] = trees.read_once[1][ends]
        scores.flat[place] = aggregated
    return Pool(
        problem_ids=tuple(str(name) for name in trees.names),
        answers=texts,
        answer_ids=pools.group(texts),
        correct=correct,
        num_tokens=tokens,
        scores=scores,
        num_prm_tokens=read,
    )


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
