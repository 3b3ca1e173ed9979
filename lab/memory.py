"""A policy and a PRM that answer a second time from memory, so that many searches share their draws.

A draw is fixed by its state, its sample index and the seed, whatever asks for it, and a score by its
trajectory. The searches of one policy with seven PRMs at three budgets begin in the same states, so most of
their draws are the same ones; and a PRM meets the same trajectories at every budget.
"""

from __future__ import annotations

from collections.abc import Sequence

from tts_utils.policies import Policy
from tts_utils.prms import PRM
from tts_utils.records import Continuation, SamplingConfig, State, StepScores


class RememberingPolicy:
    """A policy asked once for every request; see :class:`tts_utils.policies.Policy`."""

    def __init__(self, policy: Policy) -> None:
        self.name, self.num_params = policy.name, policy.num_params
        self.revision = getattr(policy, "revision", "")
        self._policy = policy
        self._known: dict[tuple, list[Continuation]] = {}

    def sample(
        self, states: Sequence[State], n: int, config: SamplingConfig, first: int | Sequence[int] = 0
    ) -> list[list[Continuation]]:
        """Give the n continuations of every state, from memory where this very request was made before."""
        firsts = [first] * len(states) if isinstance(first, int) else list(first)
        keys = [
            (f, n, config, s.problem.problem_id, s.problem.text, s.text)
            for s, f in zip(states, firsts, strict=True)
        ]
        new = {key: state for key, state in zip(keys, states, strict=True) if key not in self._known}
        if new:
            received = self._policy.sample(list(new.values()), n, config, [key[0] for key in new])
            self._known.update(zip(new, received, strict=True))
        return [self._known[key] for key in keys]


class RememberingPRM:
    """A PRM that reads every trajectory once; see :class:`tts_utils.prms.PRM`."""

    def __init__(self, prm: PRM) -> None:
        self.name, self.num_params = prm.name, prm.num_params
        self.revision = getattr(prm, "revision", "")
        self._prm = prm
        self._known: dict[tuple, StepScores] = {}

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """Give the scores of every trajectory, from memory where it was read before."""
        keys = [(t.problem.problem_id, t.problem.text, t.steps) for t in trajectories]
        new = {key: t for key, t in zip(keys, trajectories, strict=True) if key not in self._known}
        if new:
            self._known.update(zip(new, self._prm.score(list(new.values())), strict=True))
        return [self._known[key] for key in keys]
