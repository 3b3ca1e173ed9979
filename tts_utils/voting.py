"""From step scores to one score per completion, and from completions to one answer.

Pure NumPy; calls no model. A completion without a score casts no vote under the rules that want one, and is
never taken for one of score 0. One problem at a time in words (:func:`majority`, :func:`prm_max`,
:func:`prm_vote`), or all problems at once in arrays (:func:`select`); the first kind calls the second, so the
two cannot differ. P = problems, S = samples of each. Source: Table 2 of Liu et al. 2025
(arXiv:2502.06703).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

AGGREGATIONS = ("min", "last", "avg")
SELECTIONS = ("majority", "prm_max", "prm_vote")
RULES = (
    "majority_vote",
    "prm_min_max",
    "prm_min_vote",
    "prm_last_max",
    "prm_last_vote",
    "prm_avg_max",
    "prm_avg_vote",
)
"""The seven combinations of Table 2, in its order; :func:`split_rule` takes a name apart."""

NO_SCORE = float("-inf")
"""Stands where a sample has no score, because it has no steps or is longer than the PRM reads. It casts no
vote and is never chosen under "prm_vote" and "prm_max"; "majority", which asks no PRM, counts it as ever."""

SCORE_UNIT = 1e-12
"""Vote totals are added as whole multiples of this, so that they do not depend on the order of adding, and
decimal scores tie when they tie on paper (0.1 + 0.2 and 0.3)."""


def split_rule(name: str) -> tuple[str | None, str]:
    """Take a name of ``RULES`` apart into aggregation (None for majority voting) and selection rule.

    >>> split_rule("prm_last_vote")
    ('last', 'prm_vote')
    >>> split_rule("majority_vote")
    (None, 'majority')
    """
    if name not in RULES:
        raise ValueError(f"unknown rule {name!r}; choose from {', '.join(RULES)}")
    if name == "majority_vote":
        return None, "majority"
    _, how, choice = name.split("_")
    return how, f"prm_{choice}"


def aggregate(scores: Sequence[float], how: str) -> float:
    """Turn the step scores of one trajectory into one score.

    Args:
        scores: (H,) one score in [0, 1] per step, in order; H is at least 1.
        how: "min" (PRM-Min, the lowest), "last" (PRM-Last, the final one), "avg" (PRM-Avg, the mean).

    Raises:
        ValueError: unknown ``how``, no score, or a score that is not finite.

    >>> [aggregate([0.9, 0.2, 0.7], how) for how in AGGREGATIONS]
    [0.2, 0.7, 0.6]
    """
    return float(aggregate_many([scores], how)[0])


def aggregate_many(
    step_scores: Sequence[Sequence[float]], how: str, empty: float | None = None
) -> NDArray[np.float64]:
    """Turn the step scores of S trajectories into (S,) scores, as :func:`aggregate` does for each.

    Args:
        step_scores: S lists of any lengths.
        how: "min", "last" or "avg".
        empty: what stands for a trajectory without step scores, such as ``NO_SCORE``; None makes it an error.

    Raises:
        ValueError: as :func:`aggregate`, naming the trajectory (and the step).

    >>> aggregate_many([[0.9, 0.2], [0.5]], "min")
    array([0.2, 0.5])
    """
    lengths = np.array([len(scores) for scores in step_scores], dtype=np.int64)  # (S,)
    some = [np.asarray(scores, dtype=np.float64) for scores in step_scores if len(scores)]
    flat = np.concatenate(some) if some else np.empty(0)
    return aggregate_flat(flat, lengths, how, empty)


def aggregate_flat(
    flat: NDArray[np.float64], lengths: NDArray[np.int64], how: str, empty: float | None = None
) -> NDArray[np.float64]:
    """The same for step scores that lie one after another, as a table holds them.

    Args:
        flat: the step scores of all S trajectories.
        lengths: (S,) how many each has.
        how, empty: as for :func:`aggregate_many`.

    >>> aggregate_flat(np.array([0.9, 0.2, 0.5]), np.array([2, 0, 1]), "min", empty=NO_SCORE)
    array([ 0.2, -inf,  0.5])
    """
    if how not in AGGREGATIONS:
        raise ValueError(f"unknown aggregation {how!r}; choose from {', '.join(AGGREGATIONS)}")
    if empty is None and (lengths == 0).any():
        where = int(np.flatnonzero(lengths == 0)[0])
        raise ValueError(
            f"trajectory {where} has no step scores; pass empty=NO_SCORE if it is an empty completion or one "
            "that is longer than the PRM reads"
        )
    result = np.full(len(lengths), np.nan if empty is None else empty)
    if not lengths.any():
        return result
    if not np.isfinite(flat).all():
        at = int(np.flatnonzero(~np.isfinite(flat))[0])
        where = int(np.searchsorted(np.cumsum(lengths), at, side="right"))
        step = at - int(lengths[:where].sum())
        raise ValueError(f"trajectory {where}, step {step}: score {flat[at]} is not finite; score it again")
    some = lengths > 0
    ends = np.cumsum(lengths)[some]  # one past the last step of each
    starts = ends - lengths[some]
    if how == "last":
        result[some] = flat[ends - 1]
    elif how == "min":
        result[some] = np.minimum.reduceat(flat, starts)
    else:
        result[some] = np.add.reduceat(flat, starts) / lengths[some]
    return result


def majority(answers: Sequence[str]) -> str:
    """Pick the answer given most often: argmax_a sum_i 1{y_i = a}.

    Args:
        answers: (N,) final answers, equal ones as equal strings; "" means that none was found and never wins.

    Returns:
        One of ``answers``. Ties go to the answer seen first.

    Raises:
        ValueError: N is 0, or every answer is "".

    >>> majority(["7", "3", "", "3"])
    '3'
    """
    return _pick(answers, None, "majority")


def prm_max(answers: Sequence[str], scores: Sequence[float]) -> str:
    """Pick the answer of the completion with the highest score: y_{argmax_i s_i}.

    Args, ties and errors as :func:`prm_vote`; scores may be any finite numbers, or ``NO_SCORE``.

    >>> prm_max(["7", "3", "3"], [0.8, 0.5, 0.4])
    '7'
    """
    return _pick(answers, scores, "prm_max")


def prm_vote(answers: Sequence[str], scores: Sequence[float]) -> str:
    """Pick the answer whose completions have the largest total score: argmax_a sum_i s_i 1{y_i = a}.

    Args:
        answers: (N,) final answers, equal ones as equal strings; "" means that none was found and never wins.
        scores: (N,) one aggregated score per completion, in [0, 1], higher is better; or ``NO_SCORE``.

    Returns:
        One of ``answers``. Ties go to the answer seen first (among completions with a score).

    Raises:
        ValueError: lengths differ, N is 0, every answer is "" or has no score, or a score is NaN or outside
            [0, 1].

    >>> prm_vote(["7", "3", "3"], [0.8, 0.5, 0.4])
    '3'
    """
    return _pick(answers, scores, "prm_vote")


def select(answer_ids: ArrayLike, scores: ArrayLike | None, rule: str) -> NDArray[np.int64]:
    """Choose one sample of each problem, for all problems at once.

    Args:
        answer_ids: (P, S) which answer each sample gave, as a small number (``answers.group_answers``);
            negative where none was found. Such a sample is never chosen.
        scores: (P, S) one aggregated score per sample, higher is better: in [0, 1] for "prm_vote", finite for
            "prm_max"; not read for "majority" (None will do). A sample with ``NO_SCORE`` is treated by the
            other two as one without an answer.
        rule: "majority" | "prm_max" | "prm_vote".

    Returns:
        (P,) index of the chosen sample: the best-scored one ("prm_max"), or the first one of the winning
        answer. Ties go to the first seen (lowest index). -1 where no sample has an answer (and a score, where
        the rule wants one).

    Raises:
        ValueError: unknown rule, wrong shape, S is 0, scores missing, or a bad score (its place is named).

    >>> select([[0, 1, 1], [-1, -1, -1]], [[0.8, 0.5, 0.4], [0.9, 0.9, 0.9]], "prm_vote")
    array([ 1, -1])
    """
    ids = check_ids(answer_ids)
    num_problems, num_samples = ids.shape
    weights = check_scores(scores, ids.shape, rule)
    answered = (ids >= 0) & (weights > NO_SCORE)
    rows = np.arange(num_problems)
    if rule == "prm_max":
        best = np.where(answered, weights, -np.inf).argmax(axis=1)
        return np.where(answered.any(axis=1), best, -1)
    num_groups = int(ids.max(initial=0)) + 1
    cells = (rows[:, None] * num_groups + ids)[answered]  # one cell per (problem, answer)
    units = vote_units(weights[answered])
    totals = np.bincount(cells, weights=units, minlength=num_problems * num_groups)
    first = np.full(num_problems * num_groups, num_samples)
    np.minimum.at(first, cells, np.broadcast_to(np.arange(num_samples), ids.shape)[answered])
    seen = first < num_samples
    totals = np.where(seen, totals, -1.0).reshape(num_problems, num_groups)
    first = np.where(totals == totals.max(axis=1, keepdims=True), first.reshape(totals.shape), num_samples)
    chosen = first.min(axis=1)
    return np.where(chosen < num_samples, chosen, -1)


def chosen_right(
    answer_ids: ArrayLike, correct: ArrayLike, scores: ArrayLike | None, rule: str
) -> NDArray[np.float64]:
    """Say of each problem whether the sample that :func:`select` chooses is right: 1.0 or 0.0.

    Args:
        answer_ids, scores, rule: as for :func:`select`.
        correct: (P, S) whether each sample is right.

    Returns:
        (P,) 1.0 where the chosen sample is right, 0.0 where it is not or none can be chosen.

    >>> chosen_right([[0, 1, 1], [-1, -1, -1]], [[0, 1, 1], [0, 0, 0]], None, "majority")
    array([1., 0.])
    """
    chosen = select(answer_ids, scores, rule)
    right = np.asarray(correct, dtype=bool)[np.arange(len(chosen)), np.maximum(chosen, 0)]
    return (right & (chosen >= 0)).astype(np.float64)


def vote_units(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return weights in [0, 1] as whole multiples of ``SCORE_UNIT``; their sums are exact."""
    return np.rint(weights / SCORE_UNIT).astype(np.int64)


def check_ids(answer_ids: ArrayLike) -> NDArray[np.int64]:
    """Return answer ids as a (P, S) integer array, or raise ValueError."""
    ids = np.asarray(answer_ids)
    if ids.ndim != 2 or ids.shape[1] == 0 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(
            f"answer_ids must be whole numbers of shape (problems, samples) with at least one sample, "
            f"got {ids.dtype} of shape {ids.shape}"
        )
    return ids.astype(np.int64, copy=False)


def check_scores(scores: ArrayLike | None, shape: tuple[int, int], rule: str) -> NDArray[np.float64]:
    """Return the (P, S) weights a rule works with (ones for "majority"), or raise ValueError.

    A weight is finite, in [0, 1] for "prm_vote", or ``NO_SCORE``.
    """
    if rule not in SELECTIONS:
        raise ValueError(f"unknown selection rule {rule!r}; choose from {', '.join(SELECTIONS)}")
    if rule == "majority":
        return np.ones(shape)
    if scores is None:
        raise ValueError(f'rule {rule!r} needs scores; only "majority" does without')
    weights = np.asarray(scores, dtype=np.float64)
    if weights.shape != shape:
        raise ValueError(f"scores of shape {weights.shape} do not fit answer_ids of shape {shape}")
    bad = ~np.isfinite(weights)
    if rule == "prm_vote":
        bad |= (weights < 0) | (weights > 1)
    bad &= weights != NO_SCORE
    if bad.any():
        problem, sample = (int(i) for i in np.argwhere(bad)[0])
        wanted = "in [0, 1]" if rule == "prm_vote" else "a finite number"
        raise ValueError(
            f"problem {problem}, sample {sample}: score {weights[problem, sample]} is not {wanted}"
        )
    return weights


def _pick(answers: Sequence[str], scores: Sequence[float] | None, rule: str) -> str:
    """Select among the answers of one problem; equal strings are equal answers."""
    if scores is not None and len(scores) != len(answers):
        raise ValueError(f"{len(answers)} answers but {len(scores)} scores; give one score per answer")
    if not any(answers):
        raise ValueError(f"there is nothing to choose from: {len(answers)} answers, none of them non-empty")
    numbers: dict[str, int] = {}
    ids = [numbers.setdefault(answer, len(numbers)) if answer else -1 for answer in answers]
    chosen = int(select([ids], None if scores is None else [scores], rule)[0])
    if chosen < 0:
        raise ValueError(f"there is nothing to choose from: none of the {len(answers)} answers has a score")
    return answers[chosen]
