"""What the rows and the answers of a model looked like, to hold later ones against.

A profile has one entry a column. Numbers: edges of bins of equal share, and rows in each. Text and
truth values: rows of each value. Both: how many rows, and how many nulls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from workloads import contracts
from workloads.contracts import Kind
from workloads.monitoring.reference import edges_of
from workloads.product import Product, Task
from workloads.scoring import Answers

if TYPE_CHECKING:
    import pyarrow as pa

ANSWER: Final = "answer"
"""In a profile of answers: yes or no of a classification, `true` and `false`."""
_HISTOGRAM_BINS: Final = 20
_CATEGORIES: Final = 200

type Profile = dict[str, dict[str, Any]]


def of_features(product: Product, rows: pa.Table) -> Profile:
    """The distribution of each field of the request."""
    return {
        field.name: _entry(field.kind, rows.column(field.name).to_pylist())
        for field in contracts.fields(product.features.request)
    }


def of_answers(
    product: Product, rows: pa.Table, answers: Answers, threshold: float | None
) -> Profile:
    """The distribution of what was predicted of rows, and of what came.

    Fields are named as in the prediction log: `value`, then `answer` of a classification, `lower`
    and `upper` of a regression; and the label under its own name.
    """
    found = {"value": _entry("number", answers.value.tolist())}
    if threshold is not None:
        found[ANSWER] = _entry("boolean", (answers.value >= threshold).tolist())
    for name, bound in (("lower", answers.lower), ("upper", answers.upper)):
        if bound is not None:
            found[name] = _entry("number", bound.tolist())
    kind = "boolean" if product.task is Task.CLASSIFICATION else "number"
    label = product.label.column
    return {**found, label: _entry(kind, rows.column(label).to_pylist())}


def _entry(kind: Kind, column: list[Any]) -> dict[str, Any]:
    values = [one for one in column if one is not None]
    entry: dict[str, Any] = {
        # A truth value has no range to cut into bins.
        "kind": "string" if kind == "boolean" else kind,
        "rows": len(column),
        "nulls": len(column) - len(values),
    }
    if kind in ("string", "boolean"):
        text = [str(bool(one)).lower() if kind == "boolean" else one for one in values]
        names, counts = np.unique(np.array(text, dtype=str), return_counts=True)
        most = np.argsort(-counts, kind="stable")[:_CATEGORIES]
        entry["values"] = {str(names[one]): int(counts[one]) for one in most}
    elif values:
        numbers = np.array(values, dtype=np.float64)
        edges = edges_of(numbers, _HISTOGRAM_BINS)
        entry["edges"] = list(edges)
        entry["counts"] = np.histogram(numbers, edges)[0].tolist()
    return entry
