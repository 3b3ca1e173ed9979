"""Grade the completions of an imported run and vote over them; it stores nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tts_utils import answers, voting
from tts_utils.imports.files import Output, Question
from tts_utils.mdp import SEPARATOR, split_steps
from tts_utils.metrics import accuracy_interval
from tts_utils.records import Problem


@dataclass(frozen=True, slots=True)
class Graded:
    """A question with what we make of its S completions.

    Attributes:
        problem: the problem it is graded against, with the identifier it is stored under.
        question: what the file says.
        num_steps: steps of each completion, as :func:`tts_utils.mdp.split_steps` cuts it.
        answers: the final answer of each, "" where there is none.
        correct: whether it is right.
        scores: the step scores of each, one per step; () where it has none that can be used.
        unfit: why its step scores cannot be used; "" where they can.
    """

    problem: Problem
    question: Question
    num_steps: tuple[int, ...]
    answers: tuple[str, ...]
    correct: tuple[bool, ...]
    scores: tuple[tuple[float, ...], ...]
    unfit: tuple[str, ...]


def grade(question: Question, problem: Problem) -> Graded:
    """Grade every completion of a question against a problem."""
    texts = [output.text for output in question.outputs]
    found = [answers.extract_answer(text) for text in texts]
    steps = [split_steps(text) for text in texts]
    fitted = [fit_scores(o, s) for o, s in zip(question.outputs, steps, strict=True)]
    scores, unfit = zip(*fitted, strict=True)
    correct = tuple(answers.grade(answer, problem.answer) for answer in found)
    return Graded(problem, question, tuple(map(len, steps)), tuple(found), correct, scores, unfit)


def voted(graded: Sequence[Graded]) -> pd.DataFrame:
    """Pool the completions of each question, vote by the paper's seven rules, and take the mean.

    Returns:
        One row per rule and way to group answers ("equivalence", or "string" as the released code does), with
        accuracy, low, high (95 % interval over problems), n. PRM rules are left out where no completion has
        usable scores; a completion without usable scores has no vote under them.
    """
    rows = []
    for grouping in ("equivalence", "string"):
        for rule in voting.RULES:
            how, selection = voting.split_rule(rule)
            ids, scores = as_arrays(graded, grouping, how)
            if how is not None and not any(reason == "" for g in graded for reason in g.unfit):
                continue
            chosen = voting.select(ids, scores, selection)
            right = [c >= 0 and g.correct[c] for g, c in zip(graded, chosen, strict=True)]
            rows.append((rule, grouping, *accuracy_interval(np.array(right, dtype=float))))
    return pd.DataFrame(rows, columns=["rule", "grouping", "accuracy", "low", "high", "n"])


def as_arrays(
    graded: Sequence[Graded], grouping: str, how: str | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(P, S) answer ids and scores; -1 and 0 where a completion is missing or has no usable scores."""
    size = max(len(g.answers) for g in graded)
    ids = np.full((len(graded), size), -1)
    scores = np.zeros((len(graded), size))
    for row, g in enumerate(graded):
        ids[row, : len(g.answers)] = answers.group_answers(g.answers, by=grouping)
        for i, step_scores in enumerate(g.scores):
            if how is not None and not step_scores:
                ids[row, i] = -1
            elif how is not None:
                scores[row, i] = voting.aggregate(step_scores, how)
    return ids, scores


def fit_scores(output: Output, steps: tuple[str, ...]) -> tuple[tuple[float, ...], str]:
    r"""The scores of a completion, one for each of its steps, and why there are none where they do not fit.

    A source may cut blank pieces off as steps of their own (search-and-learn cuts at every blank line) and
    score them. Here they belong to the step before, whose score is that of its piece with text.

    >>> fit_scores(Output("A\n\n\n\nB", (0.9, 0.8, 0.7)), ("A\n\n\n\n", "B"))
    ((0.9, 0.7), '')
    """
    scores = output.scores
    if scores is None:
        return (), "no step scores"
    pieces = output.text.split(SEPARATOR) if output.steps is None else output.steps
    if output.steps is not None or len(scores) != len(steps):
        if len(scores) != len(pieces):
            return (), f"{len(scores)} scores for {len(steps)} steps"
        whole = [k for k, piece in enumerate(pieces) if piece.strip()] or [len(pieces) - 1]
        if [pieces[k].strip() for k in whole] != [step.strip() for step in steps]:
            return (), "a step holds a blank line"
        scores = tuple(scores[k] for k in whole)
    if not all(0 <= score <= 1 for score in scores):
        return (), "a score outside [0, 1]"
    return scores, ""


def string_match(output: Output, problem: Problem) -> bool:
    r"""Equality after deleting spaces, ``\left``, ``\right`` and writing dfrac, tfrac as frac."""

    def tidy(text: str) -> str:
        return re.sub(r"\s|\\left|\\right", "", text).replace("dfrac", "frac").replace("tfrac", "frac")

    stated = _last_box(output.text) if output.answer is None else output.answer
    return bool(stated) and tidy(stated) == tidy(problem.answer)


def _last_box(text: str) -> str:
    start = text.rfind(r"\boxed{")
    if start < 0:
        return ""
    start += len(r"\boxed{")
    depth = 1
    for end in range(start, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start:end]
    return ""
