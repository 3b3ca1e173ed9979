"""Read stored tables: samples, step scores, step labels; a missing row is an error that names its command.

These are the doors for lessons, by keywords; behind them a :class:`Source` says which pool is meant, and does
the reading. Filling lives in :mod:`tts_utils.store.fill`, searches in :mod:`tts_utils.store.searches`, arrays
in :mod:`tts_utils.store.pools`, files in :mod:`tts_utils.store.files`; what a lesson needs of them is offered
here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tts_utils.problems import load_problems
from tts_utils.records import Problem, SamplingConfig
from tts_utils.store import pools
from tts_utils.store.checking import verify
from tts_utils.store.columns import to_frame
from tts_utils.store.fill import Filled, fill_samples, fill_step_labels, fill_step_scores
from tts_utils.store.manifest import StoreError, record_files
from tts_utils.store.misses import Incomplete, PoolTooSmall
from tts_utils.store.pools import Pool, pivot, pool_of, with_scores
from tts_utils.store.searches import StoredPolicy, StoredPRM, fill_searches, read_searches, replay
from tts_utils.store.source import Source
from tts_utils.store.tables import UNKNOWN_TOKENS, DamagedTable, ForeignTable, StoreMiss, Table

if TYPE_CHECKING:
    from tts_utils.protocols import PRM, Policy

__all__ = [
    "UNKNOWN_TOKENS",
    "DamagedTable",
    "Filled",
    "ForeignTable",
    "Incomplete",
    "Pool",
    "PoolTooSmall",
    "Source",
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
        prm: the PRM's name, for step scores.
        dataset, policy, config, greedy, data: see :class:`Source`.

    Raises:
        StoreMiss: no configuration was given and nothing is stored.
        StoreError: no configuration was given and several tables would do.
    """
    return Source(dataset, policy, config, greedy, data=data).table(kind, prm)


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
        dataset, policy, config, greedy, problems, data: see :class:`Source`.
        n: samples per problem; None takes the whole pool.
        live: a live policy that fills what is missing (give ``n`` then).

    Returns:
        One row per sample, sorted by problem_id and sample, with the columns policy, dataset, problem_id,
        sample, text, num_tokens, finish_reason, answer ("" if none was found or the text was cut), correct.
        Imported rows have num_tokens -1 and finish_reason "unknown" where their file does not say.

    Raises:
        StoreMiss: rows are missing and ``live`` is None; :class:`Incomplete` where others are there.
        PoolTooSmall: ``n`` is larger than the stored pool.
        DamagedTable, ForeignTable: naming the file.
    """
    source = Source(dataset, policy, config, greedy, problems, data)
    if live is not None:
        if live.name != policy or (n is None and not greedy):
            raise StoreError(f"a live policy must be {policy!r}, not {live.name!r}, and needs n")
        source = Source(dataset, policy, source.sampling, greedy, problems, data)
        only = None if problems is None else {problem.problem_id for problem in problems}
        fill_samples(dataset, live, n or 1, source.sampling, only=only, data=data)
    return to_frame(source.rows("samples", n))


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
    source = Source(dataset, policy, config, greedy, problems, data)
    if live is not None:
        if live.name != prm:
            raise StoreError(f"a live PRM must be {prm!r}, not {live.name!r}")
        samples = source.table("samples")
        fill_step_scores(samples, live, problems=load_problems(dataset, data=data), data=data)
        source = Source(dataset, policy, samples.sampling, greedy, problems, data)
    return to_frame(source.rows("step_scores", n, prm))


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
    return to_frame(Source(dataset, policy, config, greedy, problems, data).rows("step_labels", n))


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
    return pools.read(Source(dataset, policy, config, greedy, problems, data), prm, how, n)
