"""Three printed intervals of each of lessons 9 to 13, computed once more by another way than the lesson's.

Where a lesson takes a formula the test resamples problems, where it resamples the test takes a formula;
where it takes a share of whole problems the test inverts the score test. Shares are compared to a point.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from tests.lesson_runs import LessonRun
from tests.test_intervals import lesson, normal, printed, score_test
from tests.test_intervals_of_choice import by_resampling
from tts_lab import strategies
from tts_utils import store

POINT = 0.01


def ratio_by_resampling(hits: np.ndarray, totals: np.ndarray) -> tuple[float, float]:
    """Percentiles of sum(hits) / sum(totals) over 4,000 resamples of problems."""
    some = np.random.default_rng(7).integers(0, len(hits), (4000, len(hits)))
    return tuple(np.percentile(hits[some].sum(axis=1) / totals[some].sum(axis=1), [2.5, 97.5]))


def step_counts(policy: str, prm: str) -> pd.DataFrame:
    """Per problem, from the stored tables: right steps, those rejected; first errors, those passed."""
    labels = store.read_step_labels("lab-500", policy, n=16)
    scores = store.read_step_scores("lab-500", policy, prm, n=16)["scores"]
    rows = []
    for problem, right, said in zip(labels["problem_id"], labels["labels"], scores, strict=True):
        first = list(right).index(False) if False in right else len(right)
        rows.append(
            {
                "problem_id": problem,
                "right": first,
                "rejected": sum(score < 0.5 for score in said[:first]),
                "wrong": first < len(right),
                "passed": first < len(right) and said[first] >= 0.5,
            }
        )
    return pd.DataFrame(rows).groupby("problem_id").sum()


KINDS = {"over-criticism": ("rejected", "right"), "error neglect": ("passed", "wrong")}


def rate_again(policy: str, prm: str, kind: str) -> tuple[float, float]:
    counts = step_counts(policy, prm)
    hits, totals = KINDS[kind]
    some = counts[counts[totals] > 0]
    return ratio_by_resampling(some[hits].to_numpy(float), some[totals].to_numpy(float))


def small_minus_large(row) -> np.ndarray:
    """Problem by problem: a row of Lesson 10's comparison, from the outcomes of all strategies."""
    rule = row.rule.removeprefix("prm_").split("_")  # prm_last_vote is the aggregation and the rule
    frame = strategies.read(row.dataset, [row.small])
    frame = frame[
        (frame["prm"] == row.prm) & (frame["method"] == row.method) & (frame["budget"] == row.budget)
    ]
    frame = frame[(frame["aggregation"] == rule[0]) & (frame["rule"] == f"prm_{rule[1]}")]
    assert frame["branching"].nunique() == 1
    small = frame.set_index(frame["problem_id"].astype(str))["right"]
    greedy = store.read_pool(row.dataset, row.large, greedy=True)
    large = pd.Series(greedy.correct[:, 0].astype(float), index=list(greedy.problem_ids))
    return (small - large.reindex(small.index)).to_numpy()


def crossed(names: dict) -> list:
    """Rows of Lesson 10's table: one of the set that the claim rests on, and two more."""
    shown = names["shown"]
    hard = shown[shown["dataset"] == "lab-hard"].head(1)
    return [*hard.itertuples(), *shown[shown["dataset"] == "lab-200"].iloc[[0, -1]].itertuples()]


def test_lesson_9() -> None:
    names = lesson("09").namespace
    rates = names["rates"].set_index(["policy", "prm", "kind"])
    for pair, kind in (
        (("lab-llama-m", "lab-skywork-l"), "over-criticism"),
        (("lab-qwen-m", "lab-rlhflow-terse"), "error neglect"),
    ):
        row = rates.loc[(*pair, kind)]
        assert (row["low"], row["high"]) == pytest.approx(rate_again(*pair, kind), abs=POINT)

    frame = names["steps"]["lab-qwen-m", "lab-qwen-prm-s"]
    frame = frame[frame["place"] == "before"]
    gaps = []
    for _, mine in frame.groupby("problem_id"):
        rank = mine["text"].str.len().rank(pct=True)
        long, short = mine["score"][rank > 0.75], mine["score"][rank <= 0.25]
        if len(long) and len(short):
            gaps.append(long.mean() - short.mean())
    effect = names["effects"]["lab-qwen-m", "lab-qwen-prm-s"]
    assert effect.n == len(gaps)
    assert (effect.low, effect.high) == pytest.approx(normal(np.array(gaps)), abs=0.2 * POINT)


def test_the_slopes_of_lesson_9_by_the_normal_equations() -> None:
    names = lesson("09").namespace
    for row in names["slopes"].itertuples():
        kept = names["top"]
        kept = kept[(kept["policy"] == row.policy) & (kept["method"] == row.method)]
        x = np.log([names["f1_of"][row.policy, prm] for prm in kept["prm"]])
        design, y = np.column_stack([np.ones(len(x)), x]), kept["accuracy"].to_numpy()
        inverse = np.linalg.inv(design.T @ design)
        slope = (inverse @ design.T @ y)[1]
        left = y - design @ (inverse @ design.T @ y)
        half = student.ppf(0.975, len(x) - 2) * np.sqrt(left @ left / (len(x) - 2) * inverse[1, 1])
        assert (row.low, row.high) == pytest.approx((slope - half, slope + half), abs=1e-6)


def test_lesson_10() -> None:
    names = lesson("10").namespace
    for interval, right in zip(names["alone"], (361, 357), strict=True):
        assert (interval.low, interval.high) == pytest.approx(score_test(right, 500), abs=0.0001)
    nested, apart = np.zeros((2, 500)), np.zeros((2, 500))
    nested[0, :361] = nested[1, :357] = 1  # the one's right answers hold the other's
    apart[0, :361] = apart[1, -357:] = 1  # as little overlap as can be
    for found, (first, second) in ((names["narrow"], nested), (names["wide"], apart)):
        assert found == pytest.approx(normal(first - second), abs=0.0001)
    for row in crossed(names):
        assert (row.low, row.high) == pytest.approx(normal(small_minus_large(row)), abs=POINT)


def test_lesson_11() -> None:
    names = lesson("11").namespace
    table = names["frame"].set_index("comparison")
    for policy in ("lab-llama-s", "lab-llama-m", "lab-qwen-m"):
        gap = names["reported"][policy, names["TOP"]] - names["flat"][policy, names["TOP"]]
        found = (table.loc[policy, "low"], table.loc[policy, "high"])
        assert found == pytest.approx(normal(gap.to_numpy()), abs=POINT)
    for row in names["curves"][names["curves"]["rule"] == "compute-optimal"].head(3).itertuples():
        values = names["reported"][row.policy, row.budget].to_numpy()
        assert (row.low, row.high) == pytest.approx(by_resampling(values), abs=POINT)


def entries(run: LessonRun) -> dict[tuple[str, str], tuple[float, float]]:
    """The intervals as the ledger's table prints them, by claim and case."""
    found = {}
    for row in str(run.shown["12-table"]).splitlines():
        claim = re.search(r"`([\w-]+)` \|", row)
        for case, low, high in re.findall(r"(?:\| |<br>)([^|]+?): [+-][\d.]+ (\[\S+), (\S+\])", row):
            found[claim[1], case.split("<br>")[-1]] = printed(f"{low}, {high}")[0]
    return found


def test_lesson_12() -> None:
    shown, excess = entries(lesson("12")), 0.05
    for pair in (("lab-qwen-m", "lab-rlhflow-terse"), ("lab-llama-m", "lab-qwen-prm-l")):
        for claim, kind in (("over-criticism", "over-criticism"), ("error-neglect", "error neglect")):
            low, high = shown[claim, f"{', '.join(pair)}, lab-500"]
            assert (low + excess, high + excess) == pytest.approx(rate_again(*pair, kind), abs=POINT)
    for row in crossed(lesson("10").namespace):
        claim = "figure-1-small-beats-large" if row.times_params >= 9 else "one-rung-up"
        case = f"{row.small} ({row.prm}, {row.method}, N = {row.budget}) − {row.large}, {row.dataset}"
        assert shown[claim, case] == pytest.approx(normal(small_minus_large(row)), abs=POINT)


def test_lesson_13() -> None:
    run = lesson("13")
    names = run.namespace
    for row in names["adaptive"].iloc[[0, -1]].itertuples():
        pool = names["pools"][row.policy]
        right = [
            pool.correct[i, chosen] if chosen >= 0 else False
            for i, chosen in enumerate(choices(names, pool, row))
        ]
        assert (row.low, row.high) == pytest.approx(score_test(sum(right), len(right)), abs=0.002)
    again = names["per_problem"]["in_sample"] - names["per_problem"]["right"]  # of the table's last row
    (shown,) = printed(run.shown["13-curse-table"]["hindsight"].iloc[-1])
    assert shown == pytest.approx([100 * end for end in normal(again.to_numpy())], abs=0.3)
    (shown,) = printed(run.shown["13-weights-table"]["difference"].iloc[-1])
    assert shown == pytest.approx([100 * end for end in normal(names["odds"] - names["votes"])], abs=0.5)


def choices(names: dict, pool, row) -> list[int]:
    """Which completion is chosen for each problem, by counting votes one by one."""
    chosen = []
    for answers in pool.answer_ids:
        drawn = (
            int(row.samples) if row.series.startswith("same") else names["stop_by_agreement"](answers, 0.5)
        )
        seen = [a for a in answers[:drawn] if a >= 0]
        most = max(seen, key=lambda a: (seen.count(a), -seen.index(a)), default=None)
        chosen.append(-1 if most is None else list(answers).index(most))
    return chosen
