"""A model as it is used: ONNX bytes that are what their hash says, and the rows they take.

Evaluation, the gate, the endpoint and batch prediction all score through this class, so that a
model cannot behave differently in one of them. Each field of the product's request contract is one
input of the ONNX graph, `[rows, 1]`: text for text, 32-bit floats for numbers, NaN for null.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from workloads import contracts
from workloads.contracts import Contract
from workloads.feed import feed
from workloads.product import Task

if TYPE_CHECKING:
    import pyarrow as pa

PROBABILITIES: Final = "probabilities"
"""The output of a classification's graph: `[rows, 2]`, the second column for the positive class."""
PREDICTIONS: Final = "predictions"
"""The output of a regression's graph: `[rows, 3]`, the value and the bounds of its interval."""
INTERVAL: Final = "interval"
"""The entry of a regression's graph that names its quantiles, `0.1,0.9`."""
CALIBRATION: Final = "interval_calibration"
"""The entry of a regression's graph that says how its bounds were calibrated, where they were: the
margin by which both moved outwards, and the rows that it was found on, `3.28,6789`."""
_OUTPUT: Final = {Task.CLASSIFICATION: (PROBABILITIES, 2), Task.REGRESSION: (PREDICTIONS, 3)}


@dataclass(frozen=True)
class Answers:
    """What a model says of rows, column by column, `[rows]` each, 64-bit floats.

    Raises:
        ValueError: one bound without the other, or columns of unlike length.
    """

    value: NDArray[np.float64]
    """The probability of yes, or the number predicted."""
    lower: NDArray[np.float64] | None = None
    upper: NDArray[np.float64] | None = None
    """The interval of a regression; None for a classification."""
    interval: tuple[float, float] = (0.1, 0.9)
    """The quantiles that the bounds stand for."""

    def __post_init__(self) -> None:
        shapes = [None if one is None else one.shape for one in (self.lower, self.upper)]
        if self.value.ndim != 1 or shapes not in ([None, None], [self.value.shape] * 2):
            raise ValueError(
                f"value has shape {self.value.shape}, lower {shapes[0]}, upper {shapes[1]}; "
                "allowed: vectors of one length, both bounds or none"
            )

    @property
    def rows(self) -> int:
        """How many rows were answered."""
        return self.value.size

    def where(self, rows: NDArray[Any]) -> Answers:
        """The answers of some rows, by a mask or by their positions."""
        lower, upper = self.lower, self.upper
        return Answers(
            self.value[rows],
            None if lower is None else lower[rows],
            None if upper is None else upper[rows],
            self.interval,
        )


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
    """Computes answers with ONNX Runtime.

    Args:
        model: ONNX bytes, already verified.
        request: the contract whose fields are the graph's inputs.
        task: says which output the graph has to have.

    Raises:
        ModelRefused: the bytes are no model, its inputs are not the fields of the contract, or it
            does not answer for the task.
    """

    def __init__(self, model: bytes, request: type[Contract], task: Task) -> None:
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
        self._output, columns = _OUTPUT[task]
        outputs: dict[str, Any] = {one.name: one.shape for one in self._session.get_outputs()}
        # A graph may leave the number of its columns open, which reads as no number.
        width = outputs.get(self._output, [0])[-1]
        if isinstance(width, int) and width != columns:
            raise ModelRefused(
                f"the model gives {outputs}; a {task.value} gives `{self._output}`, "
                f"[rows, {columns}]; train it for this task"
            )
        self.task = task
        self.interval = (0.1, 0.9)
        self.calibration: tuple[float, int] | None = None
        """The margin of the bounds of a regression and the rows it was found on; None: neither."""
        if task is Task.REGRESSION:
            metadata = self._session.get_modelmeta().custom_metadata_map
            self.interval = _interval(metadata)
            self.calibration = _calibration(metadata)
        self._text = {
            field.name: field.kind == "string" or field.choices is not None
            for field in contracts.fields(request)
        }

    def columns(self, columns: Mapping[str, Sequence[Any]]) -> Answers:
        """What the model says of each row of a column-wise table."""
        given = {
            name: _text(columns[name]) if text else _numbers(columns[name])
            for name, text in self._text.items()
        }
        output = self._session.run([self._output], given)[0].astype(np.float64)
        return self._answers(output)

    def rows(self, rows: Sequence[Any]) -> Answers:
        """What the model says of each request: of rows of the contract, or of structs like them."""
        if not rows:
            return self._answers(np.empty((0, _OUTPUT[self.task][1])))
        # In the order of the contract, as the names are.
        columns = zip(*map(msgspec.structs.astuple, rows), strict=True)
        texts: dict[str, Any] = {}
        numbers: dict[str, Any] = {}
        for (name, text), column in zip(self._text.items(), columns, strict=True):
            (texts if text else numbers)[name] = column
        given = {name: _text(column) for name, column in texts.items()}
        if numbers:
            # All numbers at once: one call of numpy for each column costs more than the model.
            matrix = np.array(list(numbers.values()), dtype=np.float32)
            given |= zip(numbers, matrix[:, :, np.newaxis], strict=True)
        output = self._session.run([self._output], given)[0].astype(np.float64)
        return self._answers(output)

    def table(self, rows: pa.Table | pa.RecordBatch) -> Answers:
        """What the model says of each row of a feature query's result. Several threads may ask."""
        if rows.num_rows == 0:
            return self._answers(np.empty((0, _OUTPUT[self.task][1])))
        output = self._session.run([self._output], feed(rows, self._text))[0]
        return self._answers(output.astype(np.float64))

    def _answers(self, output: NDArray[np.float64]) -> Answers:
        if self.task is Task.CLASSIFICATION:
            return Answers(output[:, 1])
        return Answers(output[:, 0], output[:, 1], output[:, 2], self.interval)


def _interval(metadata: Mapping[str, str]) -> tuple[float, float]:
    try:
        lower, upper = (float(one) for one in metadata[INTERVAL].split(","))
    except (KeyError, ValueError):
        raise ModelRefused(
            f"the model's entry `{INTERVAL}` is {metadata.get(INTERVAL)!r}; allowed: the two "
            "quantiles of its bounds, such as `0.1,0.9`; export it with workloads.training.fitting"
        ) from None
    return lower, upper


def _calibration(metadata: Mapping[str, str]) -> tuple[float, int] | None:
    if CALIBRATION not in metadata:
        return None
    margin, _, rows = metadata[CALIBRATION].partition(",")
    return float(margin), int(rows)


def _text(values: Sequence[Any]) -> NDArray[Any]:
    return np.array(["" if one is None else one for one in values], dtype=object).reshape(-1, 1)


def _numbers(values: Sequence[Any]) -> NDArray[np.float32]:
    # None becomes NaN, which the trees send the way they learned for missing values.
    return np.array(values, dtype=np.float32).reshape(-1, 1)
