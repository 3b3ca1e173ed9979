"""The choice itself; what it means and how it is used stands in the docstring of the room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tts_utils.metrics import difficulty_level
from tts_utils.optimal.grid import CELL, STRATEGY, best, grid_of, require

SNELL = ("policy", "budget", "difficulty")  # Eq. 2 by level of difficulty: the same choice whatever the PRM
REWARD_AWARE = ("policy", "prm", "budget", "difficulty")  # Eq. 3: a choice for every PRM


class CrossFit(NamedTuple):
    """A choice reported on problems that had no part in it.

    Attributes:
        outcomes: one row per cell and problem: the columns of ``CELL``, problem_id, ``right`` (the mean over
            splits of what the strategy chosen on the other half does on this problem) and ``in_sample`` (the
            same, but chosen on all problems, this one too).
        choices: the columns chosen by, those of ``STRATEGY``, and ``share``: in how many of the halves it
            was chosen.
    """

    outcomes: pd.DataFrame
    choices: pd.DataFrame


def choose(outcomes: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Choose the strategy with the most right answers, among problems and cells that agree in some columns.

    Args:
        outcomes: columns of ``CELL`` and ``STRATEGY``, problem_id, right in [0, 1], and any others that
            ``by`` names, such as "difficulty".
        by: the columns that the choice may depend on: :data:`SNELL`, :data:`REWARD_AWARE`, () for one
            strategy for everything, (..., "problem_id") for Eq. 2 as written, one for every problem.

    Returns:
        One row per combination of the values of ``by`` that occurs, in order of appearance: those values, the
        strategy, its accuracy (over the cells and problems chosen for, each counting once; on the very rows
        chosen on, so flattered) and n, how many of these there are.

    A strategy is a candidate where every cell concerned has it. Ties go to the one that appears first in the
    frame, so put the cheapest first.

    Raises:
        ValueError: a column is missing, a row occurs twice, a strategy lacks some problems of a cell, a
            value is outside [0, 1], or no strategy is common to the cells of a combination.

    Source: Snell et al. 2024 (arXiv:2408.03314), Eq. 1, Liu et al. 2025 (arXiv:2502.06703), Eq. 2 and 3; the
    expectation is the mean over problems.

    >>> same = {"policy": "p", "prm": "r", "budget": 4, "aggregation": "last", "rule": "prm_vote"}
    >>> same |= {"branching": 4, "problem_id": "x"}
    >>> rows = [{"method": "best_of_n", "right": 0.5}, {"method": "beam", "right": 1}]
    >>> frame = pd.DataFrame([same | row for row in rows])
    >>> choose(frame, ["policy"])[["policy", "method", "accuracy", "n"]].values.tolist()
    [['p', 'beam', 1.0, 1]]
    """
    grid = grid_of(outcomes, by)
    chosen = best(grid, np.ones((1, len(grid.problems)), dtype=bool))[0]  # (C,)
    totals = np.zeros(len(grid.keys))
    for cell, right in enumerate(grid.right):
        np.add.at(totals, grid.key[cell], right[chosen[grid.key[cell]], np.arange(len(grid.problems))])
    counts = np.bincount(grid.key.ravel(), minlength=len(grid.keys))
    table = pd.concat([grid.keys, grid.strategies.iloc[chosen].reset_index(drop=True)], axis=1)
    return table.assign(accuracy=totals / counts, n=counts)


def cross_fit(
    outcomes: pd.DataFrame, by: Sequence[str], rng: np.random.Generator, num_splits: int = 50
) -> CrossFit:
    """Choose on one half of the problems and report on the other, both ways round, for many random halves.

    Args:
        outcomes, by: as for :func:`choose`; without "problem_id".
        rng: source of the splits, as :func:`halves` draws them. Equal seeds give equal splits, so that two
            calls with different ``by`` can be compared problem by problem.
        num_splits: how often the problems are split, at least 1.

    Returns:
        :class:`CrossFit`. Where the choosing half has no problem of a combination (no hard one, say), the
        choice for it is made on all of the half's problems in the same cells.

    An interval over problems of ``right`` says how the *procedure* does on problems like these; that all
    choices were made on the same P problems makes it a little too short.

    Raises:
        ValueError: as :func:`choose`; fewer than 2 problems; "problem_id" among ``by``.
    """
    if "problem_id" in by:
        raise ValueError('a choice by "problem_id" cannot be tried on other problems; use choose')
    grid = grid_of(outcomes, by)
    masks = halves(len(grid.problems), num_splits, rng)  # (2R, P)
    chosen = best(grid, masks)  # (2R, C)
    overall = best(grid, np.ones((1, len(grid.problems)), dtype=bool))[0]
    columns = np.arange(len(grid.problems))
    held_out, in_sample = [], []
    for cell, right in enumerate(grid.right):
        found = right[chosen[:, grid.key[cell]], columns]  # (2R, P)
        held_out.append(np.where(masks, 0.0, found).sum(axis=0) / num_splits)
        in_sample.append(right[overall[grid.key[cell]], columns])
    repeated = grid.cells.loc[grid.cells.index.repeat(len(columns))].reset_index(drop=True)
    rows = repeated.assign(
        problem_id=np.tile(grid.problems, len(grid.cells)),
        right=np.concatenate(held_out),
        in_sample=np.concatenate(in_sample),
    )
    shares = np.stack([(chosen == t).mean(axis=0) for t in range(len(grid.strategies))])  # (T, C)
    where = np.argwhere(shares.T > 0)
    choices = pd.concat(
        [
            grid.keys.iloc[where[:, 0]].reset_index(drop=True),
            grid.strategies.iloc[where[:, 1]].reset_index(drop=True),
        ],
        axis=1,
    )
    return CrossFit(rows, choices.assign(share=shares.T[where[:, 0], where[:, 1]]))


def halves(num_problems: int, num_splits: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Split problems at random into halves.

    Returns:
        (2 num_splits, num_problems): row 2i marks one half of split i (the smaller, where the number is odd),
        row 2i + 1 the other.

    Raises:
        ValueError: fewer than 2 problems, or fewer than 1 split.
    """
    if num_problems < 2 or num_splits < 1:
        raise ValueError(f"cannot split {num_problems} problems {num_splits} times into halves")
    first = np.tile(np.arange(num_problems) < num_problems // 2, (num_splits, 1))
    first = rng.permuted(first, axis=1)
    return np.stack([first, ~first], axis=1).reshape(2 * num_splits, num_problems)


def follow(outcomes: pd.DataFrame, rule: pd.DataFrame) -> pd.DataFrame:
    """Keep what a fixed rule would run, such as the authors' choice by size and difficulty.

    Args:
        outcomes: as for :func:`choose`.
        rule: which strategy where: some of the columns of ``outcomes``, e.g. policy, difficulty, method,
            aggregation, rule.

    Returns:
        The rows of ``outcomes`` that agree with a row of ``rule``: one per cell and problem.

    Raises:
        ValueError: a column that outcomes lack; a cell and problem for which the rule names no strategy that
            was run, or several (they are named).
    """
    require(outcomes, [*rule.columns, *CELL, *STRATEGY, "problem_id"])
    kept = outcomes.merge(rule.drop_duplicates(), on=list(rule.columns))
    sizes = kept.groupby([*CELL, "problem_id"], observed=True, sort=False).size()
    wanted = outcomes[[*CELL, "problem_id"]].drop_duplicates()
    if (sizes > 1).any():
        raise ValueError(
            f"the rule names {sizes[sizes > 1].iloc[0]} strategies for {_where(sizes[sizes > 1].index[0])}; "
            f"add columns that decide: {[c for c in STRATEGY if c not in rule]}"
        )
    if len(sizes) < len(wanted):
        absent = pd.MultiIndex.from_frame(wanted).difference(sizes.index)
        raise ValueError(
            f"the rule names no strategy that was run for {_where(absent[0])} and {len(absent) - 1} more"
        )
    return kept


def with_difficulty(outcomes: pd.DataFrame, level: Callable[[float], str] = difficulty_level) -> pd.DataFrame:
    """Add the column "difficulty": the level of each problem for its policy, by the policy's own pass@1.

    Args:
        outcomes: rows of the method "random" among them, whose ``right`` is the pass@1.
        level: from pass@1 to the level's name.

    Raises:
        ValueError: a policy and problem without a row of the method "random", or with different ones.
    """
    pass_at_1 = outcomes[outcomes["method"] == "random"][["policy", "problem_id", "right"]].drop_duplicates()
    key = ["policy", "problem_id"]
    if len(twice := pass_at_1[pass_at_1.duplicated(key)]):
        raise ValueError(f"several values of pass@1 for {tuple(twice.iloc[0][key])}")
    levels = pass_at_1.assign(difficulty=pass_at_1["right"].map(level))[[*key, "difficulty"]]
    joined = outcomes.merge(levels, on=key, how="left")
    if joined["difficulty"].isna().any():
        absent = joined.loc[joined["difficulty"].isna(), key].iloc[0]
        raise ValueError(f"no pass@1 (rows of the method 'random') for {tuple(absent)}")
    return joined


def _where(values: tuple) -> str:
    return ", ".join(f"{name} {value}" for name, value in zip([*CELL, "problem_id"], values, strict=True))
