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
from typing import TYPE_CHECKING, Any

import numpy as np

from tts_utils import mdp, search
from tts_utils.data_folder import data_dir, dataset_name
from tts_utils.problems import fingerprint, load_problems
from tts_utils.records import Problem, SamplingConfig, State
from tts_utils.store import files as table_files
from tts_utils.store import manifest
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
    start = time.perf_counter()
    config = config or SamplingConfig()
    refuse_copies(n, config)
    if n < 1 or batch_size < 1 or (limit is not None and limit < 1):
        raise StoreError(f"n, batch_size and limit must be at least 1, got {n}, {batch_size} and {limit}")
    data = data_dir() if data is None else data
    problems = load_problems(dataset, data=data) if problems is None else problems
    sources = {"problems_sha256": fingerprint(problems), **revision("policy", policy)}
    problems = [p for p in problems[:limit] if only is None or p.problem_id in only]
    table = Table("samples", dataset_name(dataset), policy.name, config)
    have = np.zeros((len(problems), n), dtype=bool)  # (P, n)
    row_of = {problem.problem_id: row for row, problem in enumerate(problems)}
    seen: set = set()

    def refresh() -> None:
        keys = table_files.unseen(table, data, seen, sources=sources, columns=["problem_id", "sample"])
        for problem_id, sample in zip(*(keys[c].to_pylist() for c in ("problem_id", "sample")), strict=True):
            if problem_id in row_of and sample < n:
                have[row_of[problem_id], sample] = True

    width = min(n, SAMPLES_PER_BLOCK, batch_size)
    height = batch_size // width
    blocks = {
        f"{s}-{p}-{width}x{height}": (slice(p, p + height), slice(s, s + width))
        for s in range(0, n, width)
        for p in range(0, len(problems), height)
    }
    refresh()
    added = 0
    for block in claimed([name for name, where in blocks.items() if not have[where].all()], table, data):
        refresh()
        rows, columns = blocks[block]
        methods = [
            search.best_of_n(problem, len(run), first=columns.start + int(run[0]), scored=False)
            for problem, there in zip(problems[rows], have[rows, columns], strict=True)
            for run in gapless(np.flatnonzero(~there))
        ]
        if not methods:
            continue
        began = time.perf_counter()
        results = search.run(methods, policy, None, table.sampling)
        batch = [_sample_row(c) for result in results for c in result.completions]
        took = time.perf_counter() - began
        table_files.append(table, batch, data, sources=sources, seconds=took)
        added += len(batch)
        have[rows, columns] = True
        if progress:
            progress(int(have.sum()), have.size)
    return finished(table, data, added, start)


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
    return _fill_per_text(
        samples, table, compute, revision("prm", prm), problems, limit, batch_size, data, progress
    )


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
        for state, verdicts in zip(states, labels, strict=True):
            if len(verdicts) != len(state.steps):
                raise StoreError(
                    f"the checker gave {len(verdicts)} verdicts on the {len(state.steps)} steps of a sample "
                    f"of problem {state.problem.problem_id!r}"
                )
        return [{"labels": verdicts} for verdicts in labels]

    table = Table("step_labels", samples.dataset, samples.policy, samples.sampling)
    return _fill_per_text(samples, table, compute, {}, problems, limit, batch_size, data, progress)


def _fill_per_text(
    samples: Table,
    table: Table,
    compute: Callable[[Sequence[State]], list[dict[str, Any]]],
    revision: Mapping[str, str],
    problems: Sequence[Problem] | None,
    limit: int | None,
    batch_size: int,
    data: Path | None,
    progress: Progress | None,
) -> Filled:
    start = time.perf_counter()
    if batch_size < 1 or (limit is not None and limit < 1):
        raise StoreError(f"batch_size and limit must be at least 1, got {batch_size} and {limit}")
    data = data_dir() if data is None else data
    problems = load_problems(samples.dataset, data=data) if problems is None else problems
    sampled_from = {**table_files.sources(samples, data), "problems_sha256": fingerprint(problems)}
    by_id = {problem.problem_id: problem for problem in problems[:limit]}
    frame = table_files.to_frame(table_files.load(samples, data, sources=sampled_from))
    texts: dict[tuple[str, str], list[int]] = {}  # (problem_id, text) -> its samples
    for problem_id, sample, text in zip(frame["problem_id"], frame["sample"], frame["text"], strict=True):
        if problem_id in by_id:
            texts.setdefault((problem_id, text), []).append(int(sample))
    if not texts:
        raise StoreError(f"{samples.relative} holds no sample of these problems")
    sources = {**sampled_from, **revision}
    states = {key: mdp.state_of(by_id[key[0]], key[1]) for key in texts}
    payloads: dict[tuple[str, int], dict[str, Any]] = {}  # (problem_id, sample) -> what is stored of it
    seen: set = set()

    def refresh() -> None:
        rows = table_files.to_frame(table_files.unseen(table, data, seen, sources=sources))
        kept = [name for name in rows.columns if name in ("scores", "num_prm_tokens", "labels")]
        for row in rows[["problem_id", "sample", *kept]].to_dict("records"):
            payloads[row["problem_id"], row["sample"]] = {name: row[name] for name in kept}

    def missing(key: tuple[str, str]) -> list[int]:
        return [sample for sample in texts[key] if (key[0], sample) not in payloads]

    refresh()
    keys = list(texts)
    blocks = {f"{i}-{batch_size}": keys[i : i + batch_size] for i in range(0, len(keys), batch_size)}
    total = sum(len(members) for members in texts.values())
    added = 0
    for name in claimed([b for b, members in blocks.items() if any(map(missing, members))], table, data):
        refresh()
        began = time.perf_counter()
        todo = {key: samples for key in blocks[name] if (samples := missing(key))}
        known = {key: _payload_of_another(key, texts[key], states[key], payloads) for key in todo}
        unknown = [key for key in todo if known[key] is None]
        known |= dict(zip(unknown, compute([states[key] for key in unknown]), strict=True))
        batch = [
            {"problem_id": key[0], "sample": sample, **known[key]} for key in todo for sample in todo[key]
        ]
        if not batch:
            continue
        took = time.perf_counter() - began
        table_files.append(table, batch, data, sources=sources, seconds=took)
        added += len(batch)
        refresh()
        if progress:
            progress(min(len(payloads), total), total)
    refresh()
    with_steps = {(key[0], sample) for key in texts if states[key].steps for sample in texts[key]}
    unscored = sum(payloads[at].get("scores") == [] for at in with_steps)
    return replace(finished(table, data, added, start), unscored=unscored)


def _payload_of_another(
    key: tuple[str, str], members: list[int], state: State, payloads: Mapping[tuple[str, int], dict[str, Any]]
) -> dict[str, Any] | None:
    """What is stored of another sample with the same text, checked to fit it; None if nothing is."""
    for sample in members:
        if payload := payloads.get((key[0], sample)):
            per_step = payload.get("scores", payload.get("labels"))
            too_long = "scores" in payload and not per_step
            if len(per_step) != len(state.steps) and not too_long:
                raise ForeignTable(
                    f"problem {key[0]!r}, sample {sample}: {len(per_step)} step scores or labels are stored "
                    f"for a text of {len(state.steps)} steps; the samples were replaced: remove the old table"
                )
            return payload
    return None


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


def finished(table: Table, data: Path, added: int, start: float) -> Filled:
    """Compact a table that is all there, and say what was done to it since ``start``."""
    path = table_files.compact(table, data)
    rows = table_files.stored_rows(table, data)
    return Filled(table, path, added, rows, time.perf_counter() - start)


def revision(role: str, model: Any) -> dict[str, str]:
    """The model's own hashes of its weights and of its configuration and template, where it offers them.

    Rows of two versions are never mixed then.
    """
    found = {f"{role}_{what}": getattr(model, what, "") for what in ("revision", "setup")}
    return {key: value for key, value in found.items() if value}


def gapless(indices: np.ndarray) -> list[np.ndarray]:
    """Cut ascending indices into runs without gaps."""
    if not len(indices):
        return []
    return np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)


def _sample_row(completion: Any) -> dict[str, Any]:
    names = ("problem_id", "sample", "text", "num_tokens", "finish_reason", "answer", "correct")
    return {name: getattr(completion, name) for name in names}
