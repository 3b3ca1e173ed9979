"""Policies and PRMs without a model, for tests: exact, instant, and badly behaved on request."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tts_utils.protocols import TOO_LONG
from tts_utils.records import Continuation, Problem, SamplingConfig, State, StepScores


def problems(count: int, *, prefix: str = "p") -> tuple[Problem, ...]:
    """Problems "p000", "p001", ... with answers 100, 101, ..."""
    return tuple(
        Problem(f"{prefix}{i:03d}", f"What is {100 + i}?", str(100 + i), level=i % 5 + 1)
        for i in range(count)
    )


def ship(data: Path, items: Sequence[Problem], more: dict[str, bytes]) -> None:
    """Make a folder of shipped data: problems, weights, a report, two samples of each problem, a manifest."""
    from tts_utils import store

    for name, content in {
        "problems/toy.jsonl": as_jsonl(items).encode(),
        "models/m/model.safetensors": bytes(range(256)) * 1000,
        "models/m/config.json": b"{}",
        "report/odd name.csv": b"a,b\n",
        **more,
    }.items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)
    store.record_files([p for p in data.rglob("*") if p.is_file() and p.name[0] != "."], data=data)
    store.fill_samples("toy", FakePolicy(), 2, data=data)


def as_jsonl(items: Sequence[Problem]) -> str:
    """The lines of a problem file."""
    import json

    return "".join(
        json.dumps({"problem_id": p.problem_id, "problem": p.text, "answer": p.answer, "level": p.level})
        + "\n"
        for p in items
    )


def draw(*parts: object) -> int:
    """A number that depends on ``parts`` alone."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6])


@dataclass
class FakePolicy:
    """Names its problem and sample in two steps; three answers in five are right, the rest 1 or 2 off."""

    name: str = "fake-policy"
    num_params: int = 1000

    def one(self, state: State, index: int, config: SamplingConfig) -> Continuation:
        problem = state.problem
        if config.temperature == 0:
            index = 0
        number = draw(problem.problem_id, state.text, config.seed, config.temperature, index)
        answer = int(problem.answer) + max(0, number % 5 - 2)
        text = f"{problem.problem_id}, sample {index}, draw {number % 1000}.\n\nSo \\boxed{{{answer}}}."
        return Continuation(text, len(text), "eos")

    def sample(
        self, states: Sequence[State], n: int, config: SamplingConfig, first: int | Sequence[int] = 0
    ) -> list[list[Continuation]]:
        firsts = [first] * len(states) if isinstance(first, int) else first
        return [
            [self.one(state, start + i, config) for i in range(n)]
            for state, start in zip(states, firsts, strict=True)
        ]


class Truncating(FakePolicy):
    """Is cut by the token limit behind a complete \\boxed{}."""

    def one(self, state: State, index: int, config: SamplingConfig) -> Continuation:
        whole = super().one(state, index, config)
        return Continuation(whole.text, config.max_tokens, "length")


class Repeating(FakePolicy):
    """Gives only two different texts per problem."""

    def one(self, state: State, index: int, config: SamplingConfig) -> Continuation:
        return super().one(state, index % 2, config)


class Silent(FakePolicy):
    """Writes nothing at all."""

    def one(self, state: State, index: int, config: SamplingConfig) -> Continuation:
        return Continuation("", 1, "eos")


class Unboxed(FakePolicy):
    """Reasons, and never states an answer."""

    def one(self, state: State, index: int, config: SamplingConfig) -> Continuation:
        return Continuation(f"First step {index}.\n\nSecond step, and that is that.", 9, "eos")


class Short(FakePolicy):
    """Returns one continuation too few."""

    def sample(self, states, n, config, first=0):
        return [few[:-1] for few in super().sample(states, n, config, first)]


@dataclass
class Saying(FakePolicy):
    """Says the given texts in turn, whatever the problem."""

    texts: tuple[str, ...] = ("",)

    def one(self, state: State, index: int, config: SamplingConfig) -> Continuation:
        text = self.texts[index % len(self.texts)]
        return Continuation(text, max(1, len(text)), "eos")


@dataclass
class Counting(FakePolicy):
    """Notes each call as (problem ids, n, firsts); from call ``fail_on`` (counted from 1) on it fails."""

    fail_on: int = 0
    calls: list[tuple[tuple[str, ...], int, tuple[int, ...]]] = field(default_factory=list)

    def sample(self, states, n, config, first=0):
        firsts = (first,) * len(states) if isinstance(first, int) else tuple(first)
        self.calls.append((tuple(s.problem.problem_id for s in states), n, firsts))
        if self.fail_on and len(self.calls) >= self.fail_on:
            raise RuntimeError(f"call {len(self.calls)} fails")
        return super().sample(states, n, config, first)


@dataclass
class Slow(FakePolicy):
    """Takes its time over every call."""

    seconds: float = 0.05

    def sample(self, states, n, config, first=0):
        time.sleep(self.seconds)
        return super().sample(states, n, config, first)


@dataclass
class StepPolicy(FakePolicy):
    """Writes one step at a time, each naming its problem; ends after 2 to 5 steps with an answer.

    Notes every call as a list of (problem id, text of the state, sample index), and all tokens it wrote.
    """

    longest: int = 5
    fail_on: int = 0
    calls: list[list[tuple[str, str, int]]] = field(default_factory=list)
    num_tokens: int = 0

    def one(self, state: State, index: int, config: SamplingConfig) -> Continuation:
        assert config.stop == ("\n\n",)
        problem, depth = state.problem, len(state.steps) + 1
        number = draw(problem.problem_id, state.text, config.seed, config.temperature, index)
        if depth >= 2 and (number % 3 == 0 or depth >= self.longest):
            answer = int(problem.answer) + number // 3 % 3
            text = f"{problem.problem_id} gives \\boxed{{{answer}}}."
            return Continuation(text, len(text) + 1, "eos")
        text = f"{problem.problem_id}, step {depth}, draw {number // 3 % 1000}.\n\n"
        return Continuation(text, len(text), "stop")

    def sample(
        self, states: Sequence[State], n: int, config: SamplingConfig, first: int | Sequence[int] = 0
    ) -> list[list[Continuation]]:
        firsts = [first] * len(states) if isinstance(first, int) else list(first)
        pairs = zip(states, firsts, strict=True)
        self.calls.append([(s.problem.problem_id, s.text, f + i) for s, f in pairs for i in range(n)])
        if self.fail_on and len(self.calls) >= self.fail_on:
            raise RuntimeError(f"call {len(self.calls)} fails")
        written = super().sample(states, n, config, firsts)
        self.num_tokens += sum(c.num_tokens for row in written for c in row)
        return written


class RepeatingSteps(StepPolicy):
    """Gives only two different steps per state."""

    def one(self, state: State, index: int, config: SamplingConfig) -> Continuation:
        return super().one(state, index % 2, config)


@dataclass
class CutSteps(StepPolicy):
    """Every step after ``good_steps`` is cut by the token limit in the middle of an answer."""

    good_steps: int = 1
    uncut_from: int = 10**9

    def one(self, state: State, index: int, config: SamplingConfig) -> Continuation:
        if len(state.steps) < self.good_steps or index >= self.uncut_from:
            return super().one(state, index, config)
        return Continuation(r"So it is \boxed{100} or", config.max_tokens, "length")


@dataclass
class SayingSteps(StepPolicy):
    """Gives the same continuation always."""

    text: str = ""
    finish_reason: str = "eos"

    def one(self, state: State, index: int, config: SamplingConfig) -> Continuation:
        return Continuation(self.text, 1, self.finish_reason)


@dataclass
class FakePRM:
    """Scores every step by a draw from the text so far; notes each call's texts; may fail from a call on."""

    name: str = "fake-prm"
    num_params: int = 500
    fail_on: int = 0
    calls: list[list[str]] = field(default_factory=list)

    def score(self, trajectories: Sequence[State]) -> list[StepScores]:
        self.calls.append([t.text for t in trajectories])
        if self.fail_on and len(self.calls) >= self.fail_on:
            raise RuntimeError(f"call {len(self.calls)} fails")
        return [self.one(t) for t in trajectories]

    def one(self, trajectory: State) -> StepScores:
        steps = trajectory.steps
        scores = (draw("".join(steps[: i + 1])) % 10_000 / 10_000 for i in range(len(steps)))
        return StepScores(tuple(scores), len(trajectory.text))


@dataclass
class ShortSightedPRM(FakePRM):
    """Reads no trajectory of more than ``limit`` characters; notes those it was given all the same."""

    limit: int = 40

    def one(self, trajectory: State) -> StepScores:
        return TOO_LONG if len(trajectory.text) > self.limit else super().one(trajectory)


class KnowingPRM(FakePRM):
    """Gives 1 to every step of a right completion and 0 to every step of a wrong one."""

    def one(self, trajectory: State) -> StepScores:
        right = f"{{{trajectory.problem.answer}}}" in trajectory.text
        return StepScores((float(right),) * len(trajectory.steps), len(trajectory.text))


class MiscountingPRM(FakePRM):
    """Leaves out the last step's score."""

    def one(self, trajectory: State) -> StepScores:
        return StepScores(super().one(trajectory).scores[:-1], 1)


class NaNPRM(FakePRM):
    """Gives NaN to the last step."""

    def one(self, trajectory: State) -> StepScores:
        return StepScores((*super().one(trajectory).scores[:-1], float("nan")), 1)
