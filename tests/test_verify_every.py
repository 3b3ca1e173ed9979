"""Verification every g-th step: beam search at one end, Best-of-N at the other, the plain search between."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import fakes, plain_search
from tests.test_tree_search import CONFIG, NAMES, PROBLEMS, draws, fill, grow, one, text_of
from tests.test_tree_search import data as data
from tts_utils import mdp, store
from tts_utils.records import Continuation, SamplingConfig, StepScores
from tts_utils.search import best_of_n, run
from tts_utils.store.outcomes import read_outcome
from tts_utils.tree_search import RETRIES, TreeSearch, beam_search
from tts_utils.voting import select

DEEP = mdp.MAX_STEPS


class Tree(fakes.StepPolicy):
    """Draw i of a state is its i-th child, (i mod 2): a policy that can be walked through by hand.

    Steps are "a" and "b"; every path has two of them and an end that names them.
    """

    def one(self, state, index, config):
        if len(state.steps) < 2:
            return Continuation("ab"[index % 2] + "\n\n", 1, "stop")
        return Continuation(rf"\boxed{{{state.text.replace(mdp.SEPARATOR, '')}}}", 1, "eos")


class Scores(fakes.FakePRM):
    """Scores by hand; the whole path costs one token a step."""

    table = {"a": 0.6, "b": 0.5, "aa": 0.2, "ab": 0.3, "ba": 0.9, "bb": 0.8}  # noqa: RUF012

    def one(self, trajectory):
        names = ["".join(s[0] for s in trajectory.steps[: i + 1]) for i in range(len(trajectory.steps))]
        return StepScores(tuple(self.table.get(n.rstrip("\\"), 0.1) for n in names), len(names))


def test_by_hand():
    """N = 4, M = 2. The first step a scores 0.6, b 0.5; but ba and bb are good, and aa and ab are not.

    g = 1 keeps both copies of a at once and never sees ba. g = 2 reads four walks of two steps, one from
    each draw: aa, ba, ab, bb in the order of drawing, keeps ba and bb, and reads one path less at each end.
    """
    every_step = one(beam_search(PROBLEMS[0], 4, branching=2), Tree(), Scores())
    assert {c.answer[0] for c in every_step.completions} == {"a"}
    second = one(beam_search(PROBLEMS[0], 4, branching=2, every=2), Tree(), Scores())
    assert sorted(c.answer for c in second.completions) == ["ba", "ba"]
    level = {(n.depth, text_of(second, n).replace("\n\n", "")): n for n in second.nodes if n.depth <= 2}
    assert {text for depth, text in level if depth == 2} == {"aa", "ab", "ba", "bb"}
    assert level[1, "a"].score == 0.6 and level[1, "a"].num_prm_tokens == 0  # passed by, and scored later
    assert level[2, "aa"].num_prm_tokens == 2 and level[2, "ba"].score == 0.9


@settings(deadline=None, max_examples=200)
@given(
    st.integers(0, 10**6),
    st.sampled_from([(4, 4), (8, 4), (16, 4), (6, 2), (9, 3), (3, 1)]),
    st.integers(1, 6),
    st.sampled_from([fakes.StepPolicy, fakes.RepeatingSteps]),
)
def test_it_is_the_plain_search(number, sizes, every, kind):
    (n, m), problem = sizes, replace(PROBLEMS[1], problem_id=f"q{number}")
    prm = fakes.FakePRM()

    def score(text):
        return prm.one(mdp.state_of(problem, text)).scores[-1]

    result = one(beam_search(problem, n, branching=m, every=every), kind())
    plain = plain_search.verify_every(every, n, m, draws(problem, kind(), 0, 0), score)
    assert [c.text for c in result.completions] == plain
    for completion, scores in zip(result.completions, result.step_scores, strict=True):
        assert scores.scores == prm.one(mdp.state_of(problem, completion.text)).scores


@pytest.mark.parametrize("budget", [4, 16, 64])
@pytest.mark.parametrize("policy", [fakes.StepPolicy, fakes.RepeatingSteps, fakes.CutSteps])
def test_every_step_is_beam_search(budget, policy):
    assert one(TreeSearch("beam", budget, every=1)(PROBLEMS[0]), policy()) == one(
        TreeSearch("beam", budget)(PROBLEMS[0]), policy()
    )


class Whole(fakes.StepPolicy):
    """Writes whole completions, drawing step after step as a search from the root would: one of a state's
    draws after the other, those of all samples together."""

    def sample(self, states, n, config, first=0):
        return [self.all_of(state.problem, n, config) for state in states]

    def all_of(self, problem, n, config):
        draw = draws(problem, fakes.StepPolicy(), 0, 0)
        walks = [("", False, 0)] * n
        while not all(ends for _, ends, _ in walks):
            for i, (text, ends, tokens) in enumerate(walks):
                if not ends:
                    ((step, ends),) = draw(text, 1)
                    walks[i] = text + step, ends, tokens + len(step) + ends
        return [Continuation(text, tokens, "eos") for text, _, tokens in walks]


@pytest.mark.parametrize("budget", [4, 16, 64])
@pytest.mark.parametrize("every", [5, 39, DEEP, DEEP + 1])
def test_once_at_the_end_is_best_of_n(budget, every):
    """The same completions, scores and tokens as Best-of-N, so the same choice by every rule.

    With g at the depth limit all N are voted on; with a smaller g behind which no path is, the best N/M: the
    choice by the highest score is the same one.
    """
    (best,) = run([best_of_n(PROBLEMS[2], budget)], Whole(), fakes.FakePRM(), CONFIG)
    late = one(beam_search(PROBLEMS[2], budget, every=every))
    assert late.num_policy_tokens == best.num_policy_tokens and late.num_prm_tokens == best.num_prm_tokens
    by_text = {c.text: s.scores for c, s in zip(best.completions, best.step_scores, strict=True)}
    assert all(by_text[c.text] == s.scores for c, s in zip(late.completions, late.step_scores, strict=True))
    if every >= DEEP:
        assert sorted(c.text for c in late.completions) == sorted(c.text for c in best.completions)
    else:
        assert len(late.completions) == budget // 4

    def chosen(result, rule):
        ids = [[int(c.answer) for c in result.completions]]
        scores = [[s.scores[-1] for s in result.step_scores]]
        return ids[0][select(ids, scores, rule)[0]]

    rules = ("prm_max", "prm_vote", "majority") if every >= DEEP else ("prm_max",)
    for rule in rules:
        votes = [int(c.answer) for c in best.completions]
        tie = rule == "majority" and len(set(votes)) > 1 and _tied(votes)
        assert tie or chosen(late, rule) == chosen(best, rule)


def _tied(votes):
    counts = sorted((votes.count(v) for v in set(votes)), reverse=True)
    return counts[0] == counts[1]


@pytest.mark.parametrize("every", [2, 3, DEEP])
def test_all_of_it_against_every_tree_by_brute_force(every):
    """Over all paths of a small tree, listed: what survives a reading are the best of what was drawn."""
    values = dict(zip(map("".join, itertools.product("ab", repeat=2)), (0.1, 0.7, 0.4, 0.6), strict=True))

    class Table(Scores):
        table = {"a": 0.9, "b": 0.2, **values}  # noqa: RUF012

    result = one(beam_search(PROBLEMS[0], 4, branching=4, every=every), Tree(), Table())
    walked = {c.answer for c in result.completions}
    # Draws of the root are a, b, a, b, and the copies draw a and b: all four paths are candidates.
    best = max(values, key=values.get)
    assert walked == {2: {best}, 3: {best}, DEEP: {"aa", "ab", "ba", "bb"}}[every]


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(6)), st.sampled_from([4, 16]), st.sampled_from([2, 3, DEEP]))
def test_results_do_not_depend_on_order_or_company(order, budget, every):
    problems = fakes.problems(6)
    alone = [one(beam_search(p, budget, every=every), fakes.RepeatingSteps()) for p in problems]
    together = grow([beam_search(problems[i], budget, every=every) for i in order], fakes.RepeatingSteps())
    assert together == [alone[i] for i in order]


@pytest.mark.parametrize("every", [1, 2, 3, DEEP])
def test_a_round_asks_the_prm_once_and_saves_readings(every):
    calls, prm = [], fakes.FakePRM()
    results = grow([beam_search(p, 16, every=every) for p in PROBLEMS], None, prm, calls)
    deepest = max(n.depth for r in results for n in r.nodes)
    assert len(prm.calls) == -(-deepest // every)
    assert sum(r.num_prm_tokens for r in results) == sum(c.tokens for c in calls if c.kind == "score")
    assert sum(r.num_policy_tokens for r in results) == sum(c.tokens for c in calls if c.kind == "sample")


@pytest.mark.parametrize("every", [2, 3, DEEP])
def test_a_walk_that_is_cut_does_not_compete_and_a_beam_without_walks_closes(every):
    result = one(beam_search(PROBLEMS[0], 16, every=every), fakes.CutSteps())
    assert {(c.finish_reason, c.answer) for c in result.completions} == {("length", "")}
    assert sum(n.finish_reason == "length" for n in result.nodes) >= 16 * (1 + RETRIES)
    assert not any(n.kept or n.score is not None for n in result.nodes)  # nothing was read

    class Half(fakes.StepPolicy):
        def one(self, state, index, config):
            whole = super().one(state, index, config)
            cut = len(state.steps) == 1 and draws_of(state.text) % 2
            return Continuation(whole.text[:5], 50, "length") if cut else whole

    def draws_of(text):
        return fakes.draw(text)

    mixed = one(beam_search(PROBLEMS[0], 16, every=every), Half())
    assert any(n.finish_reason == "length" for n in mixed.nodes)
    assert all(c.finish_reason == "eos" for c in mixed.completions) and mixed.completions


class Reading(fakes.FakePRM):
    """Not causal: the score of a step depends on how long the path is that it was read with."""

    def one(self, trajectory):
        known = super().one(trajectory)
        return StepScores(tuple((s + len(known.scores) / 7) % 1 for s in known.scores), known.num_tokens)


@pytest.mark.parametrize("search", [TreeSearch("beam", 16, every=g) for g in (2, 3, DEEP)])
@pytest.mark.parametrize("policy", [fakes.StepPolicy, fakes.RepeatingSteps, fakes.CutSteps])
@pytest.mark.parametrize("prm", [fakes.FakePRM, Reading, lambda: fakes.ShortSightedPRM(limit=75)])
def test_replay_is_the_search_bit_for_bit(data, search, policy, prm):
    fill(data, search, policy(), prm())
    live = run([search(p) for p in PROBLEMS], policy(), prm(), SamplingConfig())
    assert store.replay(*NAMES, search, data=data) == live
    outcome = read_outcome(*NAMES, search, data=data)
    assert outcome.num_prm_tokens.tolist() == [r.num_prm_tokens for r in live]
    assert outcome.pool.correct.shape == (4, search.num_kept)


def test_settings():
    assert TreeSearch("beam", 16, every=50) == TreeSearch("beam", 16, every=DEEP)
    assert TreeSearch("beam", 16, every=DEEP).num_kept == 16
    assert TreeSearch("beam", 16, every=39).num_kept == 4
    for search in (TreeSearch("beam", 16, every=3), TreeSearch("beam", 16, max_depth=9, every=9)):
        assert TreeSearch.of_label(search.label) == search and search.label != TreeSearch("beam", 16).label
    for wrong in (("beam", 0), ("dvts", 2), ("particles", 2)):
        with pytest.raises(ValueError, match="every"):
            TreeSearch(wrong[0], 16, every=wrong[1])
