"""Draw problems from the templates; make the test set; keep it out of the training stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lab.graph import Builder, Retry
from lab.templates import SUBJECTS
from tts_utils.mdp import SEPARATOR
from tts_utils.records import Problem

LEVEL_COUNTS = {1: 43, 2: 90, 3: 105, 4: 128, 5: 134}  # MATH-500's own balance of levels
TEST_SEED = 500


def draw(rng: np.random.Generator, subject: str, level: int, problem_id: str) -> Problem:
    """Draw one problem of this subject and level; its graph stands in ``meta``.

    Returns:
        A problem with ``meta`` = template, given (the numbers of the text) and nodes, each
        ``{"op", "args", "deps", "value"}``; solution = one operation a step, then the boxed answer.
    """
    template = SUBJECTS[subject][int(rng.integers(len(SUBJECTS[subject])))]
    while True:
        builder = Builder(rng, level)
        try:
            answer = template(builder)
        except Retry:
            continue
        if answer.value >= 10:
            break
    steps = [*builder.steps, f"The answer is \\boxed{{{answer}}}."]
    meta = {"template": template.__name__, "given": builder.given, "nodes": builder.nodes}
    return Problem(
        problem_id, " ".join(builder.sentences), str(answer), level, subject, SEPARATOR.join(steps), meta
    )


def signature(problem: Problem) -> tuple:
    """What two problems share that differ only in names, wording or the order of their numbers."""
    return (problem.meta["template"], *sorted(problem.meta["given"]))


def test_set() -> tuple[Problem, ...]:
    """The 500 problems of ``lab-500``, levels in MATH-500's proportions, subjects in turn."""
    rng = np.random.default_rng(TEST_SEED)
    subjects = list(SUBJECTS)
    problems, seen = [], set()
    levels = [level for level, count in LEVEL_COUNTS.items() for _ in range(count)]
    for i, level in enumerate(levels):
        while True:
            problem = draw(rng, subjects[i % len(subjects)], level, f"lab-500/{i:03d}")
            if signature(problem) not in seen:
                break
        seen.add(signature(problem))
        problems.append(problem)
    return tuple(problems)


def training_stream(seed: int, avoid: frozenset[tuple] | None = None) -> Iterator[Problem]:
    """Endless training problems: subjects equally often, levels as in the test set, no test problem.

    Args:
        seed: the stream's seed; streams of different seeds share nothing but chance.
        avoid: signatures never to yield; by default those of ``lab-500``.
    """
    avoid = frozenset(map(signature, test_set())) if avoid is None else avoid
    rng = np.random.default_rng([seed, 1])
    subjects, levels = list(SUBJECTS), list(LEVEL_COUNTS)
    weights = np.array(list(LEVEL_COUNTS.values())) / sum(LEVEL_COUNTS.values())
    count = 0
    while True:
        subject = subjects[int(rng.integers(len(subjects)))]
        level = levels[int(rng.choice(len(levels), p=weights))]
        problem = draw(rng, subject, level, f"train-{seed}/{count}")
        if signature(problem) not in avoid:
            yield problem
            count += 1


def write_problems(problems: tuple[Problem, ...], path: Path) -> None:
    """Write problems as JSON lines that :func:`tts_utils.problems.load_problems` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for p in problems:
        row = {"problem_id": p.problem_id, "problem": p.text, "answer": p.answer, "level": p.level}
        row |= {"subject": p.subject, "solution": p.solution, **p.meta}
        lines.append(json.dumps(row, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
