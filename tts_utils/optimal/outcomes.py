"""From stored pools and searches to outcomes: how often each strategy is right on each problem.

The frame that :mod:`tts_utils.optimal` chooses from, and the figures of methods against budget are drawn
from. Three *controls* stand beside the strategies: "random" (one sample, blindly: pass@1), "majority", and
"pass_at_k" (a perfect verifier). Calls no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tts_utils import metrics, store, voting
from tts_utils.optimal.ends import Ends, ends_of
from tts_utils.problems import load_problems
from tts_utils.records import Problem, SamplingConfig
from tts_utils.store import Pool, StoreMiss
from tts_utils.tree_search import TreeSearch

COLUMNS = [
    "policy",
    "prm",
    "method",
    "aggregation",
    "rule",
    "branching",
    "budget",
    "policy_tokens",
    "prm_tokens",
    "problem_id",
    "right",
]
SELECTIONS = ("prm_vote", "prm_max")
BUDGETS = (4, 16, 64, 256)  # the paper's


def read_outcomes(
    dataset: str,
    policy: str,
    prms: Sequence[str] = (),
    searches: Sequence[TreeSearch] = (),
    budgets: Sequence[int] = BUDGETS,
    *,
    num_resamples: int = 100,
    seed: int = 0,
    skip_missing: bool = False,
    config: SamplingConfig | None = None,
    problems: Sequence[Problem] | None = None,
    data: Path | None = None,
) -> pd.DataFrame:
    """Read what every strategy of one policy does on every problem.

    Args:
        dataset, policy: names.
        prms: names; the three controls, which need none, are given in any case, with prm "".
        searches: which stored searches of each PRM, such as ``[TreeSearch("beam", 16)]``.
        budgets: N of Best-of-N and of the controls; those above the size of the pool are left out.
        num_resamples, seed: of the random subsets of the pool; they are the same for every PRM, so that
            differences are paired.
        skip_missing: leave out PRMs and searches that are not stored.
        config: how the pool and the searches were sampled; None as for :func:`tts_utils.store.find_table`.
        problems: these only; None means all of the data set.
        data: the data directory; None means ``data_dir()``.

    Returns:
        ``COLUMNS``: one row per strategy, budget and problem. ``right`` in [0, 1] is the share of random
        subsets of N samples on which Best-of-N is right, 0 or 1 for a search, which was run once.
        ``policy_tokens`` and ``prm_tokens`` are means over problems, of what the strategy generates and the
        PRM reads at that budget; NaN where unknown.

    Raises:
        StoreMiss: the policy's pool, or (without ``skip_missing``) anything else, is not stored.
    """
    which = {"config": config, "problems": problems, "data": data}
    pool = store.pivot(store.read_samples(dataset, policy, **which))
    size = pool.correct.shape[1]
    budgets = [n for n in budgets if n <= size]
    frames = [control_outcomes(pool, budgets, num_resamples, seed).assign(prm="")]
    for prm in prms:
        try:
            scores = store.read_step_scores(dataset, policy, prm, n=size, **which)
        except StoreMiss:
            if not skip_missing:
                raise
        else:
            scored = {how: store.with_scores(pool, scores, how) for how in voting.AGGREGATIONS}
            frames.append(best_of_n_outcomes(scored, budgets, num_resamples, seed).assign(prm=prm))
        for tree_search in searches:
            try:
                frames.append(
                    stored_search_outcomes(dataset, policy, prm, tree_search, **which).assign(prm=prm)
                )
            except StoreMiss:
                if not skip_missing:
                    raise
    return pd.concat(frames, ignore_index=True).assign(policy=policy)[COLUMNS]


def control_outcomes(
    pool: Pool, budgets: Sequence[int], num_resamples: int = 100, seed: int = 0
) -> pd.DataFrame:
    """Give the outcomes that need no PRM: "random", "majority" and "pass_at_k" at every budget.

    Returns:
        ``COLUMNS`` without policy and prm. "random" is the same at every budget, and costs one sample.
    """
    size = pool.correct.shape[1]
    voted = metrics.accuracy_per_problem(
        pool.correct,
        pool.answer_ids,
        {"majority": (None, "majority")},
        budgets,
        num_resamples,
        np.random.default_rng(seed),
    )["majority"]
    tokens = _mean(pool.num_tokens)
    frames = []
    for i, budget in enumerate(budgets):
        found = metrics.pass_at_k(size, pool.correct.sum(axis=1), budget)
        for method, right, samples in (
            ("random", pool.correct.mean(axis=1), 1),
            ("majority", voted[:, i], budget),
            ("pass_at_k", found, budget),
        ):
            rule = "majority" if method == "majority" else ""
            frames.append(_rows(pool, (method, "", rule, 0), budget, samples * tokens, 0.0, right))
    return pd.concat(frames, ignore_index=True)


def best_of_n_outcomes(
    pools: Mapping[str, Pool], budgets: Sequence[int], num_resamples: int = 100, seed: int = 0
) -> pd.DataFrame:
    """Give the outcomes of Best-of-N under every aggregation and rule.

    Args:
        pools: aggregation -> the same pool with scores aggregated so.
        budgets, num_resamples, seed: as for :func:`read_outcomes`.

    Returns:
        ``COLUMNS`` without policy and prm.
    """
    first = next(iter(pools.values()))
    methods = {(how, rule): (pool.scores, rule) for how, pool in pools.items() for rule in SELECTIONS}
    found = metrics.accuracy_per_problem(
        first.correct, first.answer_ids, methods, budgets, num_resamples, np.random.default_rng(seed)
    )
    written, read = _mean(first.num_tokens), _mean(first.num_prm_tokens)
    frames = [
        _rows(first, ("best_of_n", how, rule, 0), n, n * written, n * read, right[:, i])
        for (how, rule), right in found.items()
        for i, n in enumerate(budgets)
    ]
    return pd.concat(frames, ignore_index=True)


def stored_search_outcomes(
    dataset: str, policy: str, prm: str, tree_search: TreeSearch, **which
) -> pd.DataFrame:
    """Give the outcomes of one stored search under every aggregation and rule of the final vote.

    Args:
        dataset, policy, prm: names.
        tree_search: which search.
        which: config, problems, data, as for :func:`tts_utils.store.read_searches`.

    Returns:
        ``COLUMNS`` without policy and prm. The aggregation is that of the vote; within the search it is the
        search's own.

    Raises:
        StoreMiss: it is not stored.
    """
    problems = which.pop("problems", None)
    problems = load_problems(dataset, data=which.get("data")) if problems is None else problems
    nodes = store.read_searches(dataset, policy, prm, tree_search, problems=problems, **which)
    usual = tree_search.method != "particles" and tree_search.every == 1
    usual &= tree_search.retire and not tree_search.distinct
    if usual and not (nodes["text"].str.strip() == "").any():
        ends = ends_of(nodes, problems)
    else:
        results = store.replay(dataset, policy, prm, tree_search, problems=problems, **which)
        ends = Ends(
            {how: store.pool_of(results, how) for how in voting.AGGREGATIONS},
            float(np.mean([result.num_policy_tokens for result in results])),
            float(np.mean([result.num_prm_tokens for result in results])),
        )
    frames = []
    for how, pool in ends.pools.items():
        for rule in SELECTIONS:
            chosen = voting.select(pool.answer_ids, pool.scores, rule)
            right = (chosen >= 0) & pool.correct[np.arange(len(chosen)), chosen]
            name = tree_search.method + f"-g{tree_search.every}" * (tree_search.every > 1)
            strategy = (name, how, rule, tree_search.branching)
            tokens = (ends.policy_tokens, ends.prm_tokens)
            frames.append(_rows(pool, strategy, tree_search.budget, *tokens, right.astype(float)))
    return pd.concat(frames, ignore_index=True)


def _rows(pool, strategy, budget, policy_tokens, prm_tokens, right) -> pd.DataFrame:
    values = (*strategy, budget, policy_tokens, prm_tokens)
    constants = dict(zip(COLUMNS[2:-2], values, strict=True))
    return pd.DataFrame(constants | {"problem_id": list(pool.problem_ids), "right": right})


def _mean(counts: np.ndarray | None) -> float:
    return float("nan") if counts is None else float(counts.mean())
