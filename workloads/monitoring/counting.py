"""Counts rows in memory into the cells of a reference; chunk by chunk where there are many.

The same cells as `histogram_query` counts in BigQuery, to the row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.monitoring.reference import Feature, Histogram, Reference

Columns = Mapping[str, Sequence[Any] | NDArray[Any]]


class MissingColumn(LookupError):
    """Rows that do not have a feature at all: renamed, or of another contract."""


def count(reference: Reference, columns: Columns) -> dict[str, Histogram]:
    """How the rows of a table fall into each feature's cells.

    Args:
        reference: says which features, and their cells.
        columns: by name: numbers (None and NaN are missing, infinite ones are out of range) or
            text (None is missing).

    Raises:
        MissingColumn: names the features that there is no column for, and the columns there are.
    """
    absent = [one.name for one in reference.features if one.name not in columns]
    if absent:
        raise MissingColumn(
            f"no column {absent}; there are {sorted(columns)}. If one was renamed, rename it in "
            "the feature query, or train the model on the new name"
        )
    return {one.name: _count(one, columns[one.name]) for one in reference.features}


def count_chunks(reference: Reference, chunks: Iterable[Columns]) -> dict[str, Histogram]:
    """The same of a table that comes in parts, of which one at a time is held in memory."""
    total = {one.name: Histogram(cells=(0,) * one.size) for one in reference.features}
    for chunk in chunks:
        total = {name: total[name] + one for name, one in count(reference, chunk).items()}
    return total


def _count(feature: Feature, values: Sequence[Any] | NDArray[Any]) -> Histogram:
    return _text(feature, values) if feature.kind == "text" else _numbers(feature, values)


def _numbers(feature: Feature, values: Sequence[Any] | NDArray[Any]) -> Histogram:
    numbers = np.asarray(values, dtype=np.float64)
    edges = np.array(feature.edges)
    known = numbers[~np.isnan(numbers)]
    places = np.searchsorted(edges, known, side="right")
    cells = np.bincount(places, minlength=feature.size)
    if edges.size > 1:
        # The last edge belongs to the last bin.
        last = int((known == edges[-1]).sum())
        cells[-1] -= last
        cells[-2] += last
    return Histogram(cells=tuple(cells.tolist()), nulls=numbers.size - known.size)


def _text(feature: Feature, values: Sequence[Any] | NDArray[Any]) -> Histogram:
    found: Counter[Any] = Counter(values.tolist() if isinstance(values, np.ndarray) else values)
    nulls = found.pop(None, 0)
    listed = [found.get(one, 0) for one in feature.categories]
    return Histogram(cells=(*listed, found.total() - sum(listed)), nulls=nulls)
