"""What of the recipe's tables is there: the grid of samples, step scores and searches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from tts_lab.policies import PolicySpec
from tts_lab.recipe import Recipe
from tts_utils.data_folder import lab_dir
from tts_utils.problems import load_problems
from tts_utils.store import files as table_files
from tts_utils.store import searches


def completeness(recipe: Recipe, data: Path | None = None) -> pd.DataFrame:
    """Count what is stored against what the recipe asks for.

    Args:
        recipe: what should be there.
        data: the data directory; None means ``lab_dir()``.

    Returns:
        One row per kind of table, data set and policy: columns kind, dataset, policy, there, wanted: samples
        (greedy ones included), step scores over all PRMs, and search trees over all PRMs and settings.
    """
    data = lab_dir() if data is None else data
    sizes = {
        name: min(len(load_problems(name, data=data)), recipe.limit or 10**9) for name in recipe.num_samples
    }
    rows = []
    for spec in recipe.policies:
        sampling = recipe.sampling_of(spec)
        greedy = replace(sampling, temperature=0)
        for dataset, n in recipe.num_samples.items():
            if spec not in recipe.policies_of(dataset):
                continue
            judges = [prm.name for prm in recipe.judges_of(spec, dataset)]
            for kind, readers in (("samples", [""]), ("step_scores", judges)):
                there = sum(
                    min(table_files.stored_rows(table, data), sizes[dataset] * wanted)
                    for table in table_files.stored(data, kind, dataset, spec.name)
                    for config, wanted in ((greedy, 1), (sampling, n))
                    if table.sampling == config and table.prm in readers
                )
                wanted = sizes[dataset] * (n + 1) * len(readers)
                if wanted:
                    rows.append((kind, dataset, spec.name, there, wanted))
        for dataset in recipe.num_samples:
            trees = list(_trees(recipe, data, dataset, spec, sizes[dataset]))
            if trees:
                there, wanted = (sum(column) for column in zip(*trees, strict=True))
                rows.append(("searches", dataset, spec.name, there, wanted))
    return pd.DataFrame(rows, columns=["kind", "dataset", "policy", "there", "wanted"])


def _trees(
    recipe: Recipe, data: Path, dataset: str, policy: PolicySpec, size: int
) -> Iterator[tuple[int, int]]:
    """For every PRM and search: trees that are there, and trees that are wanted.

    DVTS stores the trees of all its budgets in one table, so only its largest budget counts.
    """
    sampling = recipe.sampling_of(policy)
    for prm in recipe.prms_of(policy):
        grid = recipe.grid(dataset, policy.name, prm.name)
        largest = max((s.budget for s in grid if s.method == "dvts"), default=0)
        for search in grid:
            if search.method == "dvts" and search.budget < largest:
                continue
            table = searches.table_of_search(dataset, policy.name, prm.name, search, sampling)
            there = 0
            if table.path(data).exists():
                rows = table_files.load(table, data, columns=["problem_id", "run", "node"]).to_pandas()
                there = int(((rows["node"] == 0) & (rows["run"] < search.num_subtrees)).sum())
            yield there, size * search.num_subtrees
