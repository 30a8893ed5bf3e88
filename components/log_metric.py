"""Log entries of one sort, counted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

NAME: Final = (
    re.compile(r"[A-Za-z0-9_.-][A-Za-z0-9_.,+!*'()%/-]{0,99}"),
    "at most 100 letters, digits and any of `_-.,+!*'()%/`, not starting with `/`",
)
"""By the reference of LogMetric.name in Cloud Logging's API."""
USER: Final = "logging.googleapis.com/user/"


@dataclass(frozen=True, kw_only=True)
class LogMetricArgs:
    """What is counted, and by what.

    Raises:
        InvalidArgs: at construction, when a name or an extractor does not fit.
    """

    metric: str
    """Its name after `logging.googleapis.com/user/`."""
    description: str
    filter: str
    """Entries that are counted, in the language of Cloud Logging."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """By name, `EXTRACT(field)` or `REGEXP_EXTRACT(field, "...")`. Few values each: every
    combination is a time series."""

    def __post_init__(self) -> None:
        who = "LogMetric"
        checks.matches(who, "metric", self.metric, NAME)
        if not self.filter.strip():
            raise checks.InvalidArgs(who, "filter", self.filter, "a filter of log entries")
        for extractor in self.labels.values():
            if not extractor.startswith(("EXTRACT(", "REGEXP_EXTRACT(")):
                raise checks.InvalidArgs(
                    who, "labels", extractor, "EXTRACT(field) or REGEXP_EXTRACT(field, regex)"
                )


class LogMetric(pulumi.ComponentResource):
    """Log-based counter metric."""

    metric: gcp.logging.Metric

    def __init__(
        self, name: str, *, args: LogMetricArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:log_metric:LogMetric", name, {}, opts)
        logging = gcp.logging
        self.metric = logging.Metric(
            name,
            name=args.metric,
            description=args.description,
            filter=args.filter,
            metric_descriptor=logging.MetricMetricDescriptorArgs(
                metric_kind="DELTA",
                value_type="INT64",
                unit="1",
                labels=[
                    logging.MetricMetricDescriptorLabelArgs(key=key, value_type="STRING")
                    for key in sorted(args.labels)
                ],
            ),
            label_extractors=dict(args.labels) or None,
            opts=child_opts(self),
        )
        self.register_outputs({"metric": self.metric.name})


def prometheus_name(metric: str) -> str:
    """A log-based metric's name in PromQL.

    By cloud.google.com/monitoring/promql/promql-mapping: the first `/` becomes `:`, every other
    character that PromQL does not take becomes `_`.
    """
    domain, _, path = f"{USER}{metric}".partition("/")
    return ":".join(re.sub(r"[^A-Za-z0-9_]", "_", part) for part in (domain, path))
