"""The table of searches: fill it with live models, read it, and replay a search from it without any model."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tts_utils import mdp, search
from tts_utils.data_folder import data_dir, dataset_name, fetch_hint, places
from tts_utils.problems import dataset_option, fingerprint, load_problems
from tts_utils.protocols import TOO_LONG, first_indices
from tts_utils.records import (
    Continuation,
    Problem,
    SamplingConfig,
    SearchNode,
    SearchResult,
    State,
    StepScores,
)
from tts_utils.store import files as table_files
from tts_utils.store import fill
from tts_utils.store.manifest import StoreError
from tts_utils.store.tables import StoreMiss, Table, sampling_options
from tts_utils.tree_search import TreeSearch

if TYPE_CHECKING:
    from tts_utils.protocols import PRM, Policy

_COLUMNS = [name for name in SearchNode.__slots__ if name != "score"]


def fill_searches(
    dataset: str,
    policy: Policy,
    prm: PRM,
    tree_search: TreeSearch,
    config: SamplingConfig | None = None,
    *,
    problems: Sequence[Problem] | None = None,
    limit: int | None = None,
    only: Collection[str] | None = None,
    batch_size: int = 4096,
    data: Path | None = None,
    progress: fill.Progress | None = None,
) -> fill.Filled:
    """Search for every problem whose tree is not stored yet, and store every node of it.

    Args:
        dataset, policy, prm: as for :func:`tts_utils.store.fill.fill_samples`, all live.
        tree_search: which search, such as ``TreeSearch("beam", 16)``. A DVTS grows the trees it lacks.
        config: how to sample a step (``max_tokens`` is a limit per step); steps stop behind a blank line. At
            temperature 0 all candidates would be copies, so that only a budget of 1 is left.
        batch_size: continuations per ``policy.sample`` call, where the budget is no larger: so many problems
            are searched at once, and stopping loses these at most. Rows do not depend on it.
        problems, limit, only, data, progress: as there; progress counts trees.

    Raises:
        BadContinuations, BadScores: a model broke its protocol; nothing of that batch is stored.
        StoreError: a budget above 1 at temperature 0, or the table was filled from other problems or other
            models, or is damaged.
    """
    start = time.perf_counter()
    fill.refuse_copies(tree_search.budget, config or SamplingConfig())
    if batch_size < 1 or (limit is not None and limit < 1):
        raise StoreError(f"batch_size and limit must be at least 1, got {batch_size} and {limit}")
    data = data_dir() if data is None else data
    problems = load_problems(dataset, data=data) if problems is None else problems
    sources = {
        "problems_sha256": fingerprint(problems),
        **fill.revision("policy", policy),
        **fill.revision("prm", prm),
    }
    problems = [p for p in problems[:limit] if only is None or p.problem_id in only]
    table = table_of_search(dataset, policy.name, prm.name, tree_search, config)
    have = np.zeros((len(problems), tree_search.num_subtrees), dtype=bool)  # (P, trees)
    row_of = {problem.problem_id: row for row, problem in enumerate(problems)}
    seen: set = set()

    def refresh() -> None:
        # A tree is stored in one part, whole or not at all, so that its first node tells.
        rows = table_files.unseen(table, data, seen, sources=sources, columns=["problem_id", "run", "node"])
        for problem_id, run, node in zip(*(rows[c].to_pylist() for c in rows.column_names), strict=True):
            if node == 0 and problem_id in row_of and run < tree_search.num_subtrees:
                have[row_of[problem_id], run] = True

    height = max(1, batch_size // tree_search.budget)
    blocks = {f"{p}-{height}-{tree_search.budget}": slice(p, p + height) for p in range(0, len(have), height)}
    refresh()
    added = 0
    for block in fill.claimed([b for b, rows in blocks.items() if not have[rows].all()], table, data):
        refresh()
        began = time.perf_counter()
        methods = [
            _some_trees(tree_search, len(runs))(problem, run=int(runs[0]))
            for problem, there in zip(problems[blocks[block]], have[blocks[block]], strict=True)
            for runs in fill.gapless(np.flatnonzero(~there))
        ]
        if not methods:
            continue
        results = search.run(methods, policy, prm, table.sampling)
        batch = [_row(result.problem_id, node) for result in results for node in result.nodes]
        took = time.perf_counter() - began
        table_files.append(table, batch, data, sources=sources, seconds=took)
        added += len(batch)
        have[blocks[block]] = True
        if progress:
            progress(int(have.sum()), have.size)
    return fill.finished(table, data, added, start)


def read_searches(
    dataset: str,
    policy: str,
    prm: str,
    tree_search: TreeSearch,
    *,
    config: SamplingConfig | None = None,
    problems: Sequence[Problem] | None = None,
    data: Path | None = None,
) -> pd.DataFrame:
    """Read the stored search trees.

    Args:
        dataset, policy, prm: names.
        tree_search: which search; of a DVTS its N/M trees are read, where more may be stored.
        config: how the policy was sampled; None takes ``SamplingConfig()``, else the only one stored.
        problems: those that must be there; None means all of the data set.
        data: the data directory; None means ``data_dir()``.

    Returns:
        One row per node, sorted by run, problem_id and node, with the columns of
        :class:`tts_utils.records.SearchNode` and problem_id; score is NaN where a node has none.

    Raises:
        StoreMiss: nothing, or not the tree of every problem, is stored; names the command that fills it.
        DamagedTable, ForeignTable: naming the file.
    """
    data = data_dir() if data is None else data
    problems = load_problems(dataset, data=data) if problems is None else problems
    table = _find(dataset, policy, prm, tree_search, config, data)
    rows = table_files.to_frame(table_files.load(table, data))
    wanted = {problem.problem_id for problem in problems}
    rows = rows[rows["problem_id"].isin(wanted) & (rows["run"] < tree_search.num_subtrees)]
    counts = rows[rows["node"] == 0]["problem_id"].value_counts().reindex(sorted(wanted), fill_value=0)
    short = counts[counts < tree_search.num_subtrees]
    if len(short):
        raise StoreMiss(
            f"{table.relative} lacks search trees of {len(short)} of {len(wanted)} problems (problem "
            f"{short.index[0]!r} has {short.iloc[0]} of {tree_search.num_subtrees}); fill them with: "
            f"{command(table, tree_search, dataset, data)}"
        )
    return rows.reset_index(drop=True)


def replay(
    dataset: str,
    policy: str,
    prm: str,
    tree_search: TreeSearch,
    *,
    config: SamplingConfig | None = None,
    problems: Sequence[Problem] | None = None,
    data: Path | None = None,
) -> list[SearchResult]:
    """Run a stored search again through the real algorithm, answered from its table, with no model.

    Returns:
        One result per problem, in the order of ``problems``, equal to the original one bit for bit.

    Args and errors as for :func:`read_searches`.
    """
    data = data_dir() if data is None else data
    problems = load_problems(dataset, data=data) if problems is None else problems
    which = {"config": config, "problems": problems, "data": data}
    groups = dict(list(read_searches(dataset, policy, prm, tree_search, **which).groupby("problem_id")))
    results = []
    for problem in problems:
        stored = StoredPolicy(groups[problem.problem_id], policy), StoredPRM(groups[problem.problem_id], prm)
        results += search.run([tree_search(problem)], *stored, config or SamplingConfig())
    return results


class StoredPolicy:
    """A policy that answers from stored search trees, and knows nothing else.

    Args:
        nodes: rows as :func:`read_searches` gives them.
        name: of the policy that they come from.
    """

    num_params = 0
    revision = ""

    def __init__(self, nodes: pd.DataFrame, name: str) -> None:
        self.name = name
        self._known: dict[tuple[str, str, int], Continuation] = {}
        for row, parent, _ in _with_texts(nodes):
            continuation = Continuation(row.text, int(row.num_tokens), row.finish_reason)
            self._known[row.problem_id, parent, int(row.sample)] = continuation

    def sample(
        self, states: Sequence[State], n: int, config: SamplingConfig, first: int | Sequence[int] = 0
    ) -> list[list[Continuation]]:
        """Give the stored continuations; see :class:`tts_utils.protocols.Policy`.

        Raises:
            StoreMiss: one of them is not stored.
        """
        firsts = first_indices(states, n, config, first)
        return [
            [self._look_up(state, i) for i in range(start, start + n)]
            for state, start in zip(states, firsts, strict=True)
        ]

    def _look_up(self, state: State, sample: int) -> Continuation:
        try:
            return self._known[state.problem.problem_id, state.text, sample]
        except KeyError:
            raise StoreMiss(_miss(f"continuation {sample}", self.name, state)) from None


class StoredPRM:
    """A PRM that answers from stored search trees, and knows nothing else; arguments as there."""

    num_params = 0
    revision = ""

    def __init__(self, nodes: pd.DataFrame, name: str) -> None:
        self.name = name
        self._known: dict[tuple[str, str], StepScores] = {}  # (problem_id, text) -> its last step's score
        self._offered: set[tuple[str, str]] = set()  # the texts that could compete, were they not too long
        for row, _, text in _with_texts(nodes):
            whole = row.problem_id, text
            if row.finish_reason != "length":
                self._offered.add(whole)
            # Of equal texts in a tree the first holds the tokens.
            if not math.isnan(row.score) and (row.num_prm_tokens or whole not in self._known):
                self._known[whole] = StepScores((float(row.score),), int(row.num_prm_tokens))

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """Give the stored scores; see :class:`tts_utils.protocols.PRM`.

        Raises:
            StoreMiss: one of them is not stored.
        """
        return [self._look_up(trajectory) for trajectory in trajectories]

    def _look_up(self, trajectory: State) -> StepScores:
        whole = trajectory.problem.problem_id, trajectory.text
        if trajectory.steps and whole in self._offered and whole not in self._known:
            return TOO_LONG  # of what competes, only this has no score: equal texts share theirs
        try:
            prefixes = ["".join(trajectory.steps[:t]) for t in range(1, len(trajectory.steps) + 1)]
            found = [self._known[trajectory.problem.problem_id, text] for text in prefixes]
        except KeyError:
            raise StoreMiss(_miss("a score", self.name, trajectory)) from None
        return StepScores(tuple(f.scores[0] for f in found), found[-1].num_tokens if found else 0)


def table_of_search(
    dataset: str, policy: str, prm: str, tree_search: TreeSearch, config: SamplingConfig | None = None
) -> Table:
    """The identity of a table of searches."""
    sampling = replace(config or SamplingConfig(), stop=(mdp.SEPARATOR,))
    return Table("searches", dataset_name(dataset), policy, sampling, prm=prm, method=tree_search.label)


def command(table: Table, tree_search: TreeSearch, dataset: str, data: Path) -> str:
    """The command that fills a table of searches; ``dataset`` is its problem set as the reader named it."""
    words = ["tts", "search", "--method", tree_search.method, "--policy", table.policy, "--prm", table.prm]
    words += ["--dataset", dataset_option(dataset, data), "--n", str(tree_search.budget)]
    default = TreeSearch("beam", tree_search.budget, tree_search.branching)
    for option in ("branching", "how", "max_depth"):
        value = getattr(tree_search, option)
        if value != (4 if option == "branching" else getattr(default, option)):
            words += [f"--{option.replace('_', '-')}", str(value)]
    words += ["--compete"] * (not tree_search.retire) + ["--distinct"] * tree_search.distinct
    if table.sampling.temperature == 0:
        words += ["--temperature", "0"]
    return shlex.join(words + [word for word in sampling_options(table.sampling) if word != "--greedy"])


def _find(
    dataset: str, policy: str, prm: str, tree_search: TreeSearch, config: SamplingConfig | None, data: Path
) -> Table:
    wanted = table_of_search(dataset, policy, prm, tree_search, config)
    found = [
        table
        for table in table_files.stored(data, "searches", wanted.dataset, policy, prm)
        if (table.policy, table.prm, table.method) == (policy, prm, wanted.method)
    ]
    if wanted in found:
        return wanted
    if config is not None or not found:
        raise StoreMiss(
            f"no searches {tree_search.label} of policy {policy!r} with PRM {prm!r} on {wanted.dataset!r} "
            f"are stored in {places(data)} with {wanted.sampling}"
            f"{fetch_hint(wanted.relative, wanted.dataset, data)}; fill them with: "
            f"{command(wanted, tree_search, dataset, data)}"
        )
    if len(found) > 1:
        names = "; ".join(str(table.sampling) for table in found)
        raise StoreError(
            f"several tables of {tree_search.label} searches are stored; say which with config=: {names}"
        )
    return found[0]


def _some_trees(tree_search: TreeSearch, count: int) -> TreeSearch:
    if tree_search.method == "beam":
        return tree_search
    return replace(tree_search, budget=count * tree_search.branching)


def _row(problem_id: str, node: SearchNode) -> dict[str, Any]:
    row = {name: getattr(node, name) for name in _COLUMNS}
    return {"problem_id": problem_id, **row, "score": math.nan if node.score is None else node.score}


def _with_texts(nodes: pd.DataFrame):
    """Every row with the text of the state it continues, and of the state it leads to; parents come first."""
    texts: dict[tuple[str, int, int], str] = {}
    for row in nodes.itertuples(index=False):
        parent = "" if row.parent == -1 else texts[row.problem_id, row.run, row.parent]
        text = parent + row.text
        texts[row.problem_id, row.run, row.node] = text
        yield row, parent, text


def _miss(what: str, name: str, state: State) -> str:
    return (
        f"{what} by {name!r} after {len(state.steps)} steps of problem {state.problem.problem_id!r} is not "
        f"among the stored search trees (…{state.text[-60:]!r}); other settings need a search "
        "with live models: tts search"
    )
