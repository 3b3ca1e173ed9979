"""Hostile texts from a seed: searched for an answer, split into steps, tidied and graded, within limits.

The short part runs always. The long one, ``pytest -m faults -s tests/test_hostile_texts.py``, tries 20,000
texts (TTS_FAULTS_TEXTS and TTS_FAULTS_SEED change number and seed) and prints a table of what came out.
"""

import os
import random
import resource
import time

import numpy as np
import pytest

from tests import hostile_texts
from tts_utils import answers, mdp
from tts_utils.answers import maths

needs_maths = pytest.mark.skipif(not maths.find_spec("math_verify"), reason="math-verify is not installed")
GOLD = r"\frac{387}{2}"


def read(text: str) -> float:
    """Do with a text what is done with a completion; return the processor seconds, both processes'."""
    spent, began = answers.MATHS.spent, time.process_time()
    answer = answers.extract_answer(text)
    answers.extract_answer(text, last_number=True, order="released")
    assert "".join(mdp.split_steps(text)) == text
    assert not answers.grade(answer, GOLD)
    assert answers.group_answers([answer, GOLD]).tolist() in ([0, 1], [-1, 0])
    return time.process_time() - began + answers.MATHS.spent - spent


def tried(seed: int, count: int) -> tuple[np.ndarray, list[str]]:
    """The seconds of every text, and those that raised an error."""
    seconds, failed = [], []
    for text in hostile_texts.texts(seed, count):
        try:
            seconds.append(read(text))
        except Exception as exc:
            failed.append(f"{type(exc).__name__}: {exc!s:.100} at {text[:60]!r}, {len(text):,} characters")
    return np.array(seconds), failed


@needs_maths
def test_a_few_texts_are_read_in_time():
    answers.equivalent("x", "2x")
    seconds, failed = tried(seed=1, count=30)
    assert failed == []
    assert seconds.max() < 2 * answers.TIME_LIMIT + 4


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
    print(f"\n{size} hostile answers were grouped in {used:.1f} processor seconds")
    assert len(ids) == size
    assert used < limit + 2 * answers.TIME_LIMIT + 5, used


@needs_maths
@pytest.mark.faults
def test_many_texts():
    count, seed = int(os.environ.get("TTS_FAULTS_TEXTS", 20_000)), int(os.environ.get("TTS_FAULTS_SEED", 0))
    answers.equivalent("x", "2x")
    seconds, failed = tried(seed, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    p50, p99, p999 = np.quantile(seconds, [0.5, 0.99, 0.999])
    print(f"\n| hostile texts, seed {seed} | {count:,} |\n|---|---:|")
    for name, value in (
        ("errors", len(failed)),
        ("median, processor seconds", f"{p50:.4f}"),
        ("99th percentile", f"{p99:.2f}"),
        ("99.9th percentile", f"{p999:.2f}"),
        ("longest", f"{seconds.max():.2f}"),
        ("peak memory, MB", f"{peak:.0f}"),
        ("expressions read", answers.MATHS.parses),
        ("asked of math-verify", answers.MATHS.comparisons),
    ):
        print(f"| {name} | {value} |")
    assert failed == []
    assert p999 < 2 and peak < 500
