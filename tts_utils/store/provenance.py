"""What a table's rows were made from: hashes of problems and models, and who may go on with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq

from tts_utils.store.tables import IMPORTED, ForeignTable


def sources_of(file: pq.ParquetFile) -> dict[str, str]:
    """The hashes of problems and models that stand in a table's file."""
    return json.loads((file.schema_arrow.metadata or {}).get(b"tts.sources", b"{}"))


def check_same(path: Path, found: Mapping[str, str], wanted: Mapping[str, str] | None) -> None:
    """Raise ForeignTable, naming the file and the way out, where its rows are not of the sources wanted.

    Args:
        path: the table's file.
        found: its sources.
        wanted: those of the rows that would go beside its own; None asks for nothing. What only one side
            knows is no difference, but for a model's revision.
    """
    if wanted is None:
        return
    revisions = [key for key in found if _is_revision(key)]
    for key in dict.fromkeys([*wanted, *revisions]):
        there, now = found.get(key), wanted.get(key)
        if there != now and (None not in (there, now) or _is_revision(key)):
            raise ForeignTable(
                f"{path} was filled from another version of its sources: {key} is {shown(there, now)}, "
                f"now {shown(now, there)}; {_way_out(key, there, now)}, or move this file away to fill the "
                "table anew"
            )


def _is_revision(key: str) -> bool:
    return key.endswith("_revision")


def shown(value: str | None, other: str | None) -> str:
    """Enough of a value to tell it from the other; a sha256 that differs early is cut."""
    if value is None:
        return "not stated"
    return value[:12] if len(value) == 64 and value[:12] != (other or "")[:12] else value


def _way_out(key: str, *values: str | None) -> str:
    if key.startswith("import_") or any((value or "").startswith(IMPORTED) for value in values):
        return "imported rows are never mixed with others: import under another --policy or --prm name"
    if key.endswith("_settings"):
        return (
            "its chat template, tokenizer or configuration has changed, or how it is asked: restore the old "
            f"files, or give the new ones another name (name= of load_{key.removesuffix('_settings')})"
        )
    if not _is_revision(key):
        return "restore the old problems, or give the new ones another name"
    load = f"load_{key.removesuffix('_revision')}"
    return (
        "another version or another backend is another source, and rows of two are never mixed: go on with "
        f"the old one, or give the new one another name (name= of {load}, label in a recipe)"
    )
