"""Search methods as generators that ask for what they need next, and the driver that runs them in lock step.

A method knows one problem and no model: it yields requests and receives answers. The driver advances the
methods of all problems together and merges their requests, so batching lives here and nowhere else. A new
method is one more generator; the driver does not change (:mod:`tts_utils.tree_search` has beam search, DVTS).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tts_utils import answers, mdp
from tts_utils.policy_requests import check_draws
from tts_utils.prms import check_scores
from tts_utils.records import (
    Completion,
    Continuation,
    Problem,
    SamplingConfig,
    SearchResult,
    State,
    StepScores,
)

if TYPE_CHECKING:
    from tts_utils.policies import Policy
    from tts_utils.prms import PRM


@dataclass(frozen=True, slots=True)
class Sample:
    """A request for ``n`` continuations of one state; its answer is ``list[Continuation]`` of length n.

    Attributes:
        state: where to continue.
        n: how many continuations, at least 1; at temperature 0 no more.
        first: index of the first one; the indices first..first+n-1 fix the draws.
        stop: strings that end a continuation; None takes those of the run's configuration.
    """

    state: State
    n: int
    first: int = 0
    stop: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A request for step scores; its answer is ``list[StepScores]``, one per trajectory, in order."""

    trajectories: tuple[State, ...]


Request = Sample | Score
Answer = list[Continuation] | list[StepScores]
# A method yields one request and receives its answer, or a list of requests and a list of their answers.
Method = Generator[Request | list[Request], Answer | list[Answer], SearchResult]


class BadContinuations(ValueError):
    """A policy returned too few or too many continuations, or ones that are not one step each."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a policy or a PRM, as the driver made it.

    Attributes:
        kind: which method was called, "sample" or "score".
        sequences: continuations asked for, or trajectories sent.
        tokens: tokens generated, or read.
        seconds: how long it took.
    """

    kind: Literal["sample", "score"]
    sequences: int
    tokens: int
    seconds: float


def best_of_n(problem: Problem, n: int, *, first: int = 0, scored: bool = True) -> Method:
    """Best-of-N: N independent completions of one problem, each scored at its end.

    Choosing among them is voting's job, so one pool serves every aggregation, every rule and every smaller N.

    Args:
        problem: the problem.
        n: the budget N, at least 1; at temperature 0 no more.
        first: index of the first sample; a pool of 8 and its next 8 are ``(n=8)`` and ``(n=8, first=8)``.
        scored: False leaves the PRM out (majority voting, pass@k); the result then has no step scores.

    Source: section 2.2 of arXiv:2502.06703.
    """
    continuations = yield Sample(mdp.initial_state(problem), n, first)
    completions = tuple(
        finish(problem, first + i, continuation) for i, continuation in enumerate(continuations)
    )
    step_scores: tuple[StepScores, ...] = ()
    if scored:
        step_scores = tuple((yield Score(tuple(mdp.state_of(problem, c.text) for c in completions))))
    read = {c.text: s.num_tokens for c, s in zip(completions, step_scores, strict=False)}  # each text once
    return SearchResult(
        problem_id=problem.problem_id,
        completions=completions,
        step_scores=step_scores,
        num_policy_tokens=sum(c.num_tokens for c in completions),
        num_prm_tokens=sum(read.values()),
    )


def finish(problem: Problem, sample: int, continuation: Continuation) -> Completion:
    """Read and grade the answer of a whole trajectory.

    One cut by the token limit (finish reason "length") is not a finished trajectory: its answer is "",
    whatever its text holds. The authors' code reads an answer there too.
    """
    cut = continuation.finish_reason == "length"
    answer = "" if cut else answers.extract_answer(continuation.text)
    return Completion(
        problem_id=problem.problem_id,
        sample=sample,
        text=continuation.text,
        num_tokens=continuation.num_tokens,
        finish_reason=continuation.finish_reason,
        answer=answer,
        correct=bool(answer) and answers.grade(answer, problem.answer),
    )


def run(
    methods: Iterable[Method],
    policy: Policy | None,
    prm: PRM | None,
    config: SamplingConfig,
    calls: list[Call] | None = None,
) -> list[SearchResult]:
    """Advance all methods together until each has returned, and give their results in the same order.

    All requests of a round become one ``policy.sample`` call (one for each different (n, stop) among them) or
    one ``prm.score`` call. What a method receives depends on its own requests only.

    Args:
        methods: one generator per problem, such as ``best_of_n(problem, 64)``.
        policy: may be None if no method samples.
        prm: may be None if no method asks for scores.
        config: how to sample.
        calls: where to note every call of the policy and the PRM; None notes nothing.

    Raises:
        BadContinuations: the policy returned too few or too many continuations, or broke a method's rules.
        BadScores: the PRM returned a wrong number of scores, a NaN, or a score outside [0, 1].
        ValueError: a method needs a policy or a PRM and none was given, or it asks for several continuations
            of one state at temperature 0, which would be copies.
    """
    together = lock_step(methods)
    calls = [] if calls is None else calls
    received: list[Answer] | None = None
    while True:
        try:
            requests = together.send(received)
        except StopIteration as done:
            return done.value
        samples = _sample_all([r for r in requests if isinstance(r, Sample)], policy, config, calls)
        scores = _score_all([r for r in requests if isinstance(r, Score)], prm, calls)
        received = [next(samples) if isinstance(r, Sample) else next(scores) for r in requests]


def lock_step(methods: Iterable[Method]) -> Generator[list[Request], list[Answer], list[SearchResult]]:
    """Make one method of many: it yields their requests together, and returns the list of their results.

    Requests for scores wait until no method wants samples. So methods that do the same, one of them with a
    detour over more samples, still ask for their scores in one round.
    """
    methods = list(methods)
    results: dict[int, SearchResult] = {}
    waiting: dict[int, Request | list[Request]] = {}
    received: dict[int, Answer | list[Answer] | None] = dict.fromkeys(range(len(methods)))
    while received:
        for i, answer in received.items():
            try:
                waiting[i] = methods[i].send(answer)
            except StopIteration as done:
                results[i] = done.value
        turn = [i for i in sorted(waiting) if any(isinstance(r, Sample) for r in _listed(waiting[i]))]
        asked = {i: waiting.pop(i) for i in turn or sorted(waiting)}
        if not asked:
            break
        answers_in_order = iter((yield [r for item in asked.values() for r in _listed(item)]))
        received = {
            i: [next(answers_in_order) for _ in item] if isinstance(item, list) else next(answers_in_order)
            for i, item in asked.items()
        }
    return [results[i] for i in range(len(methods))]


def score(
    prm: PRM | None, trajectories: Sequence[State], calls: list[Call] | None = None
) -> list[StepScores]:
    """Ask a PRM for checked step scores, sending each distinct trajectory once.

    A trajectory without steps (an empty completion) is not sent: it has no scores, and cost no tokens.
    ``num_tokens`` is that of one reading, for every duplicate alike. ``calls`` is as for :func:`run`.

    Raises:
        BadScores: see :func:`tts_utils.prms.check_scores`.
        ValueError: there is something to score and no PRM.
    """
    # An identifier is unique within its data set only, so the problem's text is part of the key.
    keys = [(t.problem.problem_id, t.problem.text, t.steps) for t in trajectories]
    distinct = {key: t for key, t in zip(keys, trajectories, strict=True) if t.steps}
    if distinct and prm is None:
        raise ValueError(
            "a method asks for step scores but no PRM was given (best_of_n can do with scored=False)"
        )
    sent = list(distinct.values())
    began = time.perf_counter()
    received = prm.score(sent) if sent else []
    took = time.perf_counter() - began
    check_scores(sent, received)
    if sent and calls is not None:
        calls.append(Call("score", len(sent), sum(s.num_tokens for s in received), took))
    by_key = dict(zip(distinct, received, strict=True))
    return [by_key.get(key, StepScores((), 0)) for key in keys]


def _listed(item: Request | list[Request]) -> list[Request]:
    return item if isinstance(item, list) else [item]


def _sample_all(requests: list[Sample], policy: Policy | None, config: SamplingConfig, calls: list[Call]):
    if requests and policy is None:
        raise ValueError("a method asks for samples but no policy was given")
    groups: dict[tuple, list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault((request.n, request.stop), []).append(i)
    continuations: list[list[Continuation]] = [[]] * len(requests)
    for (n, stop), members in groups.items():
        group = [requests[i] for i in members]
        used = config if stop is None else replace(config, stop=stop)
        check_draws(n, used)
        began = time.perf_counter()
        lists = policy.sample([r.state for r in group], n, used, [r.first for r in group])
        took = time.perf_counter() - began
        if len(lists) != len(group):
            raise BadContinuations(
                f"policy {policy.name!r} was asked to continue {len(group)} states, and did {len(lists)}"
            )
        for i, request, got in zip(members, group, lists, strict=True):
            if len(got) != n:
                raise BadContinuations(
                    f"policy {policy.name!r} returned {len(got)} continuations of problem "
                    f"{request.state.problem.problem_id!r} after {len(request.state.steps)} steps, not {n}"
                )
            continuations[i] = list(got)
        calls.append(Call("sample", n * len(group), sum(c.num_tokens for got in lists for c in got), took))
    return iter(continuations)


def _score_all(requests: list[Score], prm: PRM | None, calls: list[Call]):
    flat = iter(score(prm, [t for r in requests for t in r.trajectories], calls))
    return iter([[next(flat) for _ in r.trajectories] for r in requests])
