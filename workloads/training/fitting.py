"""From frozen rows to an ONNX graph that answers as the fitted model does.

Fitting and export share one process, so the fitted model is never written down: no pickle exists
that anything could be made to load.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from workloads import contracts
from workloads.product import Product, Task
from workloads.scoring import PROBABILITIES, Scorer
from workloads.training import hyperparameters
from workloads.training.data import Extract, frame, labels, load

TOLERANCE: Final = 1e-5
"""The most by which a probability of the graph may differ from scikit-learn's."""
# The newest operators that both skl2onnx 1.20 and ONNX Runtime 1.31 know.
_OPERATORS: Final = {"": 21, "ai.onnx.ml": 3}


class ExportDiffers(Exception):
    """The ONNX graph does not answer as the fitted model does."""


def fit_and_export(product: Product, parts: Extract) -> bytes:
    """Train on the training rows; return the graph after comparing it on the hold-out.

    Raises:
        ExportDiffers: some probability differs by more than `TOLERANCE`.
        NotImplementedError: the product asks for another task than classification.
    """
    if product.task is not Task.CLASSIFICATION:
        raise NotImplementedError(
            f"{product.name} asks for {product.task.value}; allowed: {Task.CLASSIFICATION.value}"
        )
    training, holdout = load(parts.training), load(parts.holdout)
    fitted = _function(product)(frame(product, training), labels(product, training))
    model = export(product, fitted)
    expected = fitted.predict_proba(frame(product, holdout))[:, 1]
    found = Scorer(model, product.features.request, product.task).table(holdout).value
    worst = int(np.argmax(np.abs(found - expected)))
    difference = float(abs(found[worst] - expected[worst]))
    if not difference <= TOLERANCE:
        entity = holdout.column(product.features.entity)[worst].as_py()
        raise ExportDiffers(
            f"for {entity} the ONNX graph gives {found[worst]:.7f} and scikit-learn "
            f"{expected[worst]:.7f}; allowed difference: {TOLERANCE:g}. Features "
            "must be 32-bit floats and every step one that skl2onnx supports"
        )
    return model


def export(product: Product, fitted: Any) -> bytes:
    """A fitted scikit-learn classifier as ONNX bytes, one input a field of the request."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    _cut_on_32_bits(fitted)
    inputs = [
        (
            field.name,
            StringTensorType([None, 1]) if field.kind == "string" else FloatTensorType([None, 1]),
        )
        for field in contracts.fields(product.features.request)
    ]
    graph: Any = convert_sklearn(
        fitted,
        name=product.id,
        initial_types=inputs,
        # Without this, probabilities come as a list of dictionaries.
        options={"zipmap": False},
        target_opset=_OPERATORS,
    )
    outputs = [one.name for one in graph.graph.output]
    if PROBABILITIES not in outputs:
        raise ExportDiffers(
            f"the graph gives {outputs}; it must give `{PROBABILITIES}`: return a classifier with "
            "predict_proba from the training function"
        )
    hyperparameters.write(graph, fitted)
    return graph.SerializeToString()


def _cut_on_32_bits(fitted: Any) -> None:
    """Lower each threshold of boosted trees to a number that 32 bits hold.

    ONNX keeps thresholds in 32 bits, and the converter rounds them to the nearest: a threshold just
    below a value that occurs becomes that value, and its rows change sides. For 32-bit features
    `x <= threshold` and `x <= threshold rounded down` say the same, so the fitted model does not
    change, and what it exports is exact.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    steps = [step for _, step in getattr(fitted, "steps", [("", fitted)])]
    for model in steps:
        if not isinstance(model, HistGradientBoostingClassifier):
            continue
        predictors: Any = model._predictors  # pyright: ignore[reportAttributeAccessIssue]
        for tree in (one for trees in predictors for one in trees):
            exact = tree.nodes["num_threshold"]
            nearest = exact.astype(np.float32)
            lower = np.nextafter(nearest, np.float32(-np.inf))
            tree.nodes["num_threshold"] = np.where(nearest > exact, lower, nearest)


def _function(product: Product) -> Callable[[Any, Any], Any]:
    module, _, name = product.train.partition(":")
    return getattr(importlib.import_module(module), name)
