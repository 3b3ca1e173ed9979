"""Judges, crossing, alarms, claims and the dial, by hand-worked examples and plain counting."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from tts_lab.alarms import Steps, accepted, alarms, best_threshold, law
from tts_lab.claims import numbers, verdict
from tts_lab.crossing import Setting, choose, crossing
from tts_lab.judges import demands, figure_4, max_against_majority
from tts_lab.results import Result
from tts_utils.metrics import Interval


def result(policy, prm, method, budget, right, rule="prm_last_vote", tokens=100.0):
    rule = {"majority": "majority_vote", "greedy": "", "sample": ""}.get(method, rule)
    return Result(policy, prm, method, rule, budget, np.array(right, float), tokens, 10.0 if prm else 0.0)


ALL, HALF, NONE = [1.0] * 40, [1.0, 0.0] * 20, [0.0] * 40


def test_figure_4_compares_what_its_names_say():
    found = [
        result("p", "", "majority", 64, HALF),
        result("p", "a", "best_of_n", 64, HALF),
        result("p", "a", "dvts", 64, ALL),
        result("p", "a", "beam", 64, NONE),
        result("p", "a", "beam", 16, ALL),  # another budget
        result("q", "a", "beam", 64, ALL),  # another policy
    ]
    frame = figure_4(found, ["p"]).set_index("comparison")
    assert frame.loc["dvts - best_of_n", "estimate"] == 0.5 and frame.loc["dvts - best_of_n", "low"] > 0
    assert frame.loc["beam - majority", "estimate"] == -0.5 and frame.loc["beam - majority", "high"] < 0
    assert frame.loc["best_of_n - majority", "estimate"] == 0
    assert set(frame["policy"]) == {"p"} and len(frame) == 5


def test_prm_max_is_compared_with_majority_voting_of_the_same_policy_and_budget():
    found = [
        result("p", "", "majority", 64, HALF),
        result("p", "a", "best_of_n", 64, ALL, "prm_last_max"),
        result("p", "a", "best_of_n", 64, NONE),  # PRM-Vote
        result("p", "a", "best_of_n", 16, NONE, "prm_last_max"),
    ]
    (row,) = max_against_majority(found).itertuples()
    assert (row.policy, row.prm, row.estimate) == ("p", "a", 0.5)


def test_demands_say_yes_no_or_missing():
    empty = figure_4([], [])
    f1 = pd.DataFrame(
        [("lab-llama-s", "a", "F1", 0.95, 0.9, 1.0, 9), ("lab-llama-m", "a", "F1", 0.7, 0.6, 0.8, 9)],
        columns=["policy", "prm", "measure", "estimate", "low", "high", "n"],
    )
    holds = demands(f1, empty, empty).set_index("demand")["holds"]
    assert holds["best F1 on lab-llama-s at least 0.90"] == "yes"
    assert holds["best F1 on lab-llama-m at least 0.90"] == "no"
    assert holds["best F1 on lab-qwen-m at least 0.90"] == "missing"
    assert (holds[[name for name in holds.index if "majority" in name]] == "missing").all()


def test_the_setting_is_chosen_on_other_problems_and_ties_go_to_fewer_tokens():
    fresh = [
        result("p", "a", "dvts", 64, HALF, tokens=500),
        result("p", "b", "dvts", 16, HALF, tokens=100),
        result("p", "b", "beam", 16, NONE),
        result("p", "", "majority", 64, ALL),  # no PRM: not to be chosen
    ]
    assert choose(fresh, "p") == Setting("b", "dvts", "prm_last_vote", 16)
    assert choose(fresh, "q") is None


def test_crossing_counts_only_the_chosen_setting_and_states_what_it_costs():
    found = {
        "lab-hard": [
            result("big", "", "greedy", 1, HALF, tokens=50),
            result("small", "a", "dvts", 16, ALL, tokens=400),
            result("small", "a", "beam", 64, ALL, tokens=900),
            result("small", "a", "beam", 4, ALL, tokens=30),
        ]
    }
    chosen = {"small": Setting("a", "dvts", "prm_last_vote", 16)}
    params = {"small": 1000, "big": 9500, "a": 3000}
    frame = crossing(found, chosen, [["small", "big"]], params)
    assert list(frame["role"]) == ["chosen", "other"]
    row = frame.iloc[0]
    assert (row.difference, row.times_params) == (0.5, 9.5) and row.low > 0
    assert (row.small_flops, row.prm_flops, row.large_flops) == (2 * 1000 * 400, 2 * 3000 * 10, 2 * 9500 * 50)
    assert crossing({}, {}, [["small", "big"]], params).empty


def steps(right, problem, state=None, operations=None):
    k = len(right)
    return Steps(
        row=np.arange(k),
        place=np.zeros(k, dtype=np.int64),
        keys=pd.DataFrame({"problem_id": [f"p{i}" for i in problem], "sample": range(k)}),
        problem=np.array(problem),
        operations=np.array(operations or [2] * k),
        state=np.array(state or problem),
        right=np.array(right, dtype=bool),
        chars=np.full(k, 10),
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_is_the_one_that_trying_all_finds(seed):
    rng = np.random.default_rng(seed)
    scores, right = rng.integers(0, 8, 60) / 8, rng.random(60) < 0.6

    def cost(threshold):
        return (scores[right] < threshold).mean() + (scores[~right] >= threshold).mean()

    found = best_threshold(scores, right)
    assert cost(found) == pytest.approx(min(cost(t) for t in [*np.unique(scores), 2.0]))


def test_a_threshold_never_comes_from_the_problems_it_is_used_on():
    # On even problems right steps score above 0.5, on odd ones above 0.9: each half gets the other's.
    given = steps([True, False] * 4, [0, 0, 2, 2, 1, 1, 3, 3])
    scores = np.array([0.6, 0.4, 0.6, 0.4, 0.95, 0.85, 0.95, 0.85])
    passes, thresholds = accepted(given, scores)
    assert thresholds == [0.95, 0.6]
    assert list(passes) == [False] * 4 + [True] * 4


def test_rates_and_the_gain_of_retrying_by_hand():
    from tts_lab.alarms import _rates

    # State 0: right passes, right rejected, wrong rejected, wrong passes. State 1: all rejected.
    given = steps([True, True, False, False, True, False], [0, 0, 0, 0, 1, 1])
    passes = np.array([True, False, False, True, False, False])
    found = dict(_rates(given, passes, np.ones(6, dtype=bool)))
    assert found["false alarms"].mean == pytest.approx(2 / 3)
    assert found["misses"].mean == pytest.approx(1 / 3)
    assert found["sum"].mean == pytest.approx(1)
    assert found["next step right"].mean == pytest.approx(0.5)
    assert found["gain"].mean == pytest.approx(0)  # state 0: 1 of 2 that pass; state 1: nothing passes


def test_the_law_is_counted_by_the_sum_and_the_gains_interval():
    rows = [
        ("p", prm, "all", measure, *values, 9)
        for prm, total, gain in (
            ("a", (0.4, 0.3, 0.5), (0.1, 0.05, 0.2)),
            ("b", (1.2, 1.1, 1.3), (-0.1, -0.2, -0.05)),
            ("c", (0.9, 0.8, 1.1), (0.0, -0.1, 0.1)),
        )
        for measure, values in (("sum", total), ("gain", gain))
    ]
    columns = ["policy", "prm", "length", "measure", "estimate", "low", "high", "n"]
    counted = law(pd.DataFrame(rows, columns=columns)).set_index("sum")
    assert counted.loc["below 1", ["gains", "loses", "undecided"]].tolist() == [1, 0, 1]
    assert counted.loc["not below 1", ["gains", "loses", "undecided"]].tolist() == [0, 1, 0]
    assert law(pd.DataFrame(columns=columns))[["gains", "loses"]].to_numpy().sum() == 0


def test_alarms_of_a_policy_that_is_not_stored_are_missing_and_no_error():
    found = alarms("lab-500", "nobody", __import__("tts_lab.recipe", fromlist=["FULL"]).FULL.sampling)
    assert found["alarms"].empty and found["calibration"].empty


UP, DOWN, FLAT = Interval(0.1, 0.05, 0.2, 9), Interval(-0.1, -0.2, -0.05, 9), Interval(0.0, -0.1, 0.1, 9)


@pytest.mark.parametrize(
    ("cases", "sign", "said"),
    [
        ([UP, UP, FLAT, FLAT], 1, "seen"),
        ([UP, FLAT, FLAT], 1, "in part"),
        ([UP, UP, DOWN], 1, "in part"),
        ([FLAT], 1, "not seen"),
        ([DOWN, FLAT], 1, "reversed"),
        ([DOWN, FLAT], -1, "seen"),
        ([FLAT, FLAT, FLAT, UP], 0, "seen"),
        ([UP, UP, DOWN, FLAT], 0, "reversed"),
        ([], 1, "missing"),
    ],
)
def test_verdicts_follow_the_rule(cases, sign, said):
    assert verdict(cases, sign) == said


def test_at_times_needs_one_case_and_numbers_count_them():
    assert verdict([DOWN, UP, FLAT, FLAT], -1, at_times=True) == "seen"
    assert numbers([UP, DOWN, FLAT]).startswith("3 cases, 1 above 0, 1 below; median +0.000")


def test_the_lengths_of_the_data_are_those_of_the_training_records():
    pytest.importorskip("transformers")
    from tts_lab.cast import data_lengths
    from tts_utils.data_folder import find

    name = "lab-rlhflow-terse"
    frame = data_lengths([name]).set_index("unit")
    record = json.loads(find(f"models/{name}/training.json").read_text())["data"]
    assert (frame["rollouts"] == record["num_rollouts"]).all() and (frame["n"] < record["num_rollouts"]).all()
    for unit in ("response", "step"):
        assert frame.loc[unit, "tokens"] == pytest.approx(record[f"tokens_per_{unit}"], abs=0.006)
        assert frame.loc[unit, "low"] < frame.loc[unit, "tokens"] < frame.loc[unit, "high"]
    shipped = pd.read_csv(find("report/prm-data-lengths.csv")).set_index(["prm", "unit"])
    assert shipped.loc[(name, "response"), "tokens"] == pytest.approx(
        frame.loc["response", "tokens"], abs=1e-3
    )
