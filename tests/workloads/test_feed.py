"""Arrow columns reach a model as the same numbers and texts that Python values would."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from workloads.feed import feed


def test_numbers_become_32_bits_and_null_becomes_nan() -> None:
    rows = pa.RecordBatch.from_pydict(
        {
            "whole": pa.array([1, None, 16_777_217], pa.int64()),
            "real": pa.array([0.1, None, -1.5], pa.float64()),
            "flag": pa.array([True, None, False]),
            "ignored": ["x", "y", "z"],
        }
    )
    found = feed(rows, {"whole": False, "real": False, "flag": False})
    assert set(found) == {"whole", "real", "flag"}
    expected = {
        "whole": [1, np.nan, 16_777_217],
        "real": [0.1, np.nan, -1.5],
        "flag": [1, np.nan, 0],
    }
    for name, values in expected.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == (3, 1)
        np.testing.assert_array_equal(found[name][:, 0], np.array(values, np.float32))


def test_32_bits_without_nulls_are_not_copied() -> None:
    column = pa.array([1.0, 2.0], pa.float32())
    found = feed(pa.RecordBatch.from_pydict({"x": column}), {"x": False})["x"]
    assert found.ctypes.data == column.buffers()[1].address


@pytest.mark.parametrize("encoded", [False, True])
def test_text_is_kept_and_null_is_empty(encoded: bool) -> None:
    column = pa.array(["JFK", None, "EWR", "JFK"])
    rows = pa.table({"origin": column.dictionary_encode() if encoded else column})
    found = feed(rows, {"origin": True})["origin"]
    assert found.dtype == object
    assert found[:, 0].tolist() == ["JFK", "", "EWR", "JFK"]


def test_slices_and_pieces_of_a_table_are_read_where_they_are() -> None:
    pieces = pa.chunked_array([[1.0, 2.0], [3.0], [None, 5.0]])
    found = feed(pa.table({"x": pieces}).slice(1, 3), {"x": False})["x"]
    np.testing.assert_array_equal(found[:, 0], np.array([2, 3, np.nan], np.float32))
    words = pa.array(["a", "b", None, "c"])
    rows = pa.RecordBatch.from_pydict({"w": words}).slice(1, 2)
    assert feed(rows, {"w": True})["w"][:, 0].tolist() == ["b", ""]


def test_no_rows_are_no_rows() -> None:
    rows = pa.table({"x": pa.array([], pa.float64()), "w": pa.array([], pa.string())})
    found = feed(rows, {"x": False, "w": True})
    assert found["x"].shape == found["w"].shape == (0, 1)
