"""The dial: verifiers of the quality they are named for, and pieces that appear whole."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tts_lab import dial
from tts_lab.dial import ArtificialVerifier, Piece, Verdicts, distance
from tts_lab.dial_table import Judged, beside_the_curve, dial_table, of_dial
from tts_lab.problems import test_set
from tts_utils.mdp import split_steps
from tts_utils.metrics import Interval
from tts_utils.records import State

test_set.__test__ = False  # a function of the lab's, not a test


def paths(count=600):
    """As many right solutions as ones with a wrong last step, all different."""
    right, wrong = [], []
    for i, p in enumerate(test_set()[:count]):
        steps = split_steps(p.solution)
        right.append(State(p, steps))
        wrong.append(State(p, (*steps[:-1], f"So the answer is \\boxed{{{i}0000}}.")))
    return right, wrong


@pytest.mark.parametrize("level", [0.5, 0.7, 0.9, 1.0])
def test_a_verifier_tells_right_from_wrong_as_often_as_its_level_says(level):
    right, wrong = paths()
    verifier = ArtificialVerifier(level, 0)
    good = np.array([s.scores[-1] for s in verifier.score(right)])
    bad = np.array([s.scores[-1] for s in verifier.score(wrong)])
    assert (good[:, None] > bad[None, :]).mean() == pytest.approx(level, abs=0.035)
    assert np.all((good >= 0) & (good <= 1))


def test_noise_is_fixed_by_seed_problem_and_path_and_every_step_is_scored():
    (state, *_), _ = paths(1)
    shorter = State(state.problem, state.steps[:2])
    one, again, other = (ArtificialVerifier(0.8, seed) for seed in (3, 3, 4))
    scores = one.score([state])[0].scores
    assert len(scores) == len(state.steps)
    assert again.score([shorter])[0].scores == scores[:2]  # whatever it is asked beside
    assert other.score([state])[0].scores != scores


def test_verdicts_are_the_checkers_and_stay_wrong_behind_an_error():
    problem = test_set()[0]
    steps = split_steps(problem.solution)
    spoilt = ("Nothing = 1.\n\n", *steps[1:])
    verdicts = Verdicts()
    assert verdicts.all_right(problem, steps) == [True] * len(steps)
    assert verdicts.all_right(problem, spoilt) == [False] * len(steps)


def test_distance_and_levels():
    assert distance(0.5) == 0 and distance(1.0) == dial.PERFECT
    assert list(dial.LEVELS) == sorted(dial.LEVELS) and len(dial.LEVELS) >= 5 and len(dial.SEEDS) >= 3


def test_pieces_that_are_there_are_not_measured_again_and_nothing_half_written_counts(tmp_path, monkeypatch):
    measured = []

    def measure(piece, *rest):
        measured.append(piece)
        return pd.DataFrame(
            {"method": ["beam"], "budget": [4], "rule": [""], "problem_id": ["a"], "right": [1.0]}
        )

    monkeypatch.setattr(dial, "measure", measure)
    todo = [Piece("lab-llama-m", 0.5, 0), Piece("lab-llama-m", 0.6, 0)]
    args = (lambda name: None, None, [], tmp_path, tmp_path)
    dial.turn(todo[:1], *args, log=lambda line: None)
    dial.turn(todo, *args, log=lambda line: None)
    assert measured == todo
    assert len(dial.read(tmp_path)) == 2 and set(dial.read(tmp_path)["level"]) == {0.5, 0.6}
    assert dial.read(tmp_path / "nowhere").empty


def judged(verifier, kind, auc, right):
    vectors = {("dvts", "prm_last_vote", 4): np.array(right, float)}
    return Judged("p", verifier, kind, Interval(auc, auc, auc, len(right)), vectors)


def test_a_prm_is_compared_with_the_curve_between_its_neighbours():
    dials = [judged("dial 0.50", "dial", 0.5, [0, 0, 1, 0]), judged("dial 1.00", "dial", 1.0, [1, 1, 1, 1])]
    (row,) = beside_the_curve(dials, [judged("x", "prm", 0.75, [1, 1, 1, 1])]).itertuples()
    # half way between (0, 0, 1, 0) and (1, 1, 1, 1): 0.5, 0.5, 1, 0.5
    assert row.above == pytest.approx(0.375)
    (row,) = beside_the_curve(dials, [judged("x", "prm", 1.2, [1, 1, 1, 1])]).itertuples()
    assert row.above == 0  # beyond the end: the end
    assert beside_the_curve([], [judged("x", "prm", 0.7, [1])]).empty


def test_the_table_has_the_mean_over_seeds_and_differences_from_majority_voting():
    rows = [
        (*where, "p", 0.5, seed)
        for seed, right in ((0, 1.0), (1, 0.0))
        for where in (
            ("dvts", 4, "prm_last_vote", "a", right),
            ("dvts", 4, "prm_last_vote", "b", 1.0),
            ("majority", 4, "majority_vote", "a", 0.0),
            ("majority", 4, "majority_vote", "b", 0.0),
            ("auc", 0, "", "a", 0.5),
            ("auc", 0, "", "b", 0.7),
        )
    ]
    pieces = pd.DataFrame(
        rows, columns=["method", "budget", "rule", "problem_id", "right", "policy", "level", "seed"]
    )
    (row,) = dial_table(list(of_dial(pieces))).itertuples()
    assert (row.accuracy, row.minus_majority, row.auc) == (0.75, 0.75, pytest.approx(0.6))
    assert np.isnan(row.minus_best_of_n)
    assert dial_table([]).empty and list(of_dial(pieces.iloc[:0])) == []
