"""Draw problems from the templates; make the test sets; keep them out of the training stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from tts_lab.graph import Builder, Retry
from tts_lab.solutions import solution
from tts_lab.templates import SUBJECTS
from tts_utils.records import Problem

LEVEL_COUNTS = {1: 43, 2: 90, 3: 105, 4: 128, 5: 134}  # MATH-500's own balance of levels
SUBSET_PER_LEVEL = 40  # lab-200: so many of each level
TEST_SEED = 500
DOUBLES = 0.1  # share of the training stream that has two questions, as lab-30 has


def draw(rng: np.random.Generator, subject: str, level: int, problem_id: str) -> Problem:
    """Draw one problem of this subject and level; its graph stands in ``meta``.

    Returns:
        A problem with ``meta`` = template, given (the numbers of the text) and nodes, each
        ``{"op", "args", "deps", "value", "label"}``; its solution is the verbose one.
    """
    template = SUBJECTS[subject][int(rng.integers(len(SUBJECTS[subject])))]
    while True:
        builder = Builder(rng, level)
        try:
            answer = template(builder)
        except Retry:
            continue
        if answer.value >= 10:
            return _problem(builder, answer.value, problem_id, level, subject, template.__name__)


def draw_double(rng: np.random.Generator, problem_id: str) -> Problem:
    """Draw a long problem: two questions of level 3 or 4, of different templates; the answers' sum is asked.

    Returns:
        As :func:`draw`; level 0 and no subject, for it has two.
    """
    everything = [template for templates in SUBJECTS.values() for template in templates]
    first, second = (everything[i] for i in rng.permutation(len(everything))[:2])
    while True:
        builder = Builder(rng, 3)
        builder.say(
            builder.pick(("Answer both questions and add the answers.", "Find both answers and add them."))
        )
        try:
            answers = []
            for mark, template in (("(a)", first), ("(b)", second)):
                builder.level = int(rng.integers(3, 5))
                before = len(builder.sentences)
                answers.append(template(builder))
                builder.sentences[before] = f"{mark} {builder.sentences[before]}"
            total = builder.do("+", *answers, "the sum of both")
        except Retry:
            continue
        if min(a.value for a in answers) >= 10:
            name = f"{first.__name__} + {second.__name__}"
            return _problem(builder, total.value, problem_id, 0, "", name)


def _problem(
    builder: Builder, answer: int, problem_id: str, level: int, subject: str, template: str
) -> Problem:
    meta = {"template": template, "given": builder.given, "nodes": builder.nodes}
    problem = Problem(problem_id, " ".join(builder.sentences), str(answer), level, subject, meta=meta)
    wording = np.random.default_rng([answer, len(builder.nodes)])  # any fixed one will do
    return replace(problem, solution=solution(problem, "verbose", wording))


def signature(problem: Problem) -> tuple:
    """What two problems share that differ only in names, wording or the order of their numbers."""
    return (problem.meta["template"], *sorted(problem.meta["given"]))


@cache
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


def subset() -> tuple[Problem, ...]:
    """``lab-200``: the first 40 problems of each level of ``lab-500``, under their own names."""
    kept = []
    for level in LEVEL_COUNTS:
        kept += [p for p in test_set() if p.level == level][:SUBSET_PER_LEVEL]
    return tuple(kept)


@cache
def long_set() -> tuple[Problem, ...]:
    """The 30 problems of ``lab-30``: two questions each, 9 to 13 operations."""
    rng = np.random.default_rng([TEST_SEED, 30])
    return tuple(draw_double(rng, f"lab-30/{i:02d}") for i in range(30))


def datasets() -> dict[str, tuple[Problem, ...]]:
    """The test sets by name."""
    return {"lab-500": test_set(), "lab-200": subset(), "lab-30": long_set()}


def training_stream(seed: int, avoid: frozenset[tuple] | None = None) -> Iterator[Problem]:
    """Endless training problems: subjects equally often, levels as in the test set, no test problem.

    One in ten is a long one with two questions.

    Args:
        seed: the stream's seed; streams of different seeds share nothing but chance.
        avoid: signatures never to yield; by default those of ``lab-500`` and ``lab-30``.
    """
    if avoid is None:
        avoid = frozenset(map(signature, (*test_set(), *long_set())))
    rng = np.random.default_rng([seed, 1])
    subjects, levels = list(SUBJECTS), list(LEVEL_COUNTS)
    weights = np.array(list(LEVEL_COUNTS.values())) / sum(LEVEL_COUNTS.values())
    count = 0
    while True:
        if rng.random() < DOUBLES:
            problem = draw_double(rng, f"train-{seed}/{count}")
        else:
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
