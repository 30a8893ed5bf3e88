"""From frozen rows to an ONNX graph that answers as the fitted model does.

Fitting and export share one process, so the fitted model is never written down: no pickle exists
that anything could be made to load.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from workloads import contracts
from workloads.product import Product, Task
from workloads.scoring import PROBABILITIES, Answers, Scorer
from workloads.training import hyperparameters
from workloads.training.data import Extract, frame, labels, load
from workloads.training.regression import IntervalRegressor, merged, tell_calibration, tell_interval

TOLERANCE: Final = 1e-5
"""The most by which a probability of the graph may differ from scikit-learn's; for a predicted
number, the share of it by which it may."""
NUMBER_TOLERANCE: Final = 1e-3
"""The most by which a predicted number may differ beside that share, in the label's unit: the graph
adds up trees in 32 bits."""
# The newest operators that both skl2onnx 1.20 and ONNX Runtime 1.31 know.
_OPERATORS: Final = {"": 21, "ai.onnx.ml": 3}


class ExportDiffers(Exception):
    """The ONNX graph does not answer as the fitted model does."""


class InvalidFit(TypeError):
    """A training function returned something that does not answer for the product's task."""


def fit_and_export(product: Product, parts: Extract) -> bytes:
    """Train on the training rows; return the graph after comparing it on the hold-out.

    Raises:
        ExportDiffers: some answer differs by more than `TOLERANCE` allows.
        InvalidFit: the training function returned something else than the task needs.
    """
    training, holdout = load(parts.training), load(parts.holdout)
    fitted = fit(product, frame(product, training), labels(product, training))
    model = export(product, fitted)
    rows = frame(product, holdout)
    found = _columns(Scorer(model, product.features.request, product.task).table(holdout))
    if product.task is Task.CLASSIFICATION:
        expected, spare = fitted.predict_proba(rows)[:, 1:], TOLERANCE
    else:
        expected = fitted.predict(rows)
        spare = NUMBER_TOLERANCE + TOLERANCE * np.abs(expected)
    beyond = np.abs(found - expected) - spare
    worst, column = np.unravel_index(int(np.argmax(beyond)), beyond.shape)
    if not beyond[worst, column] <= 0:
        entity = holdout.column(product.features.entity)[int(worst)].as_py()
        allowed = np.broadcast_to(spare, beyond.shape)[worst, column]
        raise ExportDiffers(
            f"for {entity} the ONNX graph gives {found[worst, column]:.7f} and scikit-learn "
            f"{expected[worst, column]:.7f}; allowed difference: {allowed:g}. Features "
            "must be 32-bit floats and every step one that skl2onnx supports"
        )
    return model


def fit(product: Product, rows: Any, truth: Any, seed: int | None = None) -> Any:
    """What the product's training function makes of rows: a model of the product's task.

    A classification's is called with the features and the labels, a regression's also with the
    quantiles of its interval.

    Args:
        product: the declaration.
        rows: features, in order of event time.
        truth: the label of each.
        seed: given to the training function as `seed`; None: it chooses its own.

    Raises:
        InvalidFit: it returned something else than the task needs.
    """
    function = _function(product)
    if seed is not None:
        function = functools.partial(function, seed=seed)
    if product.task is Task.CLASSIFICATION:
        fitted = function(rows, truth)
        if not hasattr(fitted, "predict_proba"):
            raise InvalidFit(
                f"{product.train} returned {type(fitted).__name__}; allowed for "
                f"{product.task.value}: a fitted scikit-learn classifier with predict_proba"
            )
        return fitted
    fitted = function(rows, truth, product.interval)
    parts = {name: getattr(fitted, name, None) for name in ("value", "lower", "upper")}
    lacking = [name for name, one in parts.items() if not hasattr(one, "predict")]
    if lacking:
        raise InvalidFit(
            f"{product.train} returned {type(fitted).__name__} without a regressor as "
            f"{', '.join(lacking)}; allowed for {product.task.value}: a "
            "workloads.training.regression.IntervalRegressor of fitted scikit-learn regressors"
        )
    return IntervalRegressor(
        **parts,
        margin=getattr(fitted, "margin", 0.0),
        calibration_rows=getattr(fitted, "calibration_rows", 0),
    )


def _columns(answers: Answers) -> Any:
    parts = [answers.value, answers.lower, answers.upper]
    return np.column_stack([one for one in parts if one is not None])


def export(product: Product, fitted: Any) -> bytes:
    """A fitted model as ONNX bytes, one input a field of the request.

    Args:
        fitted: as `fit` returns it.
    """
    if product.task is Task.CLASSIFICATION:
        # Without the option, probabilities come as a list of dictionaries.
        graph = _converted(product, fitted, {"zipmap": False})
        outputs = [one.name for one in graph.graph.output]
        if PROBABILITIES not in outputs:
            raise ExportDiffers(
                f"the graph gives {outputs}; it must give `{PROBABILITIES}`: return a classifier "
                "with predict_proba from the training function"
            )
        hyperparameters.write(graph, fitted)
    else:
        parts = {"value": fitted.value, "lower": fitted.lower, "upper": fitted.upper}
        converted = {name: _converted(product, one, None) for name, one in parts.items()}
        graph = merged(converted, product.id, fitted.margin)
        hyperparameters.write(graph, fitted)
        tell_interval(graph, product.interval)
        if fitted.calibration_rows:
            tell_calibration(graph, fitted.margin, fitted.calibration_rows)
    return graph.SerializeToString()


def _converted(product: Product, fitted: Any, options: dict[str, Any] | None) -> Any:
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
    return convert_sklearn(
        fitted,
        name=product.id,
        initial_types=inputs,
        options=options,
        target_opset=_OPERATORS,
    )


def _cut_on_32_bits(fitted: Any) -> None:
    """Lower each threshold of boosted trees to a number that 32 bits hold.

    ONNX keeps thresholds in 32 bits, and the converter rounds them to the nearest: a threshold just
    below a value that occurs becomes that value, and its rows change sides. For 32-bit features
    `x <= threshold` and `x <= threshold rounded down` say the same, so the fitted model does not
    change, and what it exports is exact.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    boosted = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    steps = [step for _, step in getattr(fitted, "steps", [("", fitted)])]
    for model in steps:
        if not isinstance(model, boosted):
            continue
        predictors: Any = model._predictors  # pyright: ignore[reportAttributeAccessIssue]
        for tree in (one for trees in predictors for one in trees):
            exact = tree.nodes["num_threshold"]
            nearest = exact.astype(np.float32)
            lower = np.nextafter(nearest, np.float32(-np.inf))
            tree.nodes["num_threshold"] = np.where(nearest > exact, lower, nearest)


def _function(product: Product) -> Callable[..., Any]:
    module, _, name = product.train.partition(":")
    return getattr(importlib.import_module(module), name)
