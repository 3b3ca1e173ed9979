"""Fill tables with a live policy or PRM: batch by batch, resumable, several processes at once.

Work is cut into blocks that depend on the command only. A process claims a block, computes the rows that
nobody has stored, and appends them as one part; what it leaves behind when killed is whole parts, and
claims that the system frees. The last step compacts the table. Rows never depend on blocks, so neither does
the table.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from tts_utils import mdp, search
from tts_utils.data_folder import data_dir, dataset_name
from tts_utils.problems import fingerprint, load_problems
from tts_utils.records import Problem, SamplingConfig, State
from tts_utils.store import columns as table_columns
from tts_utils.store import files as table_files
from tts_utils.store import manifest, verdicts
from tts_utils.store.encoding import Rows, num_rows
from tts_utils.store.manifest import StoreError
from tts_utils.store.tables import ForeignTable, Table

if TYPE_CHECKING:
    from tts_utils.protocols import PRM, Policy

Progress = Callable[[int, int], None]
SAMPLES_PER_BLOCK = 64  # of one problem: they begin alike, and a policy may read what they share once


@dataclass(frozen=True, slots=True)
class Filled:
    """What filling a table did.

    Attributes:
        table: its identity.
        path: its file.
        added: rows this call computed and stored.
        rows: rows the table holds now.
        seconds: time this call took.
        unscored: samples, of the problems asked for, whose text has steps and whose row has no scores: they
            are longer than the PRM reads, and cast no vote.
    """

    table: Table
    path: Path
    added: int
    rows: int
    seconds: float
    unscored: int = 0


def fill_samples(
    dataset: str,
    policy: Policy,
    n: int,
    config: SamplingConfig | None = None,
    *,
    problems: Sequence[Problem] | None = None,
    limit: int | None = None,
    only: Collection[str] | None = None,
    batch_size: int = 256,
    data: Path | None = None,
    progress: Progress | None = None,
) -> Filled:
    """Store samples 0..n-1 of every problem, computing the missing ones; each is graded as it is stored.

    Args:
        dataset: as for :func:`tts_utils.problems.load_problems`.
        policy: a live policy.
        n: samples per problem, at least 1, at temperature 0 no more; a larger pool stays as it is.
        config: None means ``SamplingConfig()``.
        problems: the whole data set, if it is already loaded.
        limit: only the first so many problems.
        only: only the problems with these identifiers.
        batch_size: continuations per ``policy.sample`` call, at most; rows do not depend on it.
        data: the data directory; None means ``data_dir()``.
        progress: called with (rows there, rows wanted) after every batch.

    Raises:
        StoreError: ``n`` is out of range, or the table was filled from other problems or another model, or is
            damaged.
    """
    config = config or SamplingConfig()
    refuse_copies(n, config)
    refuse_nothing(n=n, batch_size=batch_size, limit=limit)
    data = data_dir() if data is None else data
    problems = load_problems(dataset, data=data) if problems is None else problems
    sources = {"problems_sha256": fingerprint(problems), **revision("policy", policy)}
    asked = [p for p in problems[:limit] if only is None or p.problem_id in only]
    table = Table("samples", dataset_name(dataset), policy.name, config)
    filled = fill_table(table, _Draws(asked, n, config, policy, batch_size), data, sources, progress)
    verdicts.settle_samples(table, problems, data)
    return filled


def fill_step_scores(
    samples: Table,
    prm: PRM,
    *,
    problems: Sequence[Problem] | None = None,
    limit: int | None = None,
    batch_size: int = 256,
    data: Path | None = None,
    progress: Progress | None = None,
) -> Filled:
    """Store step scores of every stored sample; equal texts of a problem are scored once.

    A sample that is longer than the PRM reads is stored with scores [] and 0 tokens, and counted as
    ``unscored``; it is not tried again.

    Args:
        samples: the table of samples, as :func:`tts_utils.store.find_table` gives it.
        prm: a live PRM.
        problems, limit, batch_size, data, progress: as for :func:`fill_samples`.

    Raises:
        BadScores: the PRM returned a wrong number of scores, a NaN, or a score outside [0, 1]; nothing of
            that batch is stored.
        StoreError: as for :func:`fill_samples`.
    """

    def compute(states: Sequence[State]) -> list[dict[str, Any]]:
        scored = search.score(prm, states)
        return [{"scores": list(s.scores), "num_prm_tokens": s.num_tokens} for s in scored]

    table = Table("step_scores", samples.dataset, samples.policy, samples.sampling, prm=prm.name)
    return _fill_per_text(samples, table, compute, prm, problems, limit, batch_size, data, progress)


def fill_step_labels(
    samples: Table,
    check_steps: Callable[[Problem, Sequence[str]], Sequence[bool]],
    *,
    problems: Sequence[Problem] | None = None,
    limit: int | None = None,
    batch_size: int = 4096,
    data: Path | None = None,
    progress: Progress | None = None,
) -> Filled:
    """Store, for every stored sample, which of its steps are right, as a checker of steps says.

    Args:
        samples: the table of samples.
        check_steps: one verdict per step, in order.
        problems, limit, batch_size, data, progress: as for :func:`fill_samples`.

    Raises:
        StoreError: the checker returned a wrong number of verdicts, and as for :func:`fill_samples`.
    """

    def compute(states: Sequence[State]) -> list[dict[str, Any]]:
        labels = [[bool(ok) for ok in check_steps(s.problem, s.steps)] for s in states]
        for state, of_steps in zip(states, labels, strict=True):
            if len(of_steps) != len(state.steps):
                raise StoreError(
                    f"the checker gave {len(of_steps)} verdicts on the {len(state.steps)} steps of a sample "
                    f"of problem {state.problem.problem_id!r}"
                )
        return [{"labels": of_steps} for of_steps in labels]

    table = Table("step_labels", samples.dataset, samples.policy, samples.sampling)
    return _fill_per_text(samples, table, compute, None, problems, limit, batch_size, data, progress)


def _fill_per_text(
    samples: Table,
    table: Table,
    compute: Callable[[Sequence[State]], list[dict[str, Any]]],
    judge: PRM | None,
    problems: Sequence[Problem] | None,
    limit: int | None,
    batch_size: int,
    data: Path | None,
    progress: Progress | None,
) -> Filled:
    refuse_nothing(batch_size=batch_size, limit=limit)
    data = data_dir() if data is None else data
    problems = load_problems(samples.dataset, data=data) if problems is None else problems
    sources = {**table_files.sources(samples, data), "problems_sha256": fingerprint(problems)}
    rows = table_files.load(samples, data, sources=sources, columns=["problem_id", "sample", "text"])
    texts = _Texts(table_columns.to_frame(rows), problems[:limit], compute, judge, batch_size)
    if not texts.samples_of:
        raise StoreError(f"{samples.relative} holds no sample of these problems")
    sources |= {} if judge is None else revision("prm", judge)
    filled = fill_table(table, texts, data, sources, progress)
    return replace(filled, unscored=texts.unscored())


class _Draws:
    """Which samples of which problems are not stored; a block is some samples of some problems."""

    columns = ("problem_id", "sample")

    def __init__(
        self,
        problems: Sequence[Problem],
        n: int,
        sampling: SamplingConfig,
        policy: Policy,
        batch_size: int,
    ) -> None:
        self.problems, self.sampling, self.models = problems, sampling, {"policy": policy}
        self.have = np.zeros((len(problems), n), dtype=bool)  # (P, n)
        self.row_of = {problem.problem_id: row for row, problem in enumerate(problems)}
        self.width = min(n, SAMPLES_PER_BLOCK, batch_size)
        self.height = batch_size // self.width

    @property
    def blocks(self) -> dict[str, tuple[slice, slice]]:
        return {
            f"{s}-{p}-{self.width}x{self.height}": (slice(p, p + self.height), slice(s, s + self.width))
            for s in range(0, self.have.shape[1], self.width)
            for p in range(0, len(self.problems), self.height)
        }

    def note(self, rows: pa.Table) -> None:
        for problem_id, sample in zip(*(rows[c].to_pylist() for c in self.columns), strict=True):
            if problem_id in self.row_of and sample < self.have.shape[1]:
                self.have[self.row_of[problem_id], sample] = True

    def lacks(self, block: tuple[slice, slice]) -> bool:
        return not self.have[block].all()

    def compute(self, block: tuple[slice, slice]) -> list[dict[str, Any]]:
        rows, columns = block
        methods = [
            search.best_of_n(problem, len(run), first=columns.start + int(run[0]), scored=False)
            for problem, stored in zip(self.problems[rows], self.have[block], strict=True)
            for run in gapless(np.flatnonzero(~stored))
        ]
        results = search.run(methods, self.models["policy"], None, self.sampling)
        return [_sample_row(completion) for result in results for completion in result.completions]

    def progress(self) -> tuple[int, int]:
        return int(self.have.sum()), self.have.size


class _Texts:
    """Which distinct texts of stored samples have no scores (or labels) yet; a block is some texts."""

    columns = None

    def __init__(
        self,
        samples: pd.DataFrame,
        problems: Sequence[Problem],
        of_states: Callable[[Sequence[State]], list[dict[str, Any]]],
        judge: PRM | None,
        batch_size: int,
    ) -> None:
        by_id = {problem.problem_id: problem for problem in problems}
        self.of_states, self.batch_size = of_states, batch_size
        self.models = {} if judge is None else {"prm": judge}
        self.samples_of: dict[tuple[str, str], list[int]] = {}  # (problem_id, text) -> its samples
        for key in samples[samples["problem_id"].isin(by_id.keys())].itertuples(index=False):
            self.samples_of.setdefault((key.problem_id, key.text), []).append(int(key.sample))
        self.states = {key: mdp.state_of(by_id[key[0]], key[1]) for key in self.samples_of}
        self.payloads: dict[tuple[str, int], dict[str, Any]] = {}  # (problem_id, sample) -> what is stored

    @property
    def blocks(self) -> dict[str, list[tuple[str, str]]]:
        keys, size = list(self.samples_of), self.batch_size
        return {f"{i}-{size}": keys[i : i + size] for i in range(0, len(keys), size)}

    def note(self, rows: pa.Table) -> None:
        frame = table_columns.to_frame(rows)
        kept = [name for name in frame.columns if name in ("scores", "num_prm_tokens", "labels")]
        for row in frame[["problem_id", "sample", *kept]].to_dict("records"):
            self.payloads[row["problem_id"], row["sample"]] = {name: row[name] for name in kept}

    def lacks(self, block: list[tuple[str, str]]) -> bool:
        return any(map(self._absent, block))

    def compute(self, block: list[tuple[str, str]]) -> list[dict[str, Any]]:
        absent = {key: samples for key in block if (samples := self._absent(key))}
        known = {
            key: _payload_of_another(key, self.samples_of[key], self.states[key], self.payloads)
            for key in absent
        }
        new = [key for key in absent if known[key] is None]
        known |= dict(zip(new, self.of_states([self.states[key] for key in new]), strict=True))
        return [
            {"problem_id": key[0], "sample": sample, **(known[key] or {})}
            for key, samples in absent.items()
            for sample in samples
        ]

    def progress(self) -> tuple[int, int]:
        total = sum(map(len, self.samples_of.values()))
        return min(len(self.payloads), total), total

    def unscored(self) -> int:
        """How many samples have steps and no scores."""
        with_steps = [
            (key[0], sample)
            for key, samples in self.samples_of.items()
            for sample in samples
            if self.states[key].steps
        ]
        return sum(self.payloads[at].get("scores") == [] for at in with_steps)

    def _absent(self, key: tuple[str, str]) -> list[int]:
        return [sample for sample in self.samples_of[key] if (key[0], sample) not in self.payloads]


def _payload_of_another(
    key: tuple[str, str], members: list[int], state: State, payloads: Mapping[tuple[str, int], dict[str, Any]]
) -> dict[str, Any] | None:
    """What is stored of another sample with the same text, checked to fit it; None if nothing is."""
    for sample in members:
        if payload := payloads.get((key[0], sample)):
            per_step = payload["scores"] if "scores" in payload else payload["labels"]
            too_long = "scores" in payload and not per_step
            if len(per_step) != len(state.steps) and not too_long:
                raise ForeignTable(
                    f"problem {key[0]!r}, sample {sample}: {len(per_step)} step scores or labels are stored "
                    f"for a text of {len(state.steps)} steps; the samples were replaced: remove the old table"
                )
            return payload
    return None


class Work(Protocol):
    """What is to be filled into a table: what is stored of it, and how the rest is computed.

    Attributes:
        columns: what :meth:`note` reads of stored rows; None means all.
        models: by role ("policy", "prm"), what computes.
        blocks: by a name that depends on the command only.
    """

    @property
    def columns(self) -> Sequence[str] | None: ...

    @property
    def models(self) -> Mapping[str, Any]: ...

    @property
    def blocks(self) -> dict[str, Any]: ...

    def note(self, rows: pa.Table) -> None:
        """Take in rows that are stored, by whatever process."""

    def lacks(self, block: Any) -> bool:
        """Whether a row of a block is not stored."""

    def compute(self, block: Any) -> Rows:
        """The rows of a block that are not stored."""

    def progress(self) -> tuple[int, int]:
        """How many are stored, and how many are wanted."""


def fill_table(
    table: Table, work: Work, data: Path, sources: Mapping[str, str], progress: Progress | None = None
) -> Filled:
    """Compute and store what a table lacks, block by block, and compact it: the one loop of all filling."""
    start = time.perf_counter()
    seen: set = set()

    def refresh() -> None:
        work.note(table_files.unseen(table, data, seen, sources=sources, columns=work.columns))

    refresh()
    added = 0
    blocks = work.blocks
    for name in claimed([name for name, block in blocks.items() if work.lacks(block)], table, data):
        refresh()
        began, run = time.perf_counter(), _tokens_run(work.models)
        for model in work.models.values():
            # What was read before this block decides in which batches the rest is read, and how that rounds;
            # so a block has the same bits whichever process computes it.
            getattr(model, "forget", lambda: None)()
        batch = work.compute(blocks[name])
        if not num_rows(batch):
            continue
        spent = {role: tokens - run[role] for role, tokens in _tokens_run(work.models).items()}
        took = time.perf_counter() - began
        table_files.append(table, batch, data, sources=sources, seconds=took, tokens_run=spent)
        added += num_rows(batch)
        refresh()
        if progress:
            progress(*work.progress())
    refresh()
    path = table_files.compact(table, data)
    rows = table_files.stored_rows(table, data)
    return Filled(table, path, added, rows, time.perf_counter() - start)


def _tokens_run(models: Mapping[str, Any]) -> dict[str, int]:
    """The tokens that models say to have run so far: fewer than are charged, where something was cached."""
    return {role: model.tokens_run for role, model in models.items() if hasattr(model, "tokens_run")}


def refuse_nothing(**counts: int | None) -> None:
    """Raise StoreError unless every count is at least 1, or None."""
    if bad := {name: count for name, count in counts.items() if count is not None and count < 1}:
        raise StoreError(
            f"{' and '.join(bad)} must be at least 1, got {' and '.join(map(str, bad.values()))}"
        )


def refuse_copies(n: int, config: SamplingConfig) -> None:
    """Raise StoreError where n samples, or the N candidates of a search, would be copies of one."""
    if config.temperature == 0 and n > 1:
        raise StoreError(
            f"greedy decoding (temperature 0) gives the same sample every time, so {n} of them tell no more "
            "than one; take n = 1 (--n 1), or a temperature above 0"
        )


def claimed(names: Sequence[str], table: Table, data: Path) -> Iterator[str]:
    """Yield every block's name once while its claim is held; those claimed by other processes come last."""
    later: list[str] = []
    for wait in (False, True):
        for name in later if wait else names:
            with manifest.locked(data):  # against another process removing the folder
                table.parts(data).mkdir(parents=True, exist_ok=True)
                handle = os.open(table.parts(data) / f"{name}.claim", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                if manifest.flock(handle, wait=wait):
                    yield name
                else:
                    later.append(name)
            finally:
                os.close(handle)


def revision(role: str, model: Any) -> dict[str, str]:
    """What tells a model from its other versions, as far as it says: rows of two are never mixed.

    ``revision`` is that of its weights, ``settings`` that of its template and configuration; tables from
    before these were noted lack the latter, and are continued.
    """
    noted = {f"{role}_{name}": getattr(model, name, "") for name in ("revision", "settings")}
    return {key: value for key, value in noted.items() if value}


def gapless(indices: np.ndarray) -> list[np.ndarray]:
    """Cut ascending indices into runs without gaps."""
    if not len(indices):
        return []
    return np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)


def _sample_row(completion: Any) -> dict[str, Any]:
    names = ("problem_id", "sample", "text", "num_tokens", "finish_reason", "answer", "correct")
    return {name: getattr(completion, name) for name in names}
