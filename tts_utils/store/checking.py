"""Check every stored file against the manifest."""

from __future__ import annotations

from pathlib import Path

from tts_utils.data_folder import data_dir
from tts_utils.store import files, manifest
from tts_utils.store.manifest import StoreError
from tts_utils.store.tables import SCHEMAS


def verify(data: Path | None = None, *, whole: bool = True) -> list[str]:
    """Check every stored file against the manifest; one message per bad file, [] if all is well.

    Checked are the sha256 of every listed file, and of every table its schema, its configuration, its
    hash, its name and its number of rows. A table that the manifest does not list is bad; parts that were not
    compacted yet are not.

    Args:
        data: the folder; None means ``data_dir()``.
        whole: a listed file that is absent is bad; False for a cache, which holds what was fetched.
    """
    data = data_dir() if data is None else data
    listed = manifest.load(data)
    if not listed:
        return [f"{data / manifest.NAME} is missing or lists no file"]
    bad = []
    for name, entry in listed.items():
        path = data / name
        if not path.is_file():
            bad += [f"{path} is missing"] * whole
        elif (found := manifest.sha256_of(path)) == entry.get("next_sha256"):
            bad.append(f"{path}: filling it was interrupted at its last step; run the command again")
        elif found != entry["sha256"]:
            bad.append(f"{path} is not the file the manifest lists (its sha256 differs)")
        elif "config" in entry:
            bad += _check_table(path, name, entry)
    for kind in SCHEMAS:
        for path in sorted((data / kind).rglob("*.parquet")):
            if path.relative_to(data).as_posix() not in listed and path.parent.suffix != ".parts":
                begun = path.with_suffix(".parts").exists()
                hint = "; filling it was interrupted: run the command again" if begun else ""
                bad.append(f"{path} is not listed in {data / manifest.NAME}{hint}")
    return bad


def _check_table(path: Path, name: str, entry: dict) -> list[str]:
    try:
        file = files.check_file(path)
    except StoreError as exc:
        return [str(exc)]
    table = files.table_of_file(file)
    if table.relative != name or table.config != entry["config"]:
        return [f"{path} holds another table than the manifest says; it belongs at {table.relative}"]
    if table.config_sha256 != entry.get("config_sha256"):
        return [f"{path}: the manifest gives another hash of its configuration"]
    if file.metadata.num_rows != entry.get("rows"):
        return [f"{path} holds {file.metadata.num_rows} rows, {entry.get('rows')} by the manifest"]
    return []
