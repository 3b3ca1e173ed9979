"""False alarms and misses: a PRM as a judge that accepts or rejects steps, and what retrying brings with it.

A false alarm is a right step rejected, a miss a wrong step passed. Steps count up to the first wrong one of
their solution: what comes after it is nobody's fault. The threshold for one half of the problems is chosen
on the other half.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tts_lab.checker import first_error
from tts_lab.quality import KEY, stored_scores
from tts_utils import store
from tts_utils.calibration import expected_error
from tts_utils.data_folder import lab_dir
from tts_utils.mdp import split_steps
from tts_utils.metrics import Interval
from tts_utils.problems import load_problems
from tts_utils.records import SamplingConfig
from tts_utils.store.tables import StoreMiss

LENGTHS = {"short": (2, 3), "medium": (4, 5), "long": (6, 99)}  # operations of the problem
BINS = 10


@dataclass(frozen=True, slots=True)
class Steps:
    """K sampled steps of one policy, each written while all before it were right.

    Attributes:
        row: (K,) which sample each belongs to: its place in ``keys``.
        place: (K,) which step of the sample it is.
        keys: problem_id and sample of every sample.
        problem: (K,) number of its problem, in order of identifiers.
        operations: (K,) how many operations its problem takes.
        state: (K,) number of the state that it was sampled from.
        right: (K,) the checker's verdict.
        chars: (K,) how long it is written.
    """

    row: NDArray[np.int64]
    place: NDArray[np.int64]
    keys: pd.DataFrame
    problem: NDArray[np.int64]
    operations: NDArray[np.int64]
    state: NDArray[np.int64]
    right: NDArray[np.bool_]
    chars: NDArray[np.int64]

    def scores_from(self, scores: pd.DataFrame) -> NDArray[np.float64]:
        """(K,) the scores of these steps; NaN where a sample was too long for the PRM."""
        given = self.keys.merge(scores[[*KEY, "scores"]], on=KEY, how="left", validate="one_to_one")["scores"]
        sizes = np.array([0 if isinstance(s, float) else len(s) for s in given])
        flat = np.concatenate([np.asarray(s, float) for s, n in zip(given, sizes, strict=True) if n])
        starts = np.cumsum(sizes) - sizes
        read = self.place < sizes[self.row]
        values = np.full(len(self.row), np.nan)
        values[read] = flat[(starts[self.row] + self.place)[read]]
        return values


def steps_of(dataset: str, policy: str, config: SamplingConfig, data: Path) -> Steps:
    """Every stored step of a policy up to the first wrong one of its sample."""
    problems = {p.problem_id: p for p in load_problems(dataset, data=data)}
    where = {"config": config, "data": data}
    frame = store.read_samples(dataset, policy, **where)[[*KEY, "text"]]
    frame = frame.merge(store.read_step_labels(dataset, policy, **where)[[*KEY, "labels"]], on=KEY)
    states: dict[tuple[str, str], int] = {}
    rows, places, right, state, chars = [], [], [], [], []
    for row, (problem_id, text, labels) in enumerate(
        frame[["problem_id", "text", "labels"]].itertuples(index=False)
    ):
        error = first_error(labels)
        count = len(labels) if error < 0 else error + 1
        written = split_steps(text)
        prefixes = itertools.accumulate(("", *written))
        for place, prefix in zip(range(count), prefixes, strict=False):
            rows.append(row)
            places.append(place)
            right.append(bool(labels[place]))
            chars.append(len(written[place]))
            state.append(states.setdefault((problem_id, prefix), len(states)))
    numbers = {problem_id: i for i, problem_id in enumerate(sorted(problems))}
    row = np.array(rows, dtype=np.int64)
    problem_of = frame["problem_id"].map(numbers).to_numpy()
    sizes = frame["problem_id"].map(lambda i: len(problems[i].meta["nodes"])).to_numpy()
    return Steps(
        row,
        np.array(places, dtype=np.int64),
        frame[KEY],
        problem_of[row],
        sizes[row],
        np.array(state, dtype=np.int64),
        np.array(right, dtype=bool),
        np.array(chars, dtype=np.int64),
    )


def best_threshold(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """The threshold with the fewest false alarms and misses, their rates added; steps below are rejected.

    >>> best_threshold(np.array([0.1, 0.4, 0.6, 0.9]), np.array([False, False, True, True]))
    0.6
    """
    order = np.argsort(scores, kind="stable")
    values, good = scores[order], right[order]
    # rejecting the first i: alarms = right ones among them, misses = wrong ones behind them
    alarms = np.concatenate([[0], np.cumsum(good)]) / max(good.sum(), 1)
    misses = 1 - np.concatenate([[0], np.cumsum(~good)]) / max((~good).sum(), 1)
    cut = np.concatenate([[True], np.diff(values) > 0, [True]])  # equal scores are rejected together
    best = int(np.flatnonzero(cut)[np.argmin((alarms + misses)[cut])])
    return float(values[best]) if best < len(values) else float(np.nextafter(values[-1], np.inf))


def accepted(steps: Steps, scores: NDArray[np.float64]) -> tuple[NDArray[np.bool_], list[float]]:
    """Whether each step passes at the threshold chosen on the other half of the problems; both thresholds."""
    passes, chosen = np.zeros(len(scores), dtype=bool), []
    for half in (0, 1):
        here = steps.problem % 2 == half
        chosen.append(best_threshold(scores[~here], steps.right[~here]))
        passes[here] = scores[here] >= chosen[-1]
    return passes, chosen


def alarms(dataset: str, policy: str, config: SamplingConfig, data: Path | None = None) -> dict:
    """False alarms, misses, gain of retrying, and calibration of every PRM on one policy's stored steps.

    Args:
        dataset: the test set.
        policy: whose steps.
        config: how they were sampled.
        data: the data directory; None means ``lab_dir()``.

    Returns:
        Two frames. "alarms": columns policy, prm, length ("all", or one of ``LENGTHS``), measure, estimate,
        low, high (95 %, problems as clusters), n (problems); the measures are "false alarms", "misses",
        "sum" of both, "gain": how much more often a step is right when rejected ones are sampled again until
        one passes, "next step right" without that, and "threshold" (mean of two, no interval). For all
        lengths also "score and step length": Spearman's correlation over the right steps of a problem,
        mean over problems; "lowest score last": the share of solutions whose last step has the lowest score;
        "named too early" and "named too late": of the erroneous solutions, the share with a rejected step
        before the first wrong one, and the share with none up to and with it. And "calibration": policy,
        prm, low edge of the bin, score (mean), right (share), n (steps), error (the expected calibration
        error of all bins, the same in every row).
    """
    data = lab_dir() if data is None else data
    try:
        steps = steps_of(dataset, policy, config, data)
    except StoreMiss:
        return {"alarms": _frame([]), "calibration": _bins([])}
    rows, bins = [], []
    for prm, frame in stored_scores(dataset, policy, config, data):
        scores = steps.scores_from(frame)
        read = ~np.isnan(scores)
        some = _only(steps, read)
        scores = scores[read]
        passes, thresholds = accepted(some, scores)
        rows.append((policy, prm, "all", "threshold", Interval(float(np.mean(thresholds)), *[np.nan] * 2, 0)))
        rows += [(policy, prm, "all", *row) for row in _habits(some, scores, passes, frame)]
        for length, here in _by_length(some):
            rows += [(policy, prm, length, *row) for row in _rates(some, passes, here)]
        error = expected_error(scores, some.right, BINS)
        bins += [(policy, prm, *row, error) for row in _reliability(scores, some.right)]
    return {"alarms": _frame(rows), "calibration": _bins(bins)}


def law(frame: pd.DataFrame) -> pd.DataFrame:
    """Retrying rejected steps should pay just where false alarms and misses add up to less than 1.

    Args:
        frame: "alarms" of :func:`alarms`, of any policies.

    Returns:
        Counts of (policy, PRM, length) by ``sum`` ("below 1", "not below 1", by estimate) and by what the
        gain's interval says: columns sum, gains, loses, undecided, largest_gain, smallest_gain.
    """
    wide = frame[frame["measure"].isin(["sum", "gain"])].pivot(
        index=["policy", "prm", "length"], columns="measure", values=["estimate", "low", "high"]
    )
    rows = []
    for name, below in (("below 1", True), ("not below 1", False)):
        part = wide[(wide["estimate", "sum"] < 1) == below] if len(wide) else wide
        if not len(part):
            rows.append((name, 0, 0, 0, np.nan, np.nan))
            continue
        up, down = (part["low", "gain"] > 0).sum(), (part["high", "gain"] < 0).sum()
        gain = part["estimate", "gain"]
        rows.append((name, int(up), int(down), int(len(part) - up - down), gain.max(), gain.min()))
    return pd.DataFrame(rows, columns=["sum", "gains", "loses", "undecided", "largest_gain", "smallest_gain"])


def _only(steps: Steps, mask: NDArray[np.bool_]) -> Steps:
    parts = (steps.problem, steps.operations, steps.state, steps.right, steps.chars)
    return Steps(steps.row[mask], steps.place[mask], steps.keys, *(part[mask] for part in parts))


def _by_length(steps: Steps) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    yield "all", np.ones(len(steps.row), dtype=bool)
    for name, (least, most) in LENGTHS.items():
        here = (steps.operations >= least) & (steps.operations <= most)
        if here.any():
            yield name, here


def _rates(steps: Steps, passes: NDArray[np.bool_], here: NDArray[np.bool_]) -> Iterator[tuple]:
    problem, right, ok = steps.problem[here], steps.right[here], passes[here]
    if right.all() or not right.any():
        return
    size = int(problem.max()) + 1
    counts = [np.bincount(problem[m], minlength=size) for m in (right & ~ok, right, ~right & ok, ~right)]
    false, rights, missed, wrongs = (c.astype(float) for c in counts)
    yield "false alarms", _ratio(false, rights)
    yield "misses", _ratio(missed, wrongs)
    yield "sum", _sum_of_ratios(false, rights, missed, wrongs)
    # At a state, a retried step is one of those that pass; where none passes, the first one stands.
    _, state = np.unique(steps.state[here], return_inverse=True)
    total, good = np.bincount(state), np.bincount(state, right)
    passing, good_passing = np.bincount(state, ok), np.bincount(state, right & ok)
    before = good / total
    after = np.where(passing > 0, good_passing / np.maximum(passing, 1), before)
    owner = np.zeros(len(total), dtype=np.int64)
    owner[state] = problem
    weight = np.bincount(owner, total, minlength=size)
    yield "next step right", _ratio(np.bincount(owner, before * total, minlength=size), weight)
    yield "gain", _ratio(np.bincount(owner, (after - before) * total, minlength=size), weight)


def _habits(steps: Steps, scores, passes, frame: pd.DataFrame) -> Iterator[tuple]:
    """What else the paper says of PRMs: length, where the lowest score is, where the error is seen."""
    right = pd.DataFrame({"problem": steps.problem, "score": scores, "chars": steps.chars})[steps.right]
    ranks = right.groupby("problem").rank()
    ranks["problem"] = right["problem"]
    per_problem = ranks.groupby("problem")
    spread = per_problem.std().min(axis=1)
    usable = spread[(spread > 0) & (per_problem.size() >= 10)].index
    if len(usable):
        both = ranks[ranks["problem"].isin(usable)].groupby("problem")
        rho = both.corr().iloc[0::2]["chars"].to_numpy()
        yield "score and step length", _normal(rho.mean(), rho - rho.mean())
    ends = frame[frame["scores"].map(len) > 1]
    last = ends["scores"].map(lambda s: int(np.argmin(s) == len(s) - 1))
    by = last.groupby(ends["problem_id"]).agg(["sum", "size"]).astype(float)
    if len(by):
        yield "lowest score last", _ratio(by["sum"].to_numpy(), by["size"].to_numpy())
    # Steps end with the first wrong one: a rejection before it is too early; none at all up to it, too late.
    of = pd.DataFrame({"row": steps.row, "problem": steps.problem, "wrong": ~steps.right, "no": ~passes})
    of["early"] = of["no"] & ~of["wrong"]
    of["late"] = of["wrong"] & ~of["no"]
    solutions = of.groupby("row").agg(
        problem=("problem", "first"), wrong=("wrong", "any"), early=("early", "any"), late=("late", "any")
    )
    wrong = solutions[solutions["wrong"]]
    if len(wrong):
        size = int(wrong["problem"].max()) + 1
        totals = np.bincount(wrong["problem"], minlength=size).astype(float)
        for name, hit in (
            ("named too early", wrong["early"]),
            ("named too late", wrong["late"] & ~wrong["early"]),
        ):
            yield name, _ratio(np.bincount(wrong["problem"], hit, minlength=size), totals)


def _ratio(hits: NDArray[np.float64], totals: NDArray[np.float64]) -> Interval:
    """Sum of hits over sum of totals, with problems as clusters."""
    hits, totals = hits[totals > 0], totals[totals > 0]
    rate = hits.sum() / totals.sum()
    return _normal(rate, (hits - rate * totals) / totals.mean())


def _sum_of_ratios(a, a_totals, b, b_totals) -> Interval:
    """The sum of two such ratios over the same problems, their errors taken together."""
    some = (a_totals + b_totals) > 0
    a, a_totals, b, b_totals = (x[some] for x in (a, a_totals, b, b_totals))
    first, second = a.sum() / a_totals.sum(), b.sum() / b_totals.sum()
    residuals = (a - first * a_totals) / a_totals.mean() + (b - second * b_totals) / b_totals.mean()
    return _normal(first + second, residuals)


def _normal(estimate: float, residuals: NDArray[np.float64]) -> Interval:
    n = len(residuals)
    error = 1.96 * residuals.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return Interval(float(estimate), float(estimate - error), float(estimate + error), n)


def _reliability(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> Iterator[tuple]:
    bin_of = np.minimum((scores * BINS).astype(int), BINS - 1)
    for i in range(BINS):
        here = bin_of == i
        if here.any():
            yield i / BINS, float(scores[here].mean()), float(right[here].mean()), int(here.sum())


def _frame(rows: list[tuple]) -> pd.DataFrame:
    columns = ["policy", "prm", "length", "measure", "estimate", "low", "high", "n"]
    return pd.DataFrame([(*row[:-1], *row[-1]) for row in rows], columns=columns)


def _bins(rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["policy", "prm", "bin", "score", "right", "n", "error"])
