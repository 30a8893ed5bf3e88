"""Conditions of alert policies: what they ask, and whether it is so.

Thresholds over one metric of our own, and its absence, are evaluated. Ratios, forecasts, PromQL,
the Monitoring Query Language, SQL and matched logs are refused, and so are metrics that Google's
services write: nothing here writes them, so the condition could never be met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from localcloud.rest.errors import InvalidArgument, NotFound, Unimplemented
from localcloud.services.monitoring.aligning import Aggregation, only_aggregation
from localcloud.services.monitoring.filters import Filter, parse
from localcloud.services.monitoring.names import CUSTOM, whole_minutes
from localcloud.services.monitoring.series import SeriesStore

Key = tuple[str, ...]
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "COMPARISON_GT": lambda value, limit: value > limit,
    "COMPARISON_LT": lambda value, limit: value < limit,
}
_REMEMBERED: Final = 24 * 3600.0
"""How long a series that has fallen silent is still missed."""
_SAYS: Final = {
    "COMPARISON_GT": "above the threshold of",
    "COMPARISON_LT": "below the threshold of",
}


@dataclass(frozen=True)
class Seen:
    """How one series, or group of series, stands at one moment."""

    met: bool | None
    """None where there is no data to tell by."""
    value: float | None
    until: float | None
    """When it may be otherwise though nothing is written; None where it cannot."""


@dataclass(frozen=True)
class Condition:
    """One condition that is evaluated here."""

    title: str
    wanted: Filter
    by: Aggregation
    duration: float
    """Seconds for which it has to be so."""
    comparison: str | None
    """None for absence."""
    threshold: float
    missing: str
    """`ACTIVE`, `INACTIVE` or `NO_OP`, as evaluationMissingData ends."""

    def look(self, project: str, series: SeriesStore, now: float) -> dict[Key, Seen]:
        """How each series stands."""
        if self.comparison is None:
            return self._silence(project, series, now)
        aligned: list[tuple[Any, float]] = []
        ends: dict[Key, float] = {}
        quiet: list[Key] = []
        for header, points in series.select(project, self.wanted, now - self.by.period, now):
            value, key = self.by.align(points), self.by.key(header)
            if value is None:
                quiet.append(key)
                continue
            aligned.append((header, value))
            # The window moves on: its oldest point is the first to leave it.
            ends[key] = min(ends.get(key, now + self.by.period), points[0].end + self.by.period)
        holds = _COMPARISONS[self.comparison]
        found = {
            key: Seen(holds(value, self.threshold), value, ends[key])
            for key, value in self.by.reduce(aligned).items()
        }
        return {**{key: Seen(None, None, None) for key in quiet}, **found}

    def _silence(self, project: str, series: SeriesStore, now: float) -> dict[Key, Seen]:
        newest: dict[Key, float] = {}
        for header, end in series.newest(project, self.wanted):
            if end > now - _REMEMBERED - self.duration:
                key = self.by.key(header)
                newest[key] = max(newest.get(key, 0.0), end)
        return {
            key: Seen(now >= end + self.duration, None, max(end + self.duration, now))
            for key, end in newest.items()
        }

    @property
    def lasts(self) -> float:
        """Seconds for which it has to be met; of absence it is part of being met."""
        return 0.0 if self.comparison is None else self.duration

    def says(self, key: Key, value: float | None) -> str:
        """A sentence for people."""
        where = f" for {', '.join(key)}" if key else ""
        if self.comparison is None:
            return f"{self.wanted.metric}{where} has not reported for {self.duration:g} seconds."
        return (
            f"{self.wanted.metric}{where} is {_SAYS[self.comparison]} {self.threshold:g} with a "
            f"value of {0.0 if value is None else value:.3f}."
        )


def read(
    given: Mapping[str, Any], field: str, declared: Callable[[str], bool] | None = None
) -> Condition:
    """A condition of the API.

    Args:
        declared: whether there is a metric of this type; not asked when not given.

    Raises:
        InvalidArgument: it is wrong.
        NotFound: nothing is known of the metric.
        Unimplemented: it is right, but nothing that is evaluated here.
    """
    kinds = [name for name in given if name.startswith("condition")]
    if len(kinds) != 1:
        raise InvalidArgument(f"Field {field}: exactly one kind of condition is required.")
    [kind] = kinds
    if kind not in ("conditionThreshold", "conditionAbsent"):
        raise Unimplemented(
            f"Field {field}.{kind}: the local cloud evaluates conditionThreshold and "
            "conditionAbsent only."
        )
    body: Mapping[str, Any] = given[kind]
    where = f"{field}.{kind}"
    for name in ("denominatorFilter", "denominatorAggregations", "forecastOptions"):
        if body.get(name):
            raise Unimplemented(f"Field {where}.{name} is not evaluated by the local cloud.")
    trigger: Mapping[str, Any] = body.get("trigger") or {}
    if trigger.get("percent") or trigger.get("count", 1) != 1:
        raise Unimplemented(
            f"Field {where}.trigger: the local cloud opens an incident for each series; count must "
            "be 1."
        )
    wanted = parse(body.get("filter") or "", f"{where}.filter")
    if not wanted.metric.startswith(CUSTOM):
        raise Unimplemented(
            f"Field {where}.filter: no service of the local cloud writes {wanted.metric}, so the "
            f"condition could never be met; only {CUSTOM}... is evaluated."
        )
    if declared is not None and not declared(wanted.metric):
        raise NotFound(
            f'Cannot find metric that matches type = "{wanted.metric}". If a metric was created '
            "recently, it could take up to 10 minutes to become available. Please try again soon."
        )
    absent = kind == "conditionAbsent"
    comparison = None if absent else body.get("comparison", "")
    if comparison is not None and comparison not in _COMPARISONS:
        raise InvalidArgument(
            f"Field {where}.comparison had an invalid value of '{comparison}': must be "
            f"{' or '.join(_COMPARISONS)}."
        )
    return Condition(
        title=given.get("displayName") or "",
        wanted=wanted,
        by=only_aggregation(body.get("aggregations") or (), where),
        duration=whole_minutes(body, "duration", where, 120 if absent else 0),
        comparison=comparison,
        threshold=float(body.get("thresholdValue") or 0.0),
        missing=str(body.get("evaluationMissingData") or "").removeprefix(
            "EVALUATION_MISSING_DATA_"
        ),
    )
