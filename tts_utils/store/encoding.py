"""Rows of a table as the bytes of its file: equal rows give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tts_utils.store import merge
from tts_utils.store.manifest import StoreError
from tts_utils.store.tables import SCHEMA_VERSION, SCHEMAS, Table, escape, to_json

Rows = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
"""One mapping per row; or the columns by name, which is quicker to make of very many rows."""


def num_rows(rows: Rows) -> int:
    """How many rows there are, however they are given."""
    return len(next(iter(rows.values()), ())) if isinstance(rows, Mapping) else len(rows)


def from_rows(table: Table, rows: Rows) -> pa.Table:
    """Rows in the table's schema; a constant column may be left out of them.

    Raises:
        StoreError: a row lacks a column or holds a value of another type.
    """
    constant = {"policy": table.policy, "dataset": table.dataset, "prm": table.prm}
    schema = SCHEMAS[table.kind]
    columns = []
    for field in schema:
        try:
            values = _cells(rows, field.name, constant)
            if pa.types.is_string(field.type):
                stored = {value: escape(value) for value in set(values)}  # far fewer than rows
                values = [stored[value] for value in values]
            column = pa.array(values, type=field.type)
        except (KeyError, TypeError, pa.ArrowException) as exc:
            raise StoreError(
                f"{table.relative}: column {field.name!r} is missing or of a wrong type ({exc})"
            ) from exc
        if column.null_count:
            raise StoreError(f"{table.relative}: column {field.name!r} has an empty cell")
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def _cells(rows: Rows, name: str, constant: Mapping[str, str]) -> Sequence[Any]:
    """A column of rows; what a row lacks is the table's constant."""
    if isinstance(rows, Mapping):
        return rows[name] if name in rows else [constant[name]] * num_rows(rows)
    try:
        return list(map(itemgetter(name), rows))
    except KeyError:
        return [row[name] if name in row else constant[name] for row in rows]


def encode(
    table: Table,
    groups: Iterable[pa.Table],
    sources: Mapping[str, str],
    more: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """How many rows there are, and the bytes of a file that holds them, one row group for each group."""
    metadata = {
        "tts.config": to_json(table.config),
        "tts.config_sha256": table.config_sha256,
        "tts.schema_version": str(SCHEMA_VERSION),
        "tts.sources": to_json(sources),
        **(more or {}),
    }
    groups = (group.combine_chunks().replace_schema_metadata(metadata) for group in groups)
    first, buffer = next(groups), io.BytesIO()
    rows = first.num_rows
    with pq.ParquetWriter(
        buffer,
        first.schema,
        compression="zstd",
        compression_level=17,  # a tenth smaller than at 9, for a few seconds a table
        use_dictionary=[f.name for f in first.schema if pa.types.is_string(f.type)],
        use_byte_stream_split=["scores.list.element"] if table.kind == "step_scores" else False,
        write_page_checksum=True,
    ) as writer:
        writer.write_table(first, merge.GROUP)
        del first
        for group in groups:
            writer.write_table(group, merge.GROUP)
            rows += group.num_rows
    return rows, buffer.getvalue()
