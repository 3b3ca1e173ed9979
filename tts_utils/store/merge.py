"""The rows of many pieces in one order, given out a group at a time; it knows no files.

What is held at once is the keys of all rows, one piece, and one group; so memory hardly grows with a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

GROUP = 1 << 20
"""Rows of a group at most. It is pyarrow's own number, by which every stored table was cut."""


class Piece(NamedTuple):
    """Some rows that can be read, again and again.

    Attributes:
        rows: how many there are.
        read: gives them, with all columns (None) or some.
    """

    rows: int
    read: Callable[[list[str] | None], pa.Table]


def merged(pieces: Sequence[Piece], keys: Sequence[str], size: int = GROUP) -> Iterator[pa.Table]:
    """Give the rows of all pieces sorted by key, each key once, in groups of ``size`` and a last smaller one.

    Args:
        pieces: at least one, each in any order.
        keys: names of columns, strings or integers; of equal keys the first row of the first piece stays.
        size: rows of a group.

    >>> one, two = pa.table({"k": [3, 1], "x": ["a", "b"]}), pa.table({"k": [2, 3], "x": ["c", "d"]})
    >>> pieces = [Piece(2, lambda names, rows=rows: rows.select(names or ["k", "x"])) for rows in (one, two)]
    >>> [group.to_pydict() for group in merged(pieces, ["k"], size=2)]
    [{'k': [1, 2], 'x': ['b', 'c']}, {'k': [3], 'x': ['a']}]
    """
    order = _order(pa.concat_tables([piece.read(list(keys)) for piece in pieces]), keys)
    if not len(order):
        yield pieces[0].read(None)
    ends = np.cumsum([piece.rows for piece in pieces])
    for begin in range(0, len(order), size):
        wanted = order[begin : begin + size]
        parts, places = [], []
        for piece, end in zip(pieces, ends, strict=True):
            inside = np.flatnonzero((wanted >= end - piece.rows) & (wanted < end))
            if len(inside):
                parts.append(piece.read(None).take(pa.array(wanted[inside] - (end - piece.rows))))
                places.append(inside)
        group = pa.concat_tables(parts)
        place = np.concatenate(places)
        if (np.diff(place) < 0).any():
            group = group.take(pa.array(np.argsort(place, kind="stable")))
        yield group.combine_chunks()


def in_order(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Give the rows sorted by key, each key once: of equal ones the first; as they are where they are so."""
    rows = rows.combine_chunks()
    return rows if _is_in_order(rows, keys) else rows.take(pa.array(_order(rows, keys)))


def _is_in_order(rows: pa.Table, keys: Sequence[str]) -> bool:
    """Whether every row's key is greater than the one before it, as in a compacted table."""
    greater, equal = np.zeros(max(rows.num_rows - 1, 0), dtype=bool), True
    for key in keys:
        before, after = rows[key].slice(0, len(greater)), rows[key].slice(1)
        greater |= equal & pc.greater(after, before).to_numpy()
        equal = equal & pc.equal(after, before).to_numpy()
    return bool(greater.all())


def _order(rows: pa.Table, keys: Sequence[str]) -> NDArray[np.int64]:
    """The numbers of the rows in the order of their keys, without those whose key was there before."""
    codes = [_codes(rows[key]) for key in keys]
    order = np.lexsort(codes[::-1])
    same = np.logical_and.reduce([code[order][1:] == code[order][:-1] for code in codes])
    return order[np.concatenate([[True], ~same])] if len(order) else order


def _codes(column: pa.ChunkedArray) -> NDArray[np.integer]:
    """Integers that are ordered as a column is: its own, or the ranks of its strings."""
    if not pa.types.is_string(column.type):
        return column.to_numpy()
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    texts = np.array(encoded.dictionary.to_pylist(), dtype=object)
    rank = np.empty(len(texts), dtype=np.int32)
    rank[np.argsort(texts, kind="stable")] = np.arange(len(texts))
    return rank[encoded.indices.to_numpy()]
