"""Which pool a reader means, as one record: it finds the tables, and gives their rows if none is missing."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from tts_utils.data_folder import data_dir, dataset_name, fetch_hint, look_up, places
from tts_utils.hashes import digest
from tts_utils.problems import load_problems
from tts_utils.records import Problem, SamplingConfig
from tts_utils.store import columns as table_columns
from tts_utils.store import files, misses
from tts_utils.store.manifest import StoreError
from tts_utils.store.tables import StoreMiss, Table


@dataclass(frozen=True, slots=True)
class Source:
    """A pool of samples, and what goes with it: step scores, step labels.

    Attributes:
        dataset: the problem set as the reader named it.
        policy: the policy's name.
        config: exactly this one, stored or not. None takes, among the stored tables at a temperature above 0,
            that of ``SamplingConfig()``, else the only one.
        greedy: temperature 0 instead.
        problems: those that must be there; None means all of the data set where its problem file is stored,
            else those in the table.
        data: the data directory; None means ``data_dir()``.
    """

    dataset: str
    policy: str
    config: SamplingConfig | None = None
    greedy: bool = False
    problems: Sequence[Problem] | None = None
    data: Path | None = None

    @property
    def folder(self) -> Path:
        """The data directory."""
        return data_dir() if self.data is None else self.data

    @property
    def sampling(self) -> SamplingConfig:
        """The configuration that is meant where none is looked up."""
        if self.config is None:
            return SamplingConfig(temperature=0.0) if self.greedy else SamplingConfig()
        if self.greedy and self.config.temperature != 0:
            raise StoreError(
                f"greedy means temperature 0, but the configuration says {self.config.temperature}"
            )
        return self.config

    def table(self, kind: str, prm: str = "") -> Table:
        """The table of a kind: "samples", "step_scores" (of a PRM) or "step_labels".

        Raises:
            StoreMiss: no configuration was given and nothing is stored.
            StoreError: no configuration was given and several tables would do.
        """
        name = dataset_name(self.dataset)
        default = Table(kind, name, self.policy, self.sampling, prm=prm)
        if self.config is not None:
            return default
        tables = [
            table
            for table in files.stored(self.folder, kind, name, self.policy, prm)
            if (table.policy, table.prm) == (self.policy, prm)
            and (table.sampling.temperature == 0) == self.greedy
        ]
        if not tables:
            fill = misses.command(default, 1 if self.greedy else 64, self.dataset, self.folder)
            policies = sorted({table.policy for table in files.stored(self.folder, "samples", name)})
            others = f" (of policies there are: {', '.join(policies)})" if policies else ""
            hint = fetch_hint(files.folder_of(kind, name, self.policy, prm), name, self.folder)
            raise StoreMiss(
                f"no {misses.words(default)} are stored in {places(self.folder)}{others}{hint}; "
                f"fill them with: {fill}"
            )
        if default in tables:
            return default
        if len(tables) > 1:
            names = "; ".join(str(table.sampling) for table in tables)
            raise StoreError(
                f"several tables of {misses.words(default)} are stored; say which with config=: {names}"
            )
        return tables[0]

    def rows(
        self, kind: str, n: int | None = None, prm: str = "", columns: Sequence[str] | None = None
    ) -> pa.Table:
        """The first n samples of every problem, sorted by problem_id and sample, none missing.

        Args:
            kind, prm: which table.
            n: samples per problem; None takes the whole pool.
            columns: these only, problem_id and sample among them; None reads all.

        Raises:
            StoreMiss: rows are missing; :class:`Incomplete` where others are there.
            PoolTooSmall: ``n`` is larger than the stored pool.
            DamagedTable, ForeignTable: naming the file.
        """
        if n is not None and n < 1:
            raise StoreError(f"n must be at least 1, got {n}")
        table, folder, expected = self.table(kind, prm), self.folder, self._expected()
        rows = files.load(table, folder, columns=columns)
        samples = table_columns.numbers(rows, "sample")
        size = int(samples.max()) + 1 if len(samples) else 0
        if not size:
            fill = misses.command(table, n or 64, self.dataset, folder)
            raise StoreMiss(
                f"no {misses.words(table)} are stored in {places(folder)}; fill them with: {fill}"
            )
        wanted = n or size
        codes, names = table_columns.codes(rows, "problem_id")
        if wanted > size:
            of = len(names) if expected is None else len(expected)
            raise misses.too_small(table, wanted, size, of, self.dataset, folder)
        of_set = np.array([expected is None or name in expected for name in names], dtype=bool)
        taken = (samples < wanted) & of_set[codes]
        counts = np.bincount(codes[taken], minlength=len(names))
        absent = set() if expected is None else expected - set(names)
        if absent or (counts[of_set] < wanted).any():
            number = pd.Series(counts[of_set], index=list(names[of_set])).reindex(
                [*names[of_set], *sorted(absent)], fill_value=0
            )
            there = table_columns.to_frame(rows.select(["problem_id", "sample"]).filter(pa.array(taken)))
            raise misses.incomplete(table, wanted, there, number, self.dataset, folder)
        return rows if taken.all() else rows.filter(pa.array(taken)).combine_chunks()

    def _expected(self) -> frozenset[str] | None:
        if self.problems is not None:
            return frozenset(problem.problem_id for problem in self.problems)
        path: Path | None
        if self.dataset.endswith(".jsonl"):
            path = Path(self.dataset).expanduser()
        else:
            path = look_up(f"problems/{self.dataset}.jsonl", self.folder)
            if path is None:
                return None
        return _ids_in(self.dataset, self.folder, digest(path) if path.is_file() else "")


@functools.lru_cache(maxsize=64)
def _ids_in(dataset: str, folder: Path, version: str) -> frozenset[str]:
    """The identifiers of a problem file, of which ``version`` is the hash."""
    return frozenset(problem.problem_id for problem in load_problems(dataset, data=folder))
