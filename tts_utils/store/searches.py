"""The table of searches: fill it with live models, read it, and replay a search from it without any model."""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tts_utils import answers, mdp, search
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
from tts_utils.store import columns as table_columns
from tts_utils.store import files as table_files
from tts_utils.store import fill, verdicts
from tts_utils.store.manifest import StoreError
from tts_utils.store.tables import StoreMiss, Table, sampling_options
from tts_utils.tree_search import TreeSearch

if TYPE_CHECKING:
    from tts_utils.protocols import PRM, Policy


@dataclass(frozen=True, slots=True)
class SearchSource:
    """Stored searches that a reader means.

    Attributes:
        dataset: the problem set as the reader named it.
        policy, prm: names.
        tree_search: which search; of a DVTS its N/M trees are read, where more may be stored.
        config: how the policy was sampled; None takes ``SamplingConfig()``, else the only one stored.
        problems: those that must be there; None means all of the data set.
        data: the data directory; None means ``data_dir()``.
    """

    dataset: str
    policy: str
    prm: str
    tree_search: TreeSearch
    config: SamplingConfig | None = None
    problems: Sequence[Problem] | None = None
    data: Path | None = None

    @property
    def folder(self) -> Path:
        """The data directory."""
        return data_dir() if self.data is None else self.data

    @property
    def problem_set(self) -> Sequence[Problem]:
        """The problems that must be there."""
        if self.problems is not None:
            return self.problems
        return load_problems(self.dataset, data=self.folder)

    @property
    def table(self) -> Table:
        """The table that holds them.

        Raises:
            StoreMiss: there is none; names the command that fills it.
            StoreError: no configuration was given and several tables would do.
        """
        wanted = table_of_search(self.dataset, self.policy, self.prm, self.tree_search, self.config)
        tables = [
            table
            for table in table_files.stored(self.folder, "searches", wanted.dataset, self.policy, self.prm)
            if (table.policy, table.prm, table.method) == (self.policy, self.prm, wanted.method)
        ]
        if wanted in tables:
            return wanted
        label = self.tree_search.label
        if self.config is not None or not tables:
            raise StoreMiss(
                f"no searches {label} of policy {self.policy!r} with PRM {self.prm!r} on {wanted.dataset!r} "
                f"are stored in {places(self.folder)} with {wanted.sampling}"
                f"{fetch_hint(wanted.relative, wanted.dataset, self.folder)}; fill them with: "
                f"{command(wanted, self.tree_search, self.dataset, self.folder)}"
            )
        if len(tables) > 1:
            names = "; ".join(str(table.sampling) for table in tables)
            raise StoreError(
                f"several tables of {label} searches are stored; say which with config=: {names}"
            )
        return tables[0]

    def rows(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The nodes of the trees, sorted by run, problem_id and node, no tree missing.

        Args:
            columns: these only, problem_id, run and node among them; None reads all.

        Raises:
            StoreMiss: the tree of some problem is not stored; names the command that fills it.
            DamagedTable, ForeignTable: naming the file.
        """
        table, wanted = self.table, {problem.problem_id for problem in self.problem_set}
        rows = table_files.load(table, self.folder, columns=columns)
        codes, names = table_columns.codes(rows, "problem_id")
        number_of_trees = self.tree_search.num_subtrees
        meant = np.array([name in wanted for name in names], dtype=bool)
        meant = meant[codes] & (table_columns.numbers(rows, "run") < number_of_trees)
        roots = codes[meant & (table_columns.numbers(rows, "node") == 0)]
        counts = dict(zip(names, np.bincount(roots, minlength=len(names)), strict=True))
        if short := [name for name in sorted(wanted) if counts.get(name, 0) < number_of_trees]:
            raise StoreMiss(
                f"{table.relative} lacks search trees of {len(short)} of {len(wanted)} problems (problem "
                f"{short[0]!r} has {counts.get(short[0], 0)} of {number_of_trees}); fill them with: "
                f"{command(table, self.tree_search, self.dataset, self.folder)}"
            )
        return rows if meant.all() else rows.filter(pa.array(meant)).combine_chunks()

    def replay(self, problems: Sequence[Problem] | None = None) -> list[SearchResult]:
        """The results of the problems, or of some of them, by the real algorithm, with no model."""
        problems = self.problem_set if problems is None else problems
        verdicts.recall(self.folder)
        some = replace(self, problems=problems)
        groups = dict(list(table_columns.to_frame(some.rows()).groupby("problem_id")))
        results = []
        for problem in problems:
            nodes = groups[problem.problem_id]
            stored = StoredPolicy(nodes, self.policy), StoredPRM(nodes, self.prm)
            config = self.config or SamplingConfig()
            results += search.run([self.tree_search(problem)], *stored, config)
        return results


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
    fill.refuse_copies(tree_search.budget, config or SamplingConfig())
    fill.refuse_nothing(batch_size=batch_size, limit=limit)
    data = data_dir() if data is None else data
    problems = load_problems(dataset, data=data) if problems is None else problems
    sources = {
        "problems_sha256": fingerprint(problems),
        **fill.revision("policy", policy),
        **fill.revision("prm", prm),
    }
    asked = [p for p in problems[:limit] if only is None or p.problem_id in only]
    table = table_of_search(dataset, policy.name, prm.name, tree_search, config)
    trees = _TreesToGrow(asked, tree_search, table.sampling, policy, prm, batch_size)
    filled = fill.fill_table(table, trees, data, sources, progress)
    source = SearchSource(dataset, policy.name, prm.name, tree_search, table.sampling, asked, data)
    # What was not searched whole just now is replayed for its answers; a replay of everything would double
    # the time of a large search, and hold all of its nodes at once.
    rest = [problem for problem in asked if problem.problem_id not in trees.answers]
    found = list(trees.answers.values())
    found += [[c.answer for c in result.completions] for result in (source.replay(rest) if rest else [])]
    with verdicts.settling(data):
        for spellings in found:
            answers.group_answers(spellings)
    return filled


class _TreesToGrow:
    """Which trees of which problems are not stored; a block is some problems."""

    columns = ("problem_id", "run", "node")

    def __init__(
        self,
        problems: Sequence[Problem],
        tree_search: TreeSearch,
        sampling: SamplingConfig,
        policy: Policy,
        prm: PRM,
        batch_size: int,
    ) -> None:
        self.problems, self.tree_search, self.sampling = problems, tree_search, sampling
        self.models: dict[str, Any] = {"policy": policy, "prm": prm}
        self.height = max(1, batch_size // tree_search.budget)
        self.have = np.zeros((len(problems), tree_search.num_subtrees), dtype=bool)  # (P, trees)
        self.row_of = {problem.problem_id: row for row, problem in enumerate(problems)}
        self.answers: dict[str, list[str]] = {}  # of the problems all of whose trees were grown here

    @property
    def blocks(self) -> dict[str, slice]:
        size = f"{self.height}-{self.tree_search.budget}"
        starts = range(0, len(self.have), self.height)
        return {f"{start}-{size}": slice(start, start + self.height) for start in starts}

    def note(self, rows: pa.Table) -> None:
        # A tree is stored in one part, whole or not at all, so that its first node tells.
        roots = rows.filter(pc.equal(rows["node"], 0))
        for problem_id, run in zip(*(roots[c].to_pylist() for c in ("problem_id", "run")), strict=True):
            if problem_id in self.row_of and run < self.tree_search.num_subtrees:
                self.have[self.row_of[problem_id], run] = True

    def lacks(self, block: slice) -> bool:
        return not self.have[block].all()

    def compute(self, block: slice) -> dict[str, list[Any]]:
        methods = [
            _some_trees(self.tree_search, len(runs))(problem, run=int(runs[0]))
            for problem, stored in zip(self.problems[block], self.have[block], strict=True)
            for runs in fill.gapless(np.flatnonzero(~stored))
        ]
        results = search.run(methods, self.models["policy"], self.models["prm"], self.sampling)
        whole = {
            p.problem_id
            for p, stored in zip(self.problems[block], self.have[block], strict=True)
            if not stored.any()
        }
        for result in results:
            if result.problem_id in whole:
                self.answers[result.problem_id] = [c.answer for c in result.completions]
        return _columns(results)

    def progress(self) -> tuple[int, int]:
        return int(self.have.sum()), self.have.size


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
    """Read the stored search trees; arguments as for :class:`SearchSource`.

    Returns:
        One row per node, sorted by run, problem_id and node, with the columns of
        :class:`tts_utils.records.SearchNode` and problem_id; score is NaN where a node has none.

    Raises:
        StoreMiss: nothing, or not the tree of every problem, is stored; names the command that fills it.
        DamagedTable, ForeignTable: naming the file.
    """
    source = SearchSource(dataset, policy, prm, tree_search, config, problems, data)
    return table_columns.to_frame(source.rows())


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
    return SearchSource(dataset, policy, prm, tree_search, config, problems, data).replay()


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
    default = TreeSearch(tree_search.method, 4 * tree_search.budget)
    for option in ("branching", "how", "max_depth", "every", "resampling"):
        value = getattr(tree_search, option)
        if value != getattr(default, option):
            words += [f"--{option.replace('_', '-')}", str(value)]
    if not tree_search.retire:
        words.append("--compete")
    if tree_search.distinct:
        words.append("--distinct")
    if table.sampling.temperature == 0:
        words += ["--temperature", "0"]
    return shlex.join(words + [word for word in sampling_options(table.sampling) if word != "--greedy"])


def _some_trees(tree_search: TreeSearch, count: int) -> TreeSearch:
    if tree_search.method != "dvts":
        return tree_search
    return replace(tree_search, budget=count * tree_search.branching)


def _columns(results: Sequence[SearchResult]) -> dict[str, list[Any]]:
    """The nodes of all results, column by column."""
    nodes = [node for result in results for node in result.nodes]
    columns: dict[str, list[Any]] = {
        name: list(cells) for name, cells in zip(SearchNode._fields, zip(*nodes, strict=True), strict=False)
    }
    if nodes:
        columns["score"] = [math.nan if score is None else score for score in columns["score"]]
        columns["problem_id"] = [result.problem_id for result in results for _ in result.nodes]
    return columns


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
