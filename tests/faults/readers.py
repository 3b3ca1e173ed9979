"""Who reads each kind of shipped file: the table that damaged files are tried with."""

from __future__ import annotations

import json
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tts_lab import cast, dial, labels, learning, strategies
from tts_utils import checkpoints, data_folder, hashes, ledger
from tts_utils.problems import load_problems
from tts_utils.report import sizes
from tts_utils.store import files, verdicts

Reader = Callable[[str, Path], Any]


def _table(name: str, data: Path) -> Any:
    return files.load(files.table_of_file(files.check_file(data / name)), data)


def _model(name: str, data: Path) -> Any:
    """As a policy or PRM is loaded: by its name."""
    return checkpoints.find_model(Path(name).parts[1])


def _size(name: str, data: Path) -> Any:
    return sizes.num_params(Path(name).parts[1], data)


READERS: dict[str, tuple[Reader, ...]] = {
    "manifest.json": (lambda name, data: json.dumps(hashes.entries(data)),),
    "problems/*.jsonl": (
        lambda name, data: load_problems(Path(name).stem, data=data),
        lambda name, data: load_problems(str(data / name)),
    ),
    "paper/claims.csv": (lambda name, data: ledger.claims(data),),
    "paper/*.csv": (lambda name, data: data_folder.find(name, data),),
    "paper/*.md": (),  # for people: nothing reads it
    "report/ledger.csv": (lambda name, data: ledger.measured(data),),
    "report/strategies-*.parquet": (
        lambda name, data: strategies.read(
            Path(name).parent.name.removeprefix("strategies-"), [Path(name).stem], data
        ),
    ),
    "report/dial/*.parquet": (lambda name, data: dial.read(data / "report/dial", data),),
    "report/*.csv": (lambda name, data: data_folder.find(name, data),),
    "labels/*/shard-*.parquet": (lambda name, data: labels.read_shard(data / name, data),),
    "labels/*/shard-*.json": (lambda name, data: labels.labelling_cost(data, [Path(name).parts[1]]),),
    "models/*/training.json": (
        _model,
        lambda name, data: (cast.policies(data), cast.prms(data)),
        lambda name, data: learning.learning_curve(data),
    ),
    "models/*/model.safetensors": (_model, _size),
    "models/*": (_model,),
    "answers/verdicts.jsonl": (lambda name, data: verdicts.recall(data),),
    "samples/*.parquet": (_table,),
    "step_scores/*.parquet": (_table,),
    "step_labels/*.parquet": (_table,),
    "searches/*.parquet": (_table,),
}
"""By pattern, the first that fits a path: what opens such a file and believes what it says."""


def kind_of(name: str) -> str | None:
    """The pattern that a file belongs to; None for a kind that nobody has thought of."""
    return next((pattern for pattern in READERS if fnmatch(name, pattern)), None)
