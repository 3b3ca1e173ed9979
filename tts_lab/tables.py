"""All tables of the report, computed from the stored tables by several processes; no model runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
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


@dataclass(frozen=True, slots=True)
class Stored:
    """What was read: results and F1 by test set; false alarms and calibration of all policies."""

    results: dict[str, list[results.Result]]
    f1: dict[str, pd.DataFrame]
    alarms: pd.DataFrame
    calibration: pd.DataFrame


@contextmanager
def processes() -> Iterator[Executor]:
    """One process per core, begun anew, so that no thread of torch's is copied."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield pool


def read(recipe: Recipe, data: Path, pool: Executor) -> Stored:
    """Read every stored table that is there, most expensive first; a missing one is simply not in it."""
    order = dict.fromkeys((SEARCHED, *recipe.num_samples))
    found = {
        (dataset, spec.name): pool.submit(results.results, recipe, dataset, data, 0, (spec.name,))
        for dataset in order
        for spec in recipe.policies_of(dataset)
    }
    judged = {d: pool.submit(quality.process_bench, d, 0, data) for d in recipe.num_samples}
    rates = [
        pool.submit(alarms.alarms, JUDGED, spec.name, recipe.sampling_of(spec), data)
        for spec in recipe.policies
        if recipe.prms_of(spec)
    ]
    return Stored(
        {d: [r for (e, _), f in found.items() if e == d for r in f.result()] for d in order},
        {d: f.result() for d, f in judged.items()},
        pd.concat([f.result()["alarms"] for f in rates], ignore_index=True),
        pd.concat([f.result()["calibration"] for f in rates], ignore_index=True),
    )


def judges_tables(recipe: Recipe, stored: Stored, data: Path, pool: Executor) -> dict[str, pd.DataFrame]:
    """What the PRMs are worth as judges: tables by name, in the order in which they are best read."""
    searched = stored.results[SEARCHED]
    turned = pool.submit(_dials, recipe, searched, data)
    crossed = pool.submit(_crossing, recipe, stored.results, data)
    figure = pool.submit(figure_4, searched, dial.POLICIES)
    maxima = pool.submit(max_against_majority, stored.results[JUDGED])
    return {
        "demands": demands(stored.f1[JUDGED], figure.result(), maxima.result()),
        "figure-4": figure.result(),
        "prm-max": maxima.result(),
        "crossing": crossed.result(),
        "alarms": stored.alarms,
        "law": alarms.law(stored.alarms),
        "calibration": stored.calibration,
        "learning-curve": learning_curve(data),
        **turned.result(),
    }


def _dials(recipe: Recipe, searched: list[results.Result], data: Path) -> dict[str, pd.DataFrame]:
    """The dial's table, and the real PRMs beside its curves."""
    turned = list(of_dial(dial.read(data / "report" / "dial", data)))
    votes = {one.policy: vote for one, vote in turned}
    prms = [
        one
        for spec in recipe.policies
        if spec.name in votes
        for one in of_prms(searched, dial.DATASET, spec.name, recipe.sampling_of(spec), data)
    ]
    return {
        "dial": dial_table([*turned, *((one, votes[one.policy]) for one in prms)]),
        "dial-prms": beside_the_curve([one for one, _ in turned], prms),
    }


def _crossing(recipe: Recipe, found: dict[str, list[results.Result]], data: Path) -> pd.DataFrame:
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
    chosen = {p.name: choose(found.get(FRESH, []), p.name) for p in recipe.policies}
    return crossing({d: found[d] for d in (HARD, SEARCHED) if d in found}, chosen, ladders, num_params)


def report_tables(recipe: Recipe, data: Path) -> dict[str, pd.DataFrame]:
    """Every table of the report by name; rows whose stored tables are missing are missing too."""
    repairing = [p.name for p in recipe.policies if p.register == "long"]
    with processes() as pool:
        # What takes longest comes first.
        states = {d: pool.submit(health, d, repairing, 0, data) for d in recipe.num_samples}
        stored = read(recipe, data, pool)
        cases = pool.submit(phenomena, recipe, stored.results[SEARCHED], stored.f1[SEARCHED])
        judged = judges_tables(recipe, stored, data, pool)
        of = (stored.results, stored.f1, stored.alarms, states[JUDGED].result(), judged["crossing"])
        tables = {
            "claims": claims(*of),
            "policies": cast.policies(data),
            "prms": cast.prms(data),
            "grid": grid.completeness(recipe, data),
        }
        for dataset in recipe.num_samples:
            tables[f"health-{dataset}"] = states[dataset].result()
            tables[f"quality-{dataset}"] = stored.f1[dataset]
            tables[f"results-{dataset}"] = results.as_table(stored.results[dataset])
        return tables | judged | {f"phenomena-{SEARCHED}": cases.result()}
