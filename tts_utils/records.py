"""Frozen records that every other module passes around; they compute nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

FinishReason = Literal["stop", "eos", "length"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem with its gold answer.

    Attributes:
        problem_id: unique within its data set.
        text: what the policy reads.
        answer: the gold final answer, as it would stand inside ``\\boxed{}``; never empty.
        level: 1 (easy) to 5 (hard), or 0 where the source gives none.
        subject: the subject's name, or "" where the source gives none.
        solution: a worked solution, or "".
        meta: whatever else the source says of it (a lab problem keeps its solution graph here).
    """

    problem_id: str
    text: str
    answer: str
    level: int = 0
    subject: str = ""
    solution: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """A state of the MDP: the problem and the steps written so far.

    Attributes:
        problem: the problem.
        steps: the steps in order, each with its own separator still at its end, so that
            ``"".join(steps)`` is the text so far, to the byte.
    """

    problem: Problem
    steps: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The policy's text so far, separators included."""
        return "".join(self.steps)


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """How a policy is sampled.

    Attributes:
        temperature: 0 is greedy decoding; the paper uses 0.7 for TTS and 0 for CoT.
        top_p: nucleus mass in (0, 1].
        max_tokens: the limit on new tokens of one continuation, at least 1.
        stop: strings that end a continuation; kept at the end of its text.
        seed: the seed of all draws; sample i of a state depends on (state, config, seed, i) only.
    """

    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"temperature must be 0 or more, got {self.temperature!r}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie in (0, 1], got {self.top_p!r}")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {self.max_tokens!r}")
        if any(not s for s in self.stop):
            raise ValueError("an empty stop string would stop everything; leave it out")


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a policy wrote from one state.

    Attributes:
        text: the new text only; a stop string that ended it is kept, an end-of-sequence token is not.
        num_tokens: new tokens generated, the end-of-sequence token included.
        finish_reason: "stop" (a stop string), "eos" (the policy ended), or "length" (cut by the limit).
    """

    text: str
    num_tokens: int
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished trajectory: a whole answer to one problem.

    Attributes:
        problem_id: whose problem.
        sample: index of the sample in its pool, from 0.
        text: the whole answer.
        num_tokens: tokens generated.
        finish_reason: as in :class:`Continuation`.
        answer: the extracted final answer; "" where none was found.
        correct: whether the answer is equivalent to the gold answer; an empty answer never is.
    """

    problem_id: str
    sample: int
    text: str
    num_tokens: int
    finish_reason: FinishReason
    answer: str = ""
    correct: bool = False


@dataclass(frozen=True, slots=True)
class StepScores:
    """What a PRM says of one trajectory.

    Attributes:
        scores: one score in [0, 1] per step, in order; higher is better. () where ``too_long``.
        num_tokens: tokens the PRM read.
        too_long: whether the trajectory is longer than the PRM can read, and so has no scores.
    """

    scores: tuple[float, ...]
    num_tokens: int
    too_long: bool = False


class SearchNode(NamedTuple):
    """One node of a search tree: one step that was sampled, whatever became of it.

    A tuple, as a search makes very many, and a frozen dataclass takes several times as long to make.

    Attributes:
        run: which tree of its problem; the subtree's index in DVTS.
        node: its number in the tree, from 0, in the order of sampling.
        parent: the node it continues; -1 is the initial state.
        depth: how many nodes the path to it has, itself included; at least 1.
        sample: the sample index it was drawn with; (state continued, sample) fixes the draw.
        text: the step alone, its separator included.
        num_tokens: tokens generated for it.
        finish_reason: "length" marks a step that was cut by the token limit, and so never competed.
        score: the PRM's score of the step, in [0, 1]; None where it has none: it was cut, there was nothing
            to read, its path is longer than the PRM reads, or it was dropped as an equal of one before it.
        num_prm_tokens: tokens the PRM read for the score; 0 where that text had one already in this tree, or
            where the score came with the reading of a later step (verification every g-th step).
        kept: whether it won a place among the kept beams, or lies on the way to one that did.
        finished: whether the trajectory ends with it; one that is finished and not kept was discarded.
    """

    run: int
    node: int
    parent: int
    depth: int
    sample: int
    text: str
    num_tokens: int
    finish_reason: FinishReason
    score: float | None
    num_prm_tokens: int
    kept: bool
    finished: bool


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a method found for one problem.

    Attributes:
        problem_id: whose problem.
        completions: the finished trajectories that are voted on, in sample order.
        step_scores: one per completion, or () where the method used no PRM.
        num_policy_tokens: all tokens the policy generated, for discarded steps too; what it read for them
            follows from the nodes (:func:`tts_utils.compute.cost_of_results`).
        num_prm_tokens: all tokens the PRM read; equal trajectories are read once.
        nodes: the whole search tree(s), sorted by run and node; () for Best-of-N.
    """

    problem_id: str
    completions: tuple[Completion, ...]
    step_scores: tuple[StepScores, ...] = ()
    num_policy_tokens: int = 0
    num_prm_tokens: int = 0
    nodes: tuple[SearchNode, ...] = ()
