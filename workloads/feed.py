"""From Arrow columns to the inputs of an ONNX graph, without a Python object a number.

A number's buffer is handed on as it lies, or cast once to 32 bits. Text costs one Python string a
distinct value: rows of a column share it, which is what ONNX Runtime then copies from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


def feed(rows: pa.Table | pa.RecordBatch, text: Mapping[str, bool]) -> dict[str, NDArray[Any]]:
    """What a session takes for these rows: `[rows, 1]` by name, null as NaN or empty text.

    Args:
        rows: must have each column that `text` names; others are left alone.
        text: by the name of an input, whether it takes text and not 32-bit floats.
    """
    return {
        name: (_text if is_text else _numbers)(_whole(rows.column(name))).reshape(-1, 1)
        for name, is_text in text.items()
    }


def _whole(column: Any) -> Any:
    """One array of a column, which a table keeps in pieces."""
    import pyarrow as pa

    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _numbers(column: Any) -> NDArray[np.float32]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    # Not "safe": 64 bits lose digits here, as they did when the model was fitted.
    column = pc.cast(column, pa.float32(), safe=False)
    if column.null_count:
        column = pc.fill_null(column, float("nan"))
    return column.to_numpy(zero_copy_only=True)


def _text(column: Any) -> NDArray[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        column = pc.fill_null(column, "")
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    words = np.array(column.dictionary.to_pylist(), dtype=object)
    return words[column.indices.to_numpy(zero_copy_only=False)]
