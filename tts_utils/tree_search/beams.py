"""Beam search, with verification of every step or of every g-th one, and DVTS, which is many of them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

from tts_utils import mdp
from tts_utils.records import Problem, SearchResult, StepScores
from tts_utils.search import Answer, Method, Request, lock_step
from tts_utils.tree_search.growing import (
    RETRIES,
    Found,
    Path,
    Step,
    Tree,
    expand,
    first_of_equals,
    judge,
    read,
    scored,
)

if TYPE_CHECKING:
    from tts_utils.tree_search.settings import TreeSearch


def grow(problem: Problem, search: TreeSearch, run: int, known: dict[str, StepScores]) -> Method:
    """One tree. ``known`` holds the scores of states by their text, and may be shared among trees."""
    # A tree samples no more often than this in all, so no state needs more sample indices of one tree.
    tree = Tree(run, search.num_kept * search.branching * (1 + RETRIES) * search.max_depth)
    live = [Path(mdp.initial_state(problem))] * search.num_beams
    passed: dict[str, float] = {}
    ended: list[Path] = []  # finished and still competing, where they do not retire
    done: list[Path] = []
    while live:
        steps, whole = yield from _walk(tree, live, search)
        # (5) Equal candidates stay, since dropping them would change what is sampled from; the PRM reads them
        # once. A deterministic PRM gives them equal scores, so with a policy that says few different things
        # the N/M beams can become copies of one. The code drops them: distinct=True.
        offered = first_of_equals(whole) if search.distinct else whole
        yield from read([step.path for step in offered], known)
        # (4) A path longer than the PRM reads has no score and does not compete. If that leaves a live path
        # without a candidate, or all its steps were cut (3), it closes: it retires as it stood, with finish
        # reason "length" and no answer. No further try is made for length: other steps from there are hardly
        # shorter. (The code ends a path whose steps were cut too; it has no limit of the PRM.)
        beams = {step.beam for step in whole if not known[step.path.text].too_long}
        readable = {live[beam].text for beam in beams}
        done += [path._replace(finish_reason="length") for path in live if path.text not in readable]
        candidates = [step for step in offered if not known[step.path.text].too_long]
        found: Found = {}
        values = [path.value for path in ended]
        values += [judge(step, known[step.path.text], search.how, passed, found) for step in candidates]
        # (1) The best are taken over the candidates of all beams together, by PRM-Last of the path so far
        # (paper and code agree). The sort is stable, so ties go to the first seen: the better parent, then
        # the lower sample index.
        ranked = sorted(range(len(values)), key=values.__getitem__, reverse=True)
        best = ranked[: search.num_kept - len(done)]
        steps_kept = {i: candidates[i - len(ended)] for i in best if i >= len(ended)}
        kept = [scored(steps_kept[i], values[i], found) if i in steps_kept else ended[i] for i in best]
        tree.log(steps, found, {one.path.node for step in steps_kept.values() for one in step.way})
        live = [path for path in kept if not path.finished]
        ended = [path for path in kept if path.finished]
        # (2) A finished path must win its place like any other. Then it retires with its width: fewer beams
        # live on, and the spending per depth falls (code). "Keep the top N/M" at every depth (paper) can also
        # be read as finished paths that stay and go on competing: retire=False.
        if search.retire:
            done, ended = done + ended, []
    done += ended
    # (6) What is voted on are the N/M finished paths, not N (code; the paper does not say). A search whose
    # first reading is its last prunes nothing: it keeps, and votes on, all N.
    return tree.result(problem, done)


def _walk(
    tree: Tree, live: Sequence[Path], search: TreeSearch
) -> Generator[list[Request], list[Answer], tuple[list[Step], list[Step]]]:
    """M walks of g steps from every live path: all steps, and the last ones of those that can compete.

    (3) A walk with a step that was cut by the token limit never competes.
    """
    steps = yield from expand(tree, live, search.branching, search.max_depth)
    tips = sorted((step for step in steps if not step.cut), key=attrgetter("beam"))
    for _ in range(search.every - 1):
        going = [tip for tip in tips if not tip.path.finished]
        if not going:
            break
        more = yield from expand(tree, [tip.path for tip in going], 1, search.max_depth)
        steps += more
        further = {going[step.beam].path.node: step for step in more if not step.cut}
        tips = [
            tip if tip.path.finished else _after(tip, further[tip.path.node])
            for tip in tips
            if tip.path.finished or tip.path.node in further
        ]
    return steps, tips


def _after(tip: Step, step: Step) -> Step:
    return step._replace(beam=tip.beam, before=(*tip.before, tip))


def grow_many(problem: Problem, search: TreeSearch, first: int) -> Method:
    """The trees first, first + 1, ... of a DVTS, grown in lock step; equal states are read once for all."""
    known: dict[str, StepScores] = {}
    runs = range(first, first + search.num_subtrees)
    trees = yield from lock_step([grow(problem, search, run, known) for run in runs])
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
