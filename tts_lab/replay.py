"""Replay every recorded training stream, and count the test problems that occur in it.

``lab-hard`` was drawn after the cast had been trained, so no stream could avoid it: that none of its problems
was read has to be shown. Problems are compared by signature: template and numbers, whatever the names, the
wording and the order.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd

from tts_lab.problems import datasets, signature, training_draws
from tts_lab.recipe import Recipe
from tts_lab.tokenizer import NUM_PROBLEMS, TOKENIZER_SEED
from tts_utils.store.manifest import replace_file

LEAST_TOKENS = (
    100  # a problem with its solution takes more on average, so tokens / this is more than was read
)
LONG_RUN = 1_500_000  # problems from the stream of each worker of a long run; more than all of them drew


@dataclass(frozen=True, slots=True)
class Stream:
    """A training stream that was read: by what, its seed, and at most how many of its problems."""

    reader: str
    seed: int
    num_problems: int


def streams(recipe: Recipe) -> Iterator[Stream]:
    """Every stream that any model of the recipe has read, longest last."""
    yield Stream("tokenizers", TOKENIZER_SEED, NUM_PROBLEMS)
    yield Stream("labels", recipe.labels.seed, recipe.labels.num_shards * recipe.labels.problems_per_shard)
    for spec in recipe.policies:
        yield Stream(spec.name, spec.seed, spec.training.num_tokens // LEAST_TOKENS)
    for spec in recipe.prms:
        count = LONG_RUN if spec.workers else spec.training.num_tokens // LEAST_TOKENS
        for seed in spec.streams:
            yield Stream(spec.name, seed, count)


def occurrences(stream: Stream) -> dict:
    """How many problems of each test set occur among those read.

    Returns:
        The stream's fields, and a count for each test set.
    """
    found = dict.fromkeys(datasets(), 0)
    owners: dict[tuple, list[str]] = {}
    for name, problems in datasets().items():
        for problem in problems:
            owners.setdefault(signature(problem), []).append(name)
    for draw in islice(training_draws(stream.seed), stream.num_problems):
        for name in owners.get(draw.signature, ()):
            found[name] += 1
    row = {"reader": stream.reader, "seed": stream.seed, "num_problems": stream.num_problems}
    return row | found


def replay(recipe: Recipe, path: Path, processes: int = 1, log=print) -> pd.DataFrame:
    """Replay all streams that ``path`` does not have yet; each is written there as soon as it is through.

    Args:
        recipe: whose streams.
        path: a CSV file of what was found so far.
        processes: how many streams at a time.
        log: called with a line per stream.

    Returns:
        One row per stream: reader, seed, num_problems, and per test set how often its problems occurred.
        Those of sets that the stream already avoided at the time were drawn again instead of being read.
    """
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    if rows and set(rows[0]) != {"reader", "seed", "num_problems", *datasets()}:
        raise ValueError(f"{path} was made for other test sets; remove it and run this again")
    known = {(row["seed"], row["num_problems"]) for row in rows}
    todo = [s for s in streams(recipe) if (s.seed, s.num_problems) not in known]
    with ProcessPoolExecutor(processes) as pool:
        for row in pool.map(occurrences, todo):
            rows.append(row)
            replace_file(path, pd.DataFrame(rows).to_csv(index=False).encode())
            log(", ".join(f"{name} {value}" for name, value in row.items()))
    return pd.DataFrame(rows)
