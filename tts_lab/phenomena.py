"""What the paper found, looked for in the lab: one function per claim, from the stored tables alone.

Each gives rows (claim, case, estimate, low, high, n); 95 % intervals over problems. A claim is named after
the figure or table of arXiv:2502.06703 that it comes from. Whether it was seen is for the reader to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from tts_lab.recipe import Recipe
from tts_lab.results import Result, pick
from tts_utils.metrics import Interval, difficulty_level, paired_difference

METHODS = ("best_of_n", "beam", "dvts")
LEVELS = ("easy", "medium", "hard")
Row = tuple[str, str, Interval]


def phenomena(recipe: Recipe, found: Sequence[Result], quality: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Every claim that the results on one test set can speak to.

    Args:
        recipe: which policies there are.
        found: what every method reaches, see :func:`tts_lab.results.results`.
        quality: the PRMs' F1 on the same test set, see :func:`tts_lab.quality.process_bench`.
        seed: of the bootstraps.

    Returns:
        Columns claim, case, estimate, low, high, n.
    """
    rng = np.random.default_rng(seed)
    order = [p.name for p in recipe.policies if p.register != "long"]
    rows: list[Row] = []
    for claim in (by_prm, by_difficulty, by_size, against_larger):
        rows += claim(found, order, rng)
    rows += against_long([p.name for p in recipe.policies], found, rng)
    rows += by_f1(found, order, quality)
    return pd.DataFrame(
        [(claim, case, *interval) for claim, case, interval in rows],
        columns=["claim", "case", "estimate", "low", "high", "n"],
    )


def by_prm(found: Sequence[Result], order: Sequence[str], rng: np.random.Generator) -> Iterator[Row]:
    """Figures 4 and 5: with some PRMs search gains from budget, with others it falls behind voting."""
    for method in METHODS:
        for r in _voted(found, method):
            if r.policy not in order:
                continue
            larger = [o for o in _voted(found, method) if _same(o, r) and o.budget == 4 * r.budget]
            for o in larger:
                case = f"{_case(o)}: minus N = {r.budget}"
                yield "figure 4: more budget", case, paired_difference(o.right, r.right, rng)
            for vote in pick(found, policy=r.policy, method="majority", budget=r.budget):
                case = f"{_case(r)}: minus majority"
                yield "figure 4: against majority voting", case, paired_difference(r.right, vote.right, rng)


def by_difficulty(found: Sequence[Result], order: Sequence[str], rng: np.random.Generator) -> Iterator[Row]:
    """Figures 8 and 9: best-of-N for easy problems, search for hard ones, where the policy is small.

    A level is that of the policy's own pass@1, from its pool of samples.
    """
    for policy in order:
        alone = pick(found, policy=policy, method="sample")
        if not alone:
            continue
        level = np.array([difficulty_level(rate) for rate in alone[0].right])
        for search, best in _search_and_best_of_n(found, policy):
            for name in LEVELS:
                here = level == name
                if here.sum() >= 10:
                    case = f"{_case(search)}, {name}: minus best-of-N"
                    difference = paired_difference(search.right[here], best.right[here], rng)
                    yield "figure 8: search by difficulty", case, difference


def by_size(found: Sequence[Result], order: Sequence[str], rng: np.random.Generator) -> Iterator[Row]:
    """Figure 7: small policies prefer search, large ones best-of-N; Table 5: large ones gain less."""
    for policy in order:
        for search, best in _search_and_best_of_n(found, policy):
            case = f"{_case(search)}: minus best-of-N"
            yield "figure 7: search by size", case, paired_difference(search.right, best.right, rng)
        greedy = pick(found, policy=policy, method="greedy")
        for r in _with_prm(found, policy):
            if greedy:
                case = f"{_case(r)}: minus greedy"
                yield "table 5: gain over one answer", case, paired_difference(r.right, greedy[0].right, rng)


def against_larger(found: Sequence[Result], order: Sequence[str], rng: np.random.Generator) -> Iterator[Row]:
    """Table 3 and figure 1: a small policy with search against larger ones that answer once."""
    greedy = {r.policy: r for r in pick(found, method="greedy")}
    for small, large in pairwise(order):
        if small not in greedy or large not in greedy or small.rsplit("-", 1)[0] != large.rsplit("-", 1)[0]:
            continue
        for r in (r for method in ("best_of_n", "beam", "dvts") for r in _voted(found, method)):
            if r.policy == small:
                case = f"{small} with {r.prm}, {r.method}, N = {r.budget}, minus {large} once"
                yield (
                    "table 3: small against large",
                    case,
                    paired_difference(r.right, greedy[large].right, rng),
                )


def against_long(order: Sequence[str], found: Sequence[Result], rng: np.random.Generator) -> Iterator[Row]:
    """Table 6: search with a PRM against policies that think long and answer once."""
    greedy = {r.policy: r for r in pick(found, method="greedy")}
    for long in (name for name in order if name.startswith("lab-long") and name in greedy):
        for r in _with_prm(found, long.replace("long", "qwen")):
            case = (
                f"{_case(r)} ({r.policy_tokens:.0f} tokens): "
                f"minus {long} once ({greedy[long].policy_tokens:.0f} tokens)"
            )
            difference = paired_difference(r.right, greedy[long].right, rng)
            yield "table 6: search against long thought", case, difference


def by_f1(found: Sequence[Result], order: Sequence[str], quality: pd.DataFrame) -> Iterator[Row]:
    """Figure 6: how the PRMs' F1 at finding errors goes with what a policy reaches with them.

    Spearman's rank correlation over the PRMs, for every policy, method and budget that has four or more; its
    interval (Fisher's transform) says that they are few.
    """
    f1 = quality[quality["measure"] == "F1"]
    for policy in order:
        of_policy = dict(f1.loc[f1["policy"] == policy, ["prm", "estimate"]].itertuples(index=False))
        for method in METHODS:
            here = [r for r in _voted(found, method) if r.policy == policy and r.prm in of_policy]
            for budget in sorted({r.budget for r in here}):
                pairs = [(of_policy[r.prm], r.right.mean()) for r in here if r.budget == budget]
                if len(pairs) >= 4:
                    yield (
                        "figure 6: F1 and accuracy",
                        f"{policy}, {method} N = {budget}",
                        _rank_correlation(pairs),
                    )


def _rank_correlation(pairs: Sequence[tuple[float, float]]) -> Interval:
    rho = float(spearmanr(*zip(*pairs, strict=True)).statistic)
    near, spread = np.arctanh(np.clip(rho, -0.999, 0.999)), 1.96 / np.sqrt(max(len(pairs) - 3, 1))
    return Interval(rho, float(np.tanh(near - spread)), float(np.tanh(near + spread)), len(pairs))


def _case(r: Result) -> str:
    return f"{r.policy}, {r.prm}, {r.method} N = {r.budget}"


def _with_prm(found: Sequence[Result], policy: str) -> list[Result]:
    return [r for method in METHODS for r in _voted(found, method) if r.policy == policy]


def _voted(found: Sequence[Result], method: str) -> list[Result]:
    return pick(found, method=method, rule="prm_last_vote")


def _same(a: Result, b: Result) -> bool:
    return (a.policy, a.prm, a.method, a.rule) == (b.policy, b.prm, b.method, b.rule)


def _search_and_best_of_n(found: Sequence[Result], policy: str) -> Iterator[tuple[Result, Result]]:
    for method in ("beam", "dvts"):
        for search in _voted(found, method):
            if search.policy == policy:
                for best in _voted(found, "best_of_n"):
                    if (best.policy, best.prm, best.budget) == (policy, search.prm, search.budget):
                        yield search, best
