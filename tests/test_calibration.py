"""Calibration keeps order, matches brute force, and recovers a known scale."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tts_utils import calibration

cases = st.lists(
    st.tuples(st.sampled_from([0.1, 0.2, 0.4, 0.6, 0.9]), st.booleans()), min_size=1, max_size=12
)


@settings(max_examples=100, deadline=None)
@given(cases)
def test_no_rising_map_has_smaller_squares(pairs):
    scores, right = map(np.array, zip(*pairs, strict=True))
    fitted = calibration.fit(scores, right)
    places = np.unique(scores)
    assert all(a <= b for a, b in pairwise(fitted(places)))
    best = ((fitted(scores) - right) ** 2).sum()
    rng = np.random.default_rng(0)
    for _ in range(200):
        rising = np.sort(rng.random(len(places)))
        assert best <= ((rising[np.searchsorted(places, scores)] - right) ** 2).sum() + 1e-9


def test_a_known_scale_is_recovered():
    rng = np.random.default_rng(1)
    scores = rng.random(20_000)
    right = rng.random(20_000) < scores**2
    fitted = calibration.fit(scores, right)
    grid = np.linspace(0.1, 0.9, 9)
    assert np.abs(fitted(grid) - grid**2).max() < 0.06
    fresh = rng.random(20_000)
    hits = rng.random(20_000) < fresh**2
    assert calibration.expected_error(fitted(fresh), hits) < 0.02 < calibration.expected_error(fresh, hits)


def test_equal_scores_get_their_share():
    assert calibration.fit([0.5] * 4, [True, True, True, False])(0.5) == 0.75


@pytest.mark.parametrize(("scores", "right"), [([], []), ([0.1], [True, False]), ([float("nan")], [True])])
def test_what_cannot_be_fitted_is_refused(scores, right):
    with pytest.raises(ValueError, match="as many scores as verdicts"):
        calibration.fit(scores, right)


def test_a_doubtful_vote_counts_nothing_and_a_sure_one_is_bounded():
    votes = calibration.log_odds_votes([0.0, 0.3, 0.5, 1.0])
    assert votes.tolist()[:3] == [0, 0, 0] and votes[3] == pytest.approx(np.log(99))
