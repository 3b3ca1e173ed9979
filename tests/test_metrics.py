import doctest
from itertools import combinations, permutations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tts_utils import metrics
from tts_utils._subsets import count_hits
from tts_utils.metrics import (
    accuracy_by_budget,
    accuracy_curves,
    accuracy_interval,
    accuracy_per_problem,
    difficulty_level,
    paired_difference,
    pass_at_k,
    wilson_interval,
    within_problem_auc,
)
from tts_utils.voting import NO_SCORE, check_scores, select

RULES = ["majority", "prm_max", "prm_vote"]


def rng(seed=0):
    return np.random.default_rng(seed)


def pool(num_problems, num_samples, num_answers=4, levels=4, seed=0):
    """Answers -1..num_answers-1 of which 0 is right, and coarse scores, so that ties are frequent."""
    draw = rng(seed)
    ids = draw.integers(-1, num_answers, size=(num_problems, num_samples))
    return ids == 0, ids, draw.integers(0, levels + 1, size=ids.shape) / levels


def test_doctests():
    assert doctest.testmod(metrics).failed == 0


def test_pass_at_k_is_brute_force_enumeration():
    for n in range(1, 7):
        for c in range(n + 1):
            for k in range(1, n + 1):
                subsets = list(combinations([True] * c + [False] * (n - c), k))
                assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-14)


@given(st.integers(1, 300), st.data())
def test_pass_at_k_is_the_binomial_formula(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    assert pass_at_k(n, c, k) == pytest.approx(1 - comb(n - c, k) / comb(n, k), abs=1e-12)


def test_pass_at_k_broadcasts():
    table = pass_at_k(4, np.array([0, 1, 4])[:, None], np.array([1, 2, 4]))
    assert table == pytest.approx(np.array([[0, 0, 0], [0.25, 0.5, 1], [1, 1, 1]]))
    assert isinstance(pass_at_k(4, 1, 1), float)


@pytest.mark.parametrize(
    ("args", "words"), [((4, 5, 1), "num_correct = 5"), ((4, -1, 1), "num_correct = -1")]
)
def test_pass_at_k_errors(args, words):
    with pytest.raises(ValueError, match=words):
        pass_at_k(*args)
    for k in (0, 65):
        with pytest.raises(ValueError, match=f"k = {k} does not fit num_samples = 64"):
            pass_at_k(64, 3, k)


def test_wilson_by_hand():
    # p = 0.8, n = 10, z = 1.96: centre (0.8 + 0.19208) / 1.38416, half 1.96 / 1.38416 * sqrt(0.016 +
    # 0.009604)
    mean, low, high, n = wilson_interval(8, 10)
    assert (mean, n) == (0.8, 10)
    assert low == pytest.approx(0.7167 - 0.2266, abs=2e-4)
    assert high == pytest.approx(0.7167 + 0.2266, abs=2e-4)
    assert wilson_interval(0, 10)[1] == 0
    assert wilson_interval(10, 10)[2] == 1
    for bad in [(0, 0), (11, 10), (-1, 10), (float("nan"), 10)]:
        with pytest.raises(ValueError):
            wilson_interval(*bad)


def test_accuracy_interval_of_single_answers_is_wilson():
    values = [1] * 24 + [0] * 6
    assert accuracy_interval(values) == pytest.approx(wilson_interval(24, 30))
    assert accuracy_interval([1, 1, 1]) == pytest.approx(wilson_interval(3, 3))
    assert accuracy_interval([0.5]).n == 1


def test_accuracy_interval_is_clustered():
    few, many = rng(1).random(40), np.repeat(rng(1).random(40), 25)
    # the same problems: repeating each problem's mean over samples must not be mistaken for more problems
    assert accuracy_interval(few).n == 40
    half = np.diff(accuracy_interval(few)[1:3])[0] / 2
    assert half == pytest.approx(1.96 * few.std() / np.sqrt(40), rel=0.05)  # the normal interval, nearly
    assert (
        np.diff(accuracy_interval(many)[1:3])[0] / 2 < half / 3
    )  # what treating copies as problems would claim


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from([0.5, 0.95, 0.99]))
def test_accuracy_interval_holds_its_mean(values, confidence):
    mean, low, high, n = accuracy_interval(values, confidence)
    assert 0 <= low <= mean <= high <= 1
    assert n == len(values)


@pytest.mark.parametrize("num_problems", [30, 200])
def test_accuracy_interval_covers_the_truth(num_problems):
    # problems of accuracy Beta(2, 1) (mean 2/3), 8 samples each
    draw = rng(3)
    accuracy = draw.beta(2, 1, size=(1000, num_problems))
    means = draw.binomial(8, accuracy) / 8
    covered = np.mean([low <= 2 / 3 <= high for _, low, high, _ in map(accuracy_interval, means)])
    assert 0.93 <= covered <= 0.975


def test_intervals_refuse_bad_values():
    for bad in ([], [[0.5]], [float("nan")]):
        with pytest.raises(ValueError, match="correct_per_problem"):
            accuracy_interval(bad)
    with pytest.raises(ValueError, match="problem 1"):
        accuracy_interval([0.5, 1.5])
    with pytest.raises(ValueError, match="confidence"):
        accuracy_interval([0.5], confidence=95)
    with pytest.raises(ValueError, match="2 problems and b has 1"):
        paired_difference([1, 0], [1], rng())
    with pytest.raises(ValueError, match="confidence"):
        paired_difference([1, 0], [1, 1], rng(), confidence=0)


def test_paired_difference():
    a, b = rng(1).random(100) < 0.7, rng(2).random(100) < 0.5
    mean, low, high, n = paired_difference(a, b, rng())
    assert mean == pytest.approx(a.mean() - b.mean())
    assert n == 100
    half = 1.96 * (a.astype(float) - b).std() / 10
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.02)
    assert paired_difference(a, b, rng()) == paired_difference(a, b, rng())
    reverse = paired_difference(b, a, rng())
    assert (reverse.low, reverse.high) == pytest.approx((-high, -low))
    assert paired_difference(a, a, rng()) == (0, 0, 0, 100)
    # what both methods share cancels: the pair is surer than the two intervals apart
    hard = rng(4).random(400)
    better = paired_difference(np.clip(hard + 0.02, 0, 1), hard, rng())
    assert better.low > 0 and accuracy_interval(hard).high > better.mean + hard.mean()


def test_auc_by_hand():
    ids = ["a"] * 4 + ["b"] * 3 + ["c"] * 2
    scores = [0.9, 0.2, 0.5, 0.5, 0.3, 0.3, 0.1, 0.9, 0.8]
    labels = [1, 0, 1, 0, 1, 0, 0, 1, 1]
    # a: pairs (0.9 > 0.2), (0.9 > 0.5), (0.5 > 0.2), (0.5 = 0.5): 3.5 of 4; b: a tie and a win: 1.5 of 2; c:
    # no wrong one
    auc, low, high, num_problems = within_problem_auc(ids, scores, labels, rng())
    assert auc == pytest.approx((3.5 / 4 + 1.5 / 2) / 2)
    assert (low, high, num_problems) == (pytest.approx(0.75), pytest.approx(0.875), 2)


ITEMS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.booleans()), min_size=1, max_size=40)


@given(ITEMS)
def test_auc_is_the_share_of_pairs(items):
    shares = []
    for problem in {p for p, _, _ in items}:
        right = [s for p, s, is_right in items if p == problem and is_right]
        wrong = [s for p, s, is_right in items if p == problem and not is_right]
        pairs = [(r > w) + (r == w) / 2 for r in right for w in wrong]
        if pairs:
            shares.append(np.mean(pairs))
    args = [list(column) for column in zip(*items, strict=True)]
    if shares:
        result = within_problem_auc(*args, rng(), num_resamples=20)
        assert result.auc == pytest.approx(np.mean(shares))
        assert result.num_problems == len(shares)
    else:
        with pytest.raises(ValueError, match="both right and wrong"):
            within_problem_auc(*args, rng())


def test_auc_is_blind_to_which_problems_are_hard():
    draw = rng(5)
    ids = np.repeat(np.arange(200), 20)
    labels = draw.random(4000) < np.repeat(draw.random(200), 20)
    knows_problems = np.repeat(draw.random(200), 20)
    assert within_problem_auc(ids, knows_problems, labels, draw).auc == 0.5
    with pytest.raises(ValueError, match=r"item 1 .*nan"):
        within_problem_auc([0, 0], [0.5, float("nan")], [0, 1], draw)
    with pytest.raises(ValueError, match="shape"):
        within_problem_auc([0, 0], [0.5], [0, 1], draw)


@pytest.mark.parametrize("rule", RULES)
def test_whole_pool_is_used_once(rule):
    right, ids, scores = pool(40, 8)
    chosen = select(ids, scores, rule)
    expected = np.where(
        chosen >= 0, np.take_along_axis(right, np.maximum(chosen, 0)[:, None], 1)[:, 0], False
    )
    frame = accuracy_by_budget(right, ids, scores, rule, [8], 3, rng())
    assert list(frame.columns) == ["budget", "rule", "accuracy", "low", "high", "n"]
    mean, low, high, n = accuracy_interval(expected)
    assert frame.iloc[0].tolist() == [8, rule, mean, low, high, n]


@pytest.mark.parametrize("rule", RULES)
def test_budget_one_is_one_sample(rule):
    right, ids, scores = pool(60, 8)
    frame = accuracy_by_budget(right, ids, scores, rule, [1], 2000, rng())
    assert frame["accuracy"][0] == pytest.approx(right.mean(), abs=0.005)


@pytest.mark.parametrize("rule", RULES)
def test_small_pools_against_all_orders(rule):
    right, ids, scores = pool(12, 5, num_answers=3)
    exact = np.zeros((12, 4))
    for order in permutations(range(5)):
        for budget in range(1, 5):
            kept = list(order[:budget])
            chosen = select(ids[:, kept], scores[:, kept], rule)
            exact[:, budget - 1] += (chosen >= 0) & right[:, kept][np.arange(12), chosen]
    means = accuracy_per_problem(right, ids, {"m": (scores, rule)}, [1, 2, 3, 4], 4000, rng())["m"]
    assert np.abs(means - exact / 120).max() < 0.04  # five standard errors


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.sampled_from([1, 4, 16]), st.integers(0, 2**32 - 1))
def test_counting_is_selecting_draw_by_draw(num_samples, num_answers, levels, seed):
    right, ids, scores = pool(5, num_samples, num_answers, levels, seed)
    right[0] = rng(seed).random(num_samples) < 0.5  # not even equally right within an answer
    right &= ids >= 0
    some = np.where(rng(seed).random(ids.shape) < 0.4, NO_SCORE, scores)
    given = {f"{rule}, {s is some}": (s, rule) for rule in RULES for s in (scores, some)}
    methods = {name: (check_scores(s, ids.shape, rule), rule) for name, (s, rule) in given.items()}
    counted = count_hits(right, ids, methods, num_samples, 3, rng(seed))
    layout = np.argsort(ids, axis=1, kind="stable")
    draw, rows = rng(seed), np.arange(5)
    expected = {name: np.zeros((5, num_samples), dtype=int) for name in given}
    for _ in range(3):
        order = np.take_along_axis(
            layout, draw.permuted(np.tile(np.arange(num_samples), (5, 1)), axis=1), axis=1
        )
        for name, (values, rule) in given.items():
            for budget in range(1, num_samples + 1):
                kept = order[:, :budget]
                chosen = select(np.take_along_axis(ids, kept, 1), np.take_along_axis(values, kept, 1), rule)
                expected[name][:, budget - 1] += (chosen >= 0) & right[rows, kept[rows, chosen]]
    for name in given:
        assert (counted[name] == expected[name]).all(), name


@pytest.mark.parametrize("rule", RULES)
def test_samples_without_a_score_have_no_vote_at_any_budget(rule):
    """Ten right samples that no PRM has read, beside two wrong ones."""
    right = np.tile([True] * 10 + [False] * 2, (4, 1))
    scores = np.tile([NO_SCORE] * 10 + [0.0] * 2, (4, 1))
    frame = accuracy_by_budget(right, (~right).astype(int), scores, rule, [1, 3, 12], 50, rng())
    if rule == "majority":
        assert frame["accuracy"].tolist()[2] == 1 and frame["accuracy"].min() > 0.5
    else:
        assert (frame["accuracy"] == 0).all()
    silent = np.full((4, 12), NO_SCORE)
    nobody = accuracy_by_budget(right, (~right).astype(int), silent, rule, [3, 12], 9, rng())
    assert (nobody["accuracy"] == 0).all() == (rule != "majority")


def test_many_problems_answers_and_blocks():
    # more problems than a block, more answers than 8 bits, budgets out of order and repeated
    draw = rng(8)
    ids = draw.integers(-1, 400, size=(150, 9))
    right = ids % 2 == 0
    frame = accuracy_by_budget(right, ids, None, "majority", [9, 1, 4, 1], 300, draw)
    assert frame["budget"].tolist() == [9, 1, 4, 1]
    assert (
        frame["accuracy"][1] == frame["accuracy"][3] == pytest.approx((right & (ids >= 0)).mean(), abs=0.01)
    )
    assert (frame["n"] == 150).all()


def test_methods_share_their_subsets():
    right, ids, scores = pool(30, 8)
    methods = {
        "majority": (None, "majority"),
        "flat": (np.full(ids.shape, 0.3), "prm_vote"),
        "best": (scores, "prm_max"),
    }
    curves = accuracy_curves(right, ids, methods, [2, 5, 8], 20, rng(1)).set_index(["method", "budget"])[
        "accuracy"
    ]
    assert (curves["majority"] == curves["flat"]).all()
    alone = accuracy_by_budget(right, ids, scores, "prm_max", [2, 5, 8], 20, rng(1))
    assert curves["best"].tolist() == alone["accuracy"].tolist()
    assert alone.equals(accuracy_by_budget(right, ids, scores, "prm_max", [2, 5, 8], 20, rng(1)))
    assert not alone.equals(accuracy_by_budget(right, ids, scores, "prm_max", [2, 5, 8], 20, rng(2)))


def test_a_perfect_prm_reaches_pass_at_k():
    right, ids, _ = pool(80, 16)
    budgets = [1, 2, 4, 8, 16]
    frame = accuracy_by_budget(right, ids, right.astype(float), "prm_max", budgets, 1000, rng())
    assert frame["accuracy"].tolist() == pytest.approx(
        [pass_at_k(16, right.sum(axis=1), k).mean() for k in budgets], abs=0.01
    )


def test_without_answers_nothing_is_right():
    ids = np.full((3, 4), -1)
    frame = accuracy_by_budget(np.ones((3, 4), bool), ids, np.ones((3, 4)), "prm_vote", [1, 3, 4], 5, rng())
    assert (frame["accuracy"] == 0).all()


def test_budget_errors():
    right, ids, scores = pool(3, 4)
    for budget in (0, 5):
        with pytest.raises(ValueError, match=f"budget {budget} is outside 1..4"):
            accuracy_by_budget(right, ids, None, "majority", [1, budget], 5, rng())
    with pytest.raises(ValueError, match="num_resamples"):
        accuracy_by_budget(right, ids, None, "majority", [1], 0, rng())
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        accuracy_by_budget(right[:, :3], ids, None, "majority", [1], 5, rng())
    with pytest.raises(ValueError, match="needs scores"):
        accuracy_by_budget(right, ids, None, "prm_vote", [1], 5, rng())
    scores[2, 1] = np.nan
    with pytest.raises(ValueError, match="problem 2, sample 1"):
        accuracy_by_budget(right, ids, scores, "prm_max", [1], 5, rng())
    with pytest.raises(ValueError, match="too large"):
        accuracy_by_budget(
            np.ones((1, 5000), bool), np.zeros((1, 5000), int), None, "majority", [1], 5, rng()
        )


def test_difficulty_levels():
    assert [difficulty_level(p) for p in (0, 0.0999, 0.1, 0.4999, 0.5, 1)] == ["hard"] * 2 + [
        "medium"
    ] * 2 + ["easy"] * 2
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="pass@1"):
            difficulty_level(bad)


def test_a_ratio_s_interval_covers_as_often_as_it_says_and_counts_problems():
    """400 studies of 60 problems with 1 to 9 items, whose rates differ: the truth lies inside in 95 %."""
    rng = np.random.default_rng(0)
    rates, sizes = rng.beta(2, 3, 100_000), rng.integers(1, 10, 100_000)
    truth = (rates * sizes).sum() / sizes.sum()
    inside = 0
    for _ in range(400):
        chosen = rng.integers(0, 100_000, 60)
        found = metrics.ratio_interval(rng.binomial(sizes[chosen], rates[chosen]), sizes[chosen])
        assert found.n == 60 and found.low <= found.mean <= found.high
        inside += found.low <= truth <= found.high
    assert 0.91 < inside / 400 < 0.98


def test_a_ratio_of_ones_is_the_plain_share_and_problems_without_items_do_not_count():
    assert metrics.ratio_interval([1, 0, 0, 5], [1, 1, 0, 5])[::3] == (6 / 7, 3)
    with pytest.raises(ValueError, match="not all 0"):
        metrics.ratio_interval([0, 0], [0, 0])
    with pytest.raises(ValueError, match="as many totals"):
        metrics.ratio_interval([0, 0], [1])
