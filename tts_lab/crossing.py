"""Small against large: where the answers of a small policy, searched with a PRM, cross a larger one's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tts_lab.judges import MAX, VOTE
from tts_lab.results import Result, pick
from tts_utils.compute import inference_flops
from tts_utils.metrics import paired_difference

METHODS = ("best_of_n", "beam", "dvts")
FIXED_PRM, FIXED_BUDGET = "lab-qwen-prm-l", 64  # for policies that nothing was chosen for


@dataclass(frozen=True, slots=True)
class Setting:
    """With what a policy answers: a PRM, a method, a selection rule and a budget N."""

    prm: str
    method: str
    rule: str
    budget: int

    @classmethod
    def of(cls, result: Result) -> Setting:
        """That of a result."""
        return cls(result.prm, result.method, result.rule, result.budget)


def choose(fresh: Sequence[Result], policy: str) -> Setting | None:
    """The setting that does best on problems kept for choosing; ties go to fewer tokens of the policy.

    None where nothing is stored.
    """
    tried = [r for r in pick(fresh, policy=policy) if r.prm and r.method in METHODS]
    if not tried:
        return None
    return Setting.of(max(tried, key=lambda r: (r.right.mean(), -r.policy_tokens)))


def crossing(
    found: Mapping[str, Sequence[Result]],
    chosen: Mapping[str, Setting | None],
    ladders: Sequence[Sequence[str]],
    num_params: Mapping[str, int],
    seed: int = 0,
) -> pd.DataFrame:
    """Every pair of every ladder: the smaller with a PRM against the larger's greedy answer.

    Args:
        found: results by test set.
        chosen: for policies that a setting was chosen for, on other problems, the setting.
        ladders: the policies of each family, smallest first.
        num_params: of every policy and PRM.
        seed: of the bootstraps.

    Returns:
        One row per test set, pair and setting. ``role`` is "chosen" (the setting chosen on other problems:
        the row that counts), "fixed" (the best judge at N = 64, for policies without a choice) or "other"
        (a setting that was tried too: with so many, some look good by luck). Then difference, low, high
        (paired, over n problems), both accuracies, how many times the parameters; generated tokens and FLOPs
        a problem of both, and of the PRM (2 P per token; prompts left out, as in the paper).
    """
    rng = np.random.default_rng(seed)
    rows = []
    for dataset, results in found.items():
        greedy = {r.policy: r for r in pick(results, method="greedy")}
        for ladder in ladders:
            for i, small in enumerate(ladder):
                for large in ladder[i + 1 :]:
                    if large in greedy:
                        for r, role in _settings(results, small, chosen.get(small)):
                            rows.append(_row(dataset, r, role, greedy[large], num_params, rng))
    columns = ["dataset", "small", "large", "role", "prm", "method", "rule", "budget", "times_params"]
    columns += ["difference", "low", "high", "n", "small_accuracy", "large_accuracy", "small_tokens"]
    columns += ["large_tokens", "prm_tokens", "small_flops", "prm_flops", "large_flops"]
    return pd.DataFrame(rows, columns=columns)


def _settings(results: Sequence[Result], small: str, chosen: Setting | None):
    """What a small policy has stored, with the part each setting plays."""
    tried = [r for r in pick(results, policy=small) if r.prm and r.rule in (VOTE, MAX)]
    largest = max((r.budget for r in tried), default=0)
    for r in tried:
        if Setting.of(r) == chosen:
            yield r, "chosen"
        elif chosen is None and (r.prm, r.budget, r.rule) == (FIXED_PRM, FIXED_BUDGET, VOTE):
            yield r, "fixed"
        elif chosen is not None and r.budget in (FIXED_BUDGET, largest) and r.rule == VOTE:
            yield r, "other"


def _row(dataset: str, r: Result, role: str, large: Result, num_params: Mapping[str, int], rng) -> tuple:
    times = num_params[large.policy] / num_params[r.policy]
    difference = paired_difference(r.right, large.right, rng)
    flops = [
        inference_flops(num_params[r.policy], r.policy_tokens),
        inference_flops(num_params[r.prm], r.prm_tokens),
        inference_flops(num_params[large.policy], large.policy_tokens),
    ]
    tokens = (r.policy_tokens, large.policy_tokens, r.prm_tokens)
    setting = (r.prm, r.method, r.rule, r.budget)
    accuracies = (r.right.mean(), large.right.mean())
    return (dataset, r.policy, large.policy, role, *setting, times, *difference, *accuracies, *tokens, *flops)
