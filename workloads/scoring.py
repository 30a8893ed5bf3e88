"""A model as it is used: ONNX bytes that are what their hash says, and the rows they take.

Evaluation, the gate, the endpoint and batch prediction all score through this class, so that a
model cannot behave differently in one of them. Each field of the product's request contract is one
input of the ONNX graph, `[rows, 1]`: text for text, 32-bit floats for numbers, NaN for null.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from workloads import contracts
from workloads.contracts import Contract

if TYPE_CHECKING:
    import pyarrow as pa

PROBABILITIES: Final = "probabilities"
"""The output of the graph: `[rows, 2]`, the second column for the positive class."""


class ModelRefused(Exception):
    """A model that may not be used: altered, or not of this contract."""


def verify(content: bytes, sha256: str, what: str) -> bytes:
    """The same bytes, if they are what was registered.

    Raises:
        ModelRefused: they have another hash.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelRefused(
            f"{what} has SHA-256 {found}; the manifest says {sha256}. It is not the model that was "
            "evaluated, and is not loaded; register the model again"
        )
    return content


class Scorer:
    """Computes probabilities with ONNX Runtime.

    Args:
        model: ONNX bytes, already verified.
        request: the contract whose fields are the graph's inputs.

    Raises:
        ModelRefused: the bytes are no model, or its inputs are not the fields of the contract.
    """

    def __init__(self, model: bytes, request: type[Contract]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # A row costs microseconds: threads within one would only wait for each other.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        try:
            self._session: Any = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base of their own
            raise ModelRefused(f"the model cannot be loaded: {error}") from error
        inputs = {one.name for one in self._session.get_inputs()}
        expected = set(request.__struct_fields__)
        if inputs != expected:
            raise ModelRefused(
                f"the model takes {sorted(inputs - expected) or 'no more'} beyond, and lacks "
                f"{sorted(expected - inputs) or 'nothing'} of contract {request.NAME} "
                f"v{request.VERSION}; train it with this contract"
            )
        self._text = {
            field.name: field.kind == "string" or field.choices is not None
            for field in contracts.fields(request)
        }

    def columns(self, columns: Mapping[str, Sequence[Any]]) -> NDArray[np.float64]:
        """The probability of the positive class for each row of a column-wise table."""
        feed = {
            name: _text(columns[name]) if text else _numbers(columns[name])
            for name, text in self._text.items()
        }
        output = self._session.run([PROBABILITIES], feed)[0]
        return output[:, 1].astype(np.float64)

    def rows(self, rows: Sequence[Contract]) -> NDArray[np.float64]:
        """The probability of the positive class for each request."""
        return self.columns({name: [getattr(row, name) for row in rows] for name in self._text})

    def table(self, rows: pa.Table) -> NDArray[np.float64]:
        """The probability of the positive class for each row of a feature query's result."""
        if rows.num_rows == 0:
            return np.empty(0)
        return self.columns({name: rows.column(name).to_pylist() for name in self._text})


def _text(values: Sequence[Any]) -> NDArray[Any]:
    return np.array(["" if one is None else one for one in values], dtype=object).reshape(-1, 1)


def _numbers(values: Sequence[Any]) -> NDArray[np.float32]:
    # None becomes NaN, which the trees send the way they learned for missing values.
    return np.array(values, dtype=np.float32).reshape(-1, 1)
