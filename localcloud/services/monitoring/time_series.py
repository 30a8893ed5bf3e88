"""Points are written and read: `projects.timeSeries`.

Gauges of numbers only. Google's limit of one point of a series in five seconds is not imposed: a
replay of months in minutes writes faster than the world does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import ApiError, InvalidArgument, Unimplemented
from localcloud.services.listing import page, page_answer
from localcloud.services.monitoring import aligning, filters
from localcloud.services.monitoring.descriptors import Descriptors
from localcloud.services.monitoring.names import instant, project_parent, written
from localcloud.services.monitoring.series import OutOfOrder, Point, SeriesStore

_PREFIX: Final = "monitoring.projects.timeSeries"
_MOST: Final = 200
"""Series in one request, as on Google Cloud."""
_PAST, _FUTURE = 25 * 3600.0, 300.0
_VALUE_TYPES: Final = {"doubleValue": "DOUBLE", "int64Value": "INT64", "boolValue": "BOOL"}
_AGGREGATION: Final = "aggregation."


class TimeSeries:
    """The series of every project."""

    def __init__(
        self,
        descriptors: Descriptors,
        series: SeriesStore,
        on_write: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`on_write` is told that there are new points."""
        self._descriptors = descriptors
        self._series = series
        self._on_write = on_write
        self._clock = clock
        self.handlers: dict[str, Handler] = {
            f"{_PREFIX}.create": self._create,
            f"{_PREFIX}.list": self._list,
        }

    async def _create(self, request: Request) -> dict[str, Any]:
        project = project_parent(request.path["name"])
        given: list[Mapping[str, Any]] = (request.body or {}).get("timeSeries") or []
        if not 0 < len(given) <= _MOST:
            raise InvalidArgument(
                f"Field timeSeries: 1 to {_MOST} series may be written at a time, got {len(given)}."
            )
        problems: list[str] = []
        for index, one in enumerate(given):
            try:
                self._write(project, one, f"timeSeries[{index}]")
            except ApiError as error:
                if isinstance(error, Unimplemented):
                    raise
                problems.append(error.message)
        if len(problems) < len(given):
            self._on_write()
        if problems:
            # As Google does: what can be written is, and the rest is told of.
            raise InvalidArgument(
                "One or more TimeSeries could not be written: " + "; ".join(problems),
                [
                    {
                        "@type": "type.googleapis.com/google.monitoring.v3.CreateTimeSeriesSummary",
                        "totalPointCount": len(given),
                        "successPointCount": len(given) - len(problems),
                    }
                ],
            )
        return {}

    def _write(self, project: str, given: Mapping[str, Any], field: str) -> None:
        metric: Mapping[str, Any] = given.get("metric") or {}
        resource: Mapping[str, Any] = given.get("resource") or {}
        header = filters.Header(
            metric=metric.get("type") or "",
            metric_labels=dict(metric.get("labels") or {}),
            resource=resource.get("type") or "global",
            # What Google fills in where it is left out.
            resource_labels={
                "project_id": project.rpartition("/")[2],
                **(resource.get("labels") or {}),
            },
        )
        if given.get("metricKind") not in (None, "GAUGE", "METRIC_KIND_UNSPECIFIED"):
            raise Unimplemented(f"Field {field}.metric_kind: the local cloud keeps gauges only.")
        points: list[Mapping[str, Any]] = given.get("points") or []
        if len(points) != 1:
            raise InvalidArgument(
                f"Field {field}.points had an invalid value: exactly one point must be given, got "
                f"{len(points)}."
            )
        end = self._end(points[0].get("interval") or {}, f"{field}.points[0].interval")
        value_type, value = _value(points[0].get("value") or {}, f"{field}.points[0].value")
        self._descriptors.written(project, header, value_type)
        try:
            self._series.append(project, header, Point(end, value))
        except OutOfOrder:
            raise InvalidArgument(
                f"{field}: Points must be written in order. One or more of the points specified "
                "had an older end time than the most recent point."
            ) from None

    def _end(self, interval: Mapping[str, Any], field: str) -> float:
        end = instant(interval.get("endTime"), f"{field}.end_time")
        start = interval.get("startTime")
        if start is not None and instant(start, f"{field}.start_time") != end:
            raise InvalidArgument(
                f"Field {field}: the start time of a gauge must be left out or equal its end time."
            )
        now = self._clock()
        if not now - _PAST <= end <= now + _FUTURE:
            raise InvalidArgument(
                f"Field {field}.end_time had an invalid value of '{interval.get('endTime')}': Data "
                "points cannot be written more than 25h in the past or 5 minutes in the future."
            )
        return end

    async def _list(self, request: Request) -> dict[str, Any]:
        project = project_parent(request.path["name"])
        query = request.query
        wanted = filters.parse(query.get("filter", ""))
        until = instant(query.get("interval.endTime"), "interval.end_time")
        start = query.get("interval.startTime")
        # A gauge at one instant is asked for by its end alone; both ends belong to the interval.
        after = (instant(start, "interval.start_time") if start else until) - 1e-6
        if any(name.startswith("secondaryAggregation.") for name in query):
            raise Unimplemented("timeSeries.list: the local cloud aggregates once.")
        asked = {
            name.removeprefix(_AGGREGATION): value
            for name, value in query.items()
            if name.startswith(_AGGREGATION)
        }
        selected = self._series.select(project, wanted, after, until)
        if asked and asked.get("perSeriesAligner") != "ALIGN_NONE":
            found = self._aggregated(project, selected, asked, after, until)
        else:
            found = [self._told(project, header, points) for header, points in selected if points]
        if query.get("view") == "HEADERS":
            found = [{**one, "points": []} for one in found]
        pairs = [(f"{index:09d}", one) for index, one in enumerate(found)]
        return page_answer("timeSeries", page(pairs, query, default=1000))

    def _aggregated(
        self,
        project: str,
        selected: Iterable[tuple[filters.Header, list[Point]]],
        asked: Mapping[str, Any],
        after: float,
        until: float,
    ) -> list[dict[str, Any]]:
        by = aligning.aggregation(asked, "aggregation")
        series = list(selected)
        made: dict[tuple[str, ...], list[Point]] = {}
        headers: dict[tuple[str, ...], filters.Header] = {}
        for header, _ in series:
            headers.setdefault(by.key(header), header)
        end = until
        while end > after:
            aligned = [
                (header, value)
                for header, points in series
                for value in [by.align([one for one in points if end - by.period < one.end <= end])]
                if value is not None
            ]
            for key, value in by.reduce(aligned).items():
                made.setdefault(key, []).insert(0, Point(end, value))
            end -= by.period
        return [
            self._told(project, _reduced(headers[key], by), points) for key, points in made.items()
        ]

    def _told(self, project: str, header: filters.Header, points: list[Point]) -> dict[str, Any]:
        known = self._descriptors.find(project, header.metric) or {}
        value_type = known.get("valueType", "DOUBLE")
        return {
            "metric": {"type": header.metric, "labels": header.metric_labels},
            "resource": {"type": header.resource, "labels": header.resource_labels},
            "metricKind": "GAUGE",
            "valueType": value_type,
            # The newest first.
            "points": [
                {
                    "interval": {"startTime": written(one.end), "endTime": written(one.end)},
                    "value": _shown(value_type, one.value),
                }
                for one in reversed(points)
            ],
        }


def _reduced(header: filters.Header, by: aligning.Aggregation) -> filters.Header:
    """What a series is called after reduction: by what it was grouped, and no more."""
    if by.reducer is None:
        return header
    kept = set(by.group_by)
    return filters.Header(
        metric=header.metric,
        metric_labels={
            key: value
            for key, value in header.metric_labels.items()
            if f"metric.labels.{key}" in kept
        },
        resource=header.resource,
        resource_labels={
            key: value
            for key, value in header.resource_labels.items()
            if f"resource.labels.{key}" in kept or key == "project_id"
        },
    )


def _value(given: Mapping[str, Any], field: str) -> tuple[str, float]:
    for name, value_type in _VALUE_TYPES.items():
        if name in given:
            return value_type, float(given[name])
    if given:
        raise Unimplemented(
            f"Field {field}: the local cloud keeps {', '.join(_VALUE_TYPES)}, not "
            f"{', '.join(sorted(given))}."
        )
    raise InvalidArgument(f"Field {field}: a value is required.")


def _shown(value_type: str, value: float) -> dict[str, Any]:
    if value_type == "BOOL":
        return {"boolValue": bool(value)}
    if value_type == "INT64":
        return {"int64Value": str(int(value))}
    return {"doubleValue": value}
