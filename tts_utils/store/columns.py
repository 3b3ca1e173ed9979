"""Columns of a table as arrays: text unescaped once for each distinct value, lists as numbers and lengths."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tts_utils.store.tables import ESCAPE, unescape


def numbers(rows: pa.Table, name: str) -> NDArray:
    """A column of numbers or booleans."""
    return rows[name].to_numpy()


def strings(column: pa.ChunkedArray) -> NDArray[np.object_]:
    """A column of text, unescaped."""
    values = column.to_numpy()
    if pc.any(pc.match_substring(column, ESCAPE)).as_py():
        values = np.array([unescape(value) for value in values], dtype=object)
    return values


def codes(rows: pa.Table, name: str) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """A column of text as numbers, and the distinct texts that they number."""
    encoded = rows[name].combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.indices.to_numpy().astype(np.int64), strings(pa.chunked_array([encoded.dictionary]))


def lists(rows: pa.Table, name: str) -> tuple[NDArray, NDArray[np.int64]]:
    """A column of lists as one array of all their items, and the length of each."""
    column = rows[name]
    lengths = pc.list_value_length(column).to_numpy().astype(np.int64)
    return pc.list_flatten(column).to_numpy(), lengths


def to_frame(rows: pa.Table) -> pd.DataFrame:
    """Rows as a data frame: text as Python strings (dtype object), lists as Python lists."""
    frame = {}
    for name in rows.column_names:
        kind = rows.schema.field(name).type
        if pa.types.is_string(kind):
            frame[name] = pd.Series(strings(rows[name]), dtype=object)
        elif pa.types.is_list(kind):
            flat, lengths = lists(rows, name)
            items, ends = flat.tolist(), np.cumsum(lengths)
            cut = [items[end - length : end] for end, length in zip(ends, lengths, strict=True)]
            frame[name] = pd.Series(cut, dtype=object)
        else:
            frame[name] = numbers(rows, name)
    return pd.DataFrame(frame)
