"""How good the PRMs are at finding errors, in ProcessBench's way, for every policy whose steps they judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from tts_lab.checker import first_error
from tts_utils import store
from tts_utils.data_folder import lab_dir
from tts_utils.problems import load_problems
from tts_utils.records import SamplingConfig
from tts_utils.store import files as table_files
from tts_utils.store.tables import StoreMiss

KEY = ["problem_id", "sample"]
SAMPLES = 8  # of each problem; more of one problem tell little more
THRESHOLD = 0.5
RESAMPLES = 1000


def process_bench(
    dataset: str = "lab-500", seed: int = 0, data: Path | None = None, limit: int | None = None
) -> pd.DataFrame:
    """Every PRM on the first samples of every policy, judged by the exact step checker, as far as stored.

    A PRM's verdict on a solution is the first step that it scores below one half, or "no error". As in
    ProcessBench (Zheng et al. 2024, arXiv:2412.06559): the share of erroneous solutions whose first wrong
    step it names, the share of correct ones that it lets pass, and F1, their harmonic mean. Unlike there, the
    truth is exact, and right answers by wrong steps count as erroneous. A solution that is too long for a PRM
    is not judged.

    Args:
        dataset: the test set.
        seed: of the bootstrap.
        data: the data directory; None means ``lab_dir()``.
        limit: only the first so many problems.

    Returns:
        Columns policy, prm, measure ("error", "correct", "F1"), estimate, low, high (95 %, bootstrap over
        problems), n (solutions behind it).
    """
    data = lab_dir() if data is None else data
    problems = load_problems(dataset, data=data)[:limit]
    rows = []
    for table in table_files.stored(data, "samples", dataset):
        if table.sampling.temperature == 0:
            continue
        where = {"dataset": dataset, "policy": table.policy, "config": table.sampling}
        where |= {"problems": problems, "data": data}
        try:
            labels = store.read_step_labels(**where, n=SAMPLES)
        except StoreMiss:  # still being filled
            continue
        labels["truth"] = labels["labels"].map(first_error)
        for prm, scores in stored_scores(**where, n=SAMPLES):
            frame = labels.merge(scores[[*KEY, "scores"]], on=KEY)
            # An empty completion has no steps to judge, and one that is too long no scores.
            frame = frame[(frame["labels"].map(len) > 0) & (frame["scores"].map(len) > 0)]
            said = frame["scores"].map(first_below)
            rows += [
                (table.policy, prm, *row)
                for row in _rows(frame["problem_id"], said, frame["truth"], np.random.default_rng(seed))
            ]
    return pd.DataFrame(rows, columns=["policy", "prm", "measure", "estimate", "low", "high", "n"])


def stored_scores(
    dataset: str, policy: str, config: SamplingConfig, data: Path, **where
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The step scores of one policy's samples by every PRM, but for those that are still being filled."""
    for table in table_files.stored(data, "step_scores", dataset, policy):
        if table.sampling == config:
            try:
                yield (
                    table.prm,
                    store.read_step_scores(dataset, policy, table.prm, config=config, data=data, **where),
                )
            except StoreMiss:
                continue


def first_below(scores) -> int:
    """Index of the first score below one half, or -1.

    >>> first_below([0.9, 0.4, 0.1]), first_below([0.5])
    (1, -1)
    """
    low = np.flatnonzero(np.asarray(scores) < THRESHOLD)
    return int(low[0]) if len(low) else -1


def _rows(problem_ids: pd.Series, said: pd.Series, truth: pd.Series, rng: np.random.Generator):
    frame = pd.DataFrame({"id": problem_ids, "hit": said == truth, "wrong": truth >= 0})
    counts = pd.DataFrame(
        {
            "error hits": frame["hit"] & frame["wrong"],
            "errors": frame["wrong"],
            "correct hits": frame["hit"] & ~frame["wrong"],
            "corrects": ~frame["wrong"],
        }
    )
    by_problem = counts.groupby(frame["id"]).sum().to_numpy(float)  # (P, 4)
    size = len(by_problem)
    weights = rng.multinomial(size, np.full(size, 1 / size), size=RESAMPLES)  # (R, P)
    drawn = _measures(weights @ by_problem)
    found = _measures(by_problem.sum(0, keepdims=True))
    totals = by_problem.sum(0)
    for i, (name, n) in enumerate(
        (("error", totals[1]), ("correct", totals[3]), ("F1", totals[1] + totals[3]))
    ):
        known = drawn[~np.isnan(drawn[:, i]), i]
        low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
        yield name, float(found[0, i]), float(low), float(high), int(n)


def _measures(counts: np.ndarray) -> np.ndarray:
    """(R, 4) hits and totals to (R, 3) shares; NaN where there is nothing to judge."""
    with np.errstate(invalid="ignore", divide="ignore"):
        error, correct = counts[:, 0] / counts[:, 1], counts[:, 2] / counts[:, 3]
        return np.stack([error, correct, 2 * error * correct / (error + correct)], axis=1)
