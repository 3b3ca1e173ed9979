"""The replay draws what the training streams drew, and finds a test problem where one was read."""

from __future__ import annotations

from itertools import islice

import pytest

from tts_lab import replay
from tts_lab.problems import held_out, signature, test_set, training_draws, training_stream
from tts_lab.recipe import FULL
from tts_lab.replay import Stream, occurrences, streams

test_set.__test__ = False  # a function of the lab's, not a test


def test_the_draws_are_those_of_the_stream_with_the_test_problems_among_them():
    avoid = held_out()
    kept = [d.signature for d in islice(training_draws(3), 4000) if d.signature not in avoid]
    assert [signature(p) for p in islice(training_stream(3), len(kept))] == kept
    everything = [signature(p) for p in islice(training_stream(3, frozenset()), 4000)]
    assert [d.signature for d in islice(training_draws(3), 4000)] == everything


@pytest.mark.parametrize("count", [4_000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_occurrences_are_those_that_a_plain_search_of_the_stream_finds(count):
    found = occurrences(Stream("x", 11, count))
    forbidden = {signature(p) for p in test_set()}
    plain = [signature(p) in forbidden for p in islice(training_stream(11, frozenset()), count)]
    assert found["lab-500"] == sum(plain) > 0
    assert found["reader"] == "x"


def test_every_model_of_the_recipe_has_its_streams_and_long_runs_have_one_per_worker():
    listed = list(streams(FULL))
    assert {s.reader for s in listed} == {"tokenizers", "labels"} | {
        s.name for s in FULL.policies + FULL.prms
    }
    seeds = [s.seed for s in listed if s.reader == "lab-qwen-prm-l"]
    assert seeds == [37_000, 37_001, 37_002]
    assert len({s.seed for s in listed}) == len(listed)


def test_a_replay_goes_on_where_it_stopped_and_refuses_what_was_made_for_other_sets(tmp_path, monkeypatch):
    todo = [Stream("a", 1, 30), Stream("b", 2, 30)]
    monkeypatch.setattr(replay, "streams", lambda recipe: todo[: replay.shown])
    path, seen = tmp_path / "replay.csv", []
    for shown in (1, 2):
        monkeypatch.setattr(replay, "shown", shown, raising=False)
        frame = replay.replay(FULL, path, log=seen.append)
    assert list(frame["reader"]) == ["a", "b"]
    assert len(seen) == 2  # the first stream was not replayed again
    path.write_text("reader,seed,num_problems,lab-500\na,1,30,0\n")
    with pytest.raises(ValueError, match="other test sets"):
        replay.replay(FULL, path)
