"""Rows of many pieces in one order, in groups: against a plain sort, and in a table of searches."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import fakes
from tts_utils import store
from tts_utils.store import files, merge
from tts_utils.store.searches import fill_searches
from tts_utils.tree_search import TreeSearch

ROWS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["", "a", "b", "é", "\U0010fffd"])), max_size=8)


def piece(rows: pa.Table) -> merge.Piece:
    return merge.Piece(rows.num_rows, lambda names: rows if names is None else rows.select(names))


def tables(pieces: list[list[tuple[int, str]]]) -> list[pa.Table]:
    """Keys, and a number that tells every row from all others."""
    types, number, made = {"run": pa.int32(), "name": pa.string(), "x": pa.int64()}, 0, []
    for rows in pieces:
        columns = {"run": [a for a, _ in rows], "name": [b for _, b in rows]}
        columns["x"] = list(range(number, number + len(rows)))
        number += len(rows)
        made.append(pa.table(columns, schema=pa.schema(list(types.items()))))
    return made


@given(st.lists(ROWS, min_size=1, max_size=4), st.integers(1, 9))
def test_groups_hold_the_sorted_rows_and_of_equal_keys_the_first(pieces, size):
    made = tables(pieces)
    plain: dict[tuple, int] = {}
    for rows in made:
        for row in rows.to_pylist():
            plain.setdefault((row["run"], row["name"]), row["x"])
    groups = list(merge.merged([piece(rows) for rows in made], ["run", "name"], size))
    found = [tuple(row.values()) for group in groups for row in group.to_pylist()]
    assert found == [(*key, x) for key, x in sorted(plain.items())]
    assert all(group.num_rows == size for group in groups[:-1])
    assert groups[-1].num_rows > 0 or not plain


def test_a_file_in_groups_has_the_bytes_that_pyarrow_gives_it_in_one_go():
    rows = pa.table({"k": list(range(1000)), "text": [f"text {i % 7}" for i in range(1000)]})
    whole, piecewise = io.BytesIO(), io.BytesIO()
    pq.write_table(rows, whole, row_group_size=300)
    with pq.ParquetWriter(piecewise, rows.schema) as writer:
        for group in merge.merged([piece(rows.slice(500)), piece(rows.slice(0, 500))], ["k"], 300):
            writer.write_table(group)
    assert piecewise.getvalue() == whole.getvalue()


@pytest.mark.parametrize("method", ["beam", "dvts"])
def test_a_table_of_searches_is_the_same_in_one_group_and_in_many(method, tmp_path, monkeypatch):
    problems = fakes.problems(5)
    read = []
    for size in (merge.GROUP, 7):
        monkeypatch.setattr(merge.merged, "__defaults__", (size,))
        data, search = tmp_path / str(size), TreeSearch(method, 8)
        models = fakes.StepPolicy(), fakes.FakePRM()
        found = fill_searches("toy", *models, search, problems=problems, batch_size=16, data=data)
        file = pq.ParquetFile(found.path)
        assert file.num_row_groups == -(-found.rows // size)
        assert store.verify(data) == []
        read.append(files.load(found.table, data))
    assert read[0].equals(read[1]) and read[0].num_rows > 5 * 8
