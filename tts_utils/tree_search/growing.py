"""What every search over steps does: sample next steps, have the PRM read paths, log what became of each."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tts_utils import mdp
from tts_utils.protocols import BadContinuations
from tts_utils.records import (
    Continuation,
    FinishReason,
    Problem,
    SearchNode,
    SearchResult,
    State,
    StepScores,
)
from tts_utils.search import Answer, Request, Sample, Score, finish
from tts_utils.voting import aggregate

RETRIES = 3
"""How often a state is sampled again when all its steps were cut by the token limit."""

_STOP = (mdp.SEPARATOR,)


class Path(NamedTuple):
    """A path of the tree: the state it has reached, and what it is ranked by.

    A tuple, as one is made for every node, and a frozen dataclass takes longer to make.
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


class Step(NamedTuple):
    """One step that was sampled: from which path, with what index, and the path it makes (not scored yet)."""

    parent: Path
    beam: int  # the place among the live paths of the one that it goes on from
    sample: int
    continuation: Continuation
    path: Path
    before: tuple[Step, ...] = ()  # steps from that live path to this one's parent, which are not verified

    @property
    def way(self) -> tuple[Step, ...]:
        """The steps since the last reading, this one at the end."""
        return (*self.before, self) if self.before else (self,)

    @property
    def cut(self) -> bool:
        return self.continuation.finish_reason == "length"


Found = dict[int, tuple[float, int]]
"""By node: its score, and the tokens that were read for it."""


@dataclass(slots=True)
class Tree:
    """The log of one tree: its nodes, the sample indices used up, the texts that were read for it."""

    run: int
    stride: int  # sample indices run * stride ... (run + 1) * stride - 1 belong to this tree
    nodes: list[SearchNode] = field(default_factory=list)
    drawn: dict[str, int] = field(default_factory=dict)  # text of a state -> steps sampled from it so far
    read: set[str] = field(default_factory=set)
    count: int = 0  # steps sampled so far, logged or not

    def numbers(self, n: int) -> range:
        """The numbers of the next n nodes."""
        self.count += n
        return range(self.count - n, self.count)

    def draw(self, path: Path, n: int) -> Sample:
        used = self.drawn.get(path.text, 0)
        self.drawn[path.text] = used + n
        return Sample(path.state, n, self.run * self.stride + used, _STOP)

    def log(self, steps: Sequence[Step], found: Found, winners: Collection[int]) -> None:
        """Write down all steps since the last reading, once it is known what has become of them.

        Args:
            steps: in the order of sampling.
            found: the scores of the nodes that have one.
            winners: the nodes that won a place, or lie on the way to one that did.
        """
        for step in steps:
            path, said = step.path, step.continuation
            score, num_prm_tokens = found.get(path.node, (None, 0))
            # The tokens stand at the first of equal texts; a step that was only passed by was not read for.
            if num_prm_tokens > 0:
                num_prm_tokens = 0 if path.text in self.read else num_prm_tokens
                self.read.add(path.text)
            # By place, as names take longer, for every node.
            place = self.run, path.node, step.parent.node, path.depth, step.sample
            what = said.text, said.num_tokens, said.finish_reason
            wins = path.node in winners
            self.nodes.append(SearchNode._make((*place, *what, score, num_prm_tokens, wins, path.finished)))

    def result(self, problem: Problem, paths: Sequence[Path]) -> SearchResult:
        """What the search ends with: these paths as completions, all nodes, and the tokens they cost."""
        return SearchResult(
            problem_id=problem.problem_id,
            completions=tuple(
                finish(problem, i, Continuation(path.text, path.num_tokens, path.finish_reason))
                for i, path in enumerate(paths)
            ),
            step_scores=tuple(StepScores(path.scores, path.num_prm_tokens) for path in paths),
            num_policy_tokens=sum(node.num_tokens for node in self.nodes),
            num_prm_tokens=sum(node.num_prm_tokens for node in self.nodes),
            nodes=tuple(self.nodes),
        )


def expand(
    tree: Tree, live: Sequence[Path], branching: int, max_depth: int
) -> Generator[list[Request], list[Answer], list[Step]]:
    """Sample M next steps from every live path; all of them, cut ones too, in the order of sampling."""
    steps: list[Step] = []
    # (3) A state whose steps were all cut is sampled again with fresh indices, RETRIES times.
    for _ in range(1 + RETRIES):
        continued = {step.parent.text for step in steps if not step.cut}
        beams = [i for i, path in enumerate(live) if path.text not in continued]
        if not beams:
            break
        requests = [tree.draw(live[i], branching) for i in beams]
        received = yield list(requests)
        for i, request, continuations in zip(beams, requests, received, strict=True):
            paths = extend(live[i], continuations, tree.numbers(request.n), max_depth)
            made = enumerate(zip(continuations, paths, strict=True), start=request.first)
            steps += [Step(live[i], i, sample, step, path) for sample, (step, path) in made]
    return steps


def first_of_equals(steps: Sequence[Step]) -> list[Step]:
    first = {step.path.text: step for step in reversed(steps)}
    return [step for step in steps if first[step.path.text] is step]


def extend(parent: Path, steps: Sequence[Continuation], nodes: Sequence[int], max_depth: int) -> list[Path]:
    """The paths that these steps make of one path, not scored yet."""
    depth, paths = parent.depth + 1, []
    states = mdp.transitions(parent.state, [step.text for step in steps])
    for step, state, node in zip(steps, states, nodes, strict=True):
        text, reason = step.text, step.finish_reason
        at = text.find(mdp.SEPARATOR)
        one_step = at == len(text) - len(mdp.SEPARATOR) if at >= 0 else reason != "stop"
        if not one_step:
            raise BadContinuations(
                f"problem {parent.state.problem.problem_id!r}, depth {depth}: the policy was asked to stop "
                f"after {mdp.SEPARATOR!r}, and returned {text[:60]!r} with finish reason {reason!r}; a step "
                'has that separator at its end and nowhere else, unless the policy ended it ("eos") or it '
                'was cut ("length")'
            )
        over = reason != "length" and (depth >= max_depth or mdp.is_terminal(state, reason, max_depth))
        num_tokens = parent.num_tokens + step.num_tokens
        paths.append(Path(state, parent.text + text, node, depth, num_tokens, reason, over))
    return paths


def read(paths: Sequence[Path], known: dict[str, StepScores]) -> Generator[list[Request], list[Answer], None]:
    """Have the PRM read the paths it has not read yet. One that fails is an error, never a score of 0."""
    new = {path.text: path.state for path in paths if path.text not in known}
    if new:
        (received,) = yield [Score(tuple(new.values()))]
        known.update(zip(new, received, strict=True))


def judge(step: Step, read: StepScores, how: str, passed: dict[str, float], found: Found) -> float:
    """What the path that a step makes is ranked by; notes its score, and those of the steps before it.

    ``passed`` holds the score of every text that was scored in this tree, and gets the new ones.
    """
    for one in step.way:
        path, count = one.path, len(one.path.state.steps)
        if count:
            # (7) The score of a step is taken when the step is new, and kept; for a causal PRM it is the same
            # number that scoring the whole path would give.
            score = passed.setdefault(path.text, read.scores[count - 1])
            found[path.node] = score, read.num_tokens if one is step else 0
    if not step.path.state.steps:
        return step.path.value
    return found[step.path.node][0] if how == "last" else aggregate(_scores(step, found), how)


def scored(step: Step, value: float, found: Found) -> Path:
    """The path that a judged step makes, with its scores; made of those only that go on."""
    if not step.path.state.steps:
        return step.path
    num_prm_tokens = found[step.path.node][1]
    return step.path._replace(scores=_scores(step, found), num_prm_tokens=num_prm_tokens, value=value)


def _scores(step: Step, found: Found) -> tuple[float, ...]:
    """One score for each step of the state that a step leads to."""
    scores = step.way[0].parent.scores
    for one in step.way:
        if count := len(one.path.state.steps):
            # The state has one step more than its parent's, or the same number where text was added that is
            # no step of its own (nothing, or a blank): then the last is replaced.
            scores = (*scores[: count - 1], found[one.path.node][0])
    return scores
