"""Read stored tables: samples, step scores, step labels; a missing row is an error that names its command.

Filling lives in :mod:`tts_utils.store.fill`, searches in :mod:`tts_utils.store.searches`, files in
:mod:`tts_utils.store.files`; what a lesson needs of them is offered here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tts_utils import answers, voting
from tts_utils.data_folder import data_dir, dataset_name, fetch_hint, look_up, places
from tts_utils.problems import load_problems
from tts_utils.records import Problem, SamplingConfig, SearchResult
from tts_utils.store import files as table_files
from tts_utils.store import manifest, misses
from tts_utils.store.fill import Filled, fill_samples, fill_step_labels, fill_step_scores
from tts_utils.store.manifest import StoreError, record_files
from tts_utils.store.misses import Incomplete, PoolTooSmall
from tts_utils.store.searches import StoredPolicy, StoredPRM, fill_searches, read_searches, replay
from tts_utils.store.tables import UNKNOWN_TOKENS, DamagedTable, ForeignTable, StoreMiss, Table

if TYPE_CHECKING:
    from tts_utils.protocols import PRM, Policy

__all__ = [
    "DamagedTable",
    "Filled",
    "ForeignTable",
    "Incomplete",
    "Pool",
    "PoolTooSmall",
    "StoreError",
    "StoreMiss",
    "StoredPRM",
    "StoredPolicy",
    "Table",
    "fill_samples",
    "fill_searches",
    "fill_step_labels",
    "fill_step_scores",
    "find_table",
    "pivot",
    "pool_of",
    "read_pool",
    "read_samples",
    "read_searches",
    "read_step_labels",
    "read_step_scores",
    "record_files",
    "replay",
    "verify",
    "with_scores",
]


def find_table(
    kind: str,
    dataset: str,
    policy: str,
    *,
    prm: str = "",
    config: SamplingConfig | None = None,
    greedy: bool = False,
    data: Path | None = None,
) -> Table:
    """Find which table is meant.

    Args:
        kind: "samples", "step_scores", "step_labels".
        dataset, policy, prm: names.
        config: exactly this one, stored or not. None takes, among the stored tables at a temperature above 0,
            that of ``SamplingConfig()``, else the only one.
        greedy: temperature 0 instead.
        data: the data directory; None means ``data_dir()``.

    Raises:
        StoreMiss: no configuration was given and nothing is stored.
        StoreError: no configuration was given and several tables would do.
    """
    data = data_dir() if data is None else data
    named, dataset = dataset, dataset_name(dataset)
    default = Table(kind, dataset, policy, _sampling(config, greedy), prm=prm)
    if config is not None:
        return default
    found = [
        table
        for table in table_files.stored(data, kind, dataset, policy, prm)
        if (table.policy, table.prm) == (policy, prm) and (table.sampling.temperature == 0) == greedy
    ]
    if default in found or not found:
        if not found:
            fill = misses.command(default, 1 if greedy else 64, named, data)
            hint = fetch_hint(table_files.folder_of(kind, dataset, policy, prm), dataset, data)
            raise StoreMiss(
                f"no {misses.words(default)} are stored in {places(data)}{_stored_policies(data, dataset)}"
                f"{hint}; fill them with: {fill}"
            )
        return default
    if len(found) > 1:
        names = "; ".join(str(table.sampling) for table in found)
        raise StoreError(
            f"several tables of {misses.words(default)} are stored; say which with config=: {names}"
        )
    return found[0]


def read_samples(
    dataset: str,
    policy: str,
    *,
    config: SamplingConfig | None = None,
    greedy: bool = False,
    n: int | None = None,
    problems: Sequence[Problem] | None = None,
    live: Policy | None = None,
    data: Path | None = None,
) -> pd.DataFrame:
    """Read the first n stored samples of every problem.

    Args:
        dataset, policy: names.
        config, greedy: which table, as for :func:`find_table`.
        n: samples per problem; None takes the whole pool.
        problems: those that must be there; None means all of the data set where its problem file is stored
            beside the tables, else those in the table.
        live: a live policy that fills what is missing (give ``n`` then).
        data: the data directory; None means ``data_dir()``.

    Returns:
        One row per sample, sorted by problem_id and sample, with the columns policy, dataset, problem_id,
        sample, text, num_tokens, finish_reason, answer ("" if none was found or the text was cut), correct.
        Imported rows have num_tokens -1 and finish_reason "unknown" where their file does not say.

    Raises:
        StoreMiss: rows are missing and ``live`` is None; :class:`Incomplete` where others are there.
        PoolTooSmall: ``n`` is larger than the stored pool.
        DamagedTable, ForeignTable: naming the file.
    """
    data = data_dir() if data is None else data
    if live is not None:
        if live.name != policy or (n is None and not greedy):
            raise StoreError(f"a live policy must be {policy!r}, not {live.name!r}, and needs n")
        config = _sampling(config, greedy)
        only = None if problems is None else {problem.problem_id for problem in problems}
        fill_samples(dataset, live, n or 1, config, only=only, data=data)
    table = find_table("samples", dataset, policy, config=config, greedy=greedy, data=data)
    return _first_n(table, n, dataset, _expected(dataset, problems, data), data)


def read_step_scores(
    dataset: str,
    policy: str,
    prm: str,
    *,
    config: SamplingConfig | None = None,
    greedy: bool = False,
    n: int | None = None,
    problems: Sequence[Problem] | None = None,
    live: PRM | None = None,
    data: Path | None = None,
) -> pd.DataFrame:
    """Read the stored step scores of the first n samples of every problem.

    Args and errors as :func:`read_samples`, with ``live`` a PRM that scores what is missing.

    Returns:
        One row per sample, sorted by problem_id and sample, with the columns prm, policy, dataset,
        problem_id, sample, scores (a list, one per step; [] for a completion that is empty, or longer than
        the PRM reads) and num_prm_tokens (-1 in imported rows, of which it is not known).
    """
    data = data_dir() if data is None else data
    if live is not None:
        if live.name != prm:
            raise StoreError(f"a live PRM must be {prm!r}, not {live.name!r}")
        samples = find_table("samples", dataset, policy, config=config, greedy=greedy, data=data)
        fill_step_scores(samples, live, problems=load_problems(dataset, data=data), data=data)
        config = samples.sampling
    table = find_table("step_scores", dataset, policy, prm=prm, config=config, greedy=greedy, data=data)
    return _first_n(table, n, dataset, _expected(dataset, problems, data), data)


def read_step_labels(
    dataset: str,
    policy: str,
    *,
    config: SamplingConfig | None = None,
    greedy: bool = False,
    n: int | None = None,
    problems: Sequence[Problem] | None = None,
    data: Path | None = None,
) -> pd.DataFrame:
    """Read which steps of the first n samples are right, as the step checker found; arguments as above.

    Returns:
        One row per sample with the columns policy, dataset, problem_id, sample and labels (a list of bool).
    """
    data = data_dir() if data is None else data
    table = find_table("step_labels", dataset, policy, config=config, greedy=greedy, data=data)
    return _first_n(table, n, dataset, _expected(dataset, problems, data), data)


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of samples as arrays; P problems in order of their identifiers, S samples of each.

    Attributes:
        problem_ids: the P identifiers.
        answers: (P, S) final answers; "" where there is none.
        answer_ids: (P, S) numbers of the answers of a problem, equivalent ones alike; -1 where there is none.
        correct: (P, S) whether the answer is right.
        num_tokens: (P, S) tokens generated; None where one of them is unknown, as in imported runs.
        scores: (P, S) aggregated PRM scores, or None; ``voting.NO_SCORE`` for a completion that has none, as
             it is empty or longer than the PRM reads: it casts no vote.
        num_prm_tokens: (P, S) tokens the PRM read; None without scores, or where one is unknown; 0 where it
            read none.
    """

    problem_ids: tuple[str, ...]
    answers: NDArray[np.object_]
    answer_ids: NDArray[np.int64]
    correct: NDArray[np.bool_]
    num_tokens: NDArray[np.int64] | None
    scores: NDArray[np.float64] | None = None
    num_prm_tokens: NDArray[np.int64] | None = None


def pivot(samples: pd.DataFrame, step_scores: pd.DataFrame | None = None, how: str = "last") -> Pool:
    """Turn the rows of one pool into (P, S) arrays.

    Args:
        samples: as :func:`read_samples` returns it, or some problems of it.
        step_scores: as :func:`read_step_scores` returns it, for the same samples at least.
        how: how to aggregate step scores: "min", "last" or "avg".

    Raises:
        StoreError: problems differ in their number of samples.
        Incomplete: a sample has no step scores.
    """
    samples = samples.sort_values(["problem_id", "sample"], kind="stable")
    problem_ids = tuple(samples["problem_id"].unique())
    size = len(samples) // max(len(problem_ids), 1)
    shape = (len(problem_ids), size)
    if not np.array_equal(samples["sample"], np.tile(np.arange(size), len(problem_ids))):
        raise StoreError("a pool needs samples 0..S-1 of every problem; read it with read_samples")
    texts = samples["answer"].to_numpy(dtype=object).reshape(shape)
    pool = Pool(
        problem_ids=problem_ids,
        answers=texts,
        answer_ids=np.array([answers.group_answers(row) for row in texts], dtype=np.int64).reshape(shape),
        correct=samples["correct"].to_numpy(dtype=bool).reshape(shape),
        num_tokens=_counts(samples["num_tokens"], shape),
    )
    return pool if step_scores is None else with_scores(pool, step_scores, how)


def with_scores(pool: Pool, step_scores: pd.DataFrame, how: str) -> Pool:
    """The same pool with these step scores, aggregated by "min", "last" or "avg".

    Raises:
        Incomplete: a sample has no step scores.
    """
    size = pool.correct.shape[1]
    wanted = pd.MultiIndex.from_product([pool.problem_ids, range(size)])
    by_key = step_scores.set_index(["problem_id", "sample"])
    if len(absent := wanted.difference(by_key.index)):
        way_out = "score them (tts score), or leave their problems out"
        raise Incomplete(
            f"{len(absent)} samples of the pool have no step scores, the first: {absent[0]}; {way_out}",
            size,
            len(pool.problem_ids) - len(absent.unique(level=0)),
            len(pool.problem_ids),
            way_out,
        )
    by_key = by_key.loc[wanted]
    scores = voting.aggregate_many(by_key["scores"].tolist(), how, empty=voting.NO_SCORE)
    return replace(
        pool,
        scores=scores.reshape(pool.correct.shape),
        num_prm_tokens=_counts(by_key["num_prm_tokens"], pool.correct.shape),
    )


def _counts(column: pd.Series, shape: tuple[int, int]) -> NDArray[np.int64] | None:
    counts = column.to_numpy(dtype=np.int64).reshape(shape)
    return None if (counts == UNKNOWN_TOKENS).any() else counts


def pool_of(results: Sequence[SearchResult], how: str = "last") -> Pool:
    """The trajectories that searches ended with, as arrays to vote on.

    Args:
        results: of the same method, one per problem, in any order.
        how: how to aggregate step scores: "min", "last" or "avg".

    Returns:
        A pool of S = the largest number of completions (N/M for beam search and DVTS). Where a problem has
        fewer, the rest are empty: answer "", no score, no tokens. Tokens are those of the trajectories; what
        the whole search spent stands in the results.
    """
    results = sorted(results, key=lambda result: result.problem_id)
    shape = (len(results), max((len(result.completions) for result in results), default=0))
    texts, correct = np.full(shape, "", dtype=object), np.zeros(shape, dtype=bool)
    tokens, read = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    scores = np.full(shape, voting.NO_SCORE)
    for row, result in enumerate(results):
        for column, completion in enumerate(result.completions):
            texts[row, column], correct[row, column] = completion.answer, completion.correct
            tokens[row, column] = completion.num_tokens
        for column, found in enumerate(result.step_scores):
            if found.scores:
                scores[row, column] = voting.aggregate(found.scores, how)
            read[row, column] = found.num_tokens
    scored = any(result.step_scores for result in results)
    return Pool(
        problem_ids=tuple(result.problem_id for result in results),
        answers=texts,
        answer_ids=np.array([answers.group_answers(row) for row in texts], dtype=np.int64).reshape(shape),
        correct=correct,
        num_tokens=tokens,
        scores=scores if scored else None,
        num_prm_tokens=read if scored else None,
    )


def read_pool(
    dataset: str,
    policy: str,
    prm: str = "",
    how: str = "last",
    *,
    config: SamplingConfig | None = None,
    greedy: bool = False,
    n: int | None = None,
    problems: Sequence[Problem] | None = None,
    data: Path | None = None,
) -> Pool:
    """Read samples, and a PRM's scores of them where one is named, as arrays; see the functions above."""
    which = {"config": config, "greedy": greedy, "problems": problems, "data": data}
    samples = read_samples(dataset, policy, n=n, **which)
    n = int(samples["sample"].max()) + 1
    return pivot(samples, read_step_scores(dataset, policy, prm, n=n, **which) if prm else None, how)


def verify(data: Path | None = None, *, whole: bool = True) -> list[str]:
    """Check every stored file against the manifest; one message per bad file, [] if all is well.

    Checked are the sha256 of every listed file, and of every table its schema, its configuration, its
    hash, its name and its number of rows. A table that the manifest does not list is bad; parts that were not
    compacted yet are not.

    Args:
        data: the folder; None means ``data_dir()``.
        whole: a listed file that is absent is bad; False for a cache, which holds what was fetched.
    """
    data = data_dir() if data is None else data
    listed = manifest.load(data)
    if not listed:
        return [f"{data / manifest.NAME} is missing or lists no file"]
    bad = []
    for name, entry in listed.items():
        path = data / name
        if not path.is_file():
            bad += [f"{path} is missing"] * whole
        elif (found := manifest.sha256_of(path)) == entry.get("next_sha256"):
            bad.append(f"{path}: filling it was interrupted at its last step; run the command again")
        elif found != entry["sha256"]:
            bad.append(f"{path} is not the file the manifest lists (its sha256 differs)")
        elif "config" in entry:
            bad += _check_table(path, name, entry)
    for kind in table_files.SCHEMAS:
        for path in sorted((data / kind).rglob("*.parquet")):
            if path.relative_to(data).as_posix() not in listed and path.parent.suffix != ".parts":
                begun = path.with_suffix(".parts").exists()
                hint = "; filling it was interrupted: run the command again" if begun else ""
                bad.append(f"{path} is not listed in {data / manifest.NAME}{hint}")
    return bad


def _first_n(
    table: Table, n: int | None, dataset: str, expected: Sequence[str] | None, data: Path
) -> pd.DataFrame:
    if n is not None and n < 1:
        raise StoreError(f"n must be at least 1, got {n}")
    rows = table_files.to_frame(table_files.load(table, data))
    size = int(rows["sample"].max()) + 1 if len(rows) else 0
    if not size:
        fill = misses.command(table, n or 64, dataset, data)
        raise StoreMiss(f"no {misses.words(table)} are stored in {places(data)}; fill them with: {fill}")
    wanted = n or size
    if wanted > size:
        of = rows["problem_id"].nunique() if expected is None else len(expected)
        raise misses.too_small(table, wanted, size, of, dataset, data)
    rows = rows[rows["sample"] < wanted]
    counts = rows["problem_id"].value_counts()
    if expected is not None:
        rows = rows[rows["problem_id"].isin(set(expected))]
        counts = counts.reindex(expected, fill_value=0)
    if (counts < wanted).any():
        raise misses.incomplete(table, wanted, rows, counts, dataset, data)
    return rows.reset_index(drop=True)


def _expected(dataset: str, problems: Sequence[Problem] | None, data: Path) -> list[str] | None:
    if problems is None:
        local = dataset.endswith(".jsonl") or look_up(f"problems/{dataset}.jsonl", data) is not None
        problems = load_problems(dataset, data=data) if local else None
    return None if problems is None else [problem.problem_id for problem in problems]


def _sampling(config: SamplingConfig | None, greedy: bool) -> SamplingConfig:
    if config is None:
        return SamplingConfig(temperature=0.0) if greedy else SamplingConfig()
    if greedy and config.temperature != 0:
        raise StoreError(f"greedy means temperature 0, but the configuration says {config.temperature}")
    return config


def _stored_policies(data: Path, dataset: str) -> str:
    policies = sorted({table.policy for table in table_files.stored(data, "samples", dataset)})
    return f" (of policies there are: {', '.join(policies)})" if policies else ""


def _check_table(path: Path, name: str, entry: dict) -> list[str]:
    try:
        file = table_files.check_file(path)
    except StoreError as exc:
        return [str(exc)]
    table = table_files.table_of_file(file)
    if table.relative != name or table.config != entry["config"]:
        return [f"{path} holds another table than the manifest says; it belongs at {table.relative}"]
    if table.config_sha256 != entry.get("config_sha256"):
        return [f"{path}: the manifest gives another hash of its configuration"]
    if file.metadata.num_rows != entry.get("rows"):
        return [f"{path} holds {file.metadata.num_rows} rows, {entry.get('rows')} by the manifest"]
    return []
