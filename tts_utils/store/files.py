"""The files of a table: check, load, append, compact, list; it does not know where rows come from.

A table is one parquet file. Rows arrive in batches as part files in ``<table>.parts/`` beside it;
:func:`compact` sorts table and parts into one file. Equal rows give equal bytes, whatever the batches,
because the file holds nothing but rows, configuration and sources.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from tts_utils import data_folder, hashes
from tts_utils.store import manifest, merge
from tts_utils.store.columns import to_frame
from tts_utils.store.encoding import Rows, encode, from_rows
from tts_utils.store.manifest import StoreError
from tts_utils.store.provenance import check_same, shown, sources_of
from tts_utils.store.tables import (
    KEYS,
    SCHEMA_VERSION,
    SCHEMAS,
    DamagedTable,
    ForeignTable,
    Table,
    config_sha256,
    slug,
    table_of,
    to_json,
)

__all__ = [
    "append",
    "check_file",
    "check_sources",
    "compact",
    "is_open",
    "load",
    "sources",
    "stored",
    "stored_rows",
    "table_of_file",
    "to_frame",
    "unseen",
]


def check_file(path: Path, table: Table | None = None) -> pq.ParquetFile:
    """Open a table's file (or one of its parts) and check that it is one, and which.

    Args:
        path: the file.
        table: the table it must belong to; None checks only that the file agrees with itself.

    Raises:
        DamagedTable: it is no readable parquet file.
        ForeignTable: it is another table, or no table of this store.
    """
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno:  # the system's refusal, which says nothing of the content
            raise OSError(exc.errno, exc.strerror, str(path)) from exc
        raise DamagedTable(
            f"{path} is damaged or is no parquet file ({exc}); restore it (git checkout), or remove it and "
            "fill it again"
        ) from exc
    metadata = file.schema_arrow.metadata or {}
    version = metadata.get(b"tts.schema_version", b"1").decode(errors="replace")
    if not version.isdecimal() or int(version) > SCHEMA_VERSION:
        raise ForeignTable(
            f"{path} is of schema version {version}; this tts-utils reads up to {SCHEMA_VERSION}: update it"
        )
    try:
        config = json.loads(metadata[b"tts.config"])
        found = table_of(config)
        declared = metadata[b"tts.config_sha256"].decode()
    except (KeyError, TypeError, ValueError) as exc:
        raise ForeignTable(
            f"{path} was not written by this store: it carries no configuration; move it away"
        ) from exc
    if declared != config_sha256(config) or config != found.config:
        raise ForeignTable(f"{path}: its configuration and its hash disagree; remove it and fill it again")
    if table is not None and found != table:
        raise ForeignTable(
            f"{path} holds another table than its name says: {to_json(found.config)} where "
            f"{to_json(table.config)} is expected; it belongs at {found.relative}"
        )
    if not file.schema_arrow.remove_metadata().equals(SCHEMAS[found.kind]):
        raise ForeignTable(
            f"{path}: columns {file.schema_arrow.names} with their types are not those of a {found.kind} "
            f"table of schema version {SCHEMA_VERSION}"
        )
    return file


def sources(table: Table, data: Path) -> dict[str, str]:
    """The hashes of problems and models that a table was filled from, as far as they were known."""

    def read() -> dict[str, str]:
        files = [check_file(path) for path in _files(table, data)]
        return {key: value for file in files for key, value in sources_of(file).items()}

    return _beside_others(read)


def check_sources(table: Table, wanted: Mapping[str, str], data: Path) -> None:
    """Raise ForeignTable, naming the file, where rows were filled from others than these of their sources."""

    def look() -> None:
        for path in _files(table, data):
            found = sources_of(check_file(path))
            check_same(path, found, {**found, **wanted})

    _beside_others(look)


def check_agreement(samples: Table, made_of_them: Table, data: Path) -> None:
    """Raise ForeignTable where scores or labels were made of another version of the samples.

    One's own scores of shipped samples outlive an update that replaces these.
    """
    now, then = sources(samples, data), sources(made_of_them, data)
    for key in sorted(now.keys() & then.keys()):
        if now[key] != then[key]:
            path = _files(made_of_them, data)[0]
            raise ForeignTable(
                f"{path} was made of another version of the samples: {key} is {shown(then[key], now[key])}, "
                f"that of the samples is {shown(now[key], then[key])}; move it away to make it anew"
            )


def load(
    table: Table,
    data: Path,
    *,
    sources: Mapping[str, str] | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """All stored rows of a table, finished file and parts together, sorted by key, each key once.

    Args:
        table: which.
        data: the data directory; one's own is read together with what is shipped.
        sources: refuse rows that were filled from others than these. A ``*_revision`` that the rows or these
            lack is another one; any other key counts only where both have it.
        columns: read these and the key only; None reads all.

    Raises:
        DamagedTable, ForeignTable: naming the file.
    """
    folders = data_folder.layers(data)
    for folder in folders:
        _check_hash(table, folder)

    def read() -> pa.Table:
        groups = [group for folder in folders if (group := _files_in(folder, table))]
        known = sources
        if known is None and len(groups) > 1:  # what is shipped may have changed under one's own rows
            known = sources_of(check_file(groups[-1][0], table))
        return _read(table, [path for group in groups for path in group], known, columns)

    rows = _beside_others(read)
    return merge.in_order(rows, KEYS[table.kind])


def unseen(
    table: Table,
    data: Path,
    seen: set,
    *,
    sources: Mapping[str, str] | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """The rows of those files that are not in ``seen`` yet, which is updated; else as :func:`load`."""
    if not seen:
        for folder in data_folder.layers(data):
            _check_hash(table, folder)
    with manifest.locked(data):
        tags = {(path, path.stat().st_ino, path.stat().st_mtime_ns) for path in _files(table, data)}
        rows = _read(table, sorted(path for path, *_ in tags - seen), sources, columns)
    seen |= tags
    return rows


def _read(
    table: Table, paths: Sequence[Path], sources: Mapping[str, str] | None, columns: Sequence[str] | None
) -> pa.Table:
    read = []
    for path in paths:
        file = check_file(path, table)
        check_same(path, sources_of(file), sources)
        with _reading(path):
            read.append(file.read(columns=columns))
    if read:
        return pa.concat_tables(rows.replace_schema_metadata() for rows in read)
    empty = SCHEMAS[table.kind].empty_table()
    return empty if columns is None else empty.select(columns)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Errors of reading a file, with its name."""
    try:
        yield
    except (pa.ArrowException, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno:
            raise OSError(exc.errno, exc.strerror, str(path)) from exc
        raise DamagedTable(f"{path} is damaged ({exc}); restore it, or remove it and fill it again") from exc


def _reader(path: Path, file: pq.ParquetFile, group: int) -> Callable[[list[str] | None], pa.Table]:
    """What reads a row group of a file that :func:`check_file` has opened."""

    def read(columns: list[str] | None) -> pa.Table:
        with _reading(path):
            return file.read_row_group(group, columns=columns).replace_schema_metadata()

    return read


def append(
    table: Table,
    rows: Rows,
    data: Path,
    *,
    sources: Mapping[str, str] | None = None,
    seconds: float = 0.0,
    tokens_run: Mapping[str, int] | None = None,
) -> Path:
    """Store a batch of rows as one part file, whole or not at all.

    Args:
        table: where they belong.
        rows: with the columns of the schema; constant columns may be left out.
        data: the data directory.
        sources: hashes of what they were made from, such as ``{"problems_sha256": ...}``.
        seconds: what they took to make.
        tokens_run: by role, what the models ran for them, where they say so; what they are charged for
            stands in the rows.

    Raises:
        StoreError: a row lacks a column or holds a value of another type.
    """
    spent = {"tts.seconds": f"{seconds:.3f}", "tts.tokens_run": to_json(tokens_run or {})}
    _, content = encode(table, [from_rows(table, rows)], sources or {}, spent)
    part = table.parts(data) / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.parquet"
    with manifest.locked(data):
        manifest.replace_file(part, content)
    return part


def compact(table: Table, data: Path) -> Path:
    """Bring a table and its parts into one sorted file, note it in the manifest, and remove the parts.

    Only one's own rows are brought together; what is shipped stays where it is, and is returned where there
    are no others. Killed anywhere, it can be run again with the same outcome: parts go last.

    Raises:
        DamagedTable, ForeignTable: naming the file; nothing is changed then.
    """
    path, parts = table.path(data), table.parts(data)
    with manifest.locked(data):
        listed = manifest.load(data).get(table.relative)
        files = _files_in(data, table)
        if files == [path] and listed:
            shutil.rmtree(parts, ignore_errors=True)
            return path
        if not files and (elsewhere := _files(table, data)):
            shutil.rmtree(parts, ignore_errors=True)
            return elsewhere[0]
        if not files:
            raise StoreError(f"nothing is stored for {table.relative}")
        read = [check_file(file, table) for file in files]
        sources = {key: value for content in read for key, value in sources_of(content).items()}
        for file, content in zip(files, read, strict=True):
            check_same(file, sources_of(content), sources)
        metadata = [content.schema_arrow.metadata for content in read]
        seconds = sum(float(m.get(b"tts.seconds", 0)) for m in metadata)
        if listed and path in files:  # else the entry is that of a table that was moved away
            seconds += listed.get("seconds", 0)
        run = Counter(listed.get("tokens_run", {}) if listed and path in files else {})
        for part in metadata:
            run.update(json.loads(part.get(b"tts.tokens_run", b"{}")))
        _check_hash(table, data)
        pieces = [
            merge.Piece(content.metadata.row_group(i).num_rows, _reader(file, content, i))
            for file, content in zip(files, read, strict=True)
            for i in range(content.num_row_groups)
        ]
        rows, content = encode(table, merge.merged(pieces, KEYS[table.kind]), sources)
        digest = hashlib.sha256(content).hexdigest()
        if listed:
            manifest.save_entries(data, {table.relative: {**listed, "next_sha256": digest}})
        manifest.replace_file(path, content)
        entry = {
            "sha256": digest,
            "bytes": len(content),
            "rows": rows,
            "config": table.config,
            "config_sha256": table.config_sha256,
            "sources": sources,
            "seconds": round(seconds, 3),
            **({"tokens_run": dict(run)} if run else {}),
            **manifest.circumstances(),
        }
        manifest.save_entries(data, {table.relative: entry})
        shutil.rmtree(parts, ignore_errors=True)
    return path


def stored_rows(table: Table, data: Path) -> int:
    """How many rows of a table are stored; one that two processes stored, or a kill left twice, is one."""

    def count() -> int:
        paths = _files(table, data)
        if len(paths) > 1:
            return load(table, data, columns=KEYS[table.kind]).num_rows
        return sum(check_file(path, table).metadata.num_rows for path in paths)

    return _beside_others(count)


def is_open(table: Table, data: Path) -> bool:
    """Whether a run works on a table, or was ended before it brought the parts of it together."""
    return table.parts(data).is_dir()


def table_of_file(file: pq.ParquetFile) -> Table:
    """The identity of a file that :func:`check_file` has opened."""
    return table_of(json.loads(file.schema_arrow.metadata[b"tts.config"]))


def stored(data: Path, kind: str, dataset: str, policy: str = "", prm: str = "") -> list[Table]:
    """The tables of a kind, one's own and shipped, finished or only begun, in order of their paths.

    Raises:
        DamagedTable, ForeignTable: a file among them cannot be read or names no configuration.
    """
    within = folder_of(kind, dataset, policy, prm)

    def look() -> list[Table]:
        found = {}
        for layer in data_folder.layers(data):
            for path in sorted((layer / within).rglob("*.parquet")):
                if path.name.startswith("."):
                    continue
                table = table_of_file(check_file(path))
                begun = path.parent.suffix == ".parts"
                if table.path(layer) != (path.parent.with_suffix(".parquet") if begun else path):
                    raise ForeignTable(
                        f"{path} holds another table than its name says: {to_json(table.config)}; "
                        f"it belongs at {table.relative}"
                    )
                found[table.relative] = table
        return [found[name] for name in sorted(found)]

    return _beside_others(look)


def folder_of(kind: str, dataset: str, policy: str = "", prm: str = "") -> str:
    """The folder of the tables of a kind, relative to a data directory."""
    return "/".join([kind, *(slug(name) for name in (dataset, policy, prm) if name)])


T = TypeVar("T")


def _beside_others(read: Callable[[], T]) -> T:
    """What ``read`` gives; once more where a file it listed was gone, as another process compacts a table."""
    for _ in range(2):
        with contextlib.suppress(FileNotFoundError):
            return read()
    return read()


def _files(table: Table, data: Path) -> list[Path]:
    return [path for folder in data_folder.layers(data) for path in _files_in(folder, table)]


def _files_in(folder: Path, table: Table) -> list[Path]:
    path, parts = table.path(folder), table.parts(folder)
    finished = [path] if path.exists() else []
    return finished + sorted(p for p in parts.glob("*.parquet") if not p.name.startswith("."))


def _check_hash(table: Table, data: Path) -> None:
    path = table.path(data)
    try:
        if path.exists():
            # "next_sha256" is left by a run that was killed between announcing a new file and noting it.
            hashes.checked(path, data)
    except FileNotFoundError:  # another process has removed it meanwhile
        return
    except hashes.DamagedFile as exc:
        raise DamagedTable(
            f"{path} is not the file the manifest lists (its sha256 differs); restore both (git checkout), "
            "or remove the file and fill it again"
        ) from exc
