"""Outcomes as arrays, and the best strategy of every half at once: the inner loop of ``choice``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

STRATEGY = ["method", "aggregation", "rule", "branching"]
CELL = ["policy", "prm", "budget"]
NEAR = 1e-9  # sums of the same outcomes, added up in another order, differ by less


@dataclass(frozen=True, slots=True)
class Grid:
    """Outcomes as arrays.

    Attributes:
        cells: K rows of ``CELL``.
        strategies: T rows of ``STRATEGY``.
        problems: (P,) identifiers.
        right: (K, T, P); NaN where a cell lacks a strategy.
        keys: C rows of the columns chosen by.
        key: (K, P) which of them each problem of each cell falls under.
        broad: (C,) a number for the cells that a key is about, problems' columns left out.
    """

    cells: pd.DataFrame
    strategies: pd.DataFrame
    problems: NDArray[np.object_]
    right: NDArray[np.float64]
    keys: pd.DataFrame
    key: NDArray[np.int64]
    broad: NDArray[np.int64]


def grid_of(outcomes: pd.DataFrame, by: Sequence[str]) -> Grid:
    """Lay a tidy frame out; raises the ValueErrors that :func:`tts_utils.optimal.choose` promises."""
    by = list(by)
    require(outcomes, [*CELL, *STRATEGY, "problem_id", "right", *by])
    if outcomes.empty:
        raise ValueError("there are no outcomes to choose from")
    cell, cells = _numbered(outcomes, CELL)
    strategy, strategies = _numbered(outcomes, STRATEGY)
    problem, problems = pd.factorize(outcomes["problem_id"])
    values = outcomes["right"].to_numpy(dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        where = int(np.flatnonzero(~((values >= 0) & (values <= 1)))[0])
        raise ValueError(f"row {where}: right is {values[where]}, which is outside [0, 1]")
    shape = (len(cells), len(strategies), len(problems))
    place = np.ravel_multi_index((cell, strategy, problem), shape)
    counts = np.bincount(place, minlength=int(np.prod(shape))).reshape(shape)
    if (counts > 1).any():
        k, t, p = np.argwhere(counts > 1)[0]
        raise ValueError(
            f"{_named(cells, strategies, k, t)} has problem {problems[p]!r} {counts[k, t, p]} times"
        )
    present = counts.sum(axis=2)
    if len(short := np.argwhere((present > 0) & (present < len(problems)))):
        k, t = short[0]
        raise ValueError(
            f"{_named(cells, strategies, k, t)} has {present[k, t]} of {len(problems)} problems; "
            "choose among strategies tried on the same ones"
        )
    right = np.full(shape, np.nan)
    right.reshape(-1)[place] = values
    code, keys = _numbered(outcomes, by)
    key = np.zeros((shape[0], shape[2]), dtype=np.int64)
    key[cell, problem] = code
    if (key[cell, problem] != code).any():
        raise ValueError(
            f"a problem of one cell has several values of {by}; they must not depend on strategy"
        )
    broad, _ = _numbered(keys, [name for name in by if name in CELL])
    return Grid(cells, strategies, np.asarray(problems, dtype=object), right, keys, key, broad)


def best(grid: Grid, masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The best strategy of each key on the problems of each mask; (R, P) masks to (R, C) numbers."""
    num_keys, num_strategies = len(grid.keys), len(grid.strategies)
    sums = np.zeros((num_keys, len(masks), num_strategies))
    counts = np.zeros((num_keys, len(masks)))
    offered = np.ones((num_keys, num_strategies), dtype=bool)
    weights = masks.astype(np.float64)
    for right, key in zip(grid.right, grid.key, strict=True):
        there = ~np.isnan(right[:, 0])  # (T,)
        filled = np.where(there[:, None], right, 0.0)
        for code in np.unique(key):
            at = key == code
            sums[code] += weights[:, at] @ filled[:, at].T
            counts[code] += weights[:, at].sum(axis=1)
            offered[code] &= there
    if len(without := np.flatnonzero(~offered.any(axis=1))):
        raise ValueError(f"no strategy was run in all cells of {grid.keys.iloc[without[0]].to_dict()}")
    # A key without a problem in the mask takes the choice of all keys about the same cells.
    pooled = np.zeros((int(grid.broad.max(initial=0)) + 1, *sums.shape[1:]))
    np.add.at(pooled, grid.broad, sums)
    sums = np.where(counts[..., None] > 0, sums, pooled[grid.broad])
    sums = np.where(offered[:, None, :], sums, -np.inf)
    # Ties to the first; sums of the same outcomes in another order differ in their last digits.
    near = NEAR * np.maximum(1.0, np.abs(sums.max(axis=2, keepdims=True)))
    return (sums >= sums.max(axis=2, keepdims=True) - near).argmax(axis=2).T


def _numbered(frame: pd.DataFrame, columns: list[str]) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Number the distinct rows of some columns in order of appearance; (I,) numbers, and the rows."""
    if not columns:
        return np.zeros(len(frame), dtype=np.int64), pd.DataFrame(index=[0])
    code = np.zeros(len(frame), dtype=np.int64)
    for name in columns:
        values, _ = pd.factorize(frame[name])
        code = code * (int(values.max(initial=0)) + 1) + values
    number, first = pd.factorize(code)
    where = pd.Series(np.arange(len(code))).groupby(number).first().to_numpy()
    rows = frame[columns].iloc[where].reset_index(drop=True)
    assert len(rows) == len(first)
    return number, rows


def _named(cells: pd.DataFrame, strategies: pd.DataFrame, cell: int, strategy: int) -> str:
    return f"strategy {tuple(strategies.iloc[strategy])} in cell {tuple(cells.iloc[cell])}"


def require(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise ValueError where a column is missing."""
    if absent := [name for name in columns if name not in frame]:
        raise ValueError(f"outcomes lack the columns {absent}; they have {list(frame.columns)}")
