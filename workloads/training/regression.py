"""A regression with an interval: three fitted regressors, and the one ONNX graph they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workloads.scoring import CALIBRATION, INTERVAL, PREDICTIONS

_PARTS: Final = ("value", "lower", "upper")
_COLUMN: Final = "column_shape"
"""The initializer by which each regressor's answer becomes one column."""
_MARGIN: Final = "interval_margin"
"""The initializer by which both bounds move outwards."""


@dataclass(frozen=True, kw_only=True)
class IntervalRegressor:
    """What the training function of a regression returns: fitted scikit-learn regressors."""

    value: Any
    """The number predicted."""
    lower: Any
    upper: Any
    """The quantiles of the product's `interval`."""
    margin: float = 0.0
    """By which both bounds lie further out than their regressors say, in the label's unit."""
    calibration_rows: int = 0
    """On which the margin was found, as `workloads.training.conformal` does; 0: on none."""

    def predict(self, rows: Any) -> NDArray[np.float64]:
        """`[rows, 3]`: value, lower, upper.

        Each quantile is fitted by itself, so a bound may come out on the wrong side of the value;
        it then is the value.
        """
        value = np.asarray(self.value.predict(rows), dtype=np.float64)
        lower = np.minimum(self.lower.predict(rows) - self.margin, value)
        upper = np.maximum(self.upper.predict(rows) + self.margin, value)
        return np.column_stack([value, lower, upper])

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters of the three, each under the name of its regressor, as scikit-learn's."""
        of_parts = {
            f"{part}__{name}": value
            for part in _PARTS
            for name, value in getattr(self, part).get_params(deep=deep).items()
        }
        return {**of_parts, "margin": self.margin, "calibration_rows": self.calibration_rows}


def merged(models: dict[str, Any], name: str, margin: float = 0.0) -> Any:
    """The graphs of the three regressors as one, whose output is `[rows, 3]`.

    What the regressors have in common, their encoders above all, is computed once: of nodes that do
    the same to the same inputs, one stays.

    Args:
        models: `onnx.ModelProto` with the same inputs and one output, by field of
            `IntervalRegressor`.
        name: of the graph.
        margin: by which both bounds move outwards.
    """
    from onnx import TensorProto, helper

    from_field = {field: _prefixed(model, f"{field}_") for field, model in models.items()}
    first = from_field["value"]
    graph = _Merging()
    columns: dict[str, str] = {}
    for field, model in from_field.items():
        graph.add(model)
        columns[field] = graph.named(model.graph.output[0].name)
    outwards = helper.make_tensor(_MARGIN, TensorProto.FLOAT, [1, 1], [margin])
    shape = helper.make_tensor(_COLUMN, TensorProto.INT64, [2], [-1, 1])
    nodes = [
        *graph.nodes,
        *(
            helper.make_node("Reshape", [column, _COLUMN], [f"{field}_column"])
            for field, column in columns.items()
        ),
        helper.make_node("Sub", ["lower_column", _MARGIN], ["lower_moved"]),
        helper.make_node("Add", ["upper_column", _MARGIN], ["upper_moved"]),
        helper.make_node("Min", ["lower_moved", "value_column"], ["lower_bound"]),
        helper.make_node("Max", ["upper_moved", "value_column"], ["upper_bound"]),
        helper.make_node(
            "Concat", ["value_column", "lower_bound", "upper_bound"], [PREDICTIONS], axis=1
        ),
    ]
    output = helper.make_tensor_value_info(PREDICTIONS, TensorProto.FLOAT, [None, len(models)])
    made = helper.make_graph(
        nodes, name, list(first.graph.input), [output], [*graph.initializers, shape, outwards]
    )
    return helper.make_model(
        made,
        opset_imports=list(first.opset_import),
        ir_version=first.ir_version,
        producer_name=first.producer_name,
        producer_version=first.producer_version,
    )


def tell_interval(model: Any, interval: tuple[float, float]) -> None:
    """Write into a graph which quantiles its bounds are, where `workloads.scoring` reads them."""
    entry = model.metadata_props.add()
    entry.key, entry.value = INTERVAL, f"{interval[0]:g},{interval[1]:g}"


def tell_calibration(model: Any, margin: float, rows: int) -> None:
    """Write into a graph how its bounds were calibrated, where `workloads.scoring` reads it."""
    entry = model.metadata_props.add()
    entry.key, entry.value = CALIBRATION, f"{margin!r},{rows}"


def _prefixed(model: Any, prefix: str) -> Any:
    from onnx import compose

    return compose.add_prefix(model, prefix, rename_inputs=False)


class _Merging:
    """Nodes and initializers of several graphs, each that says the same kept once."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._names: dict[str, str] = {}
        self._seen: dict[bytes, list[str]] = {}

    def named(self, name: str) -> str:
        """What a tensor is called here."""
        return self._names.get(name, name)

    def add(self, model: Any) -> None:
        """Take in a graph whose names no other graph has, but for its inputs."""
        for one in model.graph.initializer:
            if self._is_new(one, [one.name], name=""):
                self.initializers.append(one)
        for node in model.graph.node:
            inputs = [self.named(one) for one in node.input]
            outputs = list(node.output)
            del node.input[:]
            node.input.extend(inputs)
            # Names tell nothing of what a node does, and the same node has others in each graph.
            if self._is_new(node, outputs, name="", output=[""] * len(outputs)):
                self.nodes.append(node)

    def _is_new(self, part: Any, outputs: list[str], **blank: Any) -> bool:
        bare = type(part)()
        bare.CopyFrom(part)
        for field, value in blank.items():
            if isinstance(value, list):
                bare.ClearField(field)
                getattr(bare, field).extend(value)
            else:
                setattr(bare, field, value)
        key = type(part).__name__.encode() + bare.SerializeToString(deterministic=True)
        known = self._seen.setdefault(key, outputs)
        self._names.update(zip(outputs, known, strict=True))
        return known is outputs
