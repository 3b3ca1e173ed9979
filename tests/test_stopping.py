"""Early stopping does what the plain loop does, and never looks at a sample it did not draw."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from tts_utils import stopping, voting

pools = st.integers(1, 5).flatmap(
    lambda rows: st.integers(1, 12).flatmap(
        lambda columns: st.lists(
            st.lists(st.integers(-1, 3), min_size=columns, max_size=columns), min_size=rows, max_size=rows
        )
    )
)


def plain(ids, share, first):
    """One problem, one loop."""
    drawn = min(first, len(ids))
    while True:
        votes = Counter(answer for answer in ids[:drawn] if answer >= 0)
        if (votes and max(votes.values()) >= share * drawn) or drawn == len(ids):
            break
        drawn = min(2 * drawn, len(ids))
    return drawn, ids.index(max(votes, key=votes.get)) if votes else -1


@settings(max_examples=200, deadline=None)
@given(pools, st.sampled_from([0.4, 0.5, 0.75, 1.0]), st.integers(1, 4))
def test_agreement_is_the_plain_loop(ids, share, first):
    stopped = stopping.by_agreement(ids, share, first)
    assert list(zip(stopped.used.tolist(), stopped.chosen.tolist(), strict=True)) == [
        plain(row, share, first) for row in ids
    ]


@settings(max_examples=100, deadline=None)
@given(pools, st.sampled_from([0.6, 0.9]))
def test_what_was_not_drawn_decides_nothing(ids, certainty):
    ids = np.array(ids)
    for rule in (lambda x: stopping.by_agreement(x), lambda x: stopping.by_posterior(x, certainty)):
        before = rule(ids)
        changed = np.where(np.arange(ids.shape[1]) < before.used[:, None], ids, 3 - ids)
        after = rule(changed)
        assert (before.used == after.used).all() and (before.chosen == after.chosen).all()


def test_the_posterior_is_the_integral_it_says():
    """4 votes to 1: P(Beta(5, 2) > 1/2), by integrating p^4 (1 - p), is 0.890625."""
    chance = quad(lambda p: 30 * p**4 * (1 - p), 0.5, 1)[0]
    assert chance == pytest.approx(0.890625)
    ids = [[0, 1, 0, 0, 0, 0, 1, 0]]
    assert stopping.by_posterior(ids, chance - 1e-9).used.tolist() == [5]
    assert stopping.by_posterior(ids, chance + 1e-9).used.tolist() == [6]


def test_without_agreement_it_is_majority_voting():
    rng = np.random.default_rng(0)
    ids = rng.integers(-1, 6, (50, 16))
    stopped = stopping.by_agreement(ids, share=1.0)
    whole = stopped.used == 16
    assert (stopped.chosen[whole] == voting.select(ids, None, "majority")[whole]).all()


@pytest.mark.parametrize("bad", [{"share": 0}, {"share": 1.1}, {"first": 0}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="got"):
        stopping.by_agreement([[0]], **bad)
    with pytest.raises(ValueError, match="got"):
        stopping.by_posterior([[0]], 0.5)
