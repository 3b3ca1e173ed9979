"""How good the PRMs are at finding errors, in ProcessBench's way, for every policy whose steps they judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from tts_lab.checker import first_error
from tts_utils import store
from tts_utils.data_folder import lab_dir
from tts_utils.prm_quality import Judged, accuracies
from tts_utils.problems import load_problems
from tts_utils.records import SamplingConfig
from tts_utils.store import files as table_files
from tts_utils.store.tables import StoreMiss

KEY = ["problem_id", "sample"]
SAMPLES = 8  # of each problem; more of one problem tell little more
THRESHOLD = 0.5


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
            columns = zip(frame["scores"], frame["truth"], frame["problem_id"], strict=True)
            judged = [Judged(tuple(scores), int(truth), group=of) for scores, truth, of in columns]
            found = accuracies(judged, THRESHOLD, seed)
            rows += [(table.policy, prm, *row) for row in found.itertuples(index=False)]
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
