"""What every strategy does on every problem, precomputed, so that the lessons need not replay the searches.

``python -m tts_lab strategies --write`` makes one small table per policy from the stored pools and searches,
``data/report/strategies-DATASET/POLICY.parquet``; ``read`` puts those of some policies together. The rows are
those of :func:`tts_utils.optimal.read_outcomes`: one per problem, PRM, strategy and budget. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tts_utils import optimal
from tts_utils.data_folder import lab_dir, layers, look_up, places
from tts_utils.optimal.outcomes import COLUMNS
from tts_utils.problems import load_problems
from tts_utils.store.tables import StoreMiss

if TYPE_CHECKING:
    from tts_lab.recipe import Recipe

RESAMPLES = 100
UNITS = 10_000  # shares are kept in ten-thousandths: exact for 100 resamples, close for pass@1 of 256 samples


def table_name(dataset: str, policy: str) -> str:
    """Where the table of one policy lies, within a data directory."""
    return f"report/strategies-{dataset}/{policy}.parquet"


def outcomes(recipe: Recipe, dataset: str, policy: str, data: Path | None = None) -> pd.DataFrame:
    """What every strategy of the recipe does on every problem, for one policy, as far as it is stored.

    Returns:
        ``optimal.outcomes.COLUMNS``; empty where not even the policy's pool is stored.
    """
    spec = next(spec for spec in recipe.policies if spec.name == policy)
    prms = [prm.name for prm in recipe.prms_of(spec)]
    grids = [recipe.grid(dataset, policy, prm) for prm in prms]
    try:
        return optimal.read_outcomes(
            dataset,
            policy,
            prms,
            list(dict.fromkeys(search for grid in grids for search in grid)),
            num_resamples=RESAMPLES,
            skip_missing=True,
            config=recipe.sampling_of(spec),
            problems=load_problems(dataset, data=data)[: recipe.limit],
            data=data,
        )
    except StoreMiss:
        return pd.DataFrame(columns=COLUMNS)


def write(frame: pd.DataFrame, dataset: str, data: Path | None = None) -> Path:
    """Write the outcomes of one policy; returns the file, for :func:`tts_utils.store.record_files`."""
    (policy,) = frame["policy"].unique()
    path = (lab_dir() if data is None else data) / table_name(dataset, policy)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pack(frame), path, compression="zstd", compression_level=19)
    return path


def pack(frame: pd.DataFrame) -> pa.Table:
    """One row per strategy and budget, with the problems' outcomes as a list: a tenth of the size."""
    order = list(dict.fromkeys(frame["problem_id"]))
    facts = [name for name in COLUMNS if name not in ("problem_id", "right")]
    rows, lists = [], []
    for key, group in frame.groupby(facts, sort=False, dropna=False):
        right = group.set_index("problem_id")["right"].reindex(order)
        rows.append(key)
        lists.append(np.rint(UNITS * right.to_numpy()).astype(np.uint16))
    columns = dict(zip(facts, map(list, zip(*rows, strict=True)), strict=True))
    table = pa.table(columns | {"right": pa.array(lists, type=pa.list_(pa.uint16()))})
    return table.replace_schema_metadata({"problem_ids": "\n".join(order)})


def unpack(table: pa.Table) -> pd.DataFrame:
    """Undo ``pack``, up to rounding."""
    order = table.schema.metadata[b"problem_ids"].decode().split("\n")
    frame = table.drop_columns("right").to_pandas()
    for name in ("policy", "prm", "method", "aggregation", "rule"):
        frame[name] = frame[name].astype("category")  # a long frame of few names
    frame = frame.loc[frame.index.repeat(len(order))].reset_index(drop=True)
    right = table["right"].combine_chunks().flatten().to_numpy() / UNITS
    problem_id = pd.Categorical(np.tile(order, table.num_rows), categories=order)
    return frame.assign(problem_id=problem_id, right=right)[COLUMNS]


def read(dataset: str, policies: Sequence[str] = (), data: Path | None = None) -> pd.DataFrame:
    """Read the outcomes of some policies, in that order; () means all that are there, by name.

    Raises:
        StoreMiss: there is no table of a policy; it names the command that writes it.
    """
    here = f"report/strategies-{dataset}"
    found = {path.stem for layer in layers(data) for path in (layer / here).glob("*.parquet")}
    names = policies or sorted(found)
    if absent := [name for name in names if name not in found] or (not names):
        raise StoreMiss(
            f"no outcomes of {absent if names else 'any policy'} on {dataset} in {places(data)}; "
            "write them with: python -m tts_lab strategies --write"
        )
    frames = [_load(table_name(dataset, name), data) for name in names]
    together = pd.concat([frame.astype({"problem_id": str}) for frame in frames], ignore_index=True)
    for name in ("policy", "prm", "method", "aggregation", "rule", "problem_id"):
        values = dict.fromkeys(value for frame in frames for value in frame[name].cat.categories)
        together[name] = pd.Categorical(together[name], categories=list(values))
    return together


def _load(name: str, data: Path | None) -> pd.DataFrame:
    content = look_up(name, data).read_bytes()  # opened by Python, so that what a lesson reads can be listed
    return unpack(pq.read_table(pa.BufferReader(content)))
