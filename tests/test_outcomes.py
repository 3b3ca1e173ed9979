"""What searches ended with, read by columns, is what replaying gives; and reading starts no process."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests import fakes
from tts_utils import answers, store
from tts_utils.answers.maths import MathProcess
from tts_utils.problems import load_problems
from tts_utils.records import SamplingConfig
from tts_utils.store import files, searches, verdicts
from tts_utils.store.outcomes import read_outcome, searches_in
from tts_utils.tree_search import TreeSearch

PROBLEMS = fakes.problems(5)
NAMES = ("toy", "fake-policy", "fake-prm")
SHIPPED = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture
def data(tmp_path):
    (tmp_path / "problems").mkdir()
    (tmp_path / "problems/toy.jsonl").write_text(fakes.as_jsonl(PROBLEMS), encoding="utf-8")
    return tmp_path


class Blanks(fakes.StepPolicy):
    """Now and then says nothing, or a blank, or is cut."""

    def one(self, state, index, config):
        whole = super().one(state, index, config)
        kind = fakes.draw(state.text, index, "kind") % 7
        if kind < 2 and state.steps:
            return type(whole)(("", " \n\n")[kind], 1, ("eos", "stop")[kind])
        return type(whole)(whole.text[:5], 50, "length") if kind == 2 else whole


@pytest.mark.parametrize("policy", [fakes.StepPolicy, fakes.RepeatingSteps, fakes.CutSteps, Blanks])
@pytest.mark.parametrize(
    "search",
    [
        *(TreeSearch("beam", 16), TreeSearch("dvts", 16), TreeSearch("beam", 6, 2, retire=False)),
        *(TreeSearch("beam", 8, 2, "min"), TreeSearch("beam", 16, distinct=True), TreeSearch("dvts", 9, 3)),
        *(TreeSearch("beam", 16, every=2), TreeSearch("beam", 8, 2, every=40), TreeSearch("particles", 8)),
        *(TreeSearch("beam", 12, 2, every=3), TreeSearch("particles", 8, resampling="multinomial")),
    ],
    ids=lambda search: search.label,
)
@pytest.mark.parametrize("limit", [60, 10**6])
def test_an_outcome_is_what_replaying_gives(data, policy, search, limit):
    prm = fakes.ShortSightedPRM(limit=limit)
    store.fill_searches("toy", policy(), prm, search, data=data)
    results = sorted(store.replay(*NAMES, search, data=data), key=lambda result: result.problem_id)
    for how in ("last", "min", "avg"):
        outcome, pool = read_outcome(*NAMES, search, how, data=data), store.pool_of(results, how)
        size = pool.correct.shape[1]
        for name in pool.__slots__:
            ours = getattr(outcome.pool, name)
            assert np.array_equal(ours if name == "problem_ids" else ours[:, :size], getattr(pool, name)), (
                name
            )
        assert not outcome.pool.correct[:, size:].any() and (outcome.pool.answer_ids[:, size:] == -1).all()
        assert outcome.num_policy_tokens.tolist() == [r.num_policy_tokens for r in results]
        assert outcome.num_prm_tokens.tolist() == [r.num_prm_tokens for r in results]


@pytest.mark.parametrize(
    "search",
    [
        *(TreeSearch("beam", 16), TreeSearch("dvts", 16), TreeSearch("beam", 16, every=2)),
        *(TreeSearch("beam", 12, 2, every=3), TreeSearch("beam", 8, every=40), TreeSearch("particles", 8)),
        TreeSearch("particles", 8, resampling="multinomial"),
    ],
    ids=lambda search: search.label,
)
def test_regular_trees_are_read_without_replaying(data, search, monkeypatch):
    store.fill_searches("toy", fakes.RepeatingSteps(), fakes.ShortSightedPRM(limit=10**6), search, data=data)
    results = sorted(store.replay(*NAMES, search, data=data), key=lambda result: result.problem_id)
    monkeypatch.setattr(searches.SearchSource, "replay", forbidden_replay)
    outcome, pool = read_outcome(*NAMES, search, data=data), store.pool_of(results)
    assert np.array_equal(outcome.pool.answers, pool.answers)
    assert np.array_equal(outcome.pool.scores, pool.scores)


def forbidden_replay(*args, **kwargs):
    raise AssertionError("a regular tree is replayed")


def test_a_smaller_dvts_is_read_from_a_larger(data):
    store.fill_searches("toy", fakes.RepeatingSteps(), fakes.FakePRM(), TreeSearch("dvts", 32), data=data)
    small = TreeSearch("dvts", 8)
    results = sorted(store.replay(*NAMES, small, data=data), key=lambda result: result.problem_id)
    outcome = read_outcome(*NAMES, small, data=data)
    assert outcome.num_prm_tokens.tolist() == [r.num_prm_tokens for r in results]
    assert np.array_equal(outcome.pool.scores, store.pool_of(results).scores)
    ((table, largest),) = searches_in("toy", data)
    assert largest == TreeSearch("dvts", 32) and table.method == "dvts-m4"


# --- verdicts ---


class Fractions(fakes.FakePolicy):
    """Its answers are fractions, of which math knows that some are equal."""

    def one(self, state, index, config):
        text = rf"So \boxed{{{('1/2+x', 'x+1/2', 'x+2/3', '7')[index % 4]}}}."
        return fakes.Continuation(text, len(text), "eos")


def forbidden(*args, **kwargs):
    raise AssertionError("a process is started")


def without_mathematics(monkeypatch):
    """From here on no process can be started, and nothing is remembered."""
    monkeypatch.setattr(subprocess, "Popen", forbidden)
    monkeypatch.setattr(answers, "MATHS", MathProcess())
    monkeypatch.setattr(answers, "VERDICTS", answers.Verdicts())
    verdicts._read.cache_clear()


def test_filling_stores_the_verdicts_that_reading_needs(data, monkeypatch):
    pytest.importorskip("math_verify")
    store.fill_samples("toy", Fractions(), 4, data=data)
    filled = store.read_pool("toy", "fake-policy", data=data)
    assert filled.answer_ids[0].tolist() == [0, 0, 1, 2]
    path = data / verdicts.NAME
    assert '["1/2+x","x+1/2",true]\n' in path.read_text() and store.verify(data) == []
    before = path.read_bytes()
    store.fill_samples("toy", Fractions(), 4, data=data)
    assert path.read_bytes() == before
    without_mathematics(monkeypatch)
    assert np.array_equal(store.read_pool("toy", "fake-policy", data=data).answer_ids, filled.answer_ids)
    path.unlink()
    verdicts._read.cache_clear()
    monkeypatch.setattr(answers, "VERDICTS", answers.Verdicts())
    with pytest.raises(AssertionError, match="a process is started"):
        store.read_pool("toy", "fake-policy", data=data)


def test_damaged_verdicts_are_refused(data):
    pytest.importorskip("math_verify")
    store.fill_samples("toy", Fractions(), 4, data=data)
    path = data / verdicts.NAME
    path.write_text(path.read_text().replace("true", "false"))
    with pytest.raises(store.StoreError, match=r"verdicts\.jsonl"):
        store.read_pool("toy", "fake-policy", data=data)


@pytest.mark.slow
def test_reading_shipped_tables_starts_no_process(monkeypatch):
    without_mathematics(monkeypatch)
    # Searches of other budgets end in many of the same texts, and extracting an answer starts no process.
    monkeypatch.setattr(answers, "extract_answer", functools.cache(answers.extract_answer))
    read = 0
    for path in sorted((SHIPPED / "problems").glob("*.jsonl")):
        dataset = path.stem
        problems = load_problems(dataset, data=SHIPPED)
        for table in files.stored(SHIPPED, "samples", dataset):
            greedy = table.sampling.temperature == 0
            config: SamplingConfig = table.sampling
            source = store.Source(dataset, table.policy, config, greedy, problems, SHIPPED)
            store.pools.read(source)
            read += 1
        for table, search in searches_in(dataset, SHIPPED):
            which = (dataset, table.policy, table.prm, search)
            read_outcome(*which, config=table.sampling, problems=problems, data=SHIPPED)
            read += 1
    assert read > 100
