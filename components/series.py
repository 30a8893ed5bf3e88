"""A selection of time series, as alerts and dashboards ask Cloud Monitoring for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi

from components import checks
from components.metric_types import ALIGNERS, RESOURCES, MetricType

REDUCERS: Final[dict[str, frozenset[str]]] = {
    "REDUCE_SUM": frozenset({"INT64", "DOUBLE", "DISTRIBUTION"}),
    "REDUCE_MAX": frozenset({"INT64", "DOUBLE"}),
    "REDUCE_MIN": frozenset({"INT64", "DOUBLE"}),
    "REDUCE_MEAN": frozenset({"INT64", "DOUBLE", "DISTRIBUTION"}),
    "REDUCE_COUNT_FALSE": frozenset({"BOOL"}),
    "REDUCE_PERCENTILE_99": frozenset({"INT64", "DOUBLE", "DISTRIBUTION"}),
}
"""By reducer, the value types that it takes after alignment."""
MINUTE: Final = 60
_PLACES: Final = ("resource.labels.", "metric.labels.")


@dataclass(frozen=True, kw_only=True)
class Series:
    """Which series of one metric, aligned and reduced how.

    Raises:
        InvalidArgs: at construction, when the metric has no such label, or the aligner or the
            reducer does not take what the metric is.
    """

    metric: MetricType
    """One of those in `components/metric_types.py`, or of our own."""
    aligner: str
    """Makes one point of a span; one of `ALIGNERS` that takes what the metric is."""
    where: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, "pulumi.Input[str]"])
    """Labels that have to equal a value: `resource.labels.job_name`, `metric.labels.result`."""
    starts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Labels that have to start with a text."""
    at_least: Mapping[str, int] = field(default_factory=dict[str, int])
    """Labels that are numbers, and the least they may be."""
    exactly: Mapping[str, int] = field(default_factory=dict[str, int])
    """Labels that are numbers, and what they have to be."""
    period_seconds: int = MINUTE
    """The span that the aligner makes one point of; whole minutes, up to a day and an hour."""
    reducer: str | None = None
    """Makes one series of many; each stays by itself when not given."""
    group_by: tuple[str, ...] = ()
    """Labels whose values keep series apart when they are reduced."""

    def __post_init__(self) -> None:
        who = f"Series of {self.metric.type}"
        known = {
            *(f"resource.labels.{name}" for name in RESOURCES[self.metric.resource]),
            *(f"metric.labels.{name}" for name in self.metric.labels),
        }
        for named in ("where", "starts", "at_least", "exactly", "group_by"):
            for label in getattr(self, named):
                checks.one_of(who, named, label, known)
        checks.one_of(who, "aligner", self.aligner, ALIGNERS)
        kinds, values = ALIGNERS[self.aligner]
        if self.metric.kind not in kinds or self.metric.value not in values:
            raise checks.InvalidArgs(
                who, "aligner", self.aligner,
                f"one that takes {self.metric.kind} of {self.metric.value}",
            )  # fmt: skip
        if self.reducer is not None:
            checks.one_of(who, "reducer", self.reducer, REDUCERS)
            if self._aligned() not in REDUCERS[self.reducer]:
                raise checks.InvalidArgs(
                    who, "reducer", self.reducer, f"one that takes {self._aligned()}"
                )
        elif self.group_by:
            raise checks.InvalidArgs(who, "group_by", self.group_by, "nothing without a `reducer`")
        whole_minutes(who, "period_seconds", self.period_seconds, least=MINUTE)

    def _aligned(self) -> str:
        """The value type after alignment."""
        if self.aligner.startswith(("ALIGN_PERCENTILE", "ALIGN_FRACTION", "ALIGN_RATE")):
            return "DOUBLE"
        return self.metric.value

    def filter(self) -> pulumi.Input[str]:
        """The filter, in Cloud Monitoring's language; labels in one order."""
        parts = [
            f'metric.type = "{self.metric.type}"',
            f'resource.type = "{self.metric.resource}"',
        ]
        parts += [f'{label} = starts_with("{text}")' for label, text in sorted(self.starts.items())]
        parts += [f"{label} >= {number}" for label, number in sorted(self.at_least.items())]
        parts += [f"{label} = {number}" for label, number in sorted(self.exactly.items())]
        labels = sorted(self.where)
        values = [self.where[label] for label in labels]
        if all(isinstance(value, str) for value in values):
            return _joined(parts, dict(zip(labels, values, strict=True)))
        return pulumi.Output.all(*values).apply(
            lambda known: _joined(parts, dict(zip(labels, known, strict=True)))
        )

    def aggregation(self) -> dict[str, Any]:
        """The aggregation, by the names of Cloud Monitoring's API."""
        return {
            "alignmentPeriod": f"{self.period_seconds}s",
            "perSeriesAligner": self.aligner,
            **({} if self.reducer is None else {"crossSeriesReducer": self.reducer}),
            **({"groupByFields": list(self.group_by)} if self.group_by else {}),
        }


def whole_minutes(component: str, argument: str, seconds: int, *, least: int = 0) -> None:
    """Refuse a span that Cloud Monitoring would: it counts in minutes, up to 25 hours.

    Raises:
        InvalidArgs: it is too short, too long, or no whole number of minutes.
    """
    checks.between(component, argument, seconds, least, 90_000, "seconds")
    if seconds % MINUTE:
        raise checks.InvalidArgs(component, argument, seconds, "a multiple of 60 seconds")


def _joined(parts: list[str], equal: Mapping[str, Any]) -> str:
    return " AND ".join([*parts, *(f'{label} = "{value}"' for label, value in equal.items())])
