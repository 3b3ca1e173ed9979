"""Draw problems from the templates; make the test sets; keep them out of the training stream."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from tts_lab.graph import Builder, Retry
from tts_lab.solutions import solution
from tts_lab.templates import SUBJECTS
from tts_utils.records import Problem
from tts_utils.store.manifest import replace_file

LEVEL_COUNTS = {1: 43, 2: 90, 3: 105, 4: 128, 5: 134}  # MATH-500's own balance of levels
SUBSET_PER_LEVEL = 40  # lab-200: so many of each level
TEST_SEED = 500
LONG_SETS = {"lab-30": (30, 30), "lab-hard": (200, 31), "lab-fresh": (100, 32)}  # size, and the seed's end
DOUBLES = 0.1  # share of the training stream that has two questions, as lab-30 has


@dataclass(frozen=True, slots=True)
class Draw:
    """What was drawn for one problem, before its solution is written.

    Attributes:
        builder: its text, given numbers and nodes.
        answer: the number asked for.
        level: 1 to 5; 0 where two questions are asked.
        subject: "" where two questions are asked.
        template: its name, or both names.
    """

    builder: Builder
    answer: int
    level: int
    subject: str
    template: str

    @property
    def signature(self) -> tuple:
        """As :func:`signature` of the problem."""
        return (self.template, *sorted(self.builder.given))

    def problem(self, problem_id: str) -> Problem:
        """The problem, with its verbose solution."""
        nodes = self.builder.nodes
        meta = {"template": self.template, "given": self.builder.given, "nodes": nodes}
        text = " ".join(self.builder.sentences)
        problem = Problem(problem_id, text, str(self.answer), self.level, self.subject, meta=meta)
        wording = np.random.default_rng([self.answer, len(nodes)])  # any fixed one will do
        return replace(problem, solution=solution(problem, "verbose", wording))


def draw(rng: np.random.Generator, subject: str, level: int, problem_id: str) -> Problem:
    """Draw one problem of this subject and level; its graph stands in ``meta``.

    Returns:
        A problem with ``meta`` = template, given (the numbers of the text) and nodes, each
        ``{"op", "args", "deps", "value", "label"}``; its solution is the verbose one.
    """
    return _draw(rng, subject, level).problem(problem_id)


def draw_double(rng: np.random.Generator, problem_id: str) -> Problem:
    """Draw a long problem: two questions of level 3 or 4, of different templates; the answers' sum is asked.

    Returns:
        As :func:`draw`; level 0 and no subject, for it has two.
    """
    return _draw_double(rng).problem(problem_id)


def _draw(rng: np.random.Generator, subject: str, level: int) -> Draw:
    template = SUBJECTS[subject][int(rng.integers(len(SUBJECTS[subject])))]
    while True:
        builder = Builder(rng, level)
        try:
            answer = template(builder)
        except Retry:
            continue
        if answer.value >= 10:
            return Draw(builder, answer.value, level, subject, template.__name__)


def _draw_double(rng: np.random.Generator) -> Draw:
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
            return Draw(builder, total.value, 0, "", f"{first.__name__} + {second.__name__}")


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
def long_set(name: str = "lab-30") -> tuple[Problem, ...]:
    """A set of long problems, two questions each, 9 to 13 operations; no two share a signature.

    ``lab-30`` is the small one, ``lab-hard`` (200) the one that can decide, ``lab-fresh`` (100) the one on
    which a PRM, a method and a budget are chosen before ``lab-hard`` is looked at.
    """
    size, end = LONG_SETS[name]
    others = [s for s in LONG_SETS if LONG_SETS[s][1] < end]
    seen = {signature(p) for other in others for p in long_set(other)}
    rng = np.random.default_rng([TEST_SEED, end])
    width, problems = len(str(size - 1)), []
    while len(problems) < size:
        problem = draw_double(rng, f"{name}/{len(problems):0{width}d}")
        if signature(problem) not in seen:
            seen.add(signature(problem))
            problems.append(problem)
    return tuple(problems)


def datasets() -> dict[str, tuple[Problem, ...]]:
    """The test sets by name."""
    return {"lab-500": test_set(), "lab-200": subset(), **{name: long_set(name) for name in LONG_SETS}}


def held_out() -> frozenset[tuple]:
    """The signatures of all test problems, which no training stream yields."""
    return frozenset(signature(p) for problems in datasets().values() for p in problems)


def training_draws(seed: int) -> Iterator[Draw]:
    """What :func:`training_stream` draws, test problems among it, without the cost of solutions and names."""
    rng = np.random.default_rng([seed, 1])
    subjects, levels = list(SUBJECTS), list(LEVEL_COUNTS)
    bounds = np.cumsum(np.array(list(LEVEL_COUNTS.values())) / sum(LEVEL_COUNTS.values()))
    bounds = (bounds / bounds[-1]).tolist()
    while True:
        if rng.random() < DOUBLES:
            yield _draw_double(rng)
        else:
            subject = subjects[int(rng.integers(len(subjects)))]
            level = levels[bisect_right(bounds, rng.random())]
            yield _draw(rng, subject, level)


def training_stream(seed: int, avoid: frozenset[tuple] | None = None) -> Iterator[Problem]:
    """Endless training problems: subjects equally often, levels as in the test set, no test problem.

    One in ten is a long one with two questions.

    Args:
        seed: the stream's seed; streams of different seeds share nothing but chance.
        avoid: signatures never to yield; by default those of every test set.
    """
    avoid = held_out() if avoid is None else avoid
    kept = (draw for draw in training_draws(seed) if draw.signature not in avoid)
    for count, draw in enumerate(kept):
        yield draw.problem(f"train-{seed}/{count}")


def write_problems(problems: tuple[Problem, ...], path: Path) -> None:
    """Write problems as JSON lines that :func:`tts_utils.problems.load_problems` reads, all or none."""
    lines = []
    for p in problems:
        row = {"problem_id": p.problem_id, "problem": p.text, "answer": p.answer, "level": p.level}
        row |= {"subject": p.subject, "solution": p.solution, **p.meta}
        lines.append(json.dumps(row, ensure_ascii=False))
    replace_file(path, ("\n".join(lines) + "\n").encode())
