"""Stored tables: what is written comes back; nothing finished is lost; nothing wrong is read in silence."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import apart, fakes
from tts_utils import hashes, mdp, store
from tts_utils.protocols import BadScores
from tts_utils.records import SamplingConfig
from tts_utils.store import DamagedTable, ForeignTable, PoolTooSmall, StoreError, StoreMiss, Table, manifest
from tts_utils.store import files as table_files
from tts_utils.store.tables import escape, unescape
from tts_utils.voting import NO_SCORE, select

PROBLEMS = fakes.problems(5)
CONFIG = SamplingConfig()
TABLE = Table("samples", "toy", "fake-policy", CONFIG)
SCORES = Table("step_scores", "toy", "fake-policy", CONFIG, prm="fake-prm")


def make_data(folder: Path) -> Path:
    (folder / "problems").mkdir(parents=True)
    (folder / "problems/toy.jsonl").write_text(fakes.as_jsonl(PROBLEMS), encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / "data")


def fill(data, n=4, policy=None, **more):
    return store.fill_samples("toy", policy or fakes.FakePolicy(), n, data=data, **more)


def fill_scores(data, prm=None, **more):
    return store.fill_step_scores(TABLE, prm or fakes.FakePRM(), data=data, **more)


def read(data, **more):
    return store.read_samples("toy", "fake-policy", data=data, **more)


# --- what is written comes back ---


def test_samples_come_back_as_the_policy_gave_them(data):
    filled = fill(data, 3)
    assert (filled.added, filled.rows, filled.path) == (15, 15, TABLE.path(data))
    frame = read(data)
    assert list(frame.columns) == [
        *(
            "policy",
            "dataset",
            "problem_id",
            "sample",
            "text",
            "num_tokens",
            "finish_reason",
            "answer",
            "correct",
        )
    ]
    policy = fakes.FakePolicy()
    rows = iter(frame.itertuples())
    for problem in PROBLEMS:
        for i in range(3):
            row, wanted = next(rows), policy.one(mdp.initial_state(problem), i, CONFIG)
            assert (row.policy, row.dataset, row.problem_id, row.sample) == (
                "fake-policy",
                "toy",
                problem.problem_id,
                i,
            )
            assert (row.text, row.num_tokens, row.finish_reason) == (wanted.text, wanted.num_tokens, "eos")
            assert f"\\boxed{{{row.answer}}}" in row.text and row.correct == (row.answer == problem.answer)
    assert not TABLE.parts(data).exists()


def test_pandas_opens_the_file_directly(data):
    frame = pd.read_parquet(fill(data, 2).path)
    assert frame["text"].tolist() == read(data)["text"].tolist() and frame["correct"].dtype == bool


def test_a_name_and_its_hash_do_not_change():
    """Shipped tables are found by these names: a change here orphans them."""
    table = Table("samples", "lab-500", "lab-llama-s", SamplingConfig())
    assert table.relative == "samples/lab-500/lab-llama-s/t0.7-2053d87c.parquet"
    greedy = Table(
        "step_scores", "lab-500", "org/model", SamplingConfig(temperature=0), prm="lab-math-shepherd"
    )
    assert greedy.relative == "step_scores/lab-500/org--model/lab-math-shepherd/t0-2e0e8376.parquet"


def test_every_setting_is_part_of_the_name():
    tables = [
        TABLE,
        SCORES,
        Table("step_labels", "toy", "fake-policy", CONFIG),
        Table("samples", "toy2", "fake-policy", CONFIG),
        Table("samples", "toy", "fake/policy", CONFIG),
        Table("samples", "toy", "fake--policy", CONFIG),
        Table("searches", "toy", "fake-policy", CONFIG, prm="fake-prm", method="beam-n4-m2"),
        *(
            Table("samples", "toy", "fake-policy", SamplingConfig(**{key: value}))
            for key, value in {
                **{"temperature": 0.8, "top_p": 0.9, "max_tokens": 99, "stop": ("\n",), "seed": 1},
            }.items()
        ),
    ]
    assert len({table.config_sha256 for table in tables}) == len({t.relative for t in tables}) == len(tables)


def test_seed_and_top_p_do_nothing_at_temperature_0():
    a, b = (
        Table("samples", "toy", "p", SamplingConfig(0, top_p, 64, (), seed))
        for top_p, seed in [(1, 0), (0.5, 9)]
    )
    assert a == b and a.relative == b.relative
    assert a != Table("samples", "toy", "p", SamplingConfig(0, 1.0, 65))


@pytest.mark.parametrize("name", ["..", ".", "/", ""])
def test_a_name_that_is_no_name_is_refused(name, tmp_path):
    with pytest.raises(StoreError):
        table = Table("samples", name or "/", "p", CONFIG)
        assert tmp_path in table.path(tmp_path).resolve().parents
        raise AssertionError(table.relative)


TRICKY = [
    "",
    "\0",
    "a\0b",
    "\ud83d",
    "\ude00\ud83d",
    "😀",
    "\U0010fffd",
    "\U0010fffdd83d",
    "\r\n\u2028",
    "\ufeff x \t",
]


@pytest.mark.parametrize("text", TRICKY)
def test_tricky_texts_survive_the_escape(text):
    assert unescape(escape(text)) == text
    escape(text).encode("utf-8")


@given(st.text(st.characters(blacklist_categories=[]), max_size=50))
def test_any_text_survives_the_escape(text):
    stored = escape(text)
    assert unescape(stored) == text
    assert stored.encode("utf-8").decode("utf-8") == stored
    if not re.search("[\ud800-\udfff\U0010fffd]", text):
        assert stored == text


def test_tricky_texts_survive_the_file(data):
    texts = (*TRICKY, "\\boxed{\ud83d\0}", "\\boxed{5} \udcff")
    fill(data, len(texts), fakes.Saying(texts=texts))
    frame = read(data)
    assert frame["text"].tolist() == list(texts) * len(PROBLEMS)
    assert frame["answer"].tolist()[-2:] == ["\ud83d\0", "5"]


def test_scores_come_back_to_the_last_bit(data):
    fill(data, 6)
    fill_scores(data)
    frame = store.read_step_scores("toy", "fake-policy", "fake-prm", data=data)
    samples = read(data)
    by_id = {p.problem_id: p for p in PROBLEMS}
    for row, text in zip(frame.itertuples(), samples["text"], strict=True):
        wanted = fakes.FakePRM().one(mdp.state_of(by_id[row.problem_id], text))
        assert (tuple(row.scores), row.num_prm_tokens) == (wanted.scores, wanted.num_tokens)
    assert list(frame.columns) == [
        *("prm", "policy", "dataset", "problem_id", "sample", "scores", "num_prm_tokens")
    ]


def test_cut_unboxed_and_empty_completions_stay_visible(data):
    for policy in (fakes.Truncating(name="cut"), fakes.Unboxed(name="unboxed"), fakes.Silent(name="silent")):
        fill(data, 2, policy)
        frame = store.read_samples("toy", policy.name, data=data)
        assert len(frame) == 10 and set(frame["answer"]) == {""} and not frame["correct"].any()
    assert set(store.read_samples("toy", "cut", data=data)["finish_reason"]) == {"length"}


# --- batches, growth, resuming ---


def test_greedy_copies_are_refused(data):
    greedy, policy = SamplingConfig(temperature=0), fakes.Counting()
    with pytest.raises(StoreError, match=r"the same sample every time, so 2 .*n = 1"):
        fill(data, 2, policy, config=greedy)
    assert policy.calls == [] and fill(data, 1, policy, config=greedy).rows == 5


@pytest.mark.parametrize("batch_size", [1, 3, 7, 16, 1000])
def test_rows_and_bytes_do_not_depend_on_batches(data, tmp_path, batch_size):
    whole = fill(make_data(tmp_path / "other"), 20).path.read_bytes()
    assert fill(data, 20, batch_size=batch_size).path.read_bytes() == whole


def test_batches_are_no_larger_than_asked(data):
    policy = fakes.Counting()
    fill(data, 20, policy, batch_size=7)
    assert max(len(ids) * n for ids, n, _ in policy.calls) <= 7


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 5), st.integers(1, 40)), max_size=4))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pool_grows_in_any_way_to_the_same_bytes(tmp_path, steps):
    folder = Path(tmp_path / f"{time.time_ns()}")
    data, other = make_data(folder / "a"), make_data(folder / "b")
    for n, limit, batch_size in steps:
        fill(data, n, limit=limit, batch_size=batch_size)
    policy = fakes.Counting()
    assert fill(data, 20, policy).path.read_bytes() == fill(other, 20).path.read_bytes()
    # and no row was made twice
    there = {(p, i) for n, limit, _ in steps for p in range(limit) for i in range(n)}
    assert sum(len(ids) * n for ids, n, _ in policy.calls) == 100 - len(there)
    assert store.verify(data) == []


def test_a_full_pool_asks_nothing_and_changes_nothing(data):
    path = fill(data, 8).path
    before = path.stat().st_mtime_ns, (data / manifest.NAME).read_text()
    policy = fakes.Counting()
    assert fill(data, 8, policy).added == fill(data, 3, policy).added == 0
    assert policy.calls == [] and len(read(data)) == 40
    assert (path.stat().st_mtime_ns, (data / manifest.NAME).read_text()) == before


def test_a_failing_policy_loses_only_its_batch(data, tmp_path):
    for call in (3, 2):
        with pytest.raises(RuntimeError, match="fails"):
            fill(data, 20, fakes.Counting(fail_on=call), batch_size=8)
    policy = fakes.Counting()
    filled = fill(data, 20, policy, batch_size=8)
    done = 100 - sum(len(ids) * n for ids, n, _ in policy.calls)
    assert done == 8 * 2 + 8 * 1 and filled.added == 100 - done
    assert filled.path.read_bytes() == fill(make_data(tmp_path / "other"), 20).path.read_bytes()


class Crash(BaseException):
    """Stands in for SIGKILL: nothing in the package catches it."""


def crash_at(monkeypatch, where: int, after: bool) -> None:
    """Crash at the where-th change of a file, just before or just after it."""
    count = 0

    def wrap(function):
        def wrapped(*args, **kwargs):
            nonlocal count
            count += 1
            if count == where and not after:
                raise Crash
            result = function(*args, **kwargs)
            if count == where:
                raise Crash
            return result

        return wrapped

    monkeypatch.setattr(os, "replace", wrap(os.replace))
    monkeypatch.setattr(os, "fsync", wrap(os.fsync))
    monkeypatch.setattr(shutil, "rmtree", wrap(shutil.rmtree))


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_any_change_of_a_file_is_mended(tmp_path, after):
    wanted = fill(make_data(tmp_path / "whole"), 6).path.read_bytes()
    crashes = 0
    for where in range(1, 100):
        data = make_data(tmp_path / f"{where}")
        fill(data, 2)  # so that a table is there to be replaced
        with pytest.MonkeyPatch.context() as patch:
            crash_at(patch, where, after)
            try:
                fill(data, 6, batch_size=12)
            except Crash:
                crashes += 1
            else:
                break
        before = read(data, n=2)  # finished rows are readable at once
        assert before["text"].tolist() == read(data, n=2, live=fakes.Counting(fail_on=1))["text"].tolist()
        assert fill(data, 6, batch_size=12).path.read_bytes() == wanted
        assert store.verify(data) == []
        assert not TABLE.parts(data).exists()
    assert crashes >= 10


def start(data: Path, *words: str, seconds: float) -> apart.Apart:
    """``tts sample`` of the toy problems in a process of its own."""
    arguments = ["sample", "--policy", "fake-policy", "--dataset", "toy", *words]
    printed = data.parent / f"printed-{next(COUNT)}"
    return apart.start(arguments, data, printed, seconds)


COUNT = itertools.count()


def wait_for_parts(data: Path, run: apart.Apart, count: int) -> None:
    limit = time.monotonic() + 120
    while run.process.is_alive() and len(list(TABLE.parts(data).glob("[!.]*.parquet"))) < count:
        assert time.monotonic() < limit, "the process stores nothing"
        time.sleep(0.002)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_at_three_random_moments_then_resumed_is_the_same_to_the_byte(data, tmp_path):
    moments = random.Random()
    words = ("--n", "20", "--batch-size", "2")  # 50 batches
    for round_ in range(3):
        run = start(data, *words, seconds=0.02)
        wait_for_parts(data, run, 12 * round_ + 1)
        time.sleep(moments.uniform(0, 0.15))
        run.process.kill()
        assert run.end() == -signal.SIGKILL, "it had ended before it was killed"
    kept = len(table_files.load(TABLE, data))
    assert 0 < kept < 100
    run = start(data, *words, seconds=0)
    assert run.end() == 0, run.text
    assert f"100 rows, {100 - kept} of them new" in run.text
    assert TABLE.path(data).read_bytes() == fill(make_data(tmp_path / "other"), 20).path.read_bytes()
    assert not TABLE.parts(data).exists() and store.verify(data) == []


def test_two_processes_share_one_table(data, tmp_path):
    words = ("--n", "20", "--batch-size", "2")
    both = [start(data, *words, seconds=0.02) for _ in range(2)]
    assert [run.end() for run in both] == [0, 0], [run.text for run in both]
    # Every batch was made by one of them, once.
    assert sum(int(re.search(r"(\d+) of them new", run.text)[1]) for run in both) == 100
    assert TABLE.path(data).read_bytes() == fill(make_data(tmp_path / "other"), 20).path.read_bytes()
    assert store.verify(data) == []


# --- step scores and step labels ---


def test_each_distinct_text_is_scored_once_and_fanned_out(data):
    fill(data, 8, fakes.Repeating())
    prm = fakes.FakePRM()
    assert fill_scores(data, prm, batch_size=4).rows == 40
    assert sorted(text for call in prm.calls for text in call) == sorted(set(read(data)["text"]))
    frame = store.read_step_scores("toy", "fake-policy", "fake-prm", data=data)
    assert frame["scores"][0] == frame["scores"][2] != frame["scores"][1]


def test_scores_of_a_grown_pool_reuse_what_is_stored(data, tmp_path):
    fill(data, 4, fakes.Repeating())
    fill_scores(data)
    fill(data, 8, fakes.Repeating())
    prm = fakes.FakePRM()
    grown = fill_scores(data, prm)
    assert prm.calls == [] and (grown.added, grown.rows) == (20, 40)
    other = make_data(tmp_path / "other")
    fill(other, 8, fakes.Repeating())
    assert fill_scores(other, batch_size=3).path.read_bytes() == grown.path.read_bytes()


def test_scoring_resumes_after_a_failure(data, tmp_path):
    fill(data, 8)
    with pytest.raises(RuntimeError, match="fails"):
        fill_scores(data, fakes.FakePRM(fail_on=3), batch_size=5)
    prm = fakes.FakePRM()
    resumed = fill_scores(data, prm, batch_size=5)
    assert sum(map(len, prm.calls)) == len(set(read(data)["text"])) - 10
    other = make_data(tmp_path / "other")
    fill(other, 8)
    assert fill_scores(other).path.read_bytes() == resumed.path.read_bytes()


def test_empty_completions_have_no_scores_and_cost_nothing(data):
    fill(data, 2, fakes.Silent())
    prm = fakes.FakePRM()
    fill_scores(data, prm)
    frame = store.read_step_scores("toy", "fake-policy", "fake-prm", data=data)
    assert prm.calls == [] and frame["scores"].tolist() == [[]] * 10 and set(frame["num_prm_tokens"]) == {0}
    pool = store.read_pool("toy", "fake-policy", "fake-prm", data=data)
    assert (pool.scores == NO_SCORE).all() and (pool.answer_ids == -1).all()
    assert fill_scores(data).unscored == 0  # there was nothing to score


LONG, SHORT = r"By a long way round we find that it is \boxed{5}.", r"\boxed{7}"


def test_a_sample_that_is_too_long_for_the_prm_blocks_no_table_and_casts_no_vote(data):
    fill(data, 4, fakes.Saying(texts=(LONG, SHORT, LONG, LONG + "\n\nIndeed.")))
    prm = fakes.ShortSightedPRM(limit=20)
    filled = fill_scores(data, prm, batch_size=2)
    assert (filled.added, filled.rows, filled.unscored) == (20, 20, 15)
    again = fill_scores(data, fakes.ShortSightedPRM(limit=20, fail_on=1))
    assert (again.added, again.rows, again.unscored) == (0, 20, 15)  # not asked again, and still said
    assert fill_scores(data, limit=2).unscored == 6
    frame = store.read_step_scores("toy", "fake-policy", "fake-prm", data=data)
    assert [len(s) for s in frame["scores"]] == [0, 1, 0, 0] * 5
    assert frame["num_prm_tokens"].tolist() == [0, len(SHORT), 0, 0] * 5
    for how in ("min", "last", "avg"):
        pool = store.read_pool("toy", "fake-policy", "fake-prm", how, data=data)
        assert ((pool.scores == NO_SCORE) == [True, False, True, True]).all() and pool.scores[:, 1].all()
        assert (select(pool.answer_ids, pool.scores, "prm_vote") == 1).all()
        assert (select(pool.answer_ids, pool.scores, "prm_max") == 1).all()
    assert (select(pool.answer_ids, pool.scores, "majority") == 0).all()
    assert store.verify(data) == []


def test_a_grown_pool_of_long_samples_reuses_what_is_known(data):
    fill(data, 2, fakes.Saying(texts=(LONG, SHORT)))
    fill_scores(data, fakes.ShortSightedPRM(limit=20))
    fill(data, 6, fakes.Saying(texts=(LONG, SHORT)))
    prm = fakes.ShortSightedPRM(limit=20)
    filled = fill_scores(data, prm)
    assert prm.calls == [] and (filled.added, filled.rows, filled.unscored) == (20, 30, 15)


@pytest.mark.parametrize("prm", [fakes.MiscountingPRM(), fakes.NaNPRM()])
def test_bad_scores_are_not_stored(data, prm):
    fill(data, 2)
    with pytest.raises(BadScores, match="p00"):
        fill_scores(data, prm)
    with pytest.raises(StoreMiss, match="tts score --prm fake-prm --policy fake-policy --dataset toy"):
        store.read_step_scores("toy", "fake-policy", "fake-prm", data=data)


def test_scores_for_other_texts_are_refused(data):
    fill(data, 2, fakes.Repeating())
    rows = [
        {"problem_id": p.problem_id, "sample": 0, "scores": [0.5] * 7, "num_prm_tokens": 1} for p in PROBLEMS
    ]
    table_files.append(SCORES, rows, data)
    fill(data, 4, fakes.Repeating())  # sample 2 has the text of sample 0
    with pytest.raises(ForeignTable, match=r"7 step scores.* 2 steps"):
        fill_scores(data)


def test_step_labels(data):
    fill(data, 3)
    filled = store.fill_step_labels(
        TABLE, lambda problem, steps: ["sample 1" not in step for step in steps], data=data
    )
    frame = store.read_step_labels("toy", "fake-policy", data=data)
    assert filled.rows == 15 and frame["labels"].tolist() == [[True, True], [False, True], [True, True]] * 5
    with pytest.raises(StoreError, match="0 verdicts on the 2 steps"):
        fill(data, 4)
        store.fill_step_labels(TABLE, lambda problem, steps: [], data=data)


# --- misses ---


def test_nothing_stored_names_the_command(data):
    with pytest.raises(StoreMiss, match=r"tts sample --policy fake-policy --dataset toy --n 64$"):
        read(data)
    with pytest.raises(StoreMiss, match=r"tts sample --policy fake-policy --dataset toy --greedy$"):
        read(data, greedy=True)
    config = SamplingConfig(temperature=1.0, max_tokens=99, seed=3)
    with pytest.raises(StoreMiss, match=r"--n 5 --temperature 1 --seed 3 --max-tokens 99$"):
        read(data, config=config, n=5)
    fill(data)
    with pytest.raises(StoreMiss, match=r"there are: fake-policy\).*--policy 'a policy'"):
        store.read_samples("toy", "a policy", data=data)


def test_n_beyond_the_pool(data):
    fill(data, 4)
    with pytest.raises(PoolTooSmall, match=r"n = 5 .* 4 samples .*tts sample .* --n 5"):
        read(data, n=5)
    assert isinstance(PoolTooSmall("x"), ValueError)
    fill_scores(data)
    with pytest.raises(PoolTooSmall, match=r"tts sample .* --n 9 && tts score"):
        store.read_step_scores("toy", "fake-policy", "fake-prm", n=9, data=data)
    for n in (0, -1):
        with pytest.raises(StoreError, match="at least 1"):
            read(data, n=n)


def test_a_hole_is_a_miss_with_its_place(data):
    fill(data, 4)
    rows = table_files.load(TABLE, data)
    shutil.rmtree(data / "samples")
    (data / manifest.NAME).unlink()
    table_files.append(TABLE, [r for i, r in enumerate(rows.to_pylist()) if i != 6], data)  # p001, sample 2
    table_files.compact(TABLE, data)
    with pytest.raises(StoreMiss, match=r"1 of the first 4 samples .* 1 of 5 problems .*'p001' has 3"):
        read(data)
    assert len(read(data, n=2)) == 10
    assert fill(data, 4).added == 1 and len(read(data)) == 20


def test_problems_without_samples_are_missed_and_can_be_left_out(data):
    fill(data, 2, limit=3)
    with pytest.raises(StoreMiss, match=r"2 of 5 problems .*'p003' has 0"):
        read(data)
    assert set(read(data, problems=PROBLEMS[1:3])["problem_id"]) == {"p001", "p002"}


def test_without_a_problem_file_the_table_says_which_problems(data):
    fill(data, 2, limit=3)
    (data / "problems/toy.jsonl").unlink()
    assert len(read(data)) == 6


def test_a_live_policy_and_a_live_prm_fill_what_is_missing(data):
    fill(data, 2)
    policy, prm = fakes.Counting(), fakes.FakePRM()
    assert len(read(data, n=4, live=policy)) == 20
    assert sum(len(ids) * n for ids, n, _ in policy.calls) == 10
    assert len(store.read_step_scores("toy", "fake-policy", "fake-prm", live=prm, data=data)) == 20
    assert fill(data, 6, only={"p001"}).added == 2
    assert len(read(data, n=7, live=policy, problems=PROBLEMS[1:3])) == 14
    assert len(table_files.load(TABLE, data)) == 5 * 4 + 2 * 3
    with pytest.raises(StoreError, match="'other'"):
        read(data, n=8, live=fakes.FakePolicy(name="other"))


def test_which_table_is_meant(data):
    hot, cold = SamplingConfig(temperature=1.0), SamplingConfig(temperature=0.0)
    fill(data, 2, config=hot)
    fill(data, 1, config=cold)
    assert store.find_table("samples", "toy", "fake-policy", data=data).sampling == hot
    assert store.find_table("samples", "toy", "fake-policy", greedy=True, data=data).sampling == cold
    fill(data, 2, config=SamplingConfig(temperature=1.2))
    with pytest.raises(StoreError, match=r"several .*temperature=1.0.*temperature=1.2"):
        read(data)
    fill(data, 3)
    assert len(read(data)) == 15 and len(read(data, config=hot)) == 10 and len(read(data, greedy=True)) == 5
    with pytest.raises(StoreError, match="greedy"):
        read(data, config=hot, greedy=True)


# --- damage and foreign files ---


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
@pytest.mark.parametrize("how", ["cut", "empty", "garbage", "flipped data", "flipped footer", "lfs pointer"])
def test_a_damaged_table_is_refused_by_name(data, how, listed):
    path = fill(data, 40).path
    size = path.stat().st_size
    if how == "cut":
        path.write_bytes(path.read_bytes()[: size // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "garbage":
        path.write_bytes(b"PAR1" + bytes(range(256)) + b"PAR1")
    elif how == "lfs pointer":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    else:
        flip(path, size // 3 if how == "flipped data" else size - 8)  # the footer's length
    if not listed:
        (data / manifest.NAME).unlink()
    for use in (lambda: read(data), lambda: fill(data, 41), lambda: read(data, config=CONFIG)):
        with pytest.raises((DamagedTable, ForeignTable), match=re.escape(str(path))):
            use()
    before = path.read_bytes()
    assert any(str(path) in message for message in store.verify(data)) or not listed
    assert path.read_bytes() == before  # refused, not repaired over


def test_a_damaged_part_is_refused_by_name(data):
    with pytest.raises(RuntimeError):
        fill(data, 4, fakes.Counting(fail_on=3), batch_size=4)
    part = sorted(TABLE.parts(data).glob("*.parquet"))[0]
    part.write_bytes(part.read_bytes()[:-30])
    with pytest.raises(DamagedTable, match=re.escape(str(part))):
        fill(data, 4)


def test_a_table_of_another_configuration_under_this_name(data):
    other = fill(data, 4, config=SamplingConfig(temperature=1.0)).path
    path = fill(data, 4).path
    shutil.copy(other, path)
    with pytest.raises((ForeignTable, DamagedTable), match=re.escape(str(path))):
        read(data, config=CONFIG)
    (data / manifest.NAME).unlink()
    for use in (lambda: read(data), lambda: read(data, config=CONFIG), lambda: fill(data, 8)):
        with pytest.raises(ForeignTable, match=r'"temperature":1.0.*belongs at samples/toy'):
            use()


def test_a_parquet_file_of_someone_else(data):
    path = fill(data, 4).path
    frame = pd.read_parquet(path)
    frame.to_parquet(path)
    (data / manifest.NAME).unlink()
    with pytest.raises(ForeignTable, match="carries no configuration"):
        read(data)


def test_other_columns_are_refused(data):
    path = fill(data, 4).path
    rows = pq.read_table(path)
    at = rows.schema.get_field_index("num_tokens")
    pq.write_table(rows.set_column(at, "num_tokens", rows["num_tokens"].cast(pa.int64())), path)
    (data / manifest.NAME).unlink()
    with pytest.raises(ForeignTable, match="num_tokens"):
        read(data)


def test_a_forged_configuration_is_refused(data):
    path = fill(data, 4).path
    rows = pq.read_table(path)
    metadata = dict(rows.schema.metadata)
    metadata[b"tts.config"] = metadata[b"tts.config"].replace(b"0.7", b"0.8")
    pq.write_table(rows.replace_schema_metadata(metadata), path)
    (data / manifest.NAME).unlink()
    with pytest.raises(ForeignTable, match="hash disagree"):
        read(data)


def test_rows_of_other_problems_are_not_mixed_in(data):
    fill(data, 2)
    changed = fakes.as_jsonl(PROBLEMS).replace("What is 102?", "What is 51 + 51?")
    (data / "problems/toy.jsonl").write_text(changed, encoding="utf-8")
    with pytest.raises(ForeignTable, match="problems_sha256"):
        fill(data, 4)
    with pytest.raises(ForeignTable, match="problems_sha256"):
        fill_scores(data)


def test_rows_of_another_version_of_a_model_are_not_mixed_in(data):
    old, new = fakes.FakePolicy(), fakes.FakePolicy()
    old.revision, new.revision = "aaa", "bbb"
    fill(data, 2, old)
    with pytest.raises(ForeignTable, match="policy_revision is aaa, now bbb"):
        fill(data, 4, new)
    fill(data, 4, old)
    prm = fakes.FakePRM()
    prm.revision = "ccc"
    entry = json.loads((data / manifest.NAME).read_text())["files"]
    fill_scores(data, prm)
    entry = json.loads((data / manifest.NAME).read_text())["files"][SCORES.relative]
    assert entry["sources"]["policy_revision"] == "aaa" and entry["sources"]["prm_revision"] == "ccc"


def test_a_model_that_names_no_version_is_another_one(data):
    def version(model, revision):
        model.revision = revision
        return model

    fill(data, 2, version(fakes.FakePolicy(), "aaa"))
    with pytest.raises(ForeignTable, match="policy_revision is aaa, now not stated"):
        fill(data, 4)
    fill_scores(data, version(fakes.FakePRM(), "ccc"))
    with pytest.raises(ForeignTable, match="prm_revision is ccc, now not stated"):
        fill_scores(data)
    nameless = {"config": SamplingConfig(seed=1)}
    fill(data, 2, **nameless)
    with pytest.raises(ForeignTable, match="policy_revision is not stated, now aaa"):
        fill(data, 4, version(fakes.FakePolicy(), "aaa"), **nameless)
    assert fill(data, 4, **nameless).added == 10


def test_parts_of_two_models_are_not_compacted_into_one_table(data):
    fill(data, 1)
    rows = table_files.load(TABLE, data).to_pylist()
    shutil.rmtree(data / "samples")
    part = table_files.append(TABLE, rows[:2], data, sources={"problems_sha256": "p", "policy_revision": "a"})
    other = table_files.append(TABLE, rows[2:], data, sources={"problems_sha256": "p"})
    with pytest.raises(ForeignTable, match="policy_revision is not stated, now a"):
        table_files.compact(TABLE, data)
    other.unlink()
    table_files.append(TABLE, rows[2:], data, sources={"policy_revision": "a"})
    table_files.compact(TABLE, data)
    assert not part.exists()
    assert table_files.sources(TABLE, data) == {"problems_sha256": "p", "policy_revision": "a"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0123456789abcdef", "0123456789abcdef vllm"),
        ("f" * 40, "f" * 40 + " server"),
        ("f" * 64, "f" * 63 + "e"),
    ],
)
def test_two_versions_that_begin_alike_are_told_apart_with_a_way_out(data, old, new):
    policy = fakes.FakePolicy()
    policy.revision = old
    path = fill(data, 2, policy).path
    seconds = manifest.load(data)[TABLE.relative]["seconds"]
    policy.revision = new
    with pytest.raises(ForeignTable) as refused:
        fill(data, 4, policy)
    assert f"policy_revision is {old}, now {new}; " in str(refused.value)
    assert "another backend is another source" in str(refused.value)
    policy.name = "another name"
    assert fill(data, 4, policy).added == 20
    policy.name = "fake-policy"
    entries = manifest.load(data)
    manifest.save_entries(data, {TABLE.relative: {**entries[TABLE.relative], "seconds": seconds + 1000}})
    path.rename(data / "moved away.parquet")
    assert fill(data, 4, policy).added == 20 and store.verify(data) == []
    assert manifest.load(data)[TABLE.relative]["seconds"] < 1000  # of the new table alone


def test_bad_rows_are_refused_with_their_column(data):
    row = {
        "problem_id": "p000",
        "sample": 0,
        "text": "x",
        "num_tokens": 1,
        "finish_reason": "eos",
        "answer": "",
    }
    for bad in ({}, {"correct": None}, {"correct": "yes"}):
        with pytest.raises(StoreError, match="'correct'"):
            table_files.append(TABLE, [{**row, **bad}], data)
    assert not TABLE.parts(data).exists()


# --- arrays ---


def test_pivot_by_hand():
    samples = pd.DataFrame(
        [
            ("b", 0, "7", True, 10),
            ("b", 1, "", False, 11),
            ("b", 2, "7.0", True, 12),
            ("a", 1, "4", False, 21),
            ("a", 0, "3", False, 20),
            ("a", 2, "3", False, 22),
        ],
        columns=["problem_id", "sample", "answer", "correct", "num_tokens"],
    )
    scores = pd.DataFrame(
        [
            ("a", 0, [0.5, 0.9], 1),
            ("a", 1, [0.2], 2),
            ("a", 2, [1.0, 0.4], 3),
            ("a", 3, [0.0], 9),
            ("b", 2, [0.75, 0.25], 6),
            ("b", 1, [], 5),
            ("b", 0, [0.5], 4),
        ],
        columns=["problem_id", "sample", "scores", "num_prm_tokens"],
    )
    pool = store.pivot(samples, scores, "min")
    assert pool.problem_ids == ("a", "b")
    assert pool.answers.tolist() == [["3", "4", "3"], ["7", "", "7.0"]]
    assert pool.answer_ids.tolist() == [[0, 1, 0], [0, -1, 0]]
    assert pool.correct.tolist() == [[False] * 3, [True, False, True]]
    assert pool.num_tokens.tolist() == [[20, 21, 22], [10, 11, 12]]
    assert pool.scores.tolist() == [[0.5, 0.2, 0.4], [0.5, NO_SCORE, 0.25]]
    assert pool.num_prm_tokens.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert store.with_scores(pool, scores, "last").scores.tolist() == [[0.9, 0.2, 0.4], [0.5, NO_SCORE, 0.25]]
    assert store.pivot(samples).scores is None
    assert store.pivot(samples).num_prm_tokens is None
    with pytest.raises(store.Incomplete, match=r"1 samples .*\('b', 0\)") as miss:
        store.pivot(samples, scores[:-1])
    assert (miss.value.complete, miss.value.of) == (1, 2)
    for broken in (samples[:-1], samples[samples["sample"] > 0]):
        with pytest.raises(StoreError, match="samples 0"):
            store.pivot(broken)


def test_counts_of_which_one_is_unknown_are_no_counts():
    samples = pd.DataFrame({"problem_id": ["a", "a", "b", "b"], "sample": [0, 1, 0, 1], "answer": "3"})
    samples = samples.assign(correct=True, num_tokens=[20, 21, 22, -1])
    scores = samples[["problem_id", "sample"]].assign(scores=[[0.5]] * 4, num_prm_tokens=[-1, 5, 5, 5])
    pool = store.pivot(samples, scores)
    assert pool.num_tokens is None and pool.num_prm_tokens is None and pool.scores.tolist() == [[0.5] * 2] * 2
    known = store.pivot(samples[:2], scores)
    assert known.num_tokens.tolist() == [[20, 21]] and known.num_prm_tokens is None
    scores["num_prm_tokens"] = 0
    assert store.with_scores(pool, scores, "last").num_prm_tokens.tolist() == [[0, 0], [0, 0]]


def test_read_pool_takes_the_first_n(data):
    fill(data, 6)
    fill_scores(data)
    whole = store.read_pool("toy", "fake-policy", "fake-prm", "avg", data=data)
    part = store.read_pool("toy", "fake-policy", "fake-prm", "avg", n=4, data=data)
    assert whole.correct.shape == (5, 6)
    for name in ("correct", "scores", "num_tokens", "num_prm_tokens", "answer_ids"):
        assert np.array_equal(getattr(whole, name)[:, :4], getattr(part, name))


# --- manifest and verify ---


def test_provenance_stands_in_the_manifest_and_not_in_the_table(data):
    fill(data, 2)
    fill(data, 4)
    entry = manifest.load(data)[TABLE.relative]
    assert (entry["rows"], entry["bytes"]) == (20, TABLE.path(data).stat().st_size)
    assert entry["config"] == TABLE.config and entry["config_sha256"] == TABLE.config_sha256
    assert {"code_version", "hardware", "date", "seconds", "sources"} <= set(entry)
    assert "next_sha256" not in entry
    metadata = pq.read_schema(TABLE.path(data)).metadata
    assert set(metadata) == {b"tts.config", b"tts.config_sha256", b"tts.schema_version", b"tts.sources"}


def test_other_files_are_recorded_and_verified(data):
    path = data / "problems/toy.jsonl"
    store.record_files([path], data=data, command="made by hand")
    assert manifest.load(data)["problems/toy.jsonl"]["command"] == "made by hand"
    assert store.verify(data) == []
    path.write_text(path.read_text() + "\n")
    assert len(store.verify(data)) == 1 and str(path) in store.verify(data)[0]
    path.unlink()
    assert store.verify(data) == [f"{path} is missing"]


def test_verify_names_every_bad_file(data):
    assert "manifest.json" in store.verify(data)[0]
    first = fill(data, 2).path
    second = fill(data, 2, config=SamplingConfig(seed=1)).path
    assert store.verify(data) == []
    stray = first.with_name("t9-00000000.parquet")
    shutil.copy(first, stray)
    first.unlink()
    flip(second, 100)
    assert [
        next(p for p in (first, second, stray) if str(p) in m) for m in sorted(store.verify(data))
    ] == sorted([first, second, stray])


def test_verify_reads_the_tables_and_not_only_their_hashes(data):
    fill(data, 2)
    path = data / manifest.NAME
    whole = json.loads(path.read_text())
    for change in ({"rows": 11}, {"config_sha256": "0" * 64}, {"config": {**TABLE.config, "policy": "x"}}):
        whole["files"][TABLE.relative] |= change
        path.write_text(json.dumps(whole))
        assert len(store.verify(data)) == 1, change
        whole["files"][TABLE.relative] |= {
            "rows": 10,
            "config_sha256": TABLE.config_sha256,
            "config": TABLE.config,
        }


def test_parts_of_a_table_in_the_making_are_not_bad(data):
    fill(data, 2)
    with pytest.raises(RuntimeError):
        fill(data, 8, fakes.Counting(fail_on=3), batch_size=4)
    assert TABLE.parts(data).exists() and store.verify(data) == []


def test_a_damaged_manifest_is_named(data):
    fill(data, 2)
    for text in ("{", "[]", '{"files": {"a": {}}}', '{"files": {"a": {"sha256": 1}}}'):
        (data / manifest.NAME).write_text(text)
        with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
            read(data)


# --- beside other processes


def test_a_table_that_another_process_compacts_meanwhile_is_counted_and_listed(data, monkeypatch):
    """Its parts are listed, and gone as they are opened: what drives a cluster looks all the time."""
    with monkeypatch.context() as patched:
        patched.setattr(table_files, "compact", lambda table, data: table.path(data))
        patched.setattr(store.verdicts, "settle_samples", lambda *facts: None)
        fill(data)
    compact = table_files.compact
    for look, wanted in (
        (lambda: table_files.stored_rows(TABLE, data), 20),
        (lambda: table_files.stored(data, "samples", "toy"), [TABLE]),
        (lambda: "problems_sha256" in table_files.sources(TABLE, data), True),
    ):
        opened = table_files.check_file

        def check_file(path, table=None, opened=opened):
            if path.parent.suffix == ".parts" and path.exists():
                monkeypatch.setattr(table_files, "check_file", opened)
                compact(TABLE, data)
            return opened(path, table)

        shutil.copytree(data, data.with_name("before"), dirs_exist_ok=True)
        monkeypatch.setattr(table_files, "check_file", check_file)
        assert look() == wanted
        assert not TABLE.parts(data).exists()
        shutil.rmtree(data)
        shutil.move(data.with_name("before"), data)


def test_a_file_that_another_process_replaces_while_it_is_hashed_is_not_damaged(data, monkeypatch):
    fill(data)
    real, turns = hashes.sha256_of, []

    def sha256_of(path):
        if len(turns) < 2 and path == TABLE.path(data):
            turns.append(path)
            with monkeypatch.context() as patched:  # what it hashes itself is hashed in peace
                patched.setattr(hashes, "sha256_of", real)
                fill(data, n=4 + len(turns))
        return real(path)

    monkeypatch.setattr(hashes, "sha256_of", sha256_of)
    monkeypatch.setattr(hashes, "_digests", {})
    hashes.checked(TABLE.path(data), data)
    assert len(turns) == 2


def test_a_block_of_scores_has_the_same_bits_whoever_computes_it(tmp_path, monkeypatch):
    """Another worker computes the blocks in another order, and a PRM that has read something else before."""

    class Rounding(fakes.FakePRM):
        """Scores round by what was read before, as they do where the rest is read in other batches."""

        read = 0

        def forget(self):
            self.read = 0

        def score(self, trajectories):
            scored = super().score(trajectories)
            self.read += len(trajectories)
            return [replace(s, scores=tuple(x / (1 + 1e-7 * self.read) for x in s.scores)) for s in scored]

    frames, claimed = [], store.fill.claimed
    for name, way in (("one", 1), ("other", -1)):
        data = make_data(tmp_path / name)
        fill(data, n=16)
        with monkeypatch.context() as patched:
            patched.setattr(
                store.fill, "claimed", lambda names, *place, way=way: claimed(names[::way], *place)
            )
            fill_scores(data, Rounding(), batch_size=7)
        frames.append(store.read_step_scores("toy", "fake-policy", "fake-prm", data=data))
    assert frames[0].equals(frames[1])
