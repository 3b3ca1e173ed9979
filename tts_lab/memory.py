"""A policy and a PRM that answer a second time from memory, so that tables and searches share their draws.

A draw is fixed by its state, its sample index and the seed, whatever asks for it, and a score by its
trajectory. The searches of one policy with seven PRMs at three budgets begin in the same states, so most of
their draws are the same ones; and a PRM meets the same trajectories at every budget. Two test sets share
problems, and so the samples of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tts_utils.mdp import state_of
from tts_utils.protocols import PRM, Policy, first_indices
from tts_utils.records import Continuation, Problem, SamplingConfig, State, StepScores
from tts_utils.store import files as table_files
from tts_utils.store import fill
from tts_utils.store.tables import Table

SCORE_UNITS = 2**16  # a stored score is a whole number of these parts of 1


class RememberingPolicy:
    """A policy asked once for every request; see :class:`tts_utils.protocols.Policy`."""

    def __init__(self, policy: Policy) -> None:
        self.name, self.num_params = policy.name, policy.num_params
        self.revision, self.settings = getattr(policy, "revision", ""), getattr(policy, "settings", "")
        self._policy = policy
        self._known: dict[tuple, Continuation] = {}

    def sample(
        self, states: Sequence[State], n: int, config: SamplingConfig, first: int | Sequence[int] = 0
    ) -> list[list[Continuation]]:
        """Give the n continuations of every state; a state is asked again unless all of them are known."""
        firsts = first_indices(states, n, config, first)
        keys = [
            [_draw(config, state, index) for index in range(start, start + n)]
            for state, start in zip(states, firsts, strict=True)
        ]
        new = {
            tuple(draws): (state, start)
            for draws, state, start in zip(keys, states, firsts, strict=True)
            if not all(draw in self._known for draw in draws)
        }
        if new:
            asked, starts = zip(*new.values(), strict=True)
            received = self._policy.sample(asked, n, config, starts)
            for draws, continuations in zip(new, received, strict=True):
                self._known.update(zip(draws, continuations, strict=True))
        return [[self._known[draw] for draw in draws] for draws in keys]

    def recall(self, table: Table, problems: Sequence[Problem], data: Path) -> None:
        """Know the samples of a stored table of this policy, where its problems are among these."""
        by_id = {problem.problem_id: problem for problem in problems}
        frame = table_files.to_frame(
            table_files.load(table, data, sources=fill.revision("policy", self._policy))
        )
        for row in frame[frame["problem_id"].isin(by_id)].itertuples():
            known = Continuation(row.text, row.num_tokens, row.finish_reason)
            self._known[_draw(table.sampling, State(by_id[row.problem_id]), row.sample)] = known


def _draw(config: SamplingConfig, state: State, index: int) -> tuple:
    """What fixes a draw; a problem's text is part of it, as two data sets may use the same identifiers."""
    return config, state.problem.problem_id, state.problem.text, state.text, index


class RememberingPRM:
    """A PRM that reads every trajectory once; see :class:`tts_utils.protocols.PRM`."""

    def __init__(self, prm: PRM) -> None:
        self.name, self.num_params = prm.name, prm.num_params
        self.revision, self.settings = getattr(prm, "revision", ""), getattr(prm, "settings", "")
        self._prm = prm
        self._known: dict[tuple, StepScores] = {}

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """Give the scores of every trajectory, from memory where it was read before."""
        keys = [_read(trajectory) for trajectory in trajectories]
        new = {key: t for key, t in zip(keys, trajectories, strict=True) if key not in self._known}
        if new:
            self._known.update(zip(new, self._prm.score(list(new.values())), strict=True))
        return [self._known[key] for key in keys]

    def recall(self, scores: Table, problems: Sequence[Problem], data: Path) -> None:
        """Know the scores of a stored table of this PRM, where its problems are among these."""
        by_id = {problem.problem_id: problem for problem in problems}
        samples = replace(scores, kind="samples", prm="")
        sources = {**table_files.sources(samples, data), **fill.revision("prm", self._prm)}
        scored = table_files.to_frame(table_files.load(scores, data, sources=sources))
        written = table_files.to_frame(table_files.load(samples, data))[["problem_id", "sample", "text"]]
        frame = scored.merge(written, on=["problem_id", "sample"])
        frame = frame[frame["problem_id"].isin(by_id)].drop_duplicates(["problem_id", "text"])
        for row in frame.itertuples():
            if len(row.scores):  # otherwise the completion is empty, or too long for the PRM
                known = StepScores(tuple(map(float, row.scores)), int(row.num_prm_tokens))
                self._known[_read(state_of(by_id[row.problem_id], row.text))] = known


def _read(trajectory: State) -> tuple:
    """What fixes the scores of a trajectory."""
    return trajectory.problem.problem_id, trajectory.problem.text, trajectory.steps


class RoundingPRM:
    """A PRM whose scores are rounded to multiples of 2**-16; see :class:`tts_utils.protocols.PRM`.

    A table of them takes little more than half the room, which is what decides whether the whole grid can be
    shipped. Searches rank by unrounded scores.
    """

    def __init__(self, prm: PRM) -> None:
        self.name, self.num_params = prm.name, prm.num_params
        self.revision, self.settings = getattr(prm, "revision", ""), getattr(prm, "settings", "")
        self._prm = prm

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        """Give the rounded scores of every trajectory."""
        return [
            replace(result, scores=tuple(round(score * SCORE_UNITS) / SCORE_UNITS for score in result.scores))
            for result in self._prm.score(trajectories)
        ]
