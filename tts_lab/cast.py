"""The cast: every shipped model with its size and what its making cost, from its training record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tts_utils.data_folder import lab_dir
from tts_utils.hashes import checked
from tts_utils.mdp import split_steps
from tts_utils.metrics import ratio_interval

DATA = ("num_rollouts", "tokens_per_response", "tokens_per_step")


def policies(data: Path | None = None) -> pd.DataFrame:
    """The policies, as the paper's Table 4 has its models: parameters, training tokens, FLOPs (6 P D).

    Args:
        data: the data directory; None means ``lab_dir()``.

    Returns:
        Columns policy, family, register, base (the policy it was trained on from, "" for none), num_params,
        num_tokens, flops, seconds, device. Tokens, FLOPs and seconds are those of its own training; what its
        base had cost stands in the base's row.
    """
    facts = ["family", "register", "base", "num_params", "num_tokens", "flops", "seconds", "device"]
    return _table(data, "policy", facts)


def prms(data: Path | None = None) -> pd.DataFrame:
    """The PRMs, with their training data as the paper's Table 1 has it.

    Args:
        data: the data directory; None means ``lab_dir()``.

    Returns:
        Columns prm, stands_for, base, num_params, num_tokens, flops, seconds, and of the labelled rollouts it
        learnt from num_rollouts, tokens_per_response, tokens_per_step.
    """
    facts = ["stands_for", "base", "sources", "num_params", "num_tokens", "flops", "seconds", "device"]
    return _table(data, "prm", [*facts, "schedule", *DATA])


def _table(data: Path | None, kind: str, columns: list[str]) -> pd.DataFrame:
    data = lab_dir() if data is None else data
    rows = []
    for path in sorted((data / "models").glob("*/training.json")):
        if (path.parent / "tts_prm.json").exists() != (kind == "prm"):
            continue
        record = json.loads(checked(path, data).read_text(encoding="utf-8"))
        record = {"schedule": "tokens"} | record | record.get("data", {})
        record["sources"] = ", ".join(record.get("sources", ()))  # whose rollouts a PRM read
        rows.append([path.parent.name, *(record[c] for c in columns)])
    return pd.DataFrame(rows, columns=[kind, *columns])


def data_lengths(names: Sequence[str], data: Path | None = None) -> pd.DataFrame:
    """How long the rollouts are that PRMs learnt from, in tokens of their vocabulary: the paper's Table 1.

    Args:
        names: PRMs that learnt from all rollouts of their sources.
        data: the data directory; None means ``lab_dir()``.

    Returns:
        Columns prm, unit ("response" or "step"), tokens, low, high (95 %, rollouts of one question together),
        n (questions), rollouts.
    """
    from tts_utils.checkpoints import load_tokenizer

    data = lab_dir() if data is None else data
    rows = []
    for name in names:
        folder = data / "models" / name
        record = json.loads(checked(folder / "training.json", data).read_text(encoding="utf-8"))
        # The last shard of every source is held out of training.
        shards = [
            path for of in record["sources"] for path in sorted((data / "labels" / of).glob("*.parquet"))[:-1]
        ]
        labels = pd.concat([pd.read_parquet(path, columns=["text", "question"]) for path in shards])
        texts = labels["text"].tolist()
        ids = load_tokenizer(str(folder))(texts, return_attention_mask=False)["input_ids"]
        sizes = pd.DataFrame({"tokens": [len(i) for i in ids], "response": 1})
        sizes["step"] = [len(split_steps(text)) for text in texts]
        by_question = sizes.groupby(labels["question"].to_numpy()).sum()
        for unit in ("response", "step"):
            found = ratio_interval(by_question["tokens"], by_question[unit])
            rows.append((name, unit, *found, len(labels)))
    return pd.DataFrame(rows, columns=["prm", "unit", "tokens", "low", "high", "n", "rollouts"])
