"""Makes one value of the points of a window, and one series of several.

Of Google's aligners and reducers those for gauges of numbers are here, by
cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies#Aligner. No series of another
kind can be written to the local cloud; the others are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from localcloud.rest.errors import InvalidArgument, Unimplemented
from localcloud.services.monitoring.filters import Header
from localcloud.services.monitoring.names import whole_minutes
from localcloud.services.monitoring.series import Point

Number = Callable[[Sequence[float]], float]

ALIGNERS: Final[Mapping[str, Number]] = {
    "ALIGN_MIN": min,
    "ALIGN_MAX": max,
    "ALIGN_MEAN": fmean,
    "ALIGN_SUM": sum,
    "ALIGN_COUNT": len,
    # The most recent point of the window.
    "ALIGN_NEXT_OLDER": lambda values: values[-1],
}
REDUCERS: Final[Mapping[str, Number]] = {
    "REDUCE_MIN": min,
    "REDUCE_MAX": max,
    "REDUCE_MEAN": fmean,
    "REDUCE_SUM": sum,
    "REDUCE_COUNT": len,
}
_NONE: Final = ("REDUCE_NONE", "", None)


@dataclass(frozen=True)
class Aggregation:
    """How series become values."""

    period: float
    """Seconds that one value stands for."""
    aligner: str
    reducer: str | None
    group_by: tuple[str, ...]

    def align(self, points: Sequence[Point]) -> float | None:
        """The value of the points of one window, in order; None where there is none."""
        return ALIGNERS[self.aligner]([one.value for one in points]) if points else None

    def reduce(self, aligned: Iterable[tuple[Header, float]]) -> dict[tuple[str, ...], float]:
        """The values of one window, by what their series differ in after reduction."""
        if self.reducer is None:
            return {_own(header): value for header, value in aligned}
        groups: dict[tuple[str, ...], list[float]] = {}
        for header, value in aligned:
            key = tuple(f"{field}={header.value(field) or ''}" for field in self.group_by)
            groups.setdefault(key, []).append(value)
        return {key: REDUCERS[self.reducer](values) for key, values in groups.items()}

    def key(self, header: Header) -> tuple[str, ...]:
        """Where `reduce` puts a series."""
        return next(iter(self.reduce([(header, 0.0)])))


def aggregation(given: Mapping[str, Any], field: str) -> Aggregation:
    """The aggregation that an API message describes.

    Raises:
        InvalidArgument: it is wrong.
        Unimplemented: it is right, but not for what can be written here.
    """
    aligner = given.get("perSeriesAligner") or ""
    if aligner not in ALIGNERS:
        raise Unimplemented(
            f"Field {field}.per_series_aligner: the local cloud has no "
            f"'{aligner or 'ALIGN_NONE'}'; it has {', '.join(sorted(ALIGNERS))}, for gauges of "
            "numbers."
        )
    reducer = given.get("crossSeriesReducer")
    reducer = None if reducer in _NONE else reducer
    if reducer is not None and reducer not in REDUCERS:
        raise Unimplemented(
            f"Field {field}.cross_series_reducer: the local cloud has no '{reducer}'; it has "
            f"{', '.join(sorted(REDUCERS))}."
        )
    group_by = tuple(one.replace(".label.", ".labels.") for one in given.get("groupByFields") or ())
    if group_by and reducer is None:
        raise InvalidArgument(
            f"Field {field}.group_by_fields: needs a cross_series_reducer beside it."
        )
    return Aggregation(
        period=whole_minutes(given, "alignmentPeriod", field, 60),
        aligner=aligner,
        reducer=reducer,
        group_by=group_by,
    )


def only_aggregation(given: Sequence[Mapping[str, Any]], field: str) -> Aggregation:
    """The one aggregation of a condition.

    Raises:
        InvalidArgument: there is none.
        Unimplemented: there are two, one after the other.
    """
    if not given:
        raise InvalidArgument(f"Field {field}.aggregations: an aggregation is required.")
    if len(given) > 1:
        raise Unimplemented(
            f"Field {field}.aggregations: the local cloud evaluates one aggregation, got "
            f"{len(given)}."
        )
    return aggregation(given[0], f"{field}.aggregations[0]")


def _own(header: Header) -> tuple[str, ...]:
    return (
        *(f"metric.labels.{key}={value}" for key, value in sorted(header.metric_labels.items())),
        *(
            f"resource.labels.{key}={value}"
            for key, value in sorted(header.resource_labels.items())
        ),
    )
