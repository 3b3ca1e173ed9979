"""What every method reaches: from stored pools and search trees to accuracies, problem by problem."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tts_lab.recipe import Recipe
from tts_utils import metrics, store, voting
from tts_utils.data_folder import lab_dir
from tts_utils.problems import load_problems
from tts_utils.store.outcomes import read_outcome
from tts_utils.store.tables import StoreMiss

RESAMPLES = 100
RULES = ("prm_last_vote", "prm_last_max")


@dataclass(frozen=True, slots=True)
class Result:
    """One method at one budget, problem by problem.

    Attributes:
        policy, prm: names; prm is "" where none took part.
        method: "greedy", "sample" (one at random: pass@1), "majority", "best_of_n", "beam" or "dvts".
        rule: how the answer was chosen, a name of :data:`tts_utils.voting.RULES`; "" where there was one.
        budget: N.
        right: (P,) share of right answers in [0, 1], problems in order of their identifiers; the mean over
            random subsets of the pool where the budget is smaller than that.
        policy_tokens: tokens generated per problem, mean.
        prm_tokens: tokens read by the PRM per problem, mean: every sample of a pool, every distinct node of
            a search.
    """

    policy: str
    prm: str
    method: str
    rule: str
    budget: int
    right: np.ndarray
    policy_tokens: float
    prm_tokens: float


def results(
    recipe: Recipe, dataset: str, data: Path | None = None, seed: int = 0, policies: Collection[str] = ()
) -> list[Result]:
    """Everything of the recipe that is stored for one test set; what is missing is left out.

    All rules and PRMs see the same random subsets of a pool, so that differences are paired.

    Args:
        recipe: what may be there.
        dataset: the test set.
        data: the data directory; None means ``lab_dir()``.
        seed: of the random subsets.
        policies: only these; () for all.
    """
    data = lab_dir() if data is None else data
    which = {"problems": load_problems(dataset, data=data)[: recipe.limit], "data": data}
    found: list[Result] = []
    for spec in recipe.policies_of(dataset):
        if policies and spec.name not in policies:
            continue
        sampling = recipe.sampling_of(spec)
        try:
            cot = store.read_pool(dataset, spec.name, config=replace(sampling, temperature=0), **which)
        except StoreMiss:
            continue
        tokens = float(cot.num_tokens.mean())
        found.append(Result(spec.name, "", "greedy", "", 1, cot.correct[:, 0].astype(float), tokens, 0.0))
        try:
            pool = store.read_pool(dataset, spec.name, config=sampling, **which)
        except StoreMiss:
            continue
        found += _of_pool(spec.name, pool, recipe, dataset, sampling, which, seed)
        for prm in recipe.prms_of(spec):
            for search in recipe.grid(dataset, spec.name, prm.name):
                found += _of_search(spec.name, prm.name, search, dataset, sampling, which)
    return found


def _of_pool(policy, pool, recipe, dataset, sampling, which, seed) -> list[Result]:
    size = pool.correct.shape[1]
    budgets = [n for n in (4, 16, 64, 256) if n <= size]
    methods = {("", "majority_vote"): (None, "majority")}
    read = {"": 0.0}
    for prm in recipe.prms:
        try:
            scores = store.read_step_scores(dataset, policy, prm.name, config=sampling, **which)
        except StoreMiss:
            continue
        scored = store.with_scores(pool, scores, "last")
        read[prm.name] = float(scored.num_prm_tokens.mean())
        for rule in RULES:
            methods[prm.name, rule] = (scored.scores, voting.split_rule(rule)[1])
    curves = metrics.accuracy_per_problem(
        pool.correct, pool.answer_ids, methods, budgets, RESAMPLES, np.random.default_rng(seed)
    )
    tokens = float(pool.num_tokens.mean())
    one = Result(policy, "", "sample", "", 1, pool.correct.mean(1), tokens, 0.0)
    return [one] + [
        Result(
            policy,
            prm,
            "best_of_n" if prm else "majority",
            rule,
            n,
            curve[:, i],
            n * tokens,
            n * read[prm],
        )
        for (prm, rule), curve in curves.items()
        for i, n in enumerate(budgets)
    ]


def _of_search(policy, prm, search, dataset, sampling, which) -> list[Result]:
    try:
        ended = read_outcome(dataset, policy, prm, search, config=sampling, **which)
    except StoreMiss:
        return []
    pool = ended.pool
    costs = float(ended.num_policy_tokens.mean()), float(ended.num_prm_tokens.mean())
    made = []
    for rule in RULES:
        chosen = voting.select(pool.answer_ids, pool.scores, voting.split_rule(rule)[1])
        right = (chosen >= 0) & pool.correct[np.arange(len(chosen)), chosen]
        facts = (policy, prm, search.method, rule, search.budget)
        made.append(Result(*facts, right.astype(float), *costs))
    return made


def as_table(found: list[Result]) -> pd.DataFrame:
    """The results with 95 % intervals over problems: one row each, without the single problems."""
    facts = ["policy", "prm", "method", "rule", "budget", "policy_tokens", "prm_tokens"]
    frame = pd.DataFrame([[getattr(r, fact) for fact in facts] for r in found], columns=facts)
    intervals = pd.DataFrame(
        [metrics.accuracy_interval(r.right) for r in found], columns=["accuracy", "low", "high", "n"]
    )
    return pd.concat([frame, intervals], axis=1)


def pick(found: Sequence[Result], **facts) -> list[Result]:
    """The results whose attributes have these values."""
    return [r for r in found if all(getattr(r, name) == value for name, value in facts.items())]
