"""Say what a stored table lacks, and the command that fills it or another way out; it fills nothing."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tts_utils.problems import dataset_option
from tts_utils.store import files as table_files
from tts_utils.store.tables import IMPORTED, StoreMiss, Table, sampling_options


class Incomplete(StoreMiss):
    """Some problems lack rows of a table; the message ends with the way out.

    Attributes:
        n: rows wanted of each problem.
        complete: problems that have them all.
        of: problems that should.
        way_out: the command that fills the table, or what else to do.
    """

    def __init__(self, message: str, n: int = 0, complete: int = 0, of: int = 0, way_out: str = "") -> None:
        super().__init__(message)
        self.n, self.complete, self.of, self.way_out = n, complete, of, way_out


class PoolTooSmall(Incomplete):
    """More samples were asked for than a pool holds; the message names the command that grows it."""


def too_small(table: Table, n: int, size: int, of: int, dataset: str, data: Path) -> PoolTooSmall:
    """The error for a pool of ``size`` samples of each of ``of`` problems of which n are wanted.

    Args:
        table, n, size, of: as said.
        dataset: the problem set as the reader named it.
        data: the data directory.
    """
    samples = Table("samples", table.dataset, table.policy, table.sampling)
    way_out = f"take n <= {size}"
    if any(_is_imported(t, data) for t in (table, samples)):
        way_out += f"; {IMPORTED}: cannot be filled"
    else:
        also = f" && {command(table, n, dataset, data)}" if table.kind != "samples" else ""
        way_out += f", or grow the pool with: {command(samples, n, dataset, data)}{also}"
    stored = f"the {size} samples a problem that are stored of {words(table)}"
    return PoolTooSmall(f"n = {n} is more than {stored}; {way_out}", n, 0, of, way_out)


def incomplete(
    table: Table, n: int, rows: pd.DataFrame, counts: pd.Series, dataset: str, data: Path
) -> Incomplete:
    """The error for a table of which some problem has fewer rows than n.

    Args:
        table, n: as said.
        rows: the samples below n that are there, with columns problem_id and sample.
        counts: how many of them each wanted problem has.
        dataset, data: as for :func:`too_small`.
    """
    short = counts[counts < n]
    first = min(short.index)
    way_out = f"fill them with: {command(table, n, dataset, data)}"
    if _is_imported(table, data):
        whole = _whole(rows, counts.index)
        instead = f"take n <= {whole}" if whole else "leave the problems that lack rows out with problems="
        way_out = f"{IMPORTED}: cannot be filled; {instead}"
    message = (
        f"{int(n * len(short) - short.sum())} of the first {n} samples are missing for {len(short)} of "
        f"{len(counts)} problems in the {words(table)} (problem {first!r} has {short[first]}); {way_out}"
    )
    return Incomplete(message, n, len(counts) - len(short), len(counts), way_out)


def command(table: Table, n: int, dataset: str, data: Path) -> str:
    """The command that fills a table; ``dataset`` is its problem set as the reader named it."""
    if table.kind == "step_labels":
        return "python -m tts_lab --help  # the lab's step checker writes these"
    said = ["tts", "score", "--prm", table.prm] if table.kind == "step_scores" else ["tts", "sample"]
    said += ["--policy", table.policy, "--dataset", dataset_option(dataset, data)]
    if table.kind == "samples" and table.sampling.temperature > 0:
        said += ["--n", str(n)]
    return shlex.join(said + sampling_options(table.sampling))


def words(table: Table) -> str:
    """What a table holds."""
    names = {"samples": "samples", "step_scores": f"step scores by {table.prm!r} of samples"}
    names["step_labels"] = "step labels of samples"
    how = "greedily" if table.sampling.temperature == 0 else f"at temperature {table.sampling.temperature:g}"
    return f"{names.get(table.kind, table.kind)} of policy {table.policy!r} on {table.dataset!r} ({how})"


def _is_imported(table: Table, data: Path) -> bool:
    """Whether no live model can add rows: a live PRM's scores of imported samples can be filled."""
    role = {"samples": "policy", "step_scores": "prm"}.get(table.kind)
    return table_files.sources(table, data).get(f"{role}_revision", "").startswith(IMPORTED)


def _whole(rows: pd.DataFrame, problem_ids: Sequence[str]) -> int:
    """The largest n for which samples 0..n-1 of all these problems are there."""
    there = {problem_id: set(samples) for problem_id, samples in rows.groupby("problem_id")["sample"]}
    held = [there.get(problem_id, set()) for problem_id in problem_ids]
    return min(next(n for n in range(len(samples) + 1) if n not in samples) for samples in held)
