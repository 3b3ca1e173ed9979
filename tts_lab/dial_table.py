"""The dial as a table: accuracy against the verifier's AUC, and where the real PRMs lie beside its curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tts_lab import dial
from tts_lab.quality import stored_scores
from tts_lab.results import RULES, Result, pick
from tts_utils import store
from tts_utils.metrics import Interval, accuracy_interval, paired_difference
from tts_utils.records import SamplingConfig

METHODS = ("best_of_n", "beam", "dvts")
COLUMNS = ["policy", "verifier", "kind", "auc", "auc_low", "auc_high", "method", "rule", "budget"]
Key = tuple[str, str, int]  # method, rule, budget


@dataclass(frozen=True, slots=True)
class Judged:
    """One verifier with one policy.

    Attributes:
        policy, verifier: their names.
        kind: "dial" or "prm".
        auc: over completions, within problems.
        right: method, rule and budget -> (P,) share of right answers of each problem.
    """

    policy: str
    verifier: str
    kind: str
    auc: Interval
    right: dict[Key, NDArray[np.float64]]


def of_dial(pieces: pd.DataFrame) -> Iterator[tuple[Judged, dict[int, NDArray[np.float64]]]]:
    """Every turned level, the mean over its seeds, and what majority voting reaches by budget."""
    for (policy, level), part in pieces.groupby(["policy", "level"], sort=True):
        mean = part.groupby(["method", "rule", "budget", "problem_id"], sort=True)["right"].mean()
        vectors = {key: group.to_numpy() for key, group in mean.groupby(level=[0, 1, 2])}
        right = {key: v for key, v in vectors.items() if key[0] in METHODS}
        vote = {budget: v for (method, _, budget), v in vectors.items() if method == "majority"}
        auc = accuracy_interval(vectors["auc", "", 0])
        yield Judged(str(policy), f"dial {level:.2f}", "dial", auc, right), vote


def of_prms(
    found: Sequence[Result], dataset: str, policy: str, config: SamplingConfig, data: Path
) -> Iterator[Judged]:
    """The real PRMs on the same axes, as far as their tables are there."""
    pool = store.read_pool(dataset, policy, config=config, data=data)
    for prm, scores in stored_scores(dataset, policy, config, data):
        scored = store.with_scores(pool, scores, "last")
        _, aucs = dial.auc_of_problems(pool.problem_ids, pool.correct, scored.scores)
        right = {
            (r.method, r.rule, r.budget): r.right
            for r in pick(found, policy=policy, prm=prm)
            if r.rule in RULES and r.budget in dial.BUDGETS
        }
        yield Judged(policy, prm, "prm", accuracy_interval(aucs), right)


def dial_table(
    judged: Sequence[tuple[Judged, dict[int, NDArray[np.float64]]]], seed: int = 0
) -> pd.DataFrame:
    """One row per verifier, method, rule and budget.

    Returns:
        Columns policy, verifier, kind, auc, auc_low, auc_high, method, rule, budget, accuracy, low, high, n,
        and its differences from majority voting and from Best-of-N at the same budget and rule, with paired
        95 % intervals over problems.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for one, vote in judged:
        for key, right in one.right.items():
            method, rule, budget = key
            facts = [one.policy, one.verifier, one.kind, *one.auc[:3], method, rule, budget]
            others = (vote.get(budget), one.right.get(("best_of_n", rule, budget)))
            for other in others:
                unknown = (np.nan,) * 3
                facts += unknown if other is None else paired_difference(right, other, rng)[:3]
            rows.append([*facts, *accuracy_interval(right)])
    differences = [
        f"{name}{end}" for name in ("minus_majority", "minus_best_of_n") for end in ("", "_low", "_high")
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, *differences, "accuracy", "low", "high", "n"])


def beside_the_curve(dials: Sequence[Judged], prms: Sequence[Judged], seed: int = 0) -> pd.DataFrame:
    """How far each real PRM lies above the dial's curve at its own AUC.

    The curve is interpolated between the two neighbouring levels, problem by problem; a PRM beyond the ends
    is compared with the end.

    Returns:
        Columns policy, prm, auc, method, rule, budget, above, low, high (95 %, paired), n.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for prm in prms:
        curve = sorted((d for d in dials if d.policy == prm.policy), key=lambda d: d.auc.mean)
        if len(curve) < 2:
            continue
        levels = np.array([d.auc.mean for d in curve])
        at = float(np.clip(prm.auc.mean, levels[0], levels[-1]))
        i = min(int(np.searchsorted(levels, at, side="right")), len(levels) - 1)
        weight = (at - levels[i - 1]) / (levels[i] - levels[i - 1])
        for key, right in prm.right.items():
            expected = (1 - weight) * curve[i - 1].right[key] + weight * curve[i].right[key]
            difference = paired_difference(right, expected, rng)
            rows.append((prm.policy, prm.verifier, prm.auc.mean, *key, *difference))
    columns = ["policy", "prm", "auc", "method", "rule", "budget", "above", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns)
