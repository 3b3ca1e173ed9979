"""Check every stored file against the manifest."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tts_utils.data_folder import OTHERS, TABLES, data_dir
from tts_utils.hashes import is_as_written
from tts_utils.store import files, manifest
from tts_utils.store.manifest import StoreError
from tts_utils.store.provenance import sources_of
from tts_utils.store.tables import SCHEMAS


def verify(
    data: Path | None = None,
    *,
    whole: bool = True,
    shipped: bool = False,
    only: Collection[str] | None = None,
) -> list[str]:
    """Check every stored file against the manifest; one message per bad file, [] if all is well.

    Checked are the sha256 of every listed file, and of every table its schema, its configuration, its
    hash, its name and its number of rows. A table that the manifest does not list is bad; parts that were not
    compacted yet are not.

    Args:
        data: the folder; None means ``data_dir()``.
        whole: a listed file that is absent is bad; False for a cache, which holds what was fetched.
        shipped: every file must be listed, not only tables; False for a folder of one's own.
        only: of the listed files these only; None means all.
    """
    data = data_dir() if data is None else data
    listed = manifest.load(data, sealed=False)
    if not listed:
        return [f"{data / manifest.NAME} is missing or lists no file"]
    bad = []
    for name, entry in listed.items():
        if only is not None and name not in only:
            continue
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
    if shipped:
        bad += [
            f"{data / name} is in no manifest; note it: python -m tts_lab note"
            for name in unlisted(data)
            if Path(name).parts[0] not in SCHEMAS
        ]
    if not bad and not is_as_written(data):
        bad.append(f"{data / manifest.NAME}: an entry has vanished or was changed by hand; restore it")
    return bad


def unlisted(data: Path) -> list[str]:
    """The files below a data directory that its manifest does not list, relative to it."""
    listed = manifest.load(data, sealed=False)
    files_below = (path for kind in (*TABLES, *OTHERS) for path in sorted((data / kind).rglob("*")))
    return [
        name
        for path in files_below
        if path.is_file() and not path.name.startswith(".") and path.parent.suffix != ".parts"
        if (name := path.relative_to(data).as_posix()) not in listed
    ]


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
    if sources_of(file) != entry.get("sources", {}) or path.stat().st_size != entry.get("bytes"):
        return [f"{path}: the manifest gives other sources or another size"]
    if file.metadata.num_rows != entry.get("rows"):
        return [f"{path} holds {file.metadata.num_rows} rows, {entry.get('rows')} by the manifest"]
    return []
