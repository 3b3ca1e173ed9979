"""How often a method is right, and how sure one can be of it.

P = problems, S = samples of each. Every interval is over problems: samples of one problem are not
independent, problems are (clustering by question: Miller 2024, arXiv:2411.00640). Plots nothing, calls no
model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tts_utils._subsets import count_hits
from tts_utils.voting import check_ids, check_scores, select


class Interval(NamedTuple):
    """An estimate with its confidence interval; ``n`` counts the independent units (problems) behind it."""

    mean: float
    low: float
    high: float
    n: int


class AucInterval(NamedTuple):
    """An area under the ROC curve with its confidence interval over ``num_problems`` problems."""

    auc: float
    low: float
    high: float
    num_problems: int


def pass_at_k(num_samples: ArrayLike, num_correct: ArrayLike, k: ArrayLike) -> NDArray[np.float64] | float:
    """Estimate without bias the chance that at least one of k samples is correct: 1 - C(n - c, k) / C(n, k).

    Args:
        num_samples: n, samples drawn per problem, at least k.
        num_correct: c, how many of them are correct, 0..n.
        k: at least 1. All three broadcast against each other.

    Returns:
        The estimate in [0, 1], of the broadcast shape; a float if all three are numbers. Mean over problems =
        pass@k.

    Raises:
        ValueError: a value out of range (it is named); with k above n nothing can be said: draw more samples.

    Source: Chen et al. 2021 (arXiv:2107.03374), eq. 1, as a product in place of the binomials.

    >>> pass_at_k(4, 1, 2)  # of the 6 pairs, 3 hold the correct one
    0.5
    """
    n, c, k = np.broadcast_arrays(*(np.asarray(x) for x in (num_samples, num_correct, k)))
    for name, values, bad in (
        ("num_correct", c, (c < 0) | (c > n)),
        ("k", k, (k < 1) | (k > n)),
    ):
        if bad.any():
            where = np.unravel_index(int(np.flatnonzero(bad)[0]), n.shape)
            raise ValueError(f"{name} = {values[where]} does not fit num_samples = {n[where]}")
    all_wrong = np.ones(n.shape)
    for j in range(int(k.max(initial=0))):
        all_wrong = np.where(j < k, all_wrong * np.clip(n - c - j, 0, None) / np.maximum(n - j, 1), all_wrong)
    result = 1.0 - all_wrong
    return float(result) if result.ndim == 0 else result


def wilson_interval(num_correct: float, n: float, confidence: float = 0.95) -> Interval:
    """Give the Wilson score interval of a simple proportion k/n of n independent trials.

    Never empty, never outside [0, 1], also at k = 0 and k = n.

    Raises:
        ValueError: n not above 0, k outside [0, n], or confidence outside (0, 1).

    Source: Wilson 1927, JASA 22:209.

    >>> [round(x, 3) for x in wilson_interval(8, 10)]
    [0.8, 0.49, 0.943, 10]
    """
    if not (n > 0 and 0 <= num_correct <= n):
        raise ValueError(f"need 0 <= k <= n and n > 0, got k = {num_correct!r}, n = {n!r}")
    z = _normal_quantile(confidence)
    p = num_correct / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # at the ends the two terms are equal on paper; keep the estimate inside in floating point too
    low, high = min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half))
    return Interval(float(p), float(low), float(high), int(n))


def accuracy_interval(correct_per_problem: ArrayLike, confidence: float = 0.95) -> Interval:
    """Give mean accuracy with an interval over problems.

    Args:
        correct_per_problem: (P,) in [0, 1]: right or wrong, or the share of right samples (or resamples) of
            each problem.
        confidence: in (0, 1).

    Returns:
        ``Interval``; n = P, whatever the number of samples. It speaks of other problems like these; it needs
        no random numbers.

    Raises:
        ValueError: no problem, a value that is NaN or outside [0, 1], or a bad confidence.

    Method: the Wilson interval at the effective sample size mean (1 - mean) / SE^2, SE = the standard error
    clustered by problem (standard deviation between problems over sqrt(P)), at least P. The normal interval
    mean +- z SE (Miller 2024, arXiv:2411.00640) is the same for many problems, but is empty when all are
    right, and too short for 30 problems. Where every problem has the same value, the effective size is P.

    >>> [round(x, 3) for x in accuracy_interval([1, 1, 1, 0])]
    [0.75, 0.301, 0.954, 4]
    """
    values = _per_problem(correct_per_problem, "correct_per_problem")
    if ((values < 0) | (values > 1)).any():
        where = int(np.flatnonzero((values < 0) | (values > 1))[0])
        raise ValueError(f"problem {where}: accuracy {values[where]} is outside [0, 1]")
    num_problems = len(values)
    mean = float(values.mean())
    # of the mean; with 0 or 1 per problem it is mean (1 - mean) / P, and the effective size is P
    variance = float(values.var()) / num_problems
    effective = max(num_problems, mean * (1 - mean) / variance) if variance > 1e-15 else num_problems
    _, low, high, _ = wilson_interval(mean * effective, effective, confidence)
    return Interval(mean, min(low, mean), max(high, mean), num_problems)


def ratio_interval(hits: ArrayLike, totals: ArrayLike, confidence: float = 0.95) -> Interval:
    """Give the share of hits among items that belong to problems, with its interval over problems.

    Args:
        hits: (P,) hits of each problem; any number, so that sums of scores have a mean too.
        totals: (P,) items of each problem, 0 or more; a problem without items says nothing.
        confidence: in (0, 1).

    Returns:
        ``Interval``; n counts the problems with items. Where hits lie between 0 and their totals, it is cut
        at 0 and 1.

    Raises:
        ValueError: shapes differ, there are no items, a value is NaN, or a total is negative.

    Method: the ratio of sums, with its linearised standard error clustered by problem (Cochran 1977, ch. 6).

    >>> [round(x, 3) for x in ratio_interval([1, 3, 2, 2], [4, 4, 4, 4])]
    [0.5, 0.3, 0.7, 4]
    """
    top, bottom = _per_problem(hits, "hits"), _per_problem(totals, "totals")
    if top.shape != bottom.shape or (bottom < 0).any() or not bottom.sum():
        raise ValueError(
            f"need as many totals as hits, 0 or more and not all 0; got {top.shape} and {bottom.shape}, "
            f"{bottom.sum():g} in all"
        )
    counted = bottom > 0
    top, bottom = top[counted], bottom[counted]
    n, share = len(top), float(top.sum() / bottom.sum())
    error = float(np.sqrt(n / max(n - 1, 1) * ((top - share * bottom) ** 2).sum()) / bottom.sum())
    half = _normal_quantile(confidence) * error
    low, high = share - half, share + half
    if ((top >= 0) & (top <= bottom)).all():
        low, high = max(low, 0.0), min(high, 1.0)
    return Interval(share, low, high, n)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
    draws: NDArray[np.float32] | None = None,
) -> Interval:
    """Give the mean of a - b with an interval over problems; both methods were tried on the same problems.

    Args:
        a, b: (P,) one finite value per problem, in the same order.
        rng: source of the bootstrap.
        confidence: in (0, 1).
        num_resamples: bootstrap resamples, at least 1.
        draws: the resamples, if :func:`resampling` has drawn them already from such an ``rng``.

    Returns:
        ``Interval`` of the difference, in the units of a and b; a beats b "by more than its interval" when
        ``low`` > 0.

    Raises:
        ValueError: no problem, different lengths, a value that is not finite, or a bad confidence.

    Source: percentile bootstrap over problems (Efron & Tibshirani 1993, ch. 13); pairing as in Miller 2024
    (arXiv:2411.00640).
    """
    a, b = _per_problem(a, "a"), _per_problem(b, "b")
    if len(a) != len(b):
        raise ValueError(
            f"a has {len(a)} problems and b has {len(b)}; give both on the same problems, in the same order"
        )
    draws = resampling(len(a), rng, num_resamples) if draws is None else draws
    low, high = _percentiles(a - b, draws, confidence)
    return Interval(float((a - b).mean()), low, high, len(a))


def resampling(
    num_problems: int, rng: np.random.Generator, num_resamples: int = 10_000
) -> NDArray[np.float32]:
    """Draw problems with replacement: (R, P) how often each problem is in each resample.

    >>> resampling(3, np.random.default_rng(0), 2)
    array([[0., 2., 1.],
           [3., 0., 0.]], dtype=float32)
    """
    if num_problems < 1 or num_resamples < 1:
        raise ValueError(f"need a problem and a resample, got {num_problems!r} and {num_resamples!r}")
    counts = np.zeros((num_resamples, num_problems), dtype=np.float32)
    chunk = max(1, 1_000_000 // num_problems)  # keeps memory at some 10 MB
    for start in range(0, num_resamples, chunk):
        drawn = rng.integers(num_problems, size=(min(chunk, num_resamples - start), num_problems))
        rows = np.arange(len(drawn))[:, None] * num_problems
        cells = np.bincount((drawn + rows).ravel(), minlength=drawn.size)
        counts[start : start + len(drawn)] = cells.reshape(drawn.shape)
    return np.asfortranarray(counts)  # a problem's draws lie together: few problems differ


def within_problem_auc(
    problem_ids: ArrayLike,
    scores: ArrayLike,
    labels: ArrayLike,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 10_000,
) -> AucInterval:
    """Say how well scores tell right from wrong within problems: 0.5 is chance, 1 perfect.

    For each problem with both right and wrong items: the chance that a right one scores above a wrong one,
    ties counting half. The mean over those problems weighs each the same. So a scorer that has only learnt
    which problems are hard gets 0.5.

    Args:
        problem_ids: (I,) whose item it is; numbers or strings.
        scores: (I,) finite; of steps or of completions.
        labels: (I,) True (or 1) where the item is right.
        rng: source of the bootstrap over problems.
        confidence: in (0, 1).
        num_resamples: bootstrap resamples, at least 1.

    Raises:
        ValueError: lengths differ, a score is not finite (its place is named), or no problem has both right
            and wrong items.
    """
    problems, right = np.asarray(problem_ids), np.asarray(labels).astype(bool)
    values = np.asarray(scores, dtype=np.float64)
    if not problems.shape == values.shape == right.shape or values.ndim != 1:
        raise ValueError(
            f"problem_ids, scores, labels differ in shape: {problems.shape}, {values.shape}, {right.shape}"
        )
    if not np.isfinite(values).all():
        where = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"item {where} (problem {problems[where]!r}): score {values[where]} is not finite")
    _, problem = np.unique(problems, return_inverse=True)
    order = np.lexsort((values, problem))
    problem, values, right = problem[order], values[order], right[order]
    # Mean rank of each run of equal scores within its problem, counted from the start of all items.
    new_run = np.ones(len(values), dtype=bool)
    new_run[1:] = (np.diff(values) != 0) | (np.diff(problem) != 0)
    starts = np.flatnonzero(new_run)
    ends = np.append(starts[1:], len(values))
    rank = np.repeat((starts + ends - 1) / 2, ends - starts)
    rank -= np.flatnonzero(np.diff(problem, prepend=-1))[problem]  # from 0 within the problem
    num_right = np.bincount(problem, weights=right)
    num_wrong = np.bincount(problem, weights=~right)
    both = (num_right > 0) & (num_wrong > 0)
    if not both.any():
        raise ValueError(
            f"none of {len(both)} problems has both right and wrong items; nothing can be told apart"
        )
    rank_sum = np.bincount(problem, weights=rank * right)[both]
    num_right, num_wrong = num_right[both], num_wrong[both]
    auc = (rank_sum - num_right * (num_right - 1) / 2) / (num_right * num_wrong)  # (problems with both,)
    low, high = _bootstrap(auc, rng, confidence, num_resamples)
    return AucInterval(float(auc.mean()), low, high, len(auc))


def accuracy_by_budget(
    correct: ArrayLike,
    answer_ids: ArrayLike,
    scores: ArrayLike | None,
    rule: str,
    budgets: Sequence[int],
    num_resamples: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Give accuracy against budget N of one selection rule, from one pool of S samples per problem.

    Args:
        correct: (P, S) whether each sample is correct; one without an answer never counts as correct.
        answer_ids: (P, S) as for :func:`tts_utils.voting.select`; samples with equal ids are equally correct.
        scores: (P, S), or None for "majority"; a sample with ``voting.NO_SCORE`` casts no vote.
        rule: "majority" | "prm_max" | "prm_vote".
        budgets: N, each in 1..S.
        num_resamples: random subsets of the pool per problem, at least 1. N = S is the whole pool, once, in
            its own order.
        rng: source of the subsets.

    Returns:
        One row per budget, in the order given: budget, rule, accuracy, low, high, n = P. The interval is
        :func:`accuracy_interval` of the means over resamples: over problems, given this pool. Ties go to the
        first drawn.

    Raises:
        ValueError: a budget outside 1..S (sample more), shapes that differ, or what
            :func:`tts_utils.voting.select` raises.
    """
    curves = accuracy_curves(correct, answer_ids, {rule: (scores, rule)}, budgets, num_resamples, rng)
    return curves.drop(columns="method")


def accuracy_curves(
    correct: ArrayLike,
    answer_ids: ArrayLike,
    methods: Mapping[str, tuple[ArrayLike | None, str]],
    budgets: Sequence[int],
    num_resamples: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Do :func:`accuracy_by_budget` for several methods at once, faster, all on the same subsets.

    Args:
        methods: name -> (scores, rule). All else as for :func:`accuracy_by_budget`.

    Returns:
        Rows as of :func:`accuracy_by_budget` with a first column "method", method by method.
    """
    per_problem = accuracy_per_problem(correct, answer_ids, methods, budgets, num_resamples, rng)
    rows = [
        (name, budget, methods[name][1], *accuracy_interval(values[:, i]))
        for name, values in per_problem.items()
        for i, budget in enumerate(budgets)
    ]
    return pd.DataFrame(rows, columns=["method", "budget", "rule", "accuracy", "low", "high", "n"])


def accuracy_per_problem(
    correct: ArrayLike,
    answer_ids: ArrayLike,
    methods: Mapping[str, tuple[ArrayLike | None, str]],
    budgets: Sequence[int],
    num_resamples: int,
    rng: np.random.Generator,
) -> dict[str, NDArray[np.float64]]:
    """Give what :func:`accuracy_curves` averages, for :func:`paired_difference`.

    Each resample is one random order of each pool, whose first N samples are the subset of budget N (see
    ``_subsets``): subsets of different budgets are nested, and all methods see the same ones.

    Returns:
        method -> (P, len(budgets)) share of resamples that are right.
    """
    ids = check_ids(answer_ids)
    _, num_samples = ids.shape
    right = np.asarray(correct)
    if right.shape != ids.shape:
        raise ValueError(f"correct of shape {right.shape} does not fit answer_ids of shape {ids.shape}")
    right = right.astype(bool) & (ids >= 0)
    for budget in budgets:
        if not 1 <= budget <= num_samples:
            raise ValueError(
                f"budget {budget} is outside 1..{num_samples}, the size of the pool; sample more"
            )
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples!r}")
    weights = {name: check_scores(scores, ids.shape, rule) for name, (scores, rule) in methods.items()}
    budgets = np.asarray(budgets, dtype=np.int64)
    longest = int(budgets[budgets < num_samples].max(initial=0))
    checked = {name: (weights[name], rule) for name, (_, rule) in methods.items()}
    hits = count_hits(right, ids, checked, longest, num_resamples, rng) if longest else {}
    result = {}
    for name, (_, rule) in methods.items():
        chosen = select(ids, weights[name], rule)
        whole = np.take_along_axis(right, np.maximum(chosen, 0)[:, None], axis=1)  # (P, 1)
        whole &= (chosen >= 0)[:, None]
        result[name] = np.repeat(whole.astype(np.float64), len(budgets), axis=1)
        part = budgets < num_samples
        if part.any():
            result[name][:, part] = hits[name][:, budgets[part] - 1] / num_resamples
    return result


def difficulty_level(pass_at_1: float) -> str:
    """Name the level of a problem by absolute pass@1: "easy" 50-100 %, "medium" 10-50 %, "hard" 0-10 %.

    Both limits belong to the easier level; the paper does not say.

    Raises:
        ValueError: NaN, or outside [0, 1].

    Source: Liu et al. 2025 (arXiv:2502.06703), the absolute thresholds that replace the quantiles of Snell et
    al. 2024 (arXiv:2408.03314).

    >>> [difficulty_level(p) for p in (0.9, 0.5, 0.1, 0.05)]
    ['easy', 'easy', 'medium', 'hard']
    """
    if not 0 <= pass_at_1 <= 1:
        raise ValueError(f"pass@1 must lie in [0, 1], got {pass_at_1!r}")
    return "easy" if pass_at_1 >= 0.5 else "medium" if pass_at_1 >= 0.1 else "hard"


def _per_problem(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return (P,) finite values, P at least 1, or raise ValueError."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must have shape (problems,) with at least one problem, got {array.shape}")
    if not np.isfinite(array).all():
        where = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"{name}: problem {where} is {array[where]}")
    return array


def _normal_quantile(confidence: float) -> float:
    """Return z with ``confidence`` of the normal distribution within +-z."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence!r}")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _percentiles(
    values: NDArray[np.float64], draws: NDArray[np.float32], confidence: float
) -> tuple[float, float]:
    """Return the percentile interval of the mean of (P,) values over (R, P) resamples."""
    _normal_quantile(confidence)  # checks it
    whole = np.array_equal(values, np.rint(values)) and np.abs(values).max() <= 1  # exact in float32 too
    some = np.flatnonzero(values)
    sums = draws[:, some] @ (values.astype(np.float32) if whole else values)[some]
    low, high = np.quantile(
        sums.astype(np.float64) / len(values), [(1 - confidence) / 2, (1 + confidence) / 2]
    )
    return float(low), float(high)


def _bootstrap(
    values: NDArray[np.float64], rng: np.random.Generator, confidence: float, num_resamples: int
) -> tuple[float, float]:
    """Return the percentile interval of the mean of (P,) values, resampled with replacement."""
    _normal_quantile(confidence)  # checks it
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples!r}")
    chunk = max(1, 1_000_000 // len(values))  # keeps memory at some 10 MB
    means = [
        values[rng.integers(len(values), size=(min(chunk, num_resamples - done), len(values)))].mean(axis=1)
        for done in range(0, num_resamples, chunk)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
