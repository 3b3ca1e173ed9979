"""Particle filtering: by hand, against the plain filter and its limits; its draws; bad policies; replay."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import fakes, plain_search
from tests.test_tree_search import NAMES, PROBLEMS, draws, fill, grow, one
from tests.test_tree_search import data as data
from tts_utils import mdp, store
from tts_utils.records import Continuation, SamplingConfig, StepScores
from tts_utils.search import run
from tts_utils.store.outcomes import read_outcome
from tts_utils.tree_search import RETRIES, TreeSearch, particle_filter
from tts_utils.tree_search.particles import effective_size, pointers_of, resample
from tts_utils.voting import select

WEIGHTS = st.lists(st.sampled_from([0, 0.001, 0.25, 0.5, 0.7, 1]), min_size=1, max_size=12)


class Flat(fakes.FakePRM):
    """Thinks all steps equally good."""

    def one(self, trajectory):
        return StepScores((0.5,) * len(trajectory.steps), len(trajectory.text))


# --- the draw ---


def test_by_hand():
    """Scores 0.9, 0.1, 0.6, 0.4 are 2.0 together; four pointers half apart, the first at 0.25."""
    pointers = (np.arange(4) + 0.5) / 4
    assert resample([0.9, 0.1, 0.6, 0.4], pointers).tolist() == [0, 0, 2, 3]
    assert effective_size([0.9, 0.1, 0.6, 0.4]) == pytest.approx(4 / 1.34)
    assert resample([0, 0.2, 0], [0, 0.5, 0.999999]).tolist() == [1, 1, 1]
    assert resample([0, 0], [0.1, 0.6]).tolist() == [0, 1]  # no information: as if equal
    assert resample([1.0], [np.nextafter(1, 0)]).tolist() == [0]


@settings(deadline=None)
@given(WEIGHTS, st.floats(0, 1, exclude_max=True))
def test_systematic_draws_are_within_one_of_their_share(weights, u):
    n = len(weights)
    if not sum(weights):
        return
    counts = np.bincount(resample(weights, (np.arange(n) + u) / n), minlength=n)
    share = n * np.array(weights) / sum(weights)
    assert counts.sum() == n and (np.abs(counts - share) < 1 + 1e-6).all()


def test_a_draw_is_as_frequent_as_its_weight_by_brute_force():
    """Over a fine grid of pointers, counted: multinomial draws of one, systematic draws of three."""
    weights, grid = [0.5, 0.2, 0.3], (np.arange(1000) + 0.5) / 1000
    assert np.bincount(resample(weights, grid)).tolist() == [500, 200, 300]
    counts = Counter(i for u in grid for i in resample(weights, (np.arange(3) + u) / 3).tolist())
    assert [counts[i] / 3000 for i in range(3)] == pytest.approx(weights, abs=2e-3)


def test_wrong_weights_are_refused():
    for wrong in ([-0.1, 1], [float("nan"), 1]):
        with pytest.raises(ValueError, match="at least 0"):
            resample(wrong, [0.5])


@settings(deadline=None)
@given(WEIGHTS)
def test_the_effective_size_lies_between_one_and_all(weights):
    size = effective_size(weights)
    assert 1 - 1e-9 <= size <= len(weights) + 1e-9 if any(weights) else size == 0


def test_pointers_differ_by_problem_run_and_depth_and_by_nothing_else():
    where = itertools.product(PROBLEMS[:2], (0, 1), (1, 2))
    drawn = [pointers_of(*w, 8, "systematic") for w in where]
    assert len({p[0] for p in drawn}) == 8 and all(np.allclose(np.diff(p), 1 / 8) for p in drawn)
    assert (pointers_of(PROBLEMS[0], 0, 1, 8, "systematic") == drawn[0]).all()
    many = pointers_of(PROBLEMS[0], 0, 1, 4000, "multinomial")
    assert abs(many.mean() - 0.5) < 0.02 and (many < 1).all() and len(set(many)) == 4000


# --- the filter ---


@settings(deadline=None, max_examples=200)
@given(
    st.integers(0, 10**6),
    st.sampled_from([1, 3, 4, 16]),
    st.sampled_from([fakes.StepPolicy, fakes.RepeatingSteps]),
)
def test_it_is_the_plain_filter(number, n, kind):
    problem, prm = replace(PROBLEMS[1], problem_id=f"q{number}"), fakes.FakePRM()
    depths = itertools.count(1)

    def score(text):
        return prm.one(mdp.state_of(problem, text)).scores[-1]

    def pointer():
        return pointers_of(problem, 0, next(depths), n, "systematic")[0] * n

    result = one(particle_filter(problem, n), kind())
    plain = plain_search.particle_filter(n, draws(problem, kind(), 0, 0), score, pointer)
    assert [c.text for c in result.completions] == plain
    for completion, scores in zip(result.completions, result.step_scores, strict=True):
        assert scores.scores == prm.one(mdp.state_of(problem, completion.text)).scores


def test_a_prm_that_thinks_all_equal_makes_it_n_samples():
    """With equal weights the systematic draw takes every particle once: nothing dies, as in Best-of-N."""
    result = one(particle_filter(PROBLEMS[0], 16), None, Flat())
    assert all(n.kept for n in result.nodes)
    assert result.num_policy_tokens == sum(c.num_tokens for c in result.completions)
    sampled = one(particle_filter(PROBLEMS[0], 1))
    assert sampled.completions[0].text == one(TreeSearch("beam", 1, 1)(PROBLEMS[0])).completions[0].text


def test_a_prm_that_knows_leaves_only_right_paths():
    class Knows(fakes.FakePRM):
        def one(self, trajectory):
            good = float("draw 1" not in trajectory.text)
            return StepScores((good,) * len(trajectory.steps), 1)

    for problem in PROBLEMS:
        result = one(particle_filter(problem, 64), None, Knows())
        last = [c.text.split("\n\n")[:-1] for c in result.completions]
        assert all("draw 1" not in step for steps in last for step in steps)


def test_the_vote_weighs_each_particle_by_its_last_score_once():
    """Two steps, by hand: after the first, 4 a (0.75 each) and 4 b (0.25) become 6 and 2; a's end
    scores 0.2, b's 0.9: the weighted vote is 6 x 0.2 = 1.2 against 2 x 0.9 = 1.8, the majority says a."""

    class Two(fakes.StepPolicy):
        def one(self, state, index, config):
            if state.steps:
                return Continuation(rf"\boxed{{{1 + (state.steps[0][0] == 'b')}}}", 1, "eos")
            return Continuation(("a" if index < 4 else "b") + "\n\n", 1, "stop")

    class Table(fakes.FakePRM):
        def one(self, trajectory):
            a = trajectory.steps[0][0] == "a"
            return StepScores(((0.75, 0.2) if a else (0.25, 0.9))[: len(trajectory.steps)], 1)

    result = one(particle_filter(PROBLEMS[0], 8), Two(), Table())
    answers = [c.answer for c in result.completions]
    assert Counter(answers) == {"1": 6, "2": 2}
    ids, scores = [[int(a) for a in answers]], [[s.scores[-1] for s in result.step_scores]]
    assert answers[select(ids, scores, "prm_vote")[0]] == "2"
    assert answers[select(ids, None, "majority")[0]] == "1"


def test_finished_particles_take_part_in_later_draws():
    """e ends at once with score 1, f goes on with 0: after the next draw all particles are e."""

    class Script(fakes.StepPolicy):
        def one(self, state, index, config):
            if state.steps:
                return Continuation(r"\boxed{2}", 1, "eos")
            return Continuation(r"\boxed{1}", 1, "eos") if index % 2 else Continuation("f\n\n", 1, "stop")

    class Table(fakes.FakePRM):
        def one(self, trajectory):
            return StepScores(tuple(float(s.startswith("\\boxed{1}")) for s in trajectory.steps), 1)

    result = one(particle_filter(PROBLEMS[0], 8), Script(), Table())
    assert [c.answer for c in result.completions] == ["1"] * 8
    assert max(n.depth for n in result.nodes) == 1


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(6)), st.sampled_from([1, 4, 16]), st.sampled_from(["systematic", "multinomial"]))
def test_results_do_not_depend_on_order_or_company(order, budget, how):
    problems = fakes.problems(6)
    alone = [one(particle_filter(p, budget, resampling=how), fakes.RepeatingSteps()) for p in problems]
    methods = [particle_filter(problems[i], budget, resampling=how) for i in order]
    assert grow(methods, fakes.RepeatingSteps()) == [alone[i] for i in order]


def test_runs_are_independent_and_share_no_draw():
    policies = [fakes.StepPolicy(), fakes.StepPolicy()]
    for run_, policy in enumerate(policies):
        grow([particle_filter(PROBLEMS[0], 4, run=run_)], policy)
    drawn = [{i for call in p.calls for _, _, i in call} for p in policies]
    assert not drawn[0] & drawn[1] and min(drawn[1]) == 4 * (1 + RETRIES) * mdp.MAX_STEPS


def test_tokens_and_calls_are_those_that_were_spent():
    policy, prm, calls = fakes.RepeatingSteps(), fakes.FakePRM(), []
    results = grow([particle_filter(p, 16) for p in PROBLEMS], policy, prm, calls)
    assert sum(r.num_policy_tokens for r in results) == policy.num_tokens
    assert sum(r.num_prm_tokens for r in results) == sum(c.tokens for c in calls if c.kind == "score")
    assert all(len(set(texts)) == len(texts) for texts in prm.calls)  # equal states are read once


@pytest.mark.parametrize("good_steps", [0, 1])
def test_particles_whose_steps_are_always_cut_close_visibly(good_steps):
    result = one(particle_filter(PROBLEMS[0], 8), fakes.CutSteps(good_steps=good_steps))
    assert [(c.finish_reason, c.answer, c.correct) for c in result.completions] == [("length", "", False)] * 8
    assert not any(n.kept for n in result.nodes if n.finish_reason == "length")


def test_a_particle_that_is_cut_or_too_long_dies_where_another_lives():
    class Half(fakes.StepPolicy):
        def one(self, state, index, config):
            whole = super().one(state, index, config)
            return whole if index % 2 else Continuation(whole.text[:5], 50, "length")

    for policy, prm in ((Half(), fakes.FakePRM()), (None, fakes.ShortSightedPRM(limit=75))):
        result = one(particle_filter(PROBLEMS[1], 32), policy, prm)
        ends = Counter(c.finish_reason for c in result.completions)
        assert ends["eos"] > 0 and len(result.completions) == 32
        assert not any(n.kept for n in result.nodes if n.finish_reason == "length" or n.score is None)


def test_a_policy_that_says_nothing_ends():
    result = one(particle_filter(PROBLEMS[0], 4), fakes.SayingSteps(text="", finish_reason="eos"))
    assert [(c.text, c.answer) for c in result.completions] == [("", "")] * 4


@pytest.mark.parametrize("how", ["systematic", "multinomial"])
@pytest.mark.parametrize("policy", [fakes.StepPolicy, fakes.RepeatingSteps, fakes.CutSteps])
@pytest.mark.parametrize("prm", [fakes.FakePRM, lambda: fakes.ShortSightedPRM(limit=75)])
def test_replay_is_the_filter_bit_for_bit(data, how, policy, prm):
    search = TreeSearch("particles", 16, resampling=how)
    path = fill(data, search, policy(), prm()).path
    live = run([search(p) for p in PROBLEMS], policy(), prm(), SamplingConfig())
    assert store.replay(*NAMES, search, data=data) == live
    outcome = read_outcome(*NAMES, search, data=data)
    assert outcome.pool.correct.shape == (4, 16)
    assert outcome.num_policy_tokens.tolist() == [r.num_policy_tokens for r in live]
    whole = path.read_bytes()
    path.unlink()
    (data / "manifest.json").unlink()
    assert fill(data, search, policy(), prm(), batch_size=1).path.read_bytes() == whole


def test_settings():
    filtering = TreeSearch("particles", 6)
    assert (filtering.branching, filtering.num_kept, filtering.num_subtrees) == (1, 6, 1)
    others = [replace(filtering, how="min"), replace(filtering, resampling="multinomial")]
    assert len({s.label for s in [filtering, *others]}) == 3
    assert all(TreeSearch.of_label(s.label) == s for s in [filtering, *others])
    for wrong in ({"retire": False}, {"distinct": True}, {"resampling": "residual"}, {"how": "max"}):
        with pytest.raises(ValueError):
            TreeSearch("particles", 4, **wrong)
    with pytest.raises(ValueError, match="particle filtering"):
        TreeSearch("beam", 4, resampling="multinomial")
