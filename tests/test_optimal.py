"""Compute-optimal choice: worked examples, a plain oracle for the cross-fit, identities, errors."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import fakes
from tts_lab import strategies
from tts_utils import optimal, store, voting
from tts_utils.metrics import accuracy_interval
from tts_utils.optimal.ends import ends_of
from tts_utils.problems import load_problems
from tts_utils.tree_search import TreeSearch

TWO_KEYS = ("policy", "prm", "budget", "difficulty")


def outcomes(table: dict[tuple[str, str], list[float]], *, difficulty: str = "", policy: str = "p", budget=4):
    """One row per (PRM, method) and problem; problems are a, b, c...; difficulty one letter per problem."""
    rows = [
        {
            "policy": policy,
            "prm": prm,
            "budget": budget,
            "method": method,
            "aggregation": "last",
            "rule": "prm_vote",
            "branching": 4,
            "problem_id": "abcdefghijklmnopqrstuvwxyz"[i],
            "difficulty": difficulty[i] if difficulty else "e",
            "right": right,
        }
        for (prm, method), values in table.items()
        for i, right in enumerate(values)
    ]
    return pd.DataFrame(rows)


# The worked example of Lesson 6: two PRMs, two methods, four problems (two easy ones, two hard ones).
LESSON = {
    ("good", "best_of_n"): [1, 1, 0, 0],
    ("good", "beam"): [1, 0, 1, 1],
    ("bad", "best_of_n"): [1, 1, 0, 0],
    ("bad", "beam"): [0, 0, 0, 0],
}


def methods(choice: pd.DataFrame, *columns: str) -> dict:
    return {tuple(row[:-1]): row[-1] for row in choice[[*columns, "method"]].itertuples(index=False)}


def test_the_worked_example_of_lesson_6():
    frame = outcomes(LESSON, difficulty="eehh")
    one = optimal.choose(frame, ())
    assert (one["method"].tolist(), one["accuracy"].tolist(), one["n"].tolist()) == (
        ["best_of_n"],
        [0.5],
        [8],
    )
    snell = optimal.choose(frame, optimal.SNELL)
    assert methods(snell, "difficulty") == {("e",): "best_of_n", ("h",): "beam"}
    assert snell["accuracy"].tolist() == [1.0, 0.5]
    aware = optimal.choose(frame, optimal.REWARD_AWARE)
    assert methods(aware, "prm", "difficulty") == {
        ("good", "e"): "best_of_n",
        ("good", "h"): "beam",
        ("bad", "e"): "best_of_n",
        ("bad", "h"): "best_of_n",  # 0 against 0: a tie, to the first
    }
    every = optimal.choose(frame, ("policy", "prm", "budget", "problem_id"))
    assert every.groupby("prm", sort=False)["accuracy"].mean().tolist() == [1.0, 0.5]


def test_a_choice_by_hand_on_the_other_half():
    """Two problems: each half is one problem, so the choice is the other problem's winner."""
    frame = outcomes({("r", "best_of_n"): [1, 0], ("r", "beam"): [0, 1]})
    fit = optimal.cross_fit(frame, ("policy",), np.random.default_rng(0), num_splits=3)
    assert fit.outcomes["right"].tolist() == [0, 0]  # chosen on b: beam, wrong on a; and so for b
    assert fit.outcomes["in_sample"].tolist() == [1, 0]  # a tie over both, to best_of_n
    assert fit.choices[["method", "share"]].values.tolist() == [["best_of_n", 0.5], ["beam", 0.5]]


def plain_cross_fit(frame: pd.DataFrame, by: tuple[str, ...], masks: np.ndarray) -> dict:
    """The same with loops: (policy, prm, budget, problem) -> (mean held out, in sample)."""
    problems = list(dict.fromkeys(frame["problem_id"]))
    order = list(dict.fromkeys(map(tuple, frame[optimal.STRATEGY].to_numpy())))
    rows = [
        (dict(zip(frame.columns, row, strict=True)), tuple(row[frame.columns.get_loc(c)] for c in by))
        for row in frame.to_numpy()
    ]

    def chosen(key: tuple, allowed: set) -> tuple:
        def winner(same):
            values: dict = {}
            cells = {tuple(r[c] for c in optimal.CELL) for r, k in rows if same(k)}
            for r, k in rows:
                theta = tuple(r[c] for c in optimal.STRATEGY)
                if same(k):
                    have = values.setdefault(theta, ({}, []))
                    have[0][tuple(r[c] for c in optimal.CELL)] = True
                    if r["problem_id"] in allowed:
                        have[1].append(r["right"])
            values = {t: v for t, (seen, v) in values.items() if len(seen) == len(cells)}
            if not any(values.values()):
                return None
            means = {t: round(sum(v) / len(v), 9) for t, v in values.items()}
            return max(sorted(means, key=order.index), key=means.get)

        broad = [i for i, c in enumerate(by) if c in optimal.CELL]
        return winner(lambda k: k == key) or winner(lambda k: all(k[i] == key[i] for i in broad))

    found: dict = {}
    sample = {key: chosen(key, set(problems)) for _, key in rows}
    for mask in masks:
        allowed = {p for p, inside in zip(problems, mask, strict=True) if inside}
        best = {key: chosen(key, allowed) for key in sample}
        for r, key in rows:
            theta = tuple(r[c] for c in optimal.STRATEGY)
            held = found.setdefault((*(r[c] for c in optimal.CELL), r["problem_id"]), ([], []))
            if theta == best[key] and r["problem_id"] not in allowed:
                held[0].append(r["right"])
            if theta == sample[key] and not held[1]:
                held[1].append(r["right"])
    return {name: (np.mean(out), inside[0]) for name, (out, inside) in found.items()}


@pytest.mark.parametrize(
    "by", [(), ("budget",), ("policy", "budget"), optimal.SNELL, optimal.REWARD_AWARE, ("difficulty",)]
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cross_fit_equals_plain_loops(by, seed):
    rng = np.random.default_rng(seed)
    frames = []
    for policy in ("p", "q"):
        levels = "".join(rng.choice(list("emh"), 9, p=[0.6, 0.3, 0.1]))
        for budget in (4, 16):
            table = {
                (prm, method): list(rng.integers(0, 5, 9) / 4)
                for prm in ("r", "s")
                for method in ("best_of_n", "beam", "dvts")
                if (prm, method, budget) != ("s", "dvts", 16)  # one that a cell lacks
            }
            frames.append(outcomes(table, difficulty=levels, policy=policy, budget=budget))
    frame = pd.concat(frames, ignore_index=True)
    fit = optimal.cross_fit(frame, by, np.random.default_rng(seed), num_splits=4)
    masks = optimal.halves(9, 4, np.random.default_rng(seed))
    expected = plain_cross_fit(frame, by, masks)
    assert len(fit.outcomes) == len(expected) == 2 * 2 * 2 * 9
    for row in fit.outcomes.itertuples(index=False):
        held_out, inside = expected[row.policy, row.prm, row.budget, row.problem_id]
        assert row.right == pytest.approx(held_out) and row.in_sample == inside
    assert fit.choices.groupby(list(by) or (lambda _: 0))["share"].sum().to_numpy() == pytest.approx(1)


def test_halves_are_halves():
    masks = optimal.halves(7, 20, np.random.default_rng(0))
    assert masks.shape == (40, 7)
    assert (masks[0::2] ^ masks[1::2]).all()
    assert set(masks[0::2].sum(axis=1)) == {3}
    assert len({tuple(mask) for mask in masks}) > 20


tables = st.integers(0, 2**32 - 1)


@settings(max_examples=40, deadline=None)
@given(tables)
def test_a_finer_choice_is_never_worse_on_the_problems_it_was_made_on(seed):
    rng = np.random.default_rng(seed)
    levels = "".join(rng.choice(list("emh"), 8))
    table = {(prm, m): list(rng.random(8)) for prm in "rs" for m in ("best_of_n", "beam", "dvts")}
    frame = outcomes(table, difficulty=levels)
    means = []
    for by in ((), ("policy", "budget"), optimal.SNELL, optimal.REWARD_AWARE):
        fit = optimal.cross_fit(frame, by, np.random.default_rng(0), 2)
        means.append(fit.outcomes["in_sample"].mean())
        chosen = optimal.choose(frame, by)
        assert (chosen["accuracy"] * chosen["n"]).sum() / chosen["n"].sum() == pytest.approx(means[-1])
    assert means == sorted(means)


def test_equal_strategies_gain_nothing_held_out_and_luck_in_sample():
    """All strategies are coin throws of .5: the choice is worth nothing, and looks as if it were."""
    rng = np.random.default_rng(0)
    table = {("r", f"m{i}"): list(rng.integers(0, 2, 26).astype(float)) for i in range(30)}
    held, inside = [], []
    for _ in range(30):
        table = {key: list(rng.integers(0, 2, 26).astype(float)) for key in table}
        fit = optimal.cross_fit(outcomes(table), ("policy",), rng, 10)
        held.append(fit.outcomes["right"].mean())
        inside.append(fit.outcomes["in_sample"].mean())
    assert np.mean(inside) > 0.65
    assert abs(np.mean(held) - 0.5) < 0.03


def test_the_splits_of_equal_seeds_are_the_same():
    frame = outcomes({("r", m): list(np.random.default_rng(1).random(12)) for m in ("a", "b", "c")})
    first, second = (optimal.cross_fit(frame, (), np.random.default_rng(3), 5).outcomes for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_order_of_rows_only_decides_ties():
    rng = np.random.default_rng(5)
    frame = outcomes({(p, m): list(rng.random(10)) for p in "rs" for m in ("a", "b", "c")})
    again = optimal.choose(frame.sample(frac=1, random_state=0), ("prm",)).sort_values("prm")
    once = optimal.choose(frame, ("prm",)).sort_values("prm")
    assert once["method"].tolist() == again["method"].tolist()
    assert once["accuracy"].to_numpy() == pytest.approx(again["accuracy"].to_numpy())


# --- a fixed rule, difficulty


def test_follow_keeps_one_strategy_per_cell_and_problem():
    frame = outcomes(LESSON, difficulty="eehh")
    rule = pd.DataFrame({"difficulty": ["e", "h"], "method": ["best_of_n", "beam"]})
    kept = optimal.follow(frame, rule)
    assert len(kept) == 8
    assert kept.groupby("prm")["right"].mean().to_dict() == {"good": 1.0, "bad": 0.5}


def test_a_rule_that_does_not_decide_is_refused():
    frame = outcomes(LESSON, difficulty="eehh")
    with pytest.raises(ValueError, match="2 strategies for policy p, prm good, budget 4, problem_id a; add"):
        optimal.follow(frame, pd.DataFrame({"policy": ["p"]}))
    with pytest.raises(
        ValueError, match="no strategy that was run for policy p, prm bad, budget 4, problem_id c and 3 more"
    ):
        optimal.follow(frame, pd.DataFrame({"difficulty": ["e"], "method": ["beam"]}))
    with pytest.raises(ValueError, match="lack the columns \\['colour'\\]"):
        optimal.follow(frame, pd.DataFrame({"colour": ["e"], "method": ["beam"]}))


def test_difficulty_is_the_policys_own():
    frame = pd.concat(
        [
            outcomes({("", "random"): [0.9, 0.2, 0.05], ("r", "beam"): [1, 1, 0]}, policy="p"),
            outcomes({("", "random"): [0.3, 0.0, 0.5], ("r", "beam"): [1, 1, 0]}, policy="q"),
        ]
    ).drop(columns="difficulty")
    beam = optimal.with_difficulty(frame).query("method == 'beam'")
    assert beam["difficulty"].tolist() == ["easy", "medium", "hard", "medium", "hard", "easy"]
    with pytest.raises(ValueError, match=r"no pass@1.*'p', 'a'"):
        optimal.with_difficulty(frame[frame["method"] != "random"])
    twice = pd.concat([frame, frame.assign(right=0.0)])
    with pytest.raises(ValueError, match="several values of pass@1"):
        optimal.with_difficulty(twice)


# --- errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="rule"), r"lack the columns \['rule'\]"),
        (lambda f: f.iloc[:0], "no outcomes"),
        (lambda f: f.iloc[1:], "'best_of_n'.* has 3 of 4 problems"),
        (lambda f: pd.concat([f, f.iloc[:1]]), "has problem 'a' 2 times"),
        (lambda f: f.assign(right=1.5), "row 0: right is 1.5"),
        (lambda f: f.assign(right=np.nan), "row 0: right is nan"),
        (lambda f: f.assign(difficulty=range(len(f))), "several values of"),
    ],
)
def test_bad_frames_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        optimal.choose(change(outcomes(LESSON)), TWO_KEYS)


def test_other_errors():
    frame = outcomes({("r", "beam"): [1, 0], ("s", "dvts"): [1, 0]})
    with pytest.raises(ValueError, match="no strategy was run in all cells of"):
        optimal.choose(frame, ("policy",))
    with pytest.raises(ValueError, match="problem_id"):
        optimal.cross_fit(frame, ("problem_id",), np.random.default_rng(0))
    with pytest.raises(ValueError, match="1 problems"):
        optimal.cross_fit(frame[frame["problem_id"] == "a"], ("prm",), np.random.default_rng(0))


# --- variance


def test_variance_split_by_hand():
    """Cells .2 .4 / .6 .8: rows +-.2 (variance .04), columns +-.1 (.01), nothing together."""
    table = np.array([[0.2, 0.4], [0.6, 0.8]])[:, :, None].repeat(6, axis=2)
    split = optimal.variance_split(table, ("PRM", "method"))
    assert split["component"].tolist() == ["PRM", "method", "both together"]
    assert split["variance"].to_numpy() == pytest.approx([0.04, 0.01, 0.0])
    assert split["share"].to_numpy() == pytest.approx([0.8, 0.2, 0.0])
    assert (split["low"] <= split["share"]).all() and (split["high"] >= split["share"]).all()


def test_variance_split_equals_sums_of_products_over_pairs_of_problems():
    """|mean|^2 without its noise is the mean of e_p . e_q over pairs p != q: written out, with loops."""
    rng = np.random.default_rng(0)
    right = rng.random((3, 2, 5))
    whole = right.mean(axis=(0, 1))
    a = right.mean(axis=1) - whole
    b = right.mean(axis=0) - whole
    c = right - whole - a[:, None] - b[None]
    pairs = [(p, q) for p in range(5) for q in range(5) if p != q]
    expected = [
        np.mean([e[..., p].ravel() @ e[..., q].ravel() for p, q in pairs]) / e[..., 0].size for e in (a, b, c)
    ]
    try:
        found = optimal.variance_split(right)["variance"].to_numpy()
    except ValueError:
        assert max(expected) <= 0
    else:
        assert found == pytest.approx(expected)


def test_variance_split_subtracts_chance():
    """Rows differ by .2 in truth, columns not at all; outcomes are 0 or 1."""
    rng = np.random.default_rng(0)
    truth = np.array([[0.4, 0.4, 0.4], [0.6, 0.6, 0.6]])
    shares, raw, covered = [], [], 0
    for _ in range(60):
        right = (rng.random((2, 3, 150)) < truth[:, :, None]).astype(float)
        split = optimal.variance_split(right)
        shares.append(split["share"])
        raw.append(right.mean(axis=2).mean(axis=1).var() / right.mean(axis=2).var())
        covered += split["high"][0] >= 0.9999
    assert np.mean(shares, axis=0)[0] > np.mean(raw) + 0.01 > 0.85
    assert np.mean(shares, axis=0) == pytest.approx([1, 0, 0], abs=0.08)
    assert covered > 50


def test_variance_split_refuses():
    with pytest.raises(ValueError, match="at least"):
        optimal.variance_split(np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="0, 1"):
        optimal.variance_split(np.full((2, 2, 4), 2.0))
    with pytest.raises(ValueError, match="no more than chance"):
        optimal.variance_split(np.full((2, 2, 4), 0.5))


# --- from the store


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    (folder / "problems").mkdir(parents=True)
    (folder / "problems" / "toy.jsonl").write_text(fakes.as_jsonl(fakes.problems(5)), encoding="utf-8")
    return folder


@pytest.mark.parametrize("search", [TreeSearch("beam", 16, every=2), TreeSearch("particles", 8)])
def test_outcomes_of_the_other_searches_are_those_of_a_replay(data, search):
    prm = fakes.FakePRM()
    store.fill_searches("toy", fakes.RepeatingSteps(), prm, search, data=data)
    frame = optimal.outcomes.stored_search_outcomes("toy", "fake-policy", prm.name, search, data=data)
    pool = store.pool_of(store.replay("toy", "fake-policy", prm.name, search, data=data), "last")
    rows = frame[(frame["aggregation"] == "last") & (frame["rule"] == "prm_vote")]
    assert rows["right"].tolist() == pool.right("prm_vote").astype(float).tolist()
    assert set(frame["method"]) == {"beam-g2" if search.every > 1 else "particles"}


def test_outcomes_are_those_of_the_stored_tables(data):
    policy, prm = fakes.FakePolicy(), fakes.FakePRM()
    walker = fakes.StepPolicy()  # goes by the same name
    store.fill_samples("toy", policy, 8, data=data)
    (table,) = [store.find_table("samples", "toy", policy.name, data=data)]
    store.fill_step_scores(table, prm, data=data)
    beam = TreeSearch("beam", 4, 2)
    store.fill_searches("toy", walker, prm, beam, data=data)

    everything = optimal.read_outcomes("toy", policy.name, [prm.name], [beam], (2, 8, 64), data=data)
    controls, frame = (everything[(everything["prm"] == "") == none] for none in (True, False))
    with pytest.raises(store.StoreMiss, match="dvts"):
        optimal.read_outcomes("toy", policy.name, [prm.name], [TreeSearch("dvts", 4)], (2,), data=data)
    others = [beam, TreeSearch("dvts", 4)]
    some = optimal.read_outcomes(
        "toy", policy.name, [prm.name, "other"], others, (2, 8, 64), skip_missing=True, data=data
    )
    pd.testing.assert_frame_equal(some, everything)
    pool = store.read_pool("toy", policy.name, prm.name, "avg", data=data)

    def right(rows, **where):
        for name, value in where.items():
            rows = rows[rows[name] == value]
        assert rows["problem_id"].tolist() == list(pool.problem_ids)
        return rows["right"].to_numpy()

    assert set(controls["budget"]) == {2, 8}  # a pool of 8 has no subsets of 64
    assert (right(controls, method="random", budget=2) == pool.correct.mean(axis=1)).all()
    assert (right(controls, method="pass_at_k", budget=8) == pool.correct.any(axis=1)).all()
    chosen = voting.select(pool.answer_ids, pool.scores, "prm_max")
    best = (chosen >= 0) & pool.correct[np.arange(5), chosen]
    assert (
        right(frame, method="best_of_n", aggregation="avg", rule="prm_max", budget=8, branching=0) == best
    ).all()
    results = store.replay("toy", policy.name, prm.name, beam, data=data)
    ends = store.pool_of(results, "min")
    chosen = voting.select(ends.answer_ids, ends.scores, "prm_vote")
    found = (chosen >= 0) & ends.correct[np.arange(5), chosen]
    assert (right(frame, method="beam", aggregation="min", rule="prm_vote", branching=2) == found).all()
    written = frame[frame["method"] == "beam"]["policy_tokens"].unique()
    assert written == [np.mean([result.num_policy_tokens for result in results])]
    assert len(frame) == 5 * (2 * 6 + 6)
    assert accuracy_interval(right(controls, method="majority", budget=8)).n == 5
    assert set(
        optimal.cross_fit(frame, ("prm", "budget"), np.random.default_rng(0), 3).outcomes["budget"]
    ) == {
        2,
        4,
        8,
    }


@pytest.mark.parametrize(
    "search", [TreeSearch("beam", 8, 2), TreeSearch("beam", 4), TreeSearch("dvts", 8, 2)]
)
@pytest.mark.parametrize("longest", [1, 3, 6])
def test_ends_are_those_of_a_replay(data, search, longest):
    policy, prm = fakes.StepPolicy(longest=longest), fakes.FakePRM()
    store.fill_searches("toy", policy, prm, search, data=data)
    nodes = store.read_searches("toy", policy.name, prm.name, search, data=data)
    ends = ends_of(nodes.sample(frac=1, random_state=1), fakes.problems(5))
    results = store.replay("toy", policy.name, prm.name, search, data=data)
    assert ends.policy_tokens == np.mean([result.num_policy_tokens for result in results])
    assert ends.prm_tokens == np.mean([result.num_prm_tokens for result in results])
    for how in voting.AGGREGATIONS:
        ours, theirs = ends.pools[how], store.pool_of(results, how)
        assert ours.problem_ids == theirs.problem_ids
        for name in ("answers", "answer_ids", "correct", "num_tokens"):
            assert (getattr(ours, name) == getattr(theirs, name)).all(), name
        assert ours.scores == pytest.approx(theirs.scores)


@pytest.mark.parametrize(("method", "budget"), [("beam", 16), ("dvts", 16)])
def test_ends_of_a_shipped_search_are_those_of_its_replay(method, budget):
    names = ("lab-200", "lab-qwen-m", "lab-rlhflow-terse")
    search = TreeSearch(method, budget)
    problems = load_problems("lab-200")[:40]
    try:
        nodes = store.read_searches(*names, search, problems=problems)
    except store.StoreMiss:
        pytest.skip("not stored")
    ends = ends_of(nodes, problems)
    results = store.replay(*names, search, problems=problems)
    for how in voting.AGGREGATIONS:
        ours, theirs = ends.pools[how], store.pool_of(results, how)
        for rule in ("prm_vote", "prm_max"):
            picked = voting.select(theirs.answer_ids, theirs.scores, rule)
            assert (voting.select(ours.answer_ids, ours.scores, rule) == picked).all()
        assert (ours.correct == theirs.correct).all()


def test_ends_refuse_what_they_cannot_read(data):
    policy, prm, search = fakes.StepPolicy(), fakes.FakePRM(), TreeSearch("beam", 4)
    store.fill_searches("toy", policy, prm, search, data=data)
    nodes = store.read_searches("toy", policy.name, prm.name, search, data=data)
    with pytest.raises(ValueError, match="nodes of a tree are missing"):
        ends_of(nodes.iloc[1:], fakes.problems(5))
    with pytest.raises(ValueError, match="blank"):
        ends_of(nodes.assign(text="\n\n"), fakes.problems(5))


# --- the lab's tables of it


def test_packed_outcomes_come_back(data):
    policy, prm = fakes.FakePolicy(), fakes.FakePRM()
    store.fill_samples("toy", policy, 8, data=data)
    store.fill_step_scores(store.find_table("samples", "toy", policy.name, data=data), prm, data=data)
    frame = optimal.read_outcomes("toy", policy.name, [prm.name], (), (4, 8), data=data)
    back = strategies.unpack(strategies.pack(frame))
    assert list(back.columns) == list(frame.columns)
    for name in frame.columns.drop("right"):
        assert back[name].astype(frame[name].dtype).tolist() == frame[name].tolist(), name
    assert abs(back["right"] - frame["right"]).max() <= 0.5 / strategies.UNITS + 1e-9
    whole = frame[frame["method"] == "best_of_n"]["right"]  # shares of 100 resamples
    assert back.loc[whole.index, "right"].to_numpy() == pytest.approx(whole.to_numpy(), abs=1e-12)


def test_tables_of_outcomes_are_read_in_order_and_missed_by_name(tmp_path):
    frame = outcomes({("", "random"): [0.9, 0.2], ("r", "beam"): [1, 0]}).drop(columns="difficulty")
    frame = frame.assign(policy_tokens=10.0, prm_tokens=5.0)
    for name in ("q", "p"):
        strategies.write(frame.assign(policy=name), "toy", tmp_path)
    assert list(strategies.read("toy", ("q", "p"), tmp_path)["policy"].unique()) == ["q", "p"]
    both = strategies.read("toy", data=tmp_path)
    assert len(both) == 8 and both["problem_id"].tolist() == ["a", "b"] * 4
    with pytest.raises(
        store.StoreMiss, match=r"no outcomes of \['s'\].*python -m tts_lab strategies --write"
    ):
        strategies.read("toy", ("p", "s"), tmp_path)
    with pytest.raises(store.StoreMiss, match="any policy"):
        strategies.read("other", data=tmp_path)
