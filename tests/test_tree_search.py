"""Beam search and DVTS: identities, hand-worked trees, bad policies, budgets; their table; replay."""

from __future__ import annotations

import inspect
import textwrap
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import fakes, plain_search
from tts_utils import mdp, store, tree_search
from tts_utils.problems import load_problems
from tts_utils.protocols import BadContinuations, BadScores
from tts_utils.records import Continuation, SamplingConfig, State, StepScores
from tts_utils.search import best_of_n, run
from tts_utils.store import StoreError, StoreMiss
from tts_utils.tree_search import RETRIES, TreeSearch, beam_search, dvts
from tts_utils.voting import NO_SCORE, select

CONFIG = SamplingConfig(max_tokens=50)
PROBLEMS = fakes.problems(4)
METHODS = {"best_of_n": best_of_n, "beam": beam_search, "dvts": dvts}


def grow(methods, policy=None, prm=None, calls=None):
    return run(methods, policy or fakes.StepPolicy(), prm or fakes.FakePRM(), CONFIG, calls)


def one(method, policy=None, prm=None):
    return grow([method], policy, prm)[0]


def text_of(result, node):
    by_name = {(n.run, n.node): n for n in result.nodes}
    text = ""
    while True:
        text = node.text + text
        if node.parent == -1:
            return text
        node = by_name[node.run, node.parent]


# --- the plain searches, with which the module's docstring begins ---


def draws(problem, policy, tree, stride):
    """The policy as the plain searches want it: the next m draws of a tree from a text."""
    drawn = Counter()

    def sample(text, m):
        state = mdp.state_of(problem, text)
        first = tree * stride + drawn[text]
        drawn[text] += m
        steps = [policy.one(state, first + i, replace(CONFIG, stop=("\n\n",))) for i in range(m)]
        return [(step.text, step.finish_reason == "eos") for step in steps]

    return sample


def test_the_docstring_begins_with_the_plain_searches():
    for plain in (
        plain_search.beam_search,
        plain_search.dvts,
        plain_search.verify_every,
        plain_search.one_more,
        plain_search.particle_filter,
    ):
        source = inspect.getsource(plain)
        assert textwrap.indent(source, "    ") in tree_search.__doc__
        assert len(source.splitlines()) <= 20


@settings(deadline=None, max_examples=300)
@given(
    st.integers(0, 10**6),
    st.sampled_from([(4, 4), (8, 4), (16, 4), (6, 2), (9, 3), (3, 1)]),
    st.sampled_from([fakes.StepPolicy, fakes.RepeatingSteps]),
)
def test_searches_are_the_plain_ones(number, sizes, kind):
    """Three hundred random problems: other texts, other draws, other scores; with ties where steps repeat."""
    (n, m), problem = sizes, replace(PROBLEMS[1], problem_id=f"q{number}")
    policy, prm = kind(), fakes.FakePRM()

    def score(text):
        return prm.one(mdp.state_of(problem, text)).scores[-1]

    # Each tree draws its samples from a range of its own, as long as it can ever need.
    beam_stride, tree_stride = (width * m * (1 + RETRIES) * mdp.MAX_STEPS for width in (n // m, 1))
    beam, trees = grow([beam_search(problem, n, branching=m, run=1), dvts(problem, n, branching=m)], kind())
    assert [c.text for c in beam.completions] == plain_search.beam_search(
        n, m, draws(problem, policy, 1, beam_stride), score
    )
    assert [c.text for c in trees.completions] == plain_search.dvts(
        n, m, lambda tree: draws(problem, policy, tree, tree_stride), score
    )


@pytest.mark.parametrize(("n", "m", "stride"), [(16, 4, 2560), (4, 4, 640), (6, 2, 960)])
@pytest.mark.parametrize("method", ["beam", "dvts"])
def test_no_two_runs_share_a_sample_index(n, m, stride, method):
    """The worst case: all beams stand at one state, and every step is cut, so that it is tried four times."""
    runs = range(3)
    search = TreeSearch(method, n, m)
    if method == "dvts":
        runs, stride = range(0, 3 * n // m, n // m), m * 4 * 40
    policies = [fakes.CutSteps(good_steps=0) for _ in runs]
    for run_, policy in zip(runs, policies, strict=True):
        grow([search(PROBLEMS[0], run=run_)], policy)
    indices = [[i for call in policy.calls for _, _, i in call] for policy in policies]
    assert all(len(drawn) == n * (1 + RETRIES) for drawn in indices)
    assert len({i for drawn in indices for i in drawn}) == 3 * n * (1 + RETRIES)
    # Where a run begins is part of what stored tables were drawn with.
    assert [min(drawn) for drawn in indices] == [run_ * stride for run_ in runs]


# --- identities ---


@pytest.mark.parametrize("branching", [1, 2, 4, 5])
def test_a_budget_of_one_branching_keeps_one_path_and_is_one_subtree(branching):
    beam = one(beam_search(PROBLEMS[1], branching, branching=branching))
    tree = one(dvts(PROBLEMS[1], branching, branching=branching))
    assert beam == tree and len(beam.completions) == len(beam.step_scores) == 1
    kept = Counter(n.depth for n in beam.nodes if n.kept)
    sampled = Counter(n.depth for n in beam.nodes)
    assert set(kept.values()) == {1} and set(sampled.values()) == {branching}


def test_branching_one_and_budget_one_is_one_sample_step_by_step():
    (result,), policy = grow([beam_search(PROBLEMS[0], 1, branching=1)]), fakes.StepPolicy()
    state, steps = mdp.initial_state(PROBLEMS[0]), []
    while not steps or steps[-1].finish_reason != "eos":
        steps.append(policy.one(state, 0, replace(CONFIG, stop=("\n\n",))))
        state = mdp.transition(state, steps[-1].text)
    assert [n.text for n in result.nodes] == [s.text for s in steps]
    assert result.completions[0].text == state.text
    assert result.num_policy_tokens == result.completions[0].num_tokens == sum(s.num_tokens for s in steps)


@pytest.mark.parametrize("budget", [4, 16, 64])
def test_a_larger_dvts_begins_with_the_smaller(budget):
    small, large = grow([dvts(PROBLEMS[0], budget), dvts(PROBLEMS[0], 64)])
    trees = budget // 4
    assert large.completions[:trees] == small.completions and large.step_scores[:trees] == small.step_scores
    assert tuple(n for n in large.nodes if n.run < trees) == small.nodes
    assert [c.sample for c in large.completions] == list(range(16))
    later = one(dvts(PROBLEMS[0], 64 - budget, first_tree=trees)) if budget < 64 else None
    assert later is None or later.completions == large.completions[trees:]


def test_subtrees_are_searches_of_their_own():
    whole = one(dvts(PROBLEMS[0], 16))
    for t in range(4):
        alone = one(beam_search(PROBLEMS[0], 4, run=t))
        assert tuple(n for n in whole.nodes if n.run == t) == alone.nodes
        assert replace(alone.completions[0], sample=t) == whole.completions[t]


def test_what_is_voted_on_is_num_kept_finished_paths_with_all_their_scores():
    for method in (beam_search, dvts):
        result = one(method(PROBLEMS[2], 16))
        prm = fakes.FakePRM()
        assert len(result.completions) == len(result.step_scores) == 4
        for completion, scores in zip(result.completions, result.step_scores, strict=True):
            state = mdp.state_of(PROBLEMS[2], completion.text)
            assert completion.finish_reason == "eos" and completion.answer
            assert scores == prm.one(state)  # a causal PRM: the same as scoring the whole path at once


def test_every_node_says_what_became_of_it():
    result = one(beam_search(PROBLEMS[3], 16))
    prm, policy = fakes.FakePRM(), fakes.StepPolicy()
    assert [n.node for n in result.nodes] == list(range(len(result.nodes)))
    for node in result.nodes:
        text = text_of(result, node)
        state = mdp.state_of(PROBLEMS[3], text)
        before = mdp.state_of(PROBLEMS[3], text.removesuffix(node.text))
        assert policy.one(before, node.sample, replace(CONFIG, stop=("\n\n",))).text == node.text
        assert node.score == prm.one(state).scores[-1] and node.depth == len(state.steps)
        assert node.finished == (node.finish_reason == "eos")
        assert node.parent == -1 or result.nodes[node.parent].kept
    finished = {text_of(result, n) for n in result.nodes if n.kept and n.finished}
    assert finished == {c.text for c in result.completions}


def test_the_best_candidates_of_all_beams_survive_and_width_retires():
    result = one(beam_search(PROBLEMS[0], 16))
    width = 4
    for depth in range(1, max(n.depth for n in result.nodes) + 1):
        level = [n for n in result.nodes if n.depth == depth]
        live = [n for n in result.nodes if n.depth == depth - 1 and n.kept and not n.finished]
        assert len(level) == 4 * (len(live) if depth > 1 else width)
        best = sorted((n.score for n in level), reverse=True)[:width]
        assert sorted((n.score for n in level if n.kept), reverse=True) == best
        width -= sum(n.kept and n.finished for n in level)
    assert width == 0


# --- a toy MDP whose optimum is known ---


class ToyPolicy(fakes.StepPolicy):
    """Action i of a state is its sample i, modulo three; four steps end a path."""

    def one(self, state: State, index: int, config: SamplingConfig) -> Continuation:
        last = len(state.steps) == 3
        return Continuation(f"{index % 3}" + ("" if last else "\n\n"), 1, "eos" if last else "stop")


class ExactPRM(fakes.FakePRM):
    """The best reward that can still be reached, by dynamic programming."""

    def __init__(self, rewards):
        super().__init__()
        self.value = {}
        for depth in (4, 3, 2, 1, 0):
            for code in range(3**depth):
                below = [self.value[depth + 1, 3 * code + a] for a in range(3)] if depth < 4 else None
                self.value[depth, code] = max(below) if below else rewards[code]

    def one(self, trajectory: State) -> StepScores:
        codes, code = [], 0
        for step in trajectory.steps:
            code = 3 * code + int(step)
            codes.append(code)
        return StepScores(tuple(self.value[t, c] for t, c in enumerate(codes, 1)), 1)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=81, max_size=81), st.sampled_from([3, 6, 27]))
def test_with_exact_values_beam_search_reaches_the_optimum(rewards, budget):
    prm = ExactPRM(rewards)
    for method in (beam_search, dvts):
        result = one(method(PROBLEMS[0], budget, branching=3), ToyPolicy(), prm)
        best = max(scores.scores[-1] for scores in result.step_scores)
        assert best == prm.value[0, 0] == max(rewards)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=120, max_size=120))
def test_min_and_avg_rank_as_they_say(values):
    class PerState(fakes.FakePRM):
        def one(self, trajectory):
            scores, code = [], 0
            for step in trajectory.steps:
                code = 3 * code + int(step) + 1
                scores.append(values[code % 120])
            return StepScores(tuple(scores), 1)

    for how, rank in (("min", min), ("avg", lambda s: sum(s) / len(s)), ("last", lambda s: s[-1])):
        prm = PerState()
        result = one(beam_search(PROBLEMS[0], 3, branching=3, how=how), ToyPolicy(), prm)
        for depth in range(1, 5):
            level = [n for n in result.nodes if n.depth == depth]
            ranks = [rank(prm.one(mdp.state_of(PROBLEMS[0], text_of(result, n))).scores) for n in level]
            # The first of the best is the one that is kept: ties go to the first seen.
            assert [n.kept for n in level].index(True) == ranks.index(max(ranks))


def test_ties_go_to_the_first_seen():
    class Flat(fakes.FakePRM):
        def one(self, trajectory):
            return StepScores((0.5,) * len(trajectory.steps), 1)

    result = one(beam_search(PROBLEMS[0], 6, branching=3), ToyPolicy(), Flat())
    for depth in range(1, 5):
        assert [n.kept for n in result.nodes if n.depth == depth] == [True, True, False, False, False, False]
    # Both beams start from the same state: six different draws, of which the first two are kept.
    assert [n.sample for n in result.nodes if n.depth == 1] == [0, 1, 2, 3, 4, 5]


def test_retire_and_compete_differ_where_one_path_ends_early():
    """Two beams: e ends with 0.6 and is kept beside f (0.7); then f gives 0.9 and 0.8."""
    values = {"e": 0.6, "f\n\n": 0.7, "x\n\n": 0.1, "g": 0.9, "h": 0.8}

    class Script(fakes.StepPolicy):
        def one(self, state, index, config):
            text = ("g", "h")[index % 2] if state.steps else ("e", "f\n\n", "x\n\n", "x\n\n")[index % 4]
            return Continuation(text, 1, "stop" if text.endswith("\n") else "eos")

    class Table(fakes.FakePRM):
        def one(self, trajectory):
            return StepScores(tuple(values[step] for step in trajectory.steps), 1)

    def texts(retire):
        method = beam_search(PROBLEMS[0], 4, branching=2, retire=retire)
        return [c.text for c in one(method, Script(), Table()).completions]

    assert texts(True) == ["e", "f\n\ng"]  # e has retired; one place is left
    assert texts(False) == ["f\n\ng", "f\n\nh"]  # e is displaced
    values["h"] = 0.6
    assert texts(False) == ["f\n\ng", "e"]  # of equals the first seen stays


# --- no completion crosses problems; company and order do not matter ---


@pytest.mark.parametrize("count", [1, 7, 500])
@pytest.mark.parametrize("method", METHODS)
def test_no_completion_crosses_problems(count, method):
    problems = fakes.problems(count)
    policy = fakes.FakePolicy() if method == "best_of_n" else fakes.StepPolicy()
    results = grow([METHODS[method](p, 4) for p in problems], policy)
    assert [r.problem_id for r in results] == [p.problem_id for p in problems]
    for problem, result in zip(problems, results, strict=True):
        assert {c.problem_id for c in result.completions} == {problem.problem_id}
        texts = [c.text for c in result.completions] + [n.text for n in result.nodes]
        assert texts and all(text.startswith(problem.problem_id) for text in texts)


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(6)), st.sampled_from([4, 16]), st.sampled_from(["beam", "dvts"]))
def test_results_do_not_depend_on_order_or_company(order, budget, method):
    problems = fakes.problems(6)
    policy = fakes.RepeatingSteps
    alone = [one(METHODS[method](p, budget), policy()) for p in problems]
    together = grow([METHODS[method](problems[i], budget) for i in order], policy())
    assert together == [alone[i] for i in order]


# --- budgets ---


@pytest.mark.parametrize("budget", [4, 16, 64, 256])
@pytest.mark.parametrize("policy", [fakes.StepPolicy, fakes.RepeatingSteps, fakes.CutSteps])
@pytest.mark.parametrize("method", ["beam", "dvts"])
def test_tokens_and_calls_are_those_that_were_spent(method, policy, budget):
    policy, prm, calls = policy(), fakes.FakePRM(), []
    results = grow([METHODS[method](p, budget) for p in PROBLEMS], policy, prm, calls)
    assert sum(r.num_policy_tokens for r in results) == policy.num_tokens
    assert sum(len(r.nodes) for r in results) == sum(len(call) for call in policy.calls)
    read = [text for call in prm.calls for text in call]
    assert sum(r.num_prm_tokens for r in results) == sum(len(text) for text in read)
    assert len(set(read)) == len(read)  # nothing is read twice (every text names its problem)
    scored = {text_of(r, n) for r in results for n in r.nodes if n.score is not None}
    assert set(read) == scored
    assert len(calls) == len(policy.calls) + len(prm.calls)
    assert sum(c.tokens for c in calls if c.kind == "sample") == policy.num_tokens
    # No draw is made twice, however often a state occurs.
    draws = [drawn for call in policy.calls for drawn in call]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize("budget", [4, 16, 64, 256])
def test_best_of_n_reports_what_was_spent(budget):
    for policy in (fakes.Counting(), fakes.Repeating()):
        prm, calls = fakes.FakePRM(), []
        results = grow([best_of_n(p, budget) for p in PROBLEMS], policy, prm, calls)
        assert [call.kind for call in calls] == ["sample", "score"]
        assert sum(r.num_policy_tokens for r in results) == calls[0].tokens
        assert sum(r.num_prm_tokens for r in results) == sum(len(t) for t in prm.calls[0]) == calls[1].tokens


@pytest.mark.parametrize("method", ["beam", "dvts"])
def test_each_depth_of_all_problems_is_one_call_of_each_kind(method):
    policy, prm, calls = fakes.StepPolicy(), fakes.FakePRM(), []
    results = grow([METHODS[method](p, n) for p in PROBLEMS for n in (4, 16)], policy, prm, calls)
    depths = max(n.depth for r in results for n in r.nodes)
    assert [call.kind for call in calls] == ["sample", "score"] * depths
    assert len(policy.calls) == len(prm.calls) == depths


def test_retries_cost_no_extra_call_of_the_prm():
    class OneCut(fakes.StepPolicy):
        def one(self, state, index, config):
            cut = state.problem.problem_id == "p001" and len(state.steps) == 1 and index < 8
            return Continuation("cut", 50, "length") if cut else super().one(state, index, config)

    policy, prm, calls = OneCut(), fakes.FakePRM(), []
    results = grow([beam_search(p, 4) for p in PROBLEMS], policy, prm, calls)
    depths = max(n.depth for r in results for n in r.nodes)
    assert len(prm.calls) == depths and len(policy.calls) == depths + 2
    assert [len(call) for call in policy.calls[1:4]] == [16, 4, 4]
    level = [n for n in results[1].nodes if n.depth == 2]
    assert [n.sample for n in level] == list(range(12))
    assert [n.finish_reason == "length" for n in level] == [True] * 8 + [False] * 4


# --- bad policies, bad PRMs ---


@pytest.mark.parametrize("method", ["beam", "dvts"])
def test_a_path_whose_steps_are_always_cut_closes_visibly(method):
    result = one(METHODS[method](PROBLEMS[0], 16), fakes.CutSteps())
    assert [c.finish_reason for c in result.completions] == ["length"] * 4
    assert all(
        c.answer == "" and not c.correct and c.text.startswith("p000, step 1") for c in result.completions
    )
    assert [len(s.scores) for s in result.step_scores] == [1] * 4
    cut = [n for n in result.nodes if n.depth == 2]
    assert len(cut) == 16 * (1 + RETRIES) and {n.finish_reason for n in cut} == {"length"}
    assert not any(n.kept or n.finished or n.num_prm_tokens or n.score is not None for n in cut)


def test_cut_from_the_first_step_on():
    result = one(beam_search(PROBLEMS[0], 8), fakes.CutSteps(good_steps=0))
    assert [(c.text, c.finish_reason, c.answer) for c in result.completions] == [("", "length", "")] * 2
    assert result.step_scores == (StepScores((), 0),) * 2 and result.num_prm_tokens == 0


def test_a_retry_that_succeeds_goes_on():
    result = one(beam_search(PROBLEMS[0], 4), fakes.CutSteps(uncut_from=10))
    assert [c.finish_reason for c in result.completions] == ["eos"]
    level = [n for n in result.nodes if n.depth == 2]
    assert [n.sample for n in level] == list(range(12))
    assert sum(n.kept for n in level) == 1 and next(n for n in level if n.kept).sample >= 10


def test_a_cut_step_never_wins_over_a_whole_one():
    class Half(fakes.StepPolicy):
        def one(self, state, index, config):
            whole = super().one(state, index, config)
            return whole if index % 2 else Continuation(whole.text[:5], 50, "length")

    result = one(beam_search(PROBLEMS[0], 16), Half())
    assert len(result.completions) == 4
    assert not any(n.kept for n in result.nodes if n.finish_reason == "length")


@pytest.mark.parametrize("method", ["beam", "dvts"])
@pytest.mark.parametrize("how", [{}, {"retire": False}, {"distinct": True}])
@pytest.mark.parametrize("limit", [20, 40, 60, 80, 100])
def test_a_path_that_is_too_long_for_the_prm_closes_visibly(method, limit, how):
    policy, prm, calls = fakes.RepeatingSteps(), fakes.ShortSightedPRM(limit=limit), []
    results = grow([METHODS[method](p, 16, **how) for p in PROBLEMS], policy, prm, calls)
    too_long = []
    for problem, result in zip(PROBLEMS, results, strict=True):
        known = fakes.FakePRM()
        texts = {node: text_of(result, node) for node in result.nodes}
        beyond = [node for node, text in texts.items() if len(text) > limit]
        assert not any(n.kept or n.num_prm_tokens or n.score is not None for n in beyond)
        assert all(n.finish_reason in ("stop", "eos") for n in beyond)  # the policy finished them
        too_long += beyond
        assert result.completions
        for completion, scores in zip(result.completions, result.step_scores, strict=True):
            state = mdp.state_of(problem, completion.text)
            assert len(completion.text) <= limit and scores.scores == known.one(state).scores
            if completion.finish_reason == "length":
                assert completion.answer == "" and not completion.correct
                ends = {texts[n] for n in beyond}
                assert any(text.startswith(completion.text) for text in ends)
    assert too_long or limit == 100
    # What cannot be read costs no tokens and no further round.
    assert sum(r.num_prm_tokens for r in results) == sum(
        len(text) for call in prm.calls for text in call if len(text) <= limit
    )
    assert [call.kind for call in calls] == ["sample", "score"] * (len(calls) // 2)
    if limit == 20:
        assert {(c.text, c.finish_reason) for r in results for c in r.completions} == {("", "length")}


def test_a_path_that_is_too_long_for_the_prm_disturbs_no_other():
    """Each problem is searched as it is alone; and where nothing is too long, as by a PRM without a limit."""
    methods = [lambda p: beam_search(p, 16), lambda p: dvts(p, 16)]
    short = PROBLEMS[0]
    long = replace(PROBLEMS[1], problem_id="p001" + "x" * 60)
    for method in methods:
        prm = fakes.ShortSightedPRM(limit=150)
        one_of, other = grow([method(short), method(long)], None, prm)
        assert one_of == one(method(short)) and other == one(method(long), None, prm)
        assert "length" in {c.finish_reason for c in other.completions}


def test_a_child_that_can_be_read_keeps_its_parent_open():
    class Uneven(fakes.StepPolicy):
        def one(self, state, index, config):
            if state.steps:
                return Continuation("z" * (90 if index % 4 else 5) + " \\boxed{1}", 9, "eos")
            return Continuation(f"Step {index}.\n\n", 9, "stop")

    result = one(beam_search(PROBLEMS[0], 8), Uneven(), fakes.ShortSightedPRM(limit=80))
    assert [c.finish_reason for c in result.completions] == ["eos", "eos"]
    last = [n for n in result.nodes if n.depth == 2]
    assert [n.kept for n in last] == [n.score is not None for n in last] == [True, False, False, False] * 2


@pytest.mark.parametrize("method", ["beam", "dvts"])
def test_equal_steps_stay_candidates_and_are_read_once(method):
    prm = fakes.FakePRM()
    result = one(METHODS[method](PROBLEMS[0], 16), fakes.RepeatingSteps(), prm)
    first = [n for n in result.nodes if n.depth == 1]
    assert len(first) == 16 and len({n.text for n in first}) == 2 == len(prm.calls[0])
    if method == "beam":
        assert len({n.text for n in first if n.kept}) == 1 and sum(n.kept for n in first) == 4


def test_equal_candidates_can_be_dropped():
    result = one(beam_search(PROBLEMS[0], 16, distinct=True), fakes.RepeatingSteps())
    first = [n for n in result.nodes if n.depth == 1]
    # All sixteen start from the same state and say two things: two beams go on, and four later.
    assert [n.score is not None for n in first] == [n.kept for n in first] == [True, True] + [False] * 14
    assert [sum(n.depth == depth for n in result.nodes) for depth in (1, 2)] == [16, 8]
    assert len({c.text for c in result.completions}) == len(result.completions) <= 4


def test_a_state_is_sampled_again_only_if_all_its_steps_were_cut():
    policy = fakes.CutSteps(good_steps=0, uncut_from=15)
    result = one(beam_search(PROBLEMS[0], 16), policy)
    assert [len(call) for call in policy.calls[:2]] == [16, 4]
    assert sum(n.depth == 1 for n in result.nodes) == 16 and sum(n.kept for n in result.nodes) >= 1


@pytest.mark.parametrize("method", ["beam", "dvts"])
def test_a_policy_that_says_nothing_ends(method):
    policy, prm = fakes.SayingSteps(), fakes.FakePRM()
    result = one(METHODS[method](PROBLEMS[0], 8), policy, prm)
    assert len(policy.calls) == 1 and prm.calls == []
    assert [(c.text, c.answer, c.finish_reason) for c in result.completions] == [("", "", "eos")] * 2
    assert result.step_scores == (StepScores((), 0),) * 2
    assert all(n.score is None for n in result.nodes)


def test_a_policy_that_ends_without_a_word_keeps_its_last_score():
    class ThenNothing(fakes.StepPolicy):
        def one(self, state, index, config):
            return Continuation("", 1, "eos") if state.steps else Continuation(f"A{index}.\n\n", 3, "stop")

    prm = fakes.FakePRM()
    result = one(beam_search(PROBLEMS[0], 4), ThenNothing(), prm)
    assert len(prm.calls) == 1  # the state was scored already
    best = max((n for n in result.nodes if n.depth == 1), key=lambda n: n.score)
    assert result.completions[0].text == best.text and result.step_scores[0].scores == (best.score,)
    assert result.completions[0].num_tokens == 4


@pytest.mark.parametrize("text", ["\n\n", " \n\n", "Again.\n\n"])
def test_the_depth_limit_ends_what_never_ends(text):
    result = one(beam_search(PROBLEMS[0], 4), fakes.SayingSteps(text=text, finish_reason="stop"))
    assert max(n.depth for n in result.nodes) == 40 and len(result.nodes) == 160
    (completion,), (scores,) = result.completions, result.step_scores
    assert completion.text == text * 40 and completion.answer == ""
    assert len(scores.scores) == len(mdp.split_steps(completion.text))
    short = one(beam_search(PROBLEMS[0], 4, max_depth=2))
    assert max(n.depth for n in short.nodes) == 2


@pytest.mark.parametrize(
    ("text", "reason"), [("", "stop"), ("A", "stop"), ("A\n\nB", "eos"), ("A\n\nB\n\n", "stop")]
)
def test_a_policy_that_does_not_stop_behind_a_step_is_refused(text, reason):
    with pytest.raises(BadContinuations, match="'p000', depth 1"):
        one(beam_search(PROBLEMS[0], 4), fakes.SayingSteps(text=text, finish_reason=reason))


def test_failures_reach_the_caller():
    with pytest.raises(RuntimeError, match="call 2 fails"):
        grow([beam_search(p, 4) for p in PROBLEMS], fakes.StepPolicy(fail_on=2))
    with pytest.raises(RuntimeError, match="call 3 fails"):
        grow([dvts(p, 16) for p in PROBLEMS], None, fakes.FakePRM(fail_on=3))
    for prm in (fakes.NaNPRM(), fakes.MiscountingPRM()):
        with pytest.raises(BadScores, match="p000"):
            grow([beam_search(p, 4) for p in PROBLEMS], None, prm)


@pytest.mark.parametrize(
    ("budget", "more"),
    [(6, {}), (0, {}), (-4, {}), (4, {"branching": 0}), (4, {"how": "max"}), (4, {"max_depth": 0})],
)
def test_settings_out_of_range_are_refused_at_once(budget, more):
    for method in (beam_search, dvts):
        with pytest.raises(ValueError):
            method(PROBLEMS[0], budget, **more)


def test_labels_tell_settings_apart():
    beam = TreeSearch("beam", 16)
    others = [
        *(TreeSearch("beam", 64), TreeSearch("dvts", 16), replace(beam, branching=2)),
        *(replace(beam, how="min"), replace(beam, max_depth=9)),
        *(replace(beam, retire=False), replace(beam, distinct=True)),
    ]
    assert len({s.label for s in [beam, *others]}) == 8
    assert all(TreeSearch.of_label(s.label, s.num_subtrees) == s for s in [beam, *others])
    assert TreeSearch("dvts", 4).label == TreeSearch("dvts", 256).label == "dvts-m4"


# --- the table of searches ---


BEAM, DVTS = TreeSearch("beam", 16), TreeSearch("dvts", 16)


@pytest.fixture
def data(tmp_path):
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems/toy.jsonl").write_text(fakes.as_jsonl(PROBLEMS), encoding="utf-8")
    return tmp_path


def fill(data, search=BEAM, policy=None, prm=None, **more):
    policy, prm = policy or fakes.StepPolicy(), prm or fakes.FakePRM()
    return store.fill_searches("toy", policy, prm, search, data=data, **more)


NAMES = ("toy", "fake-policy", "fake-prm")


@pytest.mark.parametrize("limit", [20, 50, 75])
@pytest.mark.parametrize("search", [BEAM, DVTS, TreeSearch("beam", 8, 2, "min", 6, False, True)])
def test_replay_knows_what_was_too_long(data, search, limit):
    fill(data, search, fakes.RepeatingSteps(), fakes.ShortSightedPRM(limit=limit))
    prm = fakes.ShortSightedPRM(limit=limit)
    live = run([search(p) for p in PROBLEMS], fakes.RepeatingSteps(), prm, SamplingConfig())
    assert "length" in {c.finish_reason for r in live for c in r.completions}
    assert store.replay(*NAMES, search, data=data) == live


@pytest.mark.parametrize("policy", [fakes.StepPolicy, fakes.RepeatingSteps, fakes.CutSteps])
@pytest.mark.parametrize("search", [BEAM, DVTS, TreeSearch("beam", 8, 2, "min", 6, False, True)])
def test_replay_is_the_search_bit_for_bit(data, search, policy):
    fill(data, search, policy())
    problems = load_problems("toy", data=data)
    live = run([search(p) for p in problems], policy(), fakes.FakePRM(), SamplingConfig())
    assert store.replay(*NAMES, search, data=data) == live
    backwards = store.replay(*NAMES, search, problems=problems[::-1], data=data)
    assert backwards == live[::-1]


def test_nodes_come_back_as_they_were(data):
    filled = fill(data)
    frame = store.read_searches(*NAMES, BEAM, data=data)
    live = run([BEAM(p) for p in PROBLEMS], fakes.StepPolicy(), fakes.FakePRM(), SamplingConfig())
    nodes = [(r.problem_id, n) for r in live for n in r.nodes]
    assert filled.rows == filled.added == len(frame) == len(nodes)
    for row, (problem_id, node) in zip(frame.to_dict("records"), nodes, strict=True):
        assert row.pop("problem_id") == problem_id
        assert row == {name: getattr(node, name) for name in row}
    assert filled.path.parent.relative_to(data).as_posix() == "searches/toy/fake-policy/fake-prm"
    assert filled.path.name.startswith("beam-n16-m4-t0.7-") and len(pd.read_parquet(filled.path)) == len(
        frame
    )
    assert store.verify(data) == []


def test_a_search_among_greedy_copies_is_refused(data):
    greedy = SamplingConfig(temperature=0)
    for search in (BEAM, DVTS, TreeSearch("beam", 2, 1)):
        with pytest.raises(StoreError, match=r"n = 1"):
            fill(data, search, config=greedy)
    steps = fill(data, TreeSearch("beam", 1, 1), config=greedy)
    policy = fakes.StepPolicy()
    live = run([beam_search(p, 1, branching=1) for p in PROBLEMS], policy, fakes.FakePRM(), greedy)
    assert sum(r.num_policy_tokens for r in live) == policy.num_tokens
    assert steps.rows == sum(len(r.nodes) for r in live)


def test_cut_nodes_have_no_score_in_the_table(data):
    fill(data, policy=fakes.CutSteps())
    frame = store.read_searches(*NAMES, BEAM, data=data)
    assert (frame["score"].isna() == (frame["finish_reason"] == "length")).all() and frame[
        "score"
    ].isna().any()


@pytest.mark.parametrize("search", [BEAM, DVTS])
def test_bytes_do_not_depend_on_batches_or_on_being_stopped(data, search):
    path = fill(data, search).path
    whole = path.read_bytes()
    for batch_size in (1, 32, 10_000):
        path.unlink()
        (data / "manifest.json").unlink()
        with pytest.raises(RuntimeError):
            fill(data, search, fakes.StepPolicy(fail_on=3), batch_size=batch_size)
        again = fill(data, search, batch_size=batch_size)
        assert path.read_bytes() == whole and again.rows == again.added
    policy = fakes.StepPolicy()
    assert fill(data, search, policy).added == 0 and policy.calls == []


def test_a_finished_batch_is_kept_when_the_next_fails(data):
    with pytest.raises(RuntimeError):
        fill(data, policy=fakes.StepPolicy(fail_on=9), batch_size=16)
    policy = fakes.StepPolicy()
    fill(data, policy=policy)
    assert "p000" not in {drawn[0] for call in policy.calls for drawn in call}


@settings(deadline=None, max_examples=5)
@given(st.lists(st.sampled_from([4, 8, 16, 24]), min_size=1, max_size=3))
def test_a_dvts_grows_to_the_same_bytes(tmp_path_factory, budgets):
    contents = []
    for steps in ([*budgets, 32], [32]):
        folder = tmp_path_factory.mktemp("data")
        for budget in steps:
            filled = fill(folder, TreeSearch("dvts", budget), fakes.RepeatingSteps(), problems=PROBLEMS)
        contents.append(filled.path.read_bytes())
    assert contents[0] == contents[1]


def test_a_smaller_dvts_is_read_and_replayed_from_a_larger(data):
    fill(data, TreeSearch("dvts", 64))
    assert set(store.read_searches(*NAMES, DVTS, data=data)["run"]) == {0, 1, 2, 3}
    live = run([DVTS(p) for p in PROBLEMS], fakes.StepPolicy(), fakes.FakePRM(), SamplingConfig())
    assert store.replay(*NAMES, DVTS, data=data) == live


def test_what_is_missing_is_named_with_its_command(data):
    with pytest.raises(StoreMiss, match="tts search --method beam --policy fake-policy --prm fake-prm "):
        store.read_searches(*NAMES, BEAM, data=data)
    fill(data, DVTS, limit=2)
    with pytest.raises(StoreMiss, match=r"2 of 4 problems \(problem 'p002' has 0 of 4\).*--n 16"):
        store.replay(*NAMES, DVTS, data=data)
    with pytest.raises(StoreMiss, match=r"'p000' has 4 of 16.*--n 64"):
        store.read_searches(*NAMES, TreeSearch("dvts", 64), problems=PROBLEMS[:2], data=data)
    assert len(store.replay(*NAMES, DVTS, problems=PROBLEMS[:2], data=data)) == 2
    special = TreeSearch("beam", 8, 2, "avg", 9, False, True)
    words = "--n 8 --branching 2 --how avg --max-depth 9 --compete --distinct --seed 3 --max-tokens 99"
    with pytest.raises(StoreMiss, match=words):
        store.replay(*NAMES, special, config=SamplingConfig(seed=3, max_tokens=99), data=data)


def test_results_become_a_pool_like_any_other(data):
    policy, prm, config = fakes.FakePolicy(), fakes.FakePRM(), SamplingConfig()
    store.fill_samples("toy", policy, 3, data=data)
    store.fill_step_scores(store.find_table("samples", "toy", policy.name, data=data), prm, data=data)
    stored = store.read_pool("toy", policy.name, prm.name, "min", data=data)
    pool = store.pool_of(run([best_of_n(p, 3) for p in PROBLEMS[::-1]], policy, prm, config), "min")
    for name in stored.__slots__:
        assert np.array_equal(getattr(pool, name), getattr(stored, name)), name


def test_missing_completions_of_a_pool_cannot_win():
    results = grow([beam_search(p, 16, distinct=True) for p in PROBLEMS[:1]], fakes.SayingSteps())
    results += grow([beam_search(PROBLEMS[1], 16)])
    pool = store.pool_of(results)
    assert [len(r.completions) for r in results] == [1, 4] and pool.answers.shape == (2, 4)
    assert pool.answers[0].tolist() == [""] * 4 and pool.answer_ids[0].tolist() == [-1] * 4
    assert not pool.correct[0].any() and (pool.scores[0] == NO_SCORE).all() and pool.scores[1].all()
    assert pool.num_tokens[0].tolist() == [1, 0, 0, 0]
    assert (
        store.pool_of(run([best_of_n(PROBLEMS[0], 2, scored=False)], fakes.FakePolicy(), None, CONFIG)).scores
        is None
    )


def test_a_pool_of_results_with_a_trajectory_that_was_not_read():
    """Best-of-N: three times 5, which no PRM has read, and once 7."""
    texts = (r"By a long way round we find that it is \boxed{5}.",) * 3 + (r"\boxed{7}",)
    prm = fakes.ShortSightedPRM(limit=20)
    (result,) = grow([best_of_n(PROBLEMS[0], 4)], fakes.Saying(texts=texts), prm)
    assert [s.too_long for s in result.step_scores] == [True] * 3 + [False]
    assert result.num_prm_tokens == len(texts[3])
    pool = store.pool_of([result])
    assert pool.scores.tolist()[0][:3] == [NO_SCORE] * 3 and pool.num_prm_tokens.tolist() == [[0, 0, 0, 9]]
    for rule, picked in {"prm_max": 3, "prm_vote": 3, "majority": 0}.items():
        assert select(pool.answer_ids, pool.scores, rule).tolist() == [picked]


def test_a_stored_pair_knows_its_rows_and_nothing_else(data):
    fill(data)
    frame = store.read_searches(*NAMES, BEAM, data=data)
    policy, prm = store.StoredPolicy(frame, "fake-policy"), store.StoredPRM(frame, "fake-prm")
    config, root = SamplingConfig(), mdp.initial_state(PROBLEMS[0])
    assert len(policy.sample([root], 4, config, 12)[0]) == 4
    with pytest.raises(StoreMiss, match="continuation 16 by 'fake-policy' after 0 steps of problem 'p000'"):
        policy.sample([root], 4, config, 13)
    with pytest.raises(StoreMiss, match="a score by 'fake-prm' after 1 steps"):
        prm.score([mdp.state_of(PROBLEMS[0], "Never said.")])
    with pytest.raises(StoreMiss):  # another search asks for more than was stored
        run([beam_search(PROBLEMS[0], 64)], policy, prm, config)


def test_the_only_stored_configuration_is_taken_and_of_two_one_must_be_named(data):
    hot, cold = SamplingConfig(1.0), SamplingConfig(0.5)
    fill(data, config=hot)
    frame = store.read_searches(*NAMES, BEAM, data=data)
    assert frame.equals(store.read_searches(*NAMES, BEAM, config=hot, data=data))
    fill(data, config=cold)
    with pytest.raises(StoreError, match="say which with config="):
        store.read_searches(*NAMES, BEAM, data=data)
    fill(data)
    assert not store.read_searches(*NAMES, BEAM, data=data).equals(frame)


def test_searches_by_other_models_or_of_other_problems_are_not_mixed_in(data):
    old, new = fakes.StepPolicy(), fakes.FakePRM()
    old.revision, new.revision = "1", "2"
    fill(data, policy=old, limit=2)
    old.revision = "3"
    with pytest.raises(StoreError, match="policy_revision is 1, now 3"):
        fill(data, policy=old)
    with pytest.raises(StoreError, match="problems_sha256"):
        fill(data, problems=fakes.problems(9))
