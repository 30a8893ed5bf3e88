"""How far the hold-out's features have moved from those that the challenger learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """One feature."""

    feature: str
    divergence: float
    """Jensen-Shannon, base 2: 0, the same; 1, nothing in common. Nulls are a group of their own."""
    nulls_training: float
    nulls_holdout: float
    """Shares of the rows."""


def shifts(profile: Mapping[str, Any], rows: pa.Table) -> tuple[Shift, ...]:
    """Each feature of a training profile against the same column, the most moved first.

    Args:
        profile: as `workloads.training.profile` made it and lies beside the model.
        rows: the hold-out.
    """
    found: list[Shift] = []
    for name, known in profile.items():
        column = rows.column(name)
        nulls = column.null_count
        values = [one for one in column.to_pylist() if one is not None]
        then, now = _counts(known, values)
        here, before = max(1, rows.num_rows), max(1, int(known["rows"]))
        found.append(
            Shift(
                feature=name,
                divergence=_divergence(np.r_[then, known["nulls"]], np.r_[now, nulls]),
                nulls_training=known["nulls"] / before,
                nulls_holdout=nulls / here,
            )
        )
    return tuple(sorted(found, key=lambda one: -one.divergence))


def _counts(
    known: Mapping[str, Any], values: list[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows in each group then and now; what was not seen then is the last group."""
    if "values" in known:
        names: dict[str, int] = known["values"]
        place = {name: index for index, name in enumerate(names)}
        now = np.zeros(len(place) + 1)
        for one in values:
            name = str(one).lower() if isinstance(one, bool) else str(one)
            now[place.get(name, len(place))] += 1
        seen = np.array([*names.values()], dtype=np.float64)
        rest = known["rows"] - known["nulls"] - seen.sum()
        return np.r_[seen, rest], now
    if "edges" not in known:  # nulls alone, then
        return np.zeros(1), np.array([float(len(values))])
    inner = np.array(known["edges"][1:-1], dtype=np.float64)
    places = np.searchsorted(inner, np.array(values, dtype=np.float64), side="right")
    now = np.bincount(places, minlength=inner.size + 1).astype(np.float64)
    return np.array(known["counts"], dtype=np.float64), now


def _divergence(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if not one.sum() or not other.sum():
        return float(bool(one.sum()) != bool(other.sum()))
    first, second = one / one.sum(), other / other.sum()
    middle = (first + second) / 2

    def relative(part: NDArray[np.float64]) -> float:
        some = part > 0
        return float((part[some] * np.log2(part[some] / middle[some])).sum())

    return max(0.0, (relative(first) + relative(second)) / 2)
