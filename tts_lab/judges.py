"""What makes a PRM a judge: does selecting or searching with it beat voting without it, pair by pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from tts_lab.results import Result, pick
from tts_utils.metrics import paired_difference

COLUMNS = ["policy", "prm", "budget", "comparison", "estimate", "low", "high", "n"]
VOTE, MAX = "prm_last_vote", "prm_last_max"


def figure_4(
    found: Sequence[Result], policies: Sequence[str], budget: int = 64, seed: int = 0
) -> pd.DataFrame:
    """Search against Best-of-N and majority voting, for every PRM of some policies at one budget.

    Args:
        found: results on one test set.
        policies: whose.
        budget: N.
        seed: of the bootstraps.

    Returns:
        Columns policy, prm, budget, comparison ("dvts - best_of_n" and so on, all with PRM-Last + PRM-Vote),
        estimate, low, high (95 %, paired, over problems), n.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for policy in policies:
        here = [r for r in pick(found, policy=policy, budget=budget) if r.rule in (VOTE, "majority_vote")]
        vote = pick(here, method="majority")
        for prm in dict.fromkeys(r.prm for r in here if r.prm):
            of = {r.method: r for r in pick(here, prm=prm)} | {r.method: r for r in vote}
            for a, b in (
                ("dvts", "best_of_n"),
                ("beam", "best_of_n"),
                ("best_of_n", "majority"),
                ("beam", "majority"),
                ("dvts", "majority"),
            ):
                if a in of and b in of:
                    difference = paired_difference(of[a].right, of[b].right, rng)
                    rows.append((policy, prm, budget, f"{a} - {b}", *difference))
    return pd.DataFrame(rows, columns=COLUMNS)


def max_against_majority(found: Sequence[Result], budget: int = 64, seed: int = 0) -> pd.DataFrame:
    """PRM-Last + PRM-Max against majority voting on the same samples, for every policy and PRM.

    Returns:
        As :func:`figure_4`, the comparison "prm_max - majority".
    """
    rng = np.random.default_rng(seed)
    rows = []
    for best in pick(found, method="best_of_n", rule=MAX, budget=budget):
        for vote in pick(found, policy=best.policy, method="majority", budget=budget):
            difference = paired_difference(best.right, vote.right, rng)
            rows.append((best.policy, best.prm, budget, "prm_max - majority", *difference))
    return pd.DataFrame(rows, columns=COLUMNS)


def demands(f1: pd.DataFrame, figure: pd.DataFrame, maxima: pd.DataFrame) -> pd.DataFrame:
    """What the cast has to fulfil, one line each, with the numbers that decide.

    Args:
        f1: :func:`tts_lab.quality.process_bench` on lab-500.
        figure: :func:`figure_4` on lab-200.
        maxima: :func:`max_against_majority` on lab-500.

    Returns:
        Columns demand, holds ("yes", "no", "missing"), numbers.
    """
    rows = [*_of_f1(f1), *_of_figure_4(figure), *_of_max(maxima)]
    return pd.DataFrame(rows, columns=["demand", "holds", "numbers"])


def _of_f1(f1: pd.DataFrame) -> Iterator[tuple]:
    grid = f1[f1["measure"] == "F1"]
    for policy, least in (
        *((f"lab-{family}-{size}", 0.9) for family in ("llama", "qwen") for size in "sm"),
        *((f"lab-{family}-l", 0.75) for family in ("llama", "qwen")),
    ):
        here = grid[grid["policy"] == policy].sort_values("estimate")
        demand = f"best F1 on {policy} at least {least:.2f}"
        yield _judged(demand, here, lambda best, least=least: best.estimate >= least, -1)
    for policy, foreign in (("lab-llama-m", "lab-rlhflow-verbose"), ("lab-qwen-m", "lab-rlhflow-terse")):
        strangers = (foreign, "lab-math-shepherd") if policy == "lab-qwen-m" else (foreign,)
        here = grid[(grid["policy"] == policy) & grid["prm"].isin(strangers)].sort_values("estimate")
        yield _judged(f"weakest foreign F1 on {policy} below 0.60", here, lambda r: r.estimate < 0.6, 0)


def _judged(demand: str, rows: pd.DataFrame, holds, place: int) -> tuple[str, str, str]:
    """The demand decided by one of the rows."""
    if rows.empty:
        return demand, "missing", ""
    row = rows.iloc[place]
    numbers = f"{row.prm}: {row.estimate:.3f} [{row.low:.3f}, {row.high:.3f}]"
    return demand, "yes" if holds(row) else "no", numbers


def _of_figure_4(figure: pd.DataFrame) -> Iterator[tuple]:
    for policy in ("lab-llama-m", "lab-qwen-m"):
        here = figure[figure["policy"] == policy]
        search = here[here["comparison"].isin(["dvts - best_of_n", "beam - best_of_n"])]
        yield _counted(f"{policy}: search beats Best-of-N, PRMs", search, search["low"] > 0, 1)
        behind = here[here["comparison"] == "beam - majority"]
        yield _counted(f"{policy}: beam search below majority voting, PRMs", behind, behind["high"] < 0, 1)


def _of_max(maxima: pd.DataFrame) -> Iterator[tuple]:
    enough = []
    for policy in (f"lab-{family}-{size}" for family in ("llama", "qwen") for size in "sm"):
        here = maxima[maxima["policy"] == policy]
        yield _counted(f"{policy}: PRM-Max beats majority voting, PRMs", here, here["low"] > 0, 2)
        enough.append(here.loc[here["low"] > 0, "prm"].nunique() >= 3)
    holds = "missing" if maxima.empty else "yes" if sum(enough) >= 2 else "no"
    yield "three PRMs whose PRM-Max beats majority voting, policies of these four", holds, f"{sum(enough)}"


def _counted(demand: str, rows: pd.DataFrame, hits: pd.Series, least: int) -> tuple[str, str, str]:
    """The demand that at least so many PRMs have a row that hits."""
    if rows.empty:
        return f"{demand} >= {least}", "missing", ""
    named = [
        f"{r.prm} {r.comparison} {r.estimate:+.3f} [{r.low:+.3f}, {r.high:+.3f}]"
        for r in rows[hits].itertuples()
    ]
    holds = "yes" if rows.loc[hits, "prm"].nunique() >= least else "no"
    closest = rows.loc[rows["estimate"].abs().idxmax()]
    return f"{demand} >= {least}", holds, "; ".join(named) or f"none; largest: {closest.estimate:+.3f}"
