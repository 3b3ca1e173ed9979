"""Run a recipe's models for some seconds on its own problems: how long samples are, how fast they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from tts_utils import mdp
from tts_utils.recipes import Model, Recipe
from tts_utils.recipes.plan import Rates, assumed
from tts_utils.recipes.run import Loaded
from tts_utils.records import Problem, State

PROBLEMS = 8
"""How many problems a round takes."""
FEW, MANY = 8, 32
"""Samples of each in the first round, which is not timed, and in the others, where it did not take too long.

The latter are a batch as in filling a table of samples: a smaller one is slower by the sample.
"""


FIRST = 10**6
"""The first sample's index, far behind those of any pool; the draws are thrown away."""


def measure(
    recipe: Recipe,
    problems: Sequence[Problem],
    loaded: Loaded,
    seconds: float = 30.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Rates:
    """Sample and score for about ``seconds`` in all, shared equally among the models; nothing is stored.

    The problems are taken from all over the set, since sets are often sorted by difficulty.

    Args:
        recipe: whose models are run.
        problems: its data set.
        loaded: holds the models, so that the run that follows need not load the last of them again.
        seconds: in all; the first call of a model, which may compile, is not timed.
        clock: what tells seconds; ``time.process_time`` on a machine that others use too.
    """
    share = seconds / (len(recipe.policies) + len(recipe.prms) * bool(recipe.policies))
    rates = assumed(recipe)
    prompts: list[int] = []
    num_steps: list[int] = []
    trajectories: list[State] = []
    for model in recipe.policies:
        name = model.called
        policy = loaded.get("policy", model)
        config = recipe.sampling_of(model, recipe.seeds[0])
        rates.policy_params[name] = policy.num_params
        lengths: list[int] = []
        spent, timed, rounds, first, count = 0.0, 0, 0, FIRST, FEW
        while spent < share or rounds < 2:
            states = [State(p) for p in _spread(problems, PROBLEMS, rounds)]
            began = clock()
            answers = policy.sample(states, count, config, first=first)
            took = clock() - began
            made = [c.num_tokens for row in answers for c in row]
            lengths += made
            if rounds:
                spent, timed = spent + took, timed + sum(made)
                rates.policy_speed[name] = timed / spent
            written = [
                mdp.state_of(s.problem, c.text) for s, row in zip(states, answers, strict=True) for c in row
            ]
            num_steps += [len(t.steps) for t in written]
            trajectories += [t for t in written if t.steps]
            if hasattr(policy, "prompt_ids"):
                prompts += [len(policy.prompt_ids(state)) for state in states]
            first += count  # a text that comes again could be remembered
            count = MANY if took < share else FEW
            rounds += 1
        rates.tokens[name] = sum(lengths) / len(lengths)
    for model in recipe.prms if trajectories else ():
        _time_prm(model, loaded, trajectories, share, rates, clock)
    return Rates(
        rates.tokens,
        sum(prompts) / len(prompts) if prompts else rates.prompt,
        sum(num_steps) / len(num_steps) if num_steps else rates.steps,
        rates.policy_speed,
        rates.prm_speed,
        rates.policy_params,
        rates.prm_params,
        measured=True,
        distinct=len(_once(trajectories)) / len(trajectories) if trajectories else 1.0,
    )


def _time_prm(
    model: Model,
    loaded: Loaded,
    trajectories: list[State],
    share: float,
    rates: Rates,
    clock: Callable[[], float],
) -> None:
    name = model.called
    prm: Any = loaded.get("prm", model)
    rates.prm_params[name] = prm.num_params
    size = PROBLEMS * MANY
    # Each text once: a PRM may remember what it has read, and answer in no time.
    texts = _once(trajectories)
    spent, read = 0.0, 0
    for at in range(0, len(texts), size):
        began = clock()
        scored = prm.score(texts[at : at + size])
        took = clock() - began
        if at or len(texts) <= size:
            spent += took
            read += sum(s.num_tokens for s in scored)
        if spent >= share:
            break
    rates.prm_speed[name] = read / spent if spent else 0.0


def _once(trajectories: Sequence[State]) -> list[State]:
    return list({(t.problem.problem_id, t.steps): t for t in trajectories}.values())


def _spread(problems: Sequence[Problem], count: int, turn: int) -> list[Problem]:
    """``count`` problems from all over the set, others in every turn."""
    stride = max(1, len(problems) // count)
    return [problems[(i * stride + turn) % len(problems)] for i in range(min(count, len(problems)))]
