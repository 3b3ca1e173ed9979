"""Makers of training examples for worker processes, which import this module and little with it."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tts_lab.train import IGNORE, Example


def numbers(seed: int) -> Iterator[Example]:
    """Endless examples of many lengths, with all fields, as a seed has them."""
    rng = random.Random(seed)
    while True:
        ids = [rng.randrange(900) for _ in range(rng.randrange(2, 60))]
        marks = [[rng.randrange(2) for _ in ids] for _ in range(3)]
        yield Example(ids, [*ids[1:], IGNORE], *marks)


def broken(seed: int) -> Iterator[Example]:
    """Dies before the first example."""
    raise ValueError("no examples")
    yield
