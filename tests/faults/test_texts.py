"""Hostile texts from a seed: searched for an answer, split into steps, tidied and graded, within limits.

The long part tries 20,000 texts (TTS_FAULTS_TEXTS and TTS_FAULTS_SEED change number and seed). With
TTS_FAULTS_FOLDER it keeps what it has done, block by block; see ``tests.faults.texts``.
"""

import os
import random
import time
from pathlib import Path

import numpy as np
import pytest

from tests import hostile_texts
from tests.faults import figures, texts
from tts_utils import answers
from tts_utils.answers import maths

SEED = int(os.environ.get("TTS_FAULTS_SEED", 0))
COUNT = int(os.environ.get("TTS_FAULTS_TEXTS", 20_000))
needs_maths = pytest.mark.skipif(not maths.find_spec("math_verify"), reason="math-verify is not installed")


@needs_maths
def test_a_few_texts_are_read_in_time():
    found = texts.tried(1, range(30))
    assert found["failed"] == []
    assert max(found["seconds"]) < 2 * answers.TIME_LIMIT + 4


def test_a_text_does_not_depend_on_those_before_it():
    assert hostile_texts.text(3, 41) == hostile_texts.text(3, 41) != hostile_texts.text(4, 41)
    assert len(hostile_texts.text(3, 40)) > len(hostile_texts.text(3, 41))


@needs_maths
def test_blocks_are_run_once_and_a_block_that_was_left_is_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "BLOCK", 2)
    done = texts.run(tmp_path, 1, 5)
    assert [len(block["seconds"]) for block in done] == [2, 2, 1]
    first, _ = next(iter(texts.blocks(tmp_path, 1, 5)))
    first.rename(first.with_suffix(".999999999"))  # of a process that is gone
    monkeypatch.setattr(texts, "tried", lambda seed, numbers: {"seconds": [0.0] * len(numbers), "new": True})
    assert [block.get("new", False) for block in texts.run(tmp_path, 1, 5)] == [True, False, False]
    first.rename(first.with_suffix(f".{os.getppid()}"))  # of a process that works on it
    assert len(texts.run(tmp_path, 1, 5)) == 2


@needs_maths
@pytest.mark.parametrize(
    ("size", "limit"), [(8, 1.0), pytest.param(64, answers.POOL_LIMIT, marks=pytest.mark.faults)]
)
def test_a_pool_of_hostile_answers_is_grouped_within_its_budget(size, limit, monkeypatch):
    monkeypatch.setattr(answers, "POOL_LIMIT", limit)
    rng = random.Random(3)
    pool = list(dict.fromkeys(hostile_texts.answer(rng) for _ in range(2 * size)))[:size]
    answers.equivalent("x", "2x")
    spent, began = answers.MATHS.spent, time.process_time()
    ids = answers.group_answers(pool)
    used = time.process_time() - began + answers.MATHS.spent - spent
    allowed = limit + 2 * answers.TIME_LIMIT + 5
    if size == 64:
        case, worst = f"a pool of {size} hostile answers", {"measure": "CPU s", "value": used, "limit": 30}
        figures.note("texts", case, 1, int(used >= 30), **worst, seconds=used, seed=3)
        allowed = 30
    assert len(ids) == size
    assert used < allowed, used


@needs_maths
@pytest.mark.faults
def test_many_texts(tmp_path):
    done = texts.run(Path(os.environ.get("TTS_FAULTS_FOLDER", tmp_path)), SEED, COUNT)
    seconds = np.concatenate([block["seconds"] for block in done])
    failed = [words for block in done for words in block["failed"]]
    peak = max(block["peak"] for block in done)
    p999, over = np.quantile(seconds, 0.999), int((seconds > 2 * answers.TIME_LIMIT + 4).sum())
    facts = {"seconds": float(seconds.sum()), "seed": SEED}
    count = len(seconds)
    figures.note("texts", "no error", count, len(failed), **facts)
    limit = 2 * answers.TIME_LIMIT + 4
    figures.note(
        "texts", "longest", count, over, measure="CPU s", value=float(seconds.max()), limit=limit, **facts
    )
    figures.note(
        "texts", "99.9th percentile", count, int(p999 >= 2), measure="CPU s", value=p999, limit=2, **facts
    )
    figures.note(
        "texts", "peak memory", count, int(peak >= 500), measure="MB", value=peak, limit=500, **facts
    )
    assert count == COUNT, "other processes work on the rest: run this again when they have ended"
    assert failed == [] and not over
    assert p999 < 2 and peak < 500
