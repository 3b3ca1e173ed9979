"""Streams of random numbers: those of numpy's generator, in any order and from any place."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tts_utils.policies.draws import Draws, stream_key

WORDS = st.integers(0, 2**64 - 1)


def numbers(key: tuple[int, int], count: int) -> np.ndarray:
    """What numpy draws with a key, its low word first."""
    return np.random.Generator(np.random.Philox(key=key[0] + (key[1] << 64))).random(count)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5), st.data())
def test_numbers_are_those_of_numpy_at_any_place(keys, data):
    draws = Draws(keys)
    expected = [numbers(key, 80) for key in keys]
    for _ in range(4):
        asked = data.draw(st.lists(st.integers(0, len(keys) - 1), min_size=1, max_size=5, unique=True))
        places = [data.draw(st.integers(0, 79)) for _ in asked]
        found = draws.take(np.array(asked), np.array(places))
        assert found.tolist() == [expected[s][i] for s, i in zip(asked, places, strict=True)]


def test_a_key_depends_on_prompt_sample_and_seed():
    keys = {stream_key(*which) for which in [("1,2", 0, 0), ("1,2", 1, 0), ("1,2", 0, 1), ("1,3", 0, 0)]}
    assert len(keys) == 4 and stream_key("1,2", 1, 0) in keys
