"""A first look at everything stored for a data set: accuracies, differences and costs, from tables alone."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tts_utils import store
from tts_utils.data_folder import data_dir, dataset_name, fetch_hint, layers, places
from tts_utils.problems import dataset_option
from tts_utils.records import Problem
from tts_utils.report import pools, searches
from tts_utils.report.measures import COLUMNS, GROUPINGS, Estimates, Measure, groups_of
from tts_utils.store import files, manifest
from tts_utils.store.misses import Incomplete
from tts_utils.store.outcomes import searches_in
from tts_utils.store.tables import Table
from tts_utils.voting import RULES

__all__ = ["COLUMNS", "GROUPINGS", "report"]


def report(
    dataset: str,
    *,
    n: int | None = None,
    policy: str | None = None,
    prm: str | None = None,
    rule: str | None = None,
    by: str | None = None,
    problems: Sequence[Problem] | None = None,
    seed: int = 0,
    data: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Report on every stored pool of samples of a data set, and on every search.

    Args:
        dataset: its name.
        n: use the first n samples of each problem; None uses the whole pool. Searches of other budgets are
            left out then.
        policy, prm: this one only.
        rule: this one of ``voting.RULES`` only; None takes all for pools, PRM-Last + PRM-Vote for searches.
        by: "level", "subject" (of the problem file) or "difficulty" (the policy's own pass@1 on the pool);
            one row for each group of problems then.
        problems: these only; None means all of the data set.
        seed: of the bootstrap behind the intervals of differences.
        data: the data directory; None means ``data_dir()``.
        progress: called with (tables read, tables to read).

    Returns:
        One row per measure, with the columns ``COLUMNS``: policy; method ("samples", or a search such as
        "beam-n16-m4"); prm and rule, where it has them; measure, in words; N; estimate, low and high (95 %
        interval over problems); n (problems); policy_tokens, prm_tokens and flops of one problem on average
        (NaN where not known; FLOPs are 2 x parameters x tokens, of generating and of scoring); group; note.

        Measures of a pool: pass@1, CoT (greedy), majority@N, every PRM with every aggregation and rule, the
        shares of samples that were cut, that have no answer, and whose answer a PRM gave no score (they cast
        no vote), pass@N, and the difference of PRM-Last + PRM-Vote and majority on the same problems. Of a
        search: its accuracy, and that of Best-of-N with the same N, PRM and rule. A table that lacks rows, or
        n samples, has one row in place of all its measures, which says how many problems are complete (n) and
        what to do; its estimate, low and high are NaN.

    Raises:
        StoreMiss: nothing is stored, or nothing of it is complete.
        DamagedTable, ForeignTable: naming the file.
        ValueError: unknown ``rule`` or ``by``.
    """
    if rule not in (None, *RULES):
        raise ValueError(f"unknown rule {rule!r}; choose from {', '.join(RULES)}")
    if by not in (None, *GROUPINGS):
        raise ValueError(f"cannot report by {by!r}; choose from {', '.join(GROUPINGS)}")
    data = data_dir() if data is None else data
    name = dataset_name(dataset)
    tables = [
        table
        for table in files.stored(data, "samples", name)
        if table.dataset == name and policy in (None, table.policy)
    ]
    tables.sort(key=lambda table: (table.policy, table.sampling.temperature))
    searched = searches_in(dataset, data, policy or "", prm or "")
    if not tables and not searched:
        whose = f" of policy {policy!r}" if policy else ""
        fill = ["tts", "sample", "--policy", policy or "POLICY", "--dataset", dataset_option(dataset, data)]
        raise store.StoreMiss(
            f"no samples{whose} and no searches on {dataset!r} are stored in {places(data)}"
            f"{_stored(data)}{fetch_hint(f'samples/{name}', name, data)}; fill them with: {shlex.join(fill)}"
        )
    which: dict[str, Any] = {"problems": problems, "data": data}
    choice = pools.Choice(n, prm, rule)
    measures: dict[str, list[Measure]] = {}  # by label of the policy
    easy: dict[str, dict[str, float]] = {}  # policy -> pass@1 by problem, of its pool
    misses: list[str] = []
    best_of: dict[Any, Any] = {}
    total = len(tables) + len(searched)
    for done, table in enumerate(tables):
        label = _label(table, tables)
        source = store.Source(dataset, table.policy, table.sampling, **which)
        try:
            found = pools.measure(source, table, choice, label)
        except Incomplete as miss:
            misses.append(str(miss))
            found = [Measure.incomplete(label, "samples", miss)]
        else:
            for one in found:
                if one.words == "pass@1":
                    easy.setdefault(table.policy, dict(zip(one.problem_ids, one.values, strict=True)))
        measures.setdefault(label, []).extend([*found, *_findings(table, label, data)])
        if progress:
            progress(done + 1, total)
    for done, (table, search) in enumerate(searched, start=len(tables)):
        source = store.Source(dataset, table.policy, **which)
        try:
            found = searches.measure(source, table, search, choice, best_of)
        except Incomplete as miss:
            misses.append(str(miss))
            found = [Measure.incomplete(table.policy, table.method, miss)]
        except store.StoreMiss as miss:  # a tree is missing
            misses.append(str(miss))
            found = []
        measures.setdefault(table.policy, []).extend(found)
        if progress:
            progress(done + 1, total)
    if len(misses) == total:
        raise store.StoreMiss("; ".join(misses))
    estimates = Estimates(seed)
    rows = []
    for found in measures.values():
        for measure in found:
            groups = groups_of(by, dataset, measure, easy.get(measure.policy_name, {}), which)
            rows += [estimates.row(measure, group, members) for group, members in groups]
    return pd.DataFrame(rows, columns=COLUMNS)


def _findings(table: Table, label: str, data: Path) -> list[Measure]:
    """What was odd about an imported run, each as a row without figures."""
    noted = manifest.load(data).get(table.relative, {}).get("findings", [])
    words = [
        f"{f['name']}: {f['count']} of {f['of']}" + (f" ({f['note']})" if f["note"] else "") for f in noted
    ]
    return [Measure(label, f"imported: {found}", 0) for found in words]


def _label(table: Table, tables: Sequence[Table]) -> str:
    """The policy's name, with its configuration where several pools are stored."""
    alike = [
        t
        for t in tables
        if t.policy == table.policy and (t.sampling.temperature > 0) == (table.sampling.temperature > 0)
    ]
    return f"{table.policy} [{Path(table.relative).stem}]" if len(alike) > 1 else table.policy


def _stored(data: Path) -> str:
    """The data sets that something is stored of, in words."""
    names = {
        path.name
        for layer in layers(data)
        for kind in ("samples", "searches")
        for path in (layer / kind).glob("*")
        if path.is_dir()
    }
    return f" (there is something of: {', '.join(sorted(names))})" if names else ""
