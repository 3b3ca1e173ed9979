"""The lock-step driver and Best-of-N."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import fakes
from tts_utils import mdp, search
from tts_utils.protocols import BadContinuations, BadScores
from tts_utils.records import Continuation, Problem, SamplingConfig, SearchResult, StepScores
from tts_utils.search import Sample, Score, best_of_n, run

CONFIG = SamplingConfig()
PROBLEMS = fakes.problems(4)


def test_best_of_n_is_n_graded_and_scored_completions():
    policy, prm = fakes.FakePolicy(), fakes.FakePRM()
    (result,) = run([best_of_n(PROBLEMS[1], 3)], policy, prm, CONFIG)
    state = mdp.initial_state(PROBLEMS[1])
    expected = [policy.one(state, i, CONFIG) for i in range(3)]
    assert [c.text for c in result.completions] == [e.text for e in expected]
    assert [c.sample for c in result.completions] == [0, 1, 2]
    assert [c.correct for c in result.completions] == [r"\boxed{101}" in e.text for e in expected]
    assert [len(s.scores) for s in result.step_scores] == [2, 2, 2]
    assert result.step_scores[2] == prm.one(mdp.state_of(PROBLEMS[1], expected[2].text))
    assert result.num_policy_tokens == sum(e.num_tokens for e in expected)
    assert result.num_prm_tokens == sum(len(e.text) for e in expected)


def test_budget_one_is_one_sample():
    (one,) = run([best_of_n(PROBLEMS[0], 1)], fakes.FakePolicy(), fakes.FakePRM(), CONFIG)
    (four,) = run([best_of_n(PROBLEMS[0], 4)], fakes.FakePolicy(), fakes.FakePRM(), CONFIG)
    assert one.completions == four.completions[:1] and one.step_scores == four.step_scores[:1]


@given(st.integers(1, 6), st.integers(1, 6))
def test_a_pool_grows_without_change(a, b):
    methods = [best_of_n(PROBLEMS[0], a), best_of_n(PROBLEMS[0], b, first=a), best_of_n(PROBLEMS[0], a + b)]
    first, second, whole = run(methods, fakes.FakePolicy(), fakes.FakePRM(), CONFIG)
    assert first.completions + second.completions == whole.completions
    assert first.step_scores + second.step_scores == whole.step_scores


def test_one_call_a_round_for_all_problems():
    policy, prm = fakes.Counting(), fakes.FakePRM()
    run([best_of_n(p, 3, first=i) for i, p in enumerate(PROBLEMS)], policy, prm, CONFIG)
    assert policy.calls == [(("p000", "p001", "p002", "p003"), 3, (0, 1, 2, 3))]
    assert [len(call) for call in prm.calls] == [12]


def test_different_budgets_in_one_run_keep_their_own_answers():
    policy = fakes.Counting()
    budgets = [2, 5, 2, 1]
    results = run(
        [best_of_n(p, n, scored=False) for p, n in zip(PROBLEMS, budgets, strict=True)], policy, None, CONFIG
    )
    assert [len(r.completions) for r in results] == budgets
    assert [r.problem_id for r in results] == [p.problem_id for p in PROBLEMS]
    assert all(c.text.startswith(r.problem_id) for r in results for c in r.completions)
    assert len(policy.calls) == 3


def test_results_do_not_depend_on_the_company():
    together = run([best_of_n(p, 4) for p in PROBLEMS], fakes.FakePolicy(), fakes.FakePRM(), CONFIG)
    alone = [run([best_of_n(p, 4)], fakes.FakePolicy(), fakes.FakePRM(), CONFIG)[0] for p in PROBLEMS]
    assert together == alone


def test_equal_trajectories_are_scored_once_and_charged_once():
    prm = fakes.FakePRM()
    (result,) = run([best_of_n(PROBLEMS[0], 6)], fakes.Repeating(), prm, CONFIG)
    assert len(prm.calls[0]) == 2
    assert result.step_scores[0] == result.step_scores[2] == result.step_scores[4]
    assert result.num_prm_tokens == sum(len(text) for text in prm.calls[0])


def test_equal_texts_of_different_problems_are_different_trajectories():
    prm = fakes.KnowingPRM()
    policy = fakes.Saying(texts=(r"It is \boxed{100}.",))
    right, wrong = run([best_of_n(p, 1) for p in PROBLEMS[:2]], policy, prm, CONFIG)
    assert right.step_scores[0].scores == (1.0,) and wrong.step_scores[0].scores == (0.0,)


def test_ids_are_unique_within_a_data_set_only():
    ones = [Problem("p1", "What is 1 + 1?", "2"), Problem("p1", "What is 2 + 2?", "4")]
    policy = fakes.Saying(texts=(r"It is \boxed{2}.",))
    right, wrong = run([best_of_n(p, 1) for p in ones], policy, fakes.KnowingPRM(), CONFIG)
    assert right.step_scores[0].scores == (1.0,) and wrong.step_scores[0].scores == (0.0,)


def greedy_tree(problem, depth):
    """A step-wise method, as a stranger to the driver would write it: expand two, keep the better."""
    state, tokens = mdp.initial_state(problem), 0
    for level in range(depth):
        left, right = yield [
            Sample(state, 1, 2 * level, stop=("\n\n",)),
            Sample(state, 1, 2 * level + 1, ("\n\n",)),
        ]
        branches = [mdp.transition(state, c.text) for c in (*left, *right)]
        (scores,) = yield [Score(tuple(branches))]
        state = max(zip(scores, branches, strict=True), key=lambda pair: pair[0].scores[-1])[1]
        tokens += left[0].num_tokens + right[0].num_tokens
    return SearchResult(problem.problem_id, (), (StepScores((), 0),), tokens)


class StepPolicy(fakes.Counting):
    """Writes one step at a time, and notes the stop strings it is given."""

    def one(self, state, index, config):
        assert config.stop == ("\n\n",)
        return Continuation(f"Step {len(state.steps)}, try {index}.\n\n", 5, "stop")


def test_a_step_wise_method_needs_no_change_of_the_driver():
    policy, prm = StepPolicy(), fakes.FakePRM()
    depths = [1, 3, 0, 2]
    methods = [greedy_tree(p, depth) for p, depth in zip(PROBLEMS, depths, strict=True)]
    results = run(methods, policy, prm, CONFIG)
    assert [r.num_policy_tokens for r in results] == [10 * depth for depth in depths]
    # All live methods share each round's calls: as many rounds as the deepest needs.
    assert len(policy.calls) == len(prm.calls) == 3
    assert [len(ids) for ids, *_ in policy.calls] == [6, 4, 2]


def test_methods_at_different_points_share_a_round():
    def scores_first(problem):
        (scores,) = yield [Score((mdp.state_of(problem, "One.\n\nTwo."),))]
        ((continuation,),) = yield [Sample(mdp.initial_state(problem), 1)]
        return (len(scores[0].scores), continuation.num_tokens)

    policy, prm = fakes.Counting(), fakes.FakePRM()
    other, best = run([scores_first(PROBLEMS[0]), best_of_n(PROBLEMS[1], 1)], policy, prm, CONFIG)
    assert other[0] == 2 and len(best.completions) == 1
    # Scores wait until nobody wants samples, so that both methods are scored in one call.
    assert [ids for ids, *_ in policy.calls] == [("p001",), ("p000",)] and len(prm.calls) == 1


def test_no_methods_no_calls():
    assert run([], None, None, CONFIG) == []


def test_an_empty_completion_has_no_answer_no_scores_and_is_not_sent():
    prm = fakes.FakePRM()
    (result,) = run([best_of_n(PROBLEMS[0], 2)], fakes.Silent(), prm, CONFIG)
    assert [c.answer for c in result.completions] == ["", ""]
    assert not any(c.correct for c in result.completions)
    assert result.step_scores == (StepScores((), 0),) * 2 and prm.calls == []


def test_a_cut_completion_stays_and_has_no_answer():
    (result,) = run([best_of_n(PROBLEMS[0], 2, scored=False)], fakes.Truncating(), None, CONFIG)
    assert all(r"\boxed{" in c.text and c.answer == "" and not c.correct for c in result.completions)
    assert {c.finish_reason for c in result.completions} == {"length"}


def test_an_unboxed_completion_has_no_answer():
    (result,) = run([best_of_n(PROBLEMS[0], 2, scored=False)], fakes.Unboxed(), None, CONFIG)
    assert [(c.answer, c.correct) for c in result.completions] == [("", False)] * 2


def test_a_policy_that_returns_too_little_is_named_with_the_problem():
    with pytest.raises(BadContinuations, match=r"'fake-policy' returned 2 .*'p000'"):
        run([best_of_n(p, 3) for p in PROBLEMS], fakes.Short(), fakes.FakePRM(), CONFIG)


def test_a_policy_that_forgets_a_state_is_named():
    class Forgetful(fakes.FakePolicy):
        def sample(self, states, n, config, first=0):
            return super().sample(states[1:], n, config, first[1:])

    with pytest.raises(BadContinuations, match="4 states, and did 3"):
        run([best_of_n(p, 3) for p in PROBLEMS], Forgetful(), None, CONFIG)


@pytest.mark.parametrize("prm", [fakes.MiscountingPRM(), fakes.NaNPRM()])
def test_bad_scores_are_refused_with_the_problem(prm):
    with pytest.raises(BadScores, match="p000"):
        run([best_of_n(p, 2) for p in PROBLEMS], fakes.FakePolicy(), prm, CONFIG)


def test_a_prm_that_answers_for_fewer_trajectories_is_refused():
    class Forgetful(fakes.FakePRM):
        def score(self, trajectories):
            return super().score(trajectories)[:-1]

    with pytest.raises(BadScores):
        run([best_of_n(PROBLEMS[0], 2)], fakes.FakePolicy(), Forgetful(), CONFIG)


def test_a_missing_policy_or_prm_is_said():
    with pytest.raises(ValueError, match="no policy"):
        run([best_of_n(PROBLEMS[0], 2)], None, fakes.FakePRM(), CONFIG)
    with pytest.raises(ValueError, match="no PRM"):
        run([best_of_n(PROBLEMS[0], 2)], fakes.FakePolicy(), None, CONFIG)


@pytest.mark.parametrize(("temperature", "n", "message"), [(0, 2, "one and its copies"), (0.7, 0, "least 1")])
def test_copies_and_nothing_are_refused_before_they_are_charged(temperature, n, message):
    policy, config = fakes.Counting(), SamplingConfig(temperature=temperature)
    with pytest.raises(ValueError, match=message):
        run([best_of_n(PROBLEMS[0], n, scored=False)], policy, None, config)
    assert policy.calls == []
    if n:
        (one,) = run([best_of_n(PROBLEMS[0], 1, scored=False)], policy, None, config)
        assert len(one.completions) == 1


def test_score_keeps_the_order():
    states = [mdp.state_of(PROBLEMS[0], text) for text in ("A.\n\nB.", "", "C.", "A.\n\nB.")]
    prm = fakes.FakePRM()
    scored = search.score(prm, states)
    assert [len(s.scores) for s in scored] == [2, 0, 1, 2] and scored[0] == scored[3]
    assert prm.calls == [["A.\n\nB.", "C."]]


def test_a_detour_over_more_samples_does_not_cost_the_others_a_call():
    def detour(problem, rounds):
        for i in range(rounds):
            ((continuation,),) = yield [Sample(mdp.initial_state(problem), 1, i)]
        yield [Score((mdp.state_of(problem, continuation.text),))]

    policy, prm = fakes.Counting(), fakes.FakePRM()
    run([detour(p, rounds) for p, rounds in zip(PROBLEMS, (1, 3, 2, 1), strict=True)], policy, prm, CONFIG)
    assert [len(ids) for ids, *_ in policy.calls] == [4, 2, 1] and [len(c) for c in prm.calls] == [4]


def test_every_call_is_noted():
    policy, prm, calls = fakes.Counting(), fakes.FakePRM(), []
    results = run([best_of_n(p, 3) for p in PROBLEMS], policy, prm, CONFIG, calls)
    assert [(call.kind, call.sequences) for call in calls] == [("sample", 12), ("score", 12)]
    assert calls[0].tokens == sum(r.num_policy_tokens for r in results)
    assert calls[1].tokens == sum(r.num_prm_tokens for r in results)
    assert all(call.seconds >= 0 for call in calls)
