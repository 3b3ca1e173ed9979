"""How many parameters a stored model has, from the headers of its weights: no model is loaded."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path

from tts_utils.data_folder import checked_where_listed, look_up


def num_params(name: str, data: Path) -> float:
    """The parameters of a model whose weights are stored (``models/NAME``), else NaN.

    Raises:
        DamagedFile: its weights are not those that the manifest lists.
    """
    folder = look_up(f"models/{name}", data)
    if folder is None:
        return math.nan
    for path in folder.glob("*.safetensors"):
        checked_where_listed(path, data)
    return _count(folder)


@functools.lru_cache(maxsize=256)
def _count(folder: Path) -> float:
    files = sorted(folder.glob("*.safetensors"))
    try:
        return sum(map(_in_file, files)) if files else math.nan
    except (OSError, ValueError, KeyError, TypeError):  # not to be read: then its size is not known
        return math.nan


def _in_file(path: Path) -> int:
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(min(length, 10_000_000)))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
