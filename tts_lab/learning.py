"""The learning curve of a judge: its quality while it was trained, from the training records."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from tts_utils.data_folder import lab_dir
from tts_utils.hashes import checked


def learning_curve(data: Path | None = None) -> pd.DataFrame:
    """What the long runs noted on the way.

    Args:
        data: the data directory; None means ``lab_dir()``.

    Returns:
        Columns prm, num_params, num_tokens, annealed, policy and, measured on 125 problems of lab-500 with 24
        samples each: auc_steps, auc_last, auc_min (within problems), error, correct, F1 (against the step
        checker), majority, prm_vote, prm_max (accuracies of these 24). Where ``annealed`` is False the
        learning rate was still high: a run that ended there would stand higher.
    """
    data = lab_dir() if data is None else data
    rows = []
    for path in sorted((data / "models").glob("*/training.json")):
        record = json.loads(checked(path, data).read_text(encoding="utf-8"))
        for i, point in enumerate(record.get("curve", [])):
            facts = {"prm": path.parent.name, "num_params": record["num_params"]}
            facts |= {"num_tokens": point["num_tokens"], "annealed": i == len(record["curve"]) - 1}
            rows += [facts | {"policy": policy} | found for policy, found in point["policies"].items()]
    columns = ["prm", "num_params", "num_tokens", "annealed", "policy", "auc_steps", "auc_last", "auc_min"]
    columns += ["error", "correct", "F1", "majority", "prm_vote", "prm_max"]
    return pd.DataFrame(rows, columns=columns)
