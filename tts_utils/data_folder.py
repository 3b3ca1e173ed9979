"""Where stored data lies, and the short names of data sets."""

from __future__ import annotations

import os
from pathlib import Path


class DataDirError(ValueError):
    """No data directory was found; the message says where it was looked for."""


def data_dir() -> Path:
    """The directory of all stored data.

    Looked for in this order: the environment variable ``TTS_DATA``; ``data/`` of the current directory or
    of its nearest parent that holds ``data/manifest.json``; ``data/`` of the checkout this package lies in.

    Raises:
        DataDirError: ``TTS_DATA`` names no directory, or nothing was found.
    """
    if named := os.environ.get("TTS_DATA"):
        path = Path(named).expanduser()
        if not path.is_dir():
            raise DataDirError(
                f"TTS_DATA is {named!r}, which is not a directory; create it or unset TTS_DATA"
            )
        return path.resolve()
    here = Path.cwd().resolve()
    for parent in (here, *here.parents):
        if (parent / "data" / "manifest.json").is_file():
            return parent / "data"
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    raise DataDirError(
        f"no data/manifest.json in {here} or above it; run from a clone of the repository, "
        "or set the environment variable TTS_DATA to its data directory"
    )


def dataset_name(name: str) -> str:
    """The short name tables use for a data set: the stem of a ``*.jsonl`` path, else the name itself.

    >>> dataset_name("my/problems.jsonl"), dataset_name("lab-500")
    ('problems', 'lab-500')
    """
    return Path(name).stem if name.endswith(".jsonl") else name
