r"""Beam search and DVTS: search over steps, guided by a PRM, as generators for the driver of ``search``.

Beam search with budget N and branching M keeps N/M beams: sample M next steps from each, score all, keep the
best N/M, until every path has ended. DVTS is N/M independent trees, each a beam search with budget M that
keeps one. Source: section 2.2 of arXiv:2502.06703 (DVTS: Beeching et al. 2024).

Where the paper's wording leaves something open, or the authors' released code does otherwise:

* The best N/M are taken over the candidates of all beams together, by PRM-Last of the path so far (paper and
  code agree); ties go to the first seen: the better parent, then the lower sample index.
* A finished path must win its place like any other. Then it retires with its width: fewer beams live on, and
  the spending per depth falls (code). "Keep the top N/M" at every depth (paper) can also be read as finished
  paths that stay and go on competing: ``retire=False``.
* A step cut by the token limit never competes. A state whose steps were all cut is sampled again with fresh
  indices, ``RETRIES`` times, then its path closes: it retires as it stood, with finish reason "length" and no
  answer (the code ends it too).
* A step that makes the path longer than the PRM can read does not compete either. It has no score; if that
  leaves a path without a candidate, the path closes in the same way, with no further try, since other steps
  from there are hardly shorter.
* Exactly equal candidates stay, since dropping them would change what is sampled from; the PRM reads them
  once. A deterministic PRM gives them equal scores, so with a policy that says few different things the N/M
  beams can become copies of one. The code drops them: ``distinct=True``.
* What is voted on are the N/M finished paths, not N (code; the paper does not say).
* The PRM's score of a step is taken when the step is new, and kept; for a causal PRM it is the same number
  that scoring the whole path would give. A PRM that fails is an error here, never a score of 0 (code).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tts_utils import mdp
from tts_utils.protocols import BadContinuations
from tts_utils.records import Continuation, FinishReason, Problem, SearchNode, SearchResult, State, StepScores
from tts_utils.search import Method, Sample, Score, finish, lock_step
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
        parts += [self.how] * (self.how != "last") + [f"d{self.max_depth}"] * (
            self.max_depth != mdp.MAX_STEPS
        )
        parts += ["compete"] * (not self.retire) + ["distinct"] * self.distinct
        return "-".join(parts)

    def __call__(self, problem: Problem, *, run: int = 0) -> Method:
        """The generator that searches for one problem; DVTS grows the trees run, run + 1, ..."""
        if self.method == "beam":
            return _grow(problem, self, run, {})
        return _grow_many(problem, self, run)


def beam_search(
    problem: Problem,
    budget: int,
    *,
    branching: int = 4,
    how: str = "last",
    run: int = 0,
    max_depth: int = mdp.MAX_STEPS,
    retire: bool = True,
    distinct: bool = False,
) -> Method:
    """Beam search: keep the best N/M of N candidate steps at every depth; see the module's first lines.

    Args:
        problem: the problem.
        budget: N, a positive multiple of ``branching``.
        branching, how, max_depth, retire, distinct: see :class:`TreeSearch`.
        run: number of an independent repetition, from 0; no two runs share a sample index of any state.

    Raises:
        ValueError: settings out of range.
    """
    return TreeSearch("beam", budget, branching, how, max_depth, retire, distinct)(problem, run=run)


def dvts(
    problem: Problem,
    budget: int,
    *,
    branching: int = 4,
    how: str = "last",
    first_tree: int = 0,
    max_depth: int = mdp.MAX_STEPS,
    retire: bool = True,
    distinct: bool = False,
) -> Method:
    """Diverse verifier tree search: N/M independent trees of budget M, each keeping one path.

    Tree t is ``beam_search(problem, M, run=t)``, so DVTS(N) is the first N/M trees of every larger DVTS.
    Each tree gives one completion, whose ``sample`` is t. Arguments as for :func:`beam_search`.
    """
    return TreeSearch("dvts", budget, branching, how, max_depth, retire, distinct)(problem, run=first_tree)


@dataclass(slots=True)
class _Path:
    """A state, how it was reached, and what has become of it so far; its last step is a node of the tree."""

    state: State
    text: str = ""  # of the state
    node: int = -1
    parent: int = -1
    depth: int = 0
    sample: int = 0
    step: Continuation | None = None  # the last one; None at the root
    scores: tuple[float, ...] = ()  # one per step of the state
    num_tokens: int = 0  # generated on the way
    num_prm_tokens: int = 0  # read when the state was scored
    charged: bool = False  # whether they were read for this node, not for an equal one before it
    finish_reason: FinishReason = "stop"
    scored: bool = False
    kept: bool = False
    finished: bool = False
    value: float = -1.0  # what it is ranked by; a path without steps comes behind every score

    def record(self, run: int) -> SearchNode:
        return SearchNode(
            run=run,
            node=self.node,
            parent=self.parent,
            depth=self.depth,
            sample=self.sample,
            text=self.step.text,
            num_tokens=self.step.num_tokens,
            finish_reason=self.step.finish_reason,
            score=self.scores[-1] if self.scored else None,
            num_prm_tokens=self.num_prm_tokens if self.charged else 0,
            kept=self.kept,
            finished=self.finished,
        )


@dataclass(slots=True)
class _Tree:
    """One tree while it grows."""

    run: int
    stride: int  # sample indices run * stride ... (run + 1) * stride - 1 belong to this tree
    paths: list[_Path] = field(default_factory=list)  # by node
    drawn: dict[str, int] = field(default_factory=dict)  # text of a state -> steps sampled from it so far
    read: set[str] = field(default_factory=set)  # texts of the states scored for this tree

    def text(self, node: int) -> str:
        """The text of the state that a node leads to; -1 is the initial state."""
        return "" if node < 0 else self.paths[node].text

    def draw(self, path: _Path, n: int) -> Sample:
        used = self.drawn.get(path.text, 0)
        self.drawn[path.text] = used + n
        return Sample(path.state, n, self.run * self.stride + used, _STOP)


def _grow(problem: Problem, search: TreeSearch, run: int, known: dict[str, StepScores]) -> Method:
    """One tree. ``known`` holds the scores of states by their text, and may be shared among trees."""
    # A tree samples no more often than this in all, so no state needs more sample indices of one tree.
    tree = _Tree(run, search.num_kept * search.branching * (1 + RETRIES) * search.max_depth)
    live = [_Path(mdp.initial_state(problem))] * search.num_kept
    done: list[_Path] = []
    ended: list[_Path] = []  # finished and still competing, where they do not retire
    while live:
        children = yield from _expand(tree, live, search)
        candidates = _distinct(children) if search.distinct else children
        yield from _score(tree, candidates, known, search.how)
        fed = {tree.text(child.parent) for child in children if not known[child.text].too_long}
        done += [replace(path, finish_reason="length") for path in live if path.text not in fed]
        candidates = [child for child in candidates if not known[child.text].too_long]
        kept = sorted(ended + candidates, key=lambda path: -path.value)[: search.num_kept - len(done)]
        for path in kept:
            path.kept = True
        live = [path for path in kept if not path.finished]
        ended = [path for path in kept if path.finished]
        if search.retire:
            done += ended
            ended = []
    done += ended
    completions = tuple(
        finish(problem, i, Continuation(path.text, path.num_tokens, path.finish_reason))
        for i, path in enumerate(done)
    )
    nodes = tuple(path.record(run) for path in tree.paths)
    return SearchResult(
        problem_id=problem.problem_id,
        completions=completions,
        step_scores=tuple(StepScores(path.scores, path.num_prm_tokens) for path in done),
        num_policy_tokens=sum(node.num_tokens for node in nodes),
        num_prm_tokens=sum(node.num_prm_tokens for node in nodes),
        nodes=nodes,
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
    tree: _Tree, live: Sequence[_Path], search: TreeSearch
) -> Generator[list[Sample], list[list[Continuation]], list[_Path]]:
    """Sample M next steps from every live path; give those that were not cut."""
    children: list[list[_Path]] = [[] for _ in live]
    fed: set[str] = set()  # texts of the states from which some step was not cut
    for _ in range(1 + RETRIES):
        hungry = [i for i, path in enumerate(live) if path.text not in fed]
        if not hungry:
            break
        requests = [tree.draw(live[i], search.branching) for i in hungry]
        received = yield requests
        for i, request, continuations in zip(hungry, requests, received, strict=True):
            for sample, continuation in enumerate(continuations, start=request.first):
                child = _extend(live[i], continuation, len(tree.paths), sample, search.max_depth)
                tree.paths.append(child)
                if continuation.finish_reason != "length":
                    children[i].append(child)
                    fed.add(live[i].text)
    return [child for found in children for child in found]


def _distinct(children: Sequence[_Path]) -> list[_Path]:
    """The first of all equal ones."""
    first = {child.text: child for child in reversed(children)}
    return [child for child in children if first[child.text] is child]


def _extend(parent: _Path, step: Continuation, node: int, sample: int, max_depth: int) -> _Path:
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
        parent=parent.node,
        depth=depth,
        sample=sample,
        step=step,
        scores=parent.scores,
        num_tokens=parent.num_tokens + step.num_tokens,
        finish_reason=reason,
        finished=reason != "length" and (depth >= max_depth or mdp.is_terminal(state, reason, max_depth)),
    )


def _score(
    tree: _Tree, children: Sequence[_Path], known: dict[str, StepScores], how: str
) -> Generator[Score, list[StepScores], None]:
    """Score the newest step of every child; a state that was scored before is not sent again."""
    new = {child.text: child.state for child in children if child.text not in known}
    if new:
        received = yield Score(tuple(new.values()))
        known.update(zip(new, received, strict=True))
    for child in children:
        found = known[child.text]
        if not child.state.steps or found.too_long:
            continue
        # The child's state has one step more than its parent's, or the same number where text was added that
        # is no step of its own (nothing, or a blank): then the last step's score is replaced.
        child.scores = (*child.scores[: len(child.state.steps) - 1], found.scores[-1])
        child.value = child.scores[-1] if how == "last" else aggregate(child.scores, how)
        child.scored, child.num_prm_tokens = True, found.num_tokens
        child.charged = child.text not in tree.read
        tree.read.add(child.text)
