"""What a policy and a PRM are, and the checks at that border; it knows no backend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from tts_utils.records import Continuation, SamplingConfig, State, StepScores

TOO_LONG = StepScores((), 0, too_long=True)
"""What a PRM says of a trajectory that is longer than it can read. Such a trajectory has no scores: it casts
no vote under a rule that wants them, and does not compete in a search."""


class BackendError(RuntimeError):
    """A backend cannot be used here, or answered with something that cannot be relied on."""


class PromptTooLong(ValueError):
    """A prompt leaves no room for an answer in the model's context; the message names its problem."""


class BadContinuations(ValueError):
    """A policy returned too few or too many continuations, or ones that are not one step each."""


class BadScores(ValueError):
    """A PRM returned something that is not one score in [0, 1] per step."""


class Policy(Protocol):
    """Anything that continues states.

    Those of :func:`load_policy` also say what they read: ``prompt_ids(state)`` gives the token ids that a
    state is continued from, chat prompt included (:func:`tts_utils.compute.prompt_lengths` counts them); and
    ``settings`` tells two configurations or chat templates of the same weights apart, as it does for PRMs.
    """

    name: str
    num_params: int  # 0 where that is not known
    revision: str  # what tells two versions of the model apart; "" where that is not known

    def sample(
        self, states: Sequence[State], n: int, config: SamplingConfig, first: int | Sequence[int] = 0
    ) -> list[list[Continuation]]:
        """Sample n continuations of every state.

        Args:
            states: where to continue from.
            n: continuations per state, at least 1; at temperature 0 no more, for they would be copies.
            config: how to sample.
            first: index of the first sample, for all states or one per state; sample i of a state
                depends on (state, config, seed, i) alone, so pools grow and resume without change.

        Returns:
            One list of n continuations per state, in order. They report every token that was generated for
            them. A state whose steps have filled the model's context is continued by "", 0 tokens, "length":
            one path that is too long must not end the search of a whole batch.

        Raises:
            ValueError: n is out of range; or (PromptTooLong) a problem fills the context before a step is
                written.
        """
        ...


class PRM(Protocol):
    """Anything that scores the steps of trajectories."""

    name: str
    num_params: int
    revision: str  # what tells two versions of the model apart; "" where that is not known

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """Score every step of every trajectory: H steps in, H scores in [0, 1] out, in order.

        One that is longer than the PRM reads gets ``TOO_LONG``; every other failure is an error.
        """
        ...


def check_draws(n: int, config: SamplingConfig) -> None:
    """Raise ValueError unless n continuations of a state can be drawn: 1 or more, at temperature 0 just 1."""
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if n > 1 and config.temperature == 0:
        raise ValueError(
            f"greedy decoding (temperature 0) continues a state in one way only, so {n} continuations would "
            "be one and its copies; ask for 1, or sample at a temperature above 0"
        )


def first_indices(
    states: Sequence[State], n: int, config: SamplingConfig, first: int | Sequence[int]
) -> list[int]:
    """The index of the first sample of every state, once what a policy is asked for has been checked.

    Raises:
        ValueError: as :func:`check_draws`, or ``first`` is of the wrong length.
    """
    check_draws(n, config)
    firsts = [first] * len(states) if isinstance(first, int) else list(first)
    if len(firsts) != len(states):
        raise ValueError(f"{len(states)} states but {len(firsts)} first sample indices")
    return firsts


def check_scores(trajectories: Sequence[State], results: Sequence[StepScores]) -> None:
    """Raise BadScores, naming the trajectory, unless there is one score in [0, 1] for every step.

    A trajectory that is said to be too long must have no scores.
    """
    if len(results) != len(trajectories):
        raise BadScores(f"the PRM was given {len(trajectories)} trajectories and returned {len(results)}")
    for i, (state, result) in enumerate(zip(trajectories, results, strict=True)):
        if result.too_long:
            if result.scores:
                raise BadScores(
                    f"{len(result.scores)} scores of a trajectory that is said to be too long to be read: "
                    f"{_where(state, i)}"
                )
            continue
        if len(result.scores) != len(state.steps):
            raise BadScores(f"{len(result.scores)} scores for {len(state.steps)} steps: {_where(state, i)}")
        scores = result.scores
        # The whole row first, which is quicker. A NaN may hide from min and max, but not from a sum.
        if not scores or (min(scores) >= 0 and max(scores) <= 1 and not math.isnan(sum(scores))):
            continue
        for step, score in enumerate(scores):
            if not 0 <= score <= 1:  # NaN is not either
                raise BadScores(
                    f"step {step} has the score {score}, not a number in [0, 1]: {_where(state, i)}"
                )


def _where(state: State, i: int) -> str:
    return f"problem {state.problem.problem_id!r}, trajectory {i} of the batch ({state.text[:60]!r}…)"
