"""All tables of the report, computed from the stored tables by several processes; no model runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from tts_lab import alarms, cast, dial, grid, quality, results
from tts_lab.claims import claims
from tts_lab.crossing import choose, crossing
from tts_lab.dial_table import beside_the_curve, dial_table, of_dial, of_prms
from tts_lab.judges import demands, figure_4, max_against_majority
from tts_lab.learning import learning_curve
from tts_lab.phenomena import phenomena
from tts_lab.recipe import Recipe
from tts_lab.report import health

SEARCHED, JUDGED, HARD, FRESH = "lab-200", "lab-500", "lab-hard", "lab-fresh"


@dataclass
class Stored:
    """What the processes read: results, F1, health and false alarms, by test set."""

    results: dict[str, list[results.Result]]
    f1: dict[str, pd.DataFrame]
    health: dict[str, pd.DataFrame]
    alarms: pd.DataFrame
    calibration: pd.DataFrame
    dial: dict[str, pd.DataFrame]


def read(recipe: Recipe, data: Path) -> Stored:
    """Read every stored table that is there, most expensive first; a missing one is simply not in it."""
    repairing = [p.name for p in recipe.policies if p.register == "long"]
    order = dict.fromkeys((SEARCHED, *recipe.num_samples))
    # Fresh processes, so that no thread of torch's is copied.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        found = {
            (dataset, spec.name): pool.submit(results.results, recipe, dataset, data, 0, (spec.name,))
            for dataset in order
            for spec in recipe.policies_of(dataset)
        }
        turned = pool.submit(dials, recipe, data)
        states = {d: pool.submit(health, d, repairing, 0, data) for d in recipe.num_samples}
        judged = {d: pool.submit(quality.process_bench, d, 0, data) for d in recipe.num_samples}
        rates = [
            pool.submit(alarms.alarms, JUDGED, spec.name, recipe.sampling_of(spec), data)
            for spec in recipe.policies
            if recipe.prms_of(spec)
        ]
        return Stored(
            {d: [r for (e, _), f in found.items() if e == d for r in f.result()] for d in order},
            {d: f.result() for d, f in judged.items()},
            {d: f.result() for d, f in states.items()},
            pd.concat([f.result()["alarms"] for f in rates], ignore_index=True),
            pd.concat([f.result()["calibration"] for f in rates], ignore_index=True),
            turned.result(),
        )


def dials(recipe: Recipe, data: Path) -> dict[str, pd.DataFrame]:
    """The dial's table, and the real PRMs beside its curves."""
    turned = list(of_dial(dial.read(data / "report" / "dial")))
    prms, votes = [], {one.policy: vote for one, vote in turned}
    for spec in recipe.policies:
        if spec.name in votes:
            sampling = recipe.sampling_of(spec)
            found = results.results(recipe, dial.DATASET, data, 0, (spec.name,))
            prms += of_prms(found, dial.DATASET, spec.name, sampling, data)
    everyone = [*turned, *((one, votes[one.policy]) for one in prms)]
    return {
        "dial": dial_table(everyone),
        "dial-prms": beside_the_curve([one for one, _ in turned], prms),
    }


def judges_tables(recipe: Recipe, stored: Stored, data: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """What the PRMs are worth as judges: name and table, in the order in which they are best read."""
    figure = figure_4(stored.results[SEARCHED], [p for p in dial.POLICIES])
    maxima = max_against_majority(stored.results[JUDGED])
    yield "demands", demands(stored.f1[JUDGED], figure, maxima)
    yield "figure-4", figure
    yield "prm-max", maxima
    yield "crossing", _crossing(recipe, stored, data)
    yield "alarms", stored.alarms
    yield "law", alarms.law(stored.alarms)
    yield "calibration", stored.calibration
    yield "learning-curve", learning_curve(data)
    yield from stored.dial.items()


def _crossing(recipe: Recipe, stored: Stored, data: Path) -> pd.DataFrame:
    policies, prms = cast.policies(data), cast.prms(data)
    num_params = dict(policies[["policy", "num_params"]].itertuples(index=False))
    num_params |= dict(prms[["prm", "num_params"]].itertuples(index=False))
    families = dict.fromkeys(p.family for p in recipe.policies)
    ladders = [
        sorted(
            (p.name for p in recipe.policies if p.family == family and p.register != "long"),
            key=lambda name: num_params.get(name, 0),
        )
        for family in families
    ]
    chosen = {p.name: choose(stored.results.get(FRESH, []), p.name) for p in recipe.policies}
    found = {d: stored.results[d] for d in (HARD, SEARCHED) if d in stored.results}
    return crossing(found, chosen, ladders, num_params)


def report_tables(recipe: Recipe, data: Path) -> dict[str, pd.DataFrame]:
    """Every table of the report by name; rows whose stored tables are missing are missing too."""
    stored = read(recipe, data)
    tables = {
        "policies": cast.policies(data),
        "prms": cast.prms(data),
        "grid": grid.completeness(recipe, data),
    }
    for dataset in recipe.num_samples:
        tables[f"health-{dataset}"] = stored.health[dataset]
        tables[f"quality-{dataset}"] = stored.f1[dataset]
        tables[f"results-{dataset}"] = results.as_table(stored.results[dataset])
    tables[f"phenomena-{SEARCHED}"] = phenomena(recipe, stored.results[SEARCHED], stored.f1[SEARCHED])
    tables |= judges_tables(recipe, stored, data)
    of = (stored.results, stored.f1, stored.alarms, stored.health[JUDGED], tables["crossing"])
    tables["claims"] = claims(*of)
    return tables
