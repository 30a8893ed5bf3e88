"""What a model was fitted with, carried by the ONNX graph itself: no second file can disagree."""

from __future__ import annotations

from typing import Any, Final

_LONGEST: Final = 500


def of(fitted: Any) -> dict[str, str]:
    """The plain parameters of a scikit-learn model and its steps, by scikit-learn's own names.

    Those that are models, functions or arrays themselves are left out: their own parameters are
    among them, or there is no text for them that is the same in each run.
    """
    plain = (str, int, float, bool, type(None))
    found = {
        name: repr(value)
        for name, value in fitted.get_params(deep=True).items()
        if isinstance(value, plain)
    }
    return {name: text for name, text in sorted(found.items()) if len(text) <= _LONGEST}


def write(graph: Any, fitted: Any) -> None:
    """Put the parameters into a graph, an `onnx.ModelProto`, as its metadata."""
    from onnx import helper

    helper.set_model_props(graph, {"estimator": type(fitted).__name__, **of(fitted)})
