"""A first look at everything stored for a data set: accuracies and paired differences, from tables alone."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tts_utils import store
from tts_utils.data_folder import data_dir, dataset_name, fetch_hint, places
from tts_utils.metrics import Interval, accuracy_interval, paired_difference
from tts_utils.problems import dataset_option
from tts_utils.records import Problem
from tts_utils.store import files as table_files
from tts_utils.store import manifest
from tts_utils.store.misses import Incomplete
from tts_utils.store.tables import Table
from tts_utils.voting import AGGREGATIONS, NO_SCORE, RULES, select, split_rule

COLUMNS = ["policy", "measure", "N", "estimate", "low", "high", "n"]


def report(
    dataset: str,
    *,
    n: int | None = None,
    policy: str | None = None,
    problems: Sequence[Problem] | None = None,
    seed: int = 0,
    data: Path | None = None,
) -> pd.DataFrame:
    """Report on every stored pool of samples of a data set.

    Args:
        dataset: its name.
        n: use the first n samples of each problem; None uses the whole pool.
        policy: this one only.
        problems: these only; None means all of the data set.
        seed: of the bootstrap behind the intervals of differences.
        data: the data directory; None means ``data_dir()``.

    Returns:
        One row per policy and measure with the columns policy, measure, N (samples per problem), estimate,
        low and high (95 % interval over problems), n (problems). Measures: pass@1, CoT (greedy),
        majority@N, every PRM with every aggregation and rule, the share of samples whose answer a PRM gave no
        score (if any: they cast no vote), pass@N, and the difference of PRM-Last + PRM-Vote and majority on
        the same problems. pass@N is the share of problems with a right sample among N: the ceiling of every
        choice. A table that lacks rows, or n samples, has one row in place of all its measures, which says
        how many problems are complete (n) and what to do; its estimate, low and high are NaN.

    Raises:
        StoreMiss: nothing is stored, or no pool of samples is complete.
        DamagedTable, ForeignTable: naming the file.
    """
    data = data_dir() if data is None else data
    name = dataset_name(dataset)
    tables = [
        table
        for table in table_files.stored(data, "samples", name)
        if table.dataset == name and policy in (None, table.policy)
    ]
    if not tables:
        whose = f" of policy {policy!r}" if policy else ""
        fill = ["tts", "sample", "--policy", policy or "POLICY", "--dataset", dataset_option(dataset, data)]
        raise store.StoreMiss(
            f"no samples{whose} on {dataset!r} are stored in {places(data)}"
            f"{fetch_hint(f'samples/{name}', name, data)}; "
            f"fill them with: {shlex.join(fill)}"
        )
    rows, misses = [], []
    for table in sorted(tables, key=lambda table: (table.policy, table.sampling.temperature)):
        label = table.policy
        if sum(t.policy == table.policy and _is_pool(t) == _is_pool(table) for t in tables) > 1:
            label += f" [{Path(table.relative).stem}]"
        which = {"config": table.sampling, "problems": problems, "data": data}
        try:
            pool = store.read_pool(dataset, table.policy, n=n if _is_pool(table) else None, **which)
        except Incomplete as miss:
            misses.append(str(miss))
            measures = [_incomplete("samples", miss)]
        else:
            measures = _of_pool(dataset, table, pool, which, seed) if _is_pool(table) else _of_cot(pool)
        rows += [(label, *row) for row in (*measures, *_findings(table, data))]
    if len(misses) == len(tables):
        raise store.StoreMiss("; ".join(misses))
    return pd.DataFrame(rows, columns=COLUMNS)


def _findings(table: Table, data: Path) -> Iterator[tuple]:
    """What was odd about an imported run, each as a row without figures."""
    for found in manifest.load(data).get(table.relative, {}).get("findings", []):
        note = f" ({found['note']})" if found["note"] else ""
        words = f"imported: {found['name']}: {found['count']} of {found['of']}{note}"
        yield words, 0, math.nan, math.nan, math.nan, 0


def _is_pool(table: Table) -> bool:
    return table.sampling.temperature > 0


def _incomplete(what: str, miss: Incomplete) -> tuple:
    words = f"{what}: incomplete, {miss.complete} of {miss.of} problems; {miss.way_out}"
    return words, miss.n, math.nan, math.nan, math.nan, miss.complete


def _of_cot(pool: store.Pool) -> Iterator[tuple]:
    yield "CoT (greedy)", 1, *accuracy_interval(pool.correct[:, 0])


def _of_pool(dataset: str, table: Table, pool: store.Pool, which: dict, seed: int) -> Iterator[tuple]:
    size = pool.correct.shape[1]
    majority = _chosen_right(pool, "majority")
    yield "pass@1", size, *accuracy_interval(pool.correct.mean(axis=1))
    yield f"majority@{size}", size, *accuracy_interval(majority)
    differences: list[tuple[str, Interval]] = []
    for scored in table_files.stored(which["data"], "step_scores", table.dataset, table.policy):
        if (scored.policy, scored.sampling) != (table.policy, table.sampling):
            continue
        try:
            step_scores = store.read_step_scores(dataset, table.policy, scored.prm, n=size, **which)
            pools = {how: store.with_scores(pool, step_scores, how) for how in AGGREGATIONS}
        except Incomplete as miss:
            yield _incomplete(f"PRM scores ({scored.prm})", miss)
            continue
        mute = (pool.answer_ids >= 0) & (pools["last"].scores == NO_SCORE)
        if mute.any():
            yield f"answers without a score ({scored.prm})", size, *accuracy_interval(mute.mean(axis=1))
        for rule in RULES:
            how, selection = split_rule(rule)
            if how is None:
                continue
            right = _chosen_right(pools[how], selection)
            words = f"PRM-{how.capitalize()} + {'PRM-Max' if selection == 'prm_max' else 'PRM-Vote'}"
            yield f"{words} ({scored.prm})", size, *accuracy_interval(right)
            if rule == "prm_last_vote":
                difference = paired_difference(right, majority, np.random.default_rng(seed))
                differences.append((f"{words} ({scored.prm}) - majority", difference))
    yield f"pass@{size}", size, *accuracy_interval(pool.correct.any(axis=1))
    for words, difference in differences:
        yield words, size, *difference


def _chosen_right(pool: store.Pool, rule: str) -> NDArray[np.float64]:
    chosen = select(pool.answer_ids, pool.scores, rule)  # (P,), -1 where nothing can be chosen
    right = pool.correct[np.arange(len(chosen)), np.maximum(chosen, 0)]
    return np.where(chosen >= 0, right, False).astype(np.float64)
