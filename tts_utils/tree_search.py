r"""Beam search and DVTS: search over steps, guided by a PRM, as generators for the driver of ``search``.

Beam search with budget N and branching M keeps N/M beams: sample M next steps from each, score all, keep the
best N/M, until every path has ended. DVTS is N/M independent trees, each a beam search with budget M that
keeps one. On texts alone, with ``sample(text, m)`` for the policy and ``score(text)`` for the PRM, that is::

    def beam_search(N, M, sample, score):
        beams, done = [""] * (N // M), []
        while beams:
            candidates = [(beam + step, ends) for beam in beams for step, ends in sample(beam, M)]
            candidates.sort(key=lambda candidate: score(candidate[0]), reverse=True)  # ties: first seen
            kept = candidates[: N // M - len(done)]
            done += [text for text, ends in kept if ends]
            beams = [text for text, ends in kept if not ends]
        return done


    def dvts(N, M, sample_for_tree, score):
        return [beam_search(M, M, sample_for_tree(tree), score)[0] for tree in range(N // M)]

:func:`_grow` is the first of the two, and the tests hold it to these lines. It is longer because the paper's
wording leaves things open, policies are cut, PRMs have a limit, and every step is logged with what it cost.
Each such deviation is explained beside the line that makes it, under a number: (1) ranking over all beams;
(2) finished paths retire, or compete; (3) steps cut by the token limit; (4) paths longer than the PRM reads;
(5) equal candidates; (6) what is voted on; (7) scores are taken once.
Source: section 2.2 of arXiv:2502.06703 (DVTS: Beeching et al. 2024), and the authors' released code.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from tts_utils import mdp
from tts_utils.protocols import BadContinuations
from tts_utils.records import Continuation, FinishReason, Problem, SearchNode, SearchResult, State, StepScores
from tts_utils.search import Answer, Method, Request, Sample, Score, finish, lock_step
from tts_utils.voting import AGGREGATIONS, aggregate

RETRIES = 3
"""How often a state is sampled again when all its steps were cut by the token limit."""

_STOP = (mdp.SEPARATOR,)


@dataclass(frozen=True, slots=True)
class TreeSearch:
    """Which search, with all its settings; calling it on a problem gives the method.

    Attributes:
        method: "beam" or "dvts".
        budget: N, a positive multiple of ``branching``.
        branching: M, the steps sampled from each kept beam, at least 1; 4 in the paper.
        how: what ranks paths inside the search: "last" (PRM-Last, the paper's), "min" or "avg".
        max_depth: the depth limit, at least 1; 40 in the paper.
        retire: whether a finished path that is kept leaves with its width, as in the authors' code, or stays
            and competes at every depth.
        distinct: whether equal candidates are dropped but for the first, as in the authors' code; then there
            may be fewer than N/M beams, and completions.

    >>> TreeSearch("beam", 16).num_kept, TreeSearch("dvts", 16).num_subtrees, TreeSearch("beam", 16).label
    (4, 4, 'beam-n16-m4')
    """

    method: Literal["beam", "dvts"]
    budget: int
    branching: int = 4
    how: str = "last"
    max_depth: int = mdp.MAX_STEPS
    retire: bool = True
    distinct: bool = False

    def __post_init__(self) -> None:
        if self.method not in ("beam", "dvts"):
            raise ValueError(f"unknown method {self.method!r}; there is 'beam' and 'dvts'")
        if self.branching < 1 or self.max_depth < 1:
            raise ValueError(
                f"branching and max_depth must be at least 1, got {self.branching!r} and {self.max_depth!r}"
            )
        if self.budget < 1 or self.budget % self.branching:
            raise ValueError(
                f"the budget must be a positive multiple of the branching {self.branching}, got "
                f"{self.budget!r}"
            )
        if self.how not in AGGREGATIONS:
            raise ValueError(f"unknown aggregation {self.how!r}; choose from {', '.join(AGGREGATIONS)}")

    @property
    def num_kept(self) -> int:
        """Kept beams of one tree: N/M for beam search, 1 for DVTS."""
        return self.budget // self.branching if self.method == "beam" else 1

    @property
    def num_subtrees(self) -> int:
        """Independent trees: 1 for beam search, N/M for DVTS."""
        return self.budget // self.branching if self.method == "dvts" else 1

    @property
    def label(self) -> str:
        """The name of its table; the budget is no part of it for DVTS, whose set of trees can grow."""
        parts = ["beam", f"n{self.budget}"] if self.method == "beam" else ["dvts"]
        parts.append(f"m{self.branching}")
        if self.how != "last":
            parts.append(self.how)
        if self.max_depth != mdp.MAX_STEPS:
            parts.append(f"d{self.max_depth}")
        if not self.retire:
            parts.append("compete")
        if self.distinct:
            parts.append("distinct")
        return "-".join(parts)

    @classmethod
    def of_label(cls, label: str, num_subtrees: int = 1) -> TreeSearch:
        """The search that a label names; of a DVTS the one of so many trees.

        >>> TreeSearch.of_label("beam-n8-m2-min-compete").label, TreeSearch.of_label("dvts-m4", 16).budget
        ('beam-n8-m2-min-compete', 64)
        """
        method, *words = label.split("-")
        settings: dict[str, Any] = {"retire": "compete" not in words, "distinct": "distinct" in words}
        for word in words:
            if word in AGGREGATIONS:
                settings["how"] = word
            elif word[1:].isdecimal():
                settings[{"n": "budget", "m": "branching", "d": "max_depth"}[word[0]]] = int(word[1:])
        if method == "dvts":
            settings["budget"] = num_subtrees * settings["branching"]
        return cls(method, **settings)  # type: ignore[arg-type]

    def __call__(self, problem: Problem, *, run: int = 0) -> Method:
        """The generator that searches for one problem; DVTS grows the trees run, run + 1, ..."""
        if self.method == "beam":
            return _grow(problem, self, run, {})
        return _grow_many(problem, self, run)


def beam_search(problem: Problem, budget: int, *, run: int = 0, **settings: Any) -> Method:
    """Beam search: keep the best N/M of N candidate steps at every depth; see the module's first lines.

    Args:
        problem: the problem.
        budget: N, a positive multiple of ``branching``.
        run: number of an independent repetition, from 0; no two runs share a sample index of any state.
        settings: branching, how, max_depth, retire, distinct, as in :class:`TreeSearch`.

    Raises:
        ValueError: settings out of range.
    """
    return TreeSearch("beam", budget, **settings)(problem, run=run)


def dvts(problem: Problem, budget: int, *, first_tree: int = 0, **settings: Any) -> Method:
    """Diverse verifier tree search: N/M independent trees of budget M, each keeping one path.

    Tree t is ``beam_search(problem, M, run=t)``, so DVTS(N) is the first N/M trees of every larger DVTS.
    Each tree gives one completion, whose ``sample`` is t. Arguments as for :func:`beam_search`.
    """
    return TreeSearch("dvts", budget, **settings)(problem, run=first_tree)


class _Path(NamedTuple):
    """A path of the tree: the state it has reached, and what it is ranked by.

    A tuple, as one is made twice for every node: a frozen dataclass takes several times as long to make.
    """

    state: State
    text: str = ""  # of the state
    node: int = -1  # its last step, as a number of the log; -1 at the root
    depth: int = 0
    num_tokens: int = 0  # generated on the way
    finish_reason: FinishReason = "stop"
    finished: bool = False
    scores: tuple[float, ...] = ()  # one per step of the state
    num_prm_tokens: int = 0  # read when the state was scored
    value: float = -1.0  # a path without steps comes behind every score


class _Step(NamedTuple):
    """One step that was sampled: from which path, with what index, and the path it makes (not scored yet)."""

    parent: _Path
    beam: int  # the parent's place among the live paths
    sample: int
    continuation: Continuation
    path: _Path

    @property
    def cut(self) -> bool:
        return self.continuation.finish_reason == "length"


@dataclass(slots=True)
class _Tree:
    """The log of one tree: its nodes, the sample indices used up, the texts that were read for it."""

    run: int
    stride: int  # sample indices run * stride ... (run + 1) * stride - 1 belong to this tree
    nodes: list[SearchNode] = field(default_factory=list)
    drawn: dict[str, int] = field(default_factory=dict)  # text of a state -> steps sampled from it so far
    read: set[str] = field(default_factory=set)

    def draw(self, path: _Path, n: int) -> Sample:
        used = self.drawn.get(path.text, 0)
        self.drawn[path.text] = used + n
        return Sample(path.state, n, self.run * self.stride + used, _STOP)

    def log(self, steps: Sequence[_Step], scored: Sequence[_Path], kept: Sequence[_Path]) -> None:
        """Write down all steps of one depth, once it is known what has become of them."""
        by_node = {path.node: path for path in scored}
        winners = {path.node for path in kept}
        for step in steps:
            path = by_node.get(step.path.node, step.path)
            has_score = bool(path.state.steps) and path.node in by_node
            charged = has_score and path.text not in self.read  # the tokens stand at the first of equal texts
            if charged:
                self.read.add(path.text)
            self.nodes.append(
                SearchNode(
                    run=self.run,
                    node=path.node,
                    parent=step.parent.node,
                    depth=path.depth,
                    sample=step.sample,
                    text=step.continuation.text,
                    num_tokens=step.continuation.num_tokens,
                    finish_reason=step.continuation.finish_reason,
                    score=path.scores[-1] if has_score else None,
                    num_prm_tokens=path.num_prm_tokens if charged else 0,
                    kept=path.node in winners,
                    finished=path.finished,
                )
            )


def _grow(problem: Problem, search: TreeSearch, run: int, known: dict[str, StepScores]) -> Method:
    """One tree. ``known`` holds the scores of states by their text, and may be shared among trees."""
    # A tree samples no more often than this in all, so no state needs more sample indices of one tree.
    tree = _Tree(run, search.num_kept * search.branching * (1 + RETRIES) * search.max_depth)
    live = [_Path(mdp.initial_state(problem))] * search.num_kept
    ended: list[_Path] = []  # finished and still competing, where they do not retire
    done: list[_Path] = []
    while live:
        steps = yield from _expand(tree, live, search.branching, search.max_depth)
        # (3) A step cut by the token limit never competes.
        whole = sorted((step for step in steps if not step.cut), key=lambda step: step.beam)
        # (5) Equal candidates stay, since dropping them would change what is sampled from; the PRM reads them
        # once. A deterministic PRM gives them equal scores, so with a policy that says few different things
        # the N/M beams can become copies of one. The code drops them: distinct=True.
        offered = _first_of_equals(whole) if search.distinct else whole
        yield from _read([step.path for step in offered], known)
        # (4) A path longer than the PRM reads has no score and does not compete. If that leaves a live path
        # without a candidate, or all its steps were cut (3), it closes: it retires as it stood, with finish
        # reason "length" and no answer. No further try is made for length: other steps from there are hardly
        # shorter. (The code ends a path whose steps were cut too; it has no limit of the PRM.)
        readable = {step.parent.text for step in whole if not known[step.path.text].too_long}
        done += [path._replace(finish_reason="length") for path in live if path.text not in readable]
        candidates = [
            _scored(step, known[step.path.text], search.how)
            for step in offered
            if not known[step.path.text].too_long
        ]
        # (1) The best are taken over the candidates of all beams together, by PRM-Last of the path so far
        # (paper and code agree). The sort is stable, so ties go to the first seen: the better parent, then
        # the lower sample index.
        ranked = sorted(ended + candidates, key=lambda path: -path.value)
        kept = ranked[: search.num_kept - len(done)]
        tree.log(steps, candidates, kept)
        live = [path for path in kept if not path.finished]
        ended = [path for path in kept if path.finished]
        # (2) A finished path must win its place like any other. Then it retires with its width: fewer beams
        # live on, and the spending per depth falls (code). "Keep the top N/M" at every depth (paper) can also
        # be read as finished paths that stay and go on competing: retire=False.
        if search.retire:
            done, ended = done + ended, []
    done += ended
    # (6) What is voted on are the N/M finished paths, not N (code; the paper does not say).
    completions = tuple(
        finish(problem, i, Continuation(path.text, path.num_tokens, path.finish_reason))
        for i, path in enumerate(done)
    )
    return SearchResult(
        problem_id=problem.problem_id,
        completions=completions,
        step_scores=tuple(StepScores(path.scores, path.num_prm_tokens) for path in done),
        num_policy_tokens=sum(node.num_tokens for node in tree.nodes),
        num_prm_tokens=sum(node.num_prm_tokens for node in tree.nodes),
        nodes=tuple(tree.nodes),
    )


def _grow_many(problem: Problem, search: TreeSearch, first: int) -> Method:
    known: dict[str, StepScores] = {}
    runs = range(first, first + search.num_subtrees)
    trees = yield from lock_step([_grow(problem, search, run, known) for run in runs])
    return SearchResult(
        problem_id=problem.problem_id,
        completions=tuple(
            replace(tree.completions[0], sample=run) for run, tree in zip(runs, trees, strict=True)
        ),
        step_scores=tuple(tree.step_scores[0] for tree in trees),
        num_policy_tokens=sum(tree.num_policy_tokens for tree in trees),
        num_prm_tokens=sum(scores.num_tokens for scores in known.values()),  # trees share what was read
        nodes=tuple(node for tree in trees for node in tree.nodes),
    )


def _expand(
    tree: _Tree, live: Sequence[_Path], branching: int, max_depth: int
) -> Generator[list[Request], list[Answer], list[_Step]]:
    """Sample M next steps from every live path; all of them, cut ones too, in the order of sampling."""
    steps: list[_Step] = []
    # (3) A state whose steps were all cut is sampled again with fresh indices, RETRIES times.
    for _ in range(1 + RETRIES):
        continued = {step.parent.text for step in steps if not step.cut}
        beams = [i for i, path in enumerate(live) if path.text not in continued]
        if not beams:
            break
        requests = [tree.draw(live[i], branching) for i in beams]
        received = yield list(requests)
        for i, request, continuations in zip(beams, requests, received, strict=True):
            for sample, continuation in enumerate(continuations, start=request.first):
                path = _extend(live[i], continuation, len(tree.nodes) + len(steps), max_depth)
                steps.append(_Step(live[i], i, sample, continuation, path))
    return steps


def _first_of_equals(steps: Sequence[_Step]) -> list[_Step]:
    first = {step.path.text: step for step in reversed(steps)}
    return [step for step in steps if first[step.path.text] is step]


def _extend(parent: _Path, step: Continuation, node: int, max_depth: int) -> _Path:
    depth, reason = parent.depth + 1, step.finish_reason
    at = step.text.find(mdp.SEPARATOR)
    one_step = at == len(step.text) - len(mdp.SEPARATOR) if at >= 0 else reason != "stop"
    if not one_step:
        raise BadContinuations(
            f"problem {parent.state.problem.problem_id!r}, depth {depth}: the policy was asked to stop after "
            f"{mdp.SEPARATOR!r}, and returned {step.text[:60]!r} with finish reason {reason!r}; a step has "
            'that separator at its end and nowhere else, unless the policy ended it ("eos") or it was cut '
            '("length")'
        )
    state = mdp.transition(parent.state, step.text)
    return _Path(
        state=state,
        text=parent.text + step.text,
        node=node,
        depth=depth,
        num_tokens=parent.num_tokens + step.num_tokens,
        finish_reason=reason,
        finished=reason != "length" and (depth >= max_depth or mdp.is_terminal(state, reason, max_depth)),
    )


def _read(
    paths: Sequence[_Path], known: dict[str, StepScores]
) -> Generator[list[Request], list[Answer], None]:
    """Have the PRM read the paths it has not read yet. One that fails is an error, never a score of 0."""
    new = {path.text: path.state for path in paths if path.text not in known}
    if new:
        (received,) = yield [Score(tuple(new.values()))]
        known.update(zip(new, received, strict=True))


def _scored(step: _Step, read: StepScores, how: str) -> _Path:
    """The path a step makes, with its scores; unchanged where there is nothing to score."""
    path = step.path
    if not path.state.steps:
        return path
    # (7) The score of a step is taken when the step is new, and kept; for a causal PRM it is the same number
    # that scoring the whole path would give. The state has one step more than its parent's, or the same
    # number where text was added that is no step of its own (nothing, or a blank): then the last is replaced.
    scores = (*step.parent.scores[: len(path.state.steps) - 1], read.scores[-1])
    value = scores[-1] if how == "last" else aggregate(scores, how)
    return path._replace(scores=scores, num_prm_tokens=read.num_tokens, value=value)
