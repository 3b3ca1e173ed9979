import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts_utils import voting
from tts_utils.voting import (
    AGGREGATIONS,
    NO_SCORE,
    RULES,
    aggregate,
    aggregate_many,
    majority,
    prm_max,
    prm_vote,
    select,
    split_rule,
)

# Four completions, three steps each, worked by hand:      min   last  avg
STEPS = [[0.9, 0.3, 0.6], [0.5, 0.5, 0.5], [0.2, 0.4, 0.9], [0.8, 0.6, 0.4]]
BY_HAND = {"min": [0.3, 0.5, 0.2, 0.4], "last": [0.6, 0.5, 0.9, 0.4], "avg": [0.6, 0.5, 0.5, 0.6]}
ANSWERS = ["7", "3", "5", "3"]
WINNERS = {
    "majority_vote": "3",
    "prm_min_max": "3",  # 0.5 is the highest minimum
    "prm_min_vote": "3",  # 0.3 | 0.5 + 0.4 | 0.2
    "prm_last_max": "5",
    "prm_last_vote": "3",  # 0.6 | 0.5 + 0.4 = 0.9 | 0.9: a tie, "3" was seen first
    "prm_avg_max": "7",  # 0.6 twice, the first is "7"
    "prm_avg_vote": "3",  # 0.6 | 1.1 | 0.5
}


def test_doctests():
    assert doctest.testmod(voting).failed == 0


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_aggregate_by_hand(how):
    assert aggregate_many(STEPS, how) == pytest.approx(BY_HAND[how])
    assert [aggregate(steps, how) for steps in STEPS] == pytest.approx(BY_HAND[how])


@given(st.lists(st.lists(st.floats(0, 1), max_size=5), max_size=8))
def test_aggregate_many_is_numpy_on_each(step_scores):
    plain = {"min": min, "last": lambda s: s[-1], "avg": np.mean}
    for how in AGGREGATIONS:
        expected = [plain[how](scores) if scores else 0.25 for scores in step_scores]
        assert aggregate_many(step_scores, how, empty=0.25) == pytest.approx(expected)


def test_aggregate_errors_name_the_place():
    with pytest.raises(ValueError, match="'median'"):
        aggregate([0.5], "median")
    with pytest.raises(ValueError, match="trajectory 1 has no step scores"):
        aggregate_many([[0.5], []], "min")
    with pytest.raises(ValueError, match="trajectory 2, step 1: score nan"):
        aggregate_many([[0.5], [0.1, 0.2], [0.3, float("nan")]], "last")
    with pytest.raises(ValueError, match="trajectory 1, step 0: score inf"):
        aggregate_many([[], [float("inf")]], "last", empty=0.0)


@pytest.mark.parametrize("name", RULES)
def test_table_2_rules_by_hand(name):
    how, rule = split_rule(name)
    scores = None if how is None else aggregate_many(STEPS, how)
    pick = {"majority": lambda a, s: majority(a), "prm_max": prm_max, "prm_vote": prm_vote}[rule]
    assert pick(ANSWERS, scores) == WINNERS[name]
    chosen = select([[0, 1, 2, 1]], None if scores is None else [scores], rule)
    assert ANSWERS[chosen[0]] == WINNERS[name]


def test_seven_rules():
    assert len(RULES) == len(set(RULES)) == 7
    with pytest.raises(ValueError, match="'prm_sum_vote'"):
        split_rule("prm_sum_vote")


def test_ties_go_to_the_first_seen():
    assert majority(["b", "a", "a", "b"]) == "b"
    assert prm_max(["b", "a"], [0.5, 0.5]) == "b"
    assert prm_vote(["b", "a", "a"], [0.3, 0.1, 0.2]) == "b"  # 0.1 + 0.2 ties with 0.3, as on paper
    assert prm_vote(["a", "b", "a"], [0.1, 0.3, 0.2]) == "a"
    assert prm_vote(["b", "a"], [0.0, 0.0]) == "b"


def test_empty_never_wins():
    assert majority(["", "", "a"]) == "a"
    assert prm_max(["", "a"], [1.0, 0.0]) == "a"
    assert prm_vote(["", "", "a"], [1.0, 1.0, 0.0]) == "a"
    for pick in (majority, lambda a: prm_max(a, [0.5] * len(a)), lambda a: prm_vote(a, [0.5] * len(a))):
        for answers in ([], ["", ""]):
            with pytest.raises(ValueError, match="nothing to choose"):
                pick(answers)


@pytest.mark.parametrize("rule", ["majority", "prm_max", "prm_vote"])
def test_select_without_any_answer(rule):
    scores = [[0.5, 0.5], [0.5, 0.6]]
    assert select([[-1, -1], [-1, 0]], scores, rule).tolist() == [-1, 1]
    assert select([[-1, -1]], [[0.5, 0.5]], rule).tolist() == [-1]
    assert select(np.zeros((0, 3), dtype=int), np.zeros((0, 3)), rule).shape == (0,)


def test_select_names_the_place():
    with pytest.raises(ValueError, match="problem 1, sample 0: score nan"):
        select([[0, 1], [0, 1]], [[0.1, 0.2], [float("nan"), 0.2]], "prm_vote")
    with pytest.raises(ValueError, match=r"problem 0, sample 1: score 1\.5"):
        select([[0, 1]], [[0.1, 1.5]], "prm_vote")
    with pytest.raises(ValueError, match="needs scores"):
        select([[0, 1]], None, "prm_max")
    with pytest.raises(ValueError, match=r"\(1, 3\)"):
        select([[0, 1]], [[0.1, 0.2, 0.3]], "prm_max")
    with pytest.raises(ValueError, match="2 answers but 1 scores"):
        prm_vote(["a", "b"], [0.5])
    with pytest.raises(ValueError, match="'best'"):
        select([[0, 1]], None, "best")
    with pytest.raises(ValueError, match="whole numbers"):
        select([[0.5, 1.0]], None, "majority")


def test_no_score_is_no_vote_and_never_a_score_of_0():
    answers = ["a", "b", "b"]
    assert prm_max(answers, [NO_SCORE, 0.0, 0.0]) == prm_vote(answers, [NO_SCORE, 0.0, 0.0]) == "b"
    assert prm_vote(answers, [0.0, NO_SCORE, NO_SCORE]) == "a"
    assert prm_max(answers, [-5.0, NO_SCORE, NO_SCORE]) == "a"  # below any number, not 0
    for pick in (prm_max, prm_vote):
        with pytest.raises(ValueError, match="none of the 3 answers has a score"):
            pick(answers, [NO_SCORE] * 3)
        with pytest.raises(ValueError, match="score nan"):
            pick(answers, [NO_SCORE, float("nan"), 0.5])
        with pytest.raises(ValueError, match="score inf"):
            pick(answers, [NO_SCORE, float("inf"), 0.5])


def test_select_without_any_score():
    scores = [[NO_SCORE, NO_SCORE], [NO_SCORE, 0.0]]
    for rule in ("prm_max", "prm_vote"):
        assert select([[0, 0], [0, 1]], scores, rule).tolist() == [-1, 1]
        assert select([[0, 0], [0, -1]], scores, rule).tolist() == [-1, -1]
    assert select([[0, 0], [0, 1]], scores, "majority").tolist() == [0, 0]  # it asks no PRM


def plain(ids, scores, rule):
    """The definition, in exact fractions of 1/16; a score below 0 stands for none."""
    sixteenths = [round(16 * s) for s in scores]
    seen = [i for i in range(len(ids)) if ids[i] >= 0 and (rule == "majority" or scores[i] >= 0)]
    if not seen:
        return -1
    if rule == "prm_max":
        return max(seen, key=lambda i: (sixteenths[i], -i))
    weight = (lambda i: 1) if rule == "majority" else (lambda i: sixteenths[i])
    totals = {a: sum(weight(i) for i in seen if ids[i] == a) for a in dict.fromkeys(ids[i] for i in seen)}
    best = max(totals.values())
    return next(i for i in seen if totals[ids[i]] == best)


ROW = st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 16)), min_size=6, max_size=6)
GAPPY = st.lists(st.tuples(st.integers(-1, 4), st.integers(-3, 16)), min_size=6, max_size=6)


@given(st.lists(GAPPY, min_size=1, max_size=4), st.sampled_from(["majority", "prm_max", "prm_vote"]))
def test_select_is_the_definition(rows, rule):
    ids = [[a for a, _ in row] for row in rows]
    scores = [[s / 16 for _, s in row] for row in rows]
    weights = [[s if s >= 0 else NO_SCORE for s in row] for row in scores]
    expected = [plain(a, s, rule) for a, s in zip(ids, scores, strict=True)]
    assert select(ids, weights, rule).tolist() == expected


@given(ROW)
def test_equal_scores_make_prm_vote_majority(row):
    ids = [[a for a, _ in row]]
    assert select(ids, np.full((1, 6), 0.5), "prm_vote") == select(ids, None, "majority")
