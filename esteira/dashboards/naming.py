"""What Google's metrics are called in PromQL, by who answers it.

Servers are scraped, and tell their names themselves. What Google counts, and what our monitors
write to Cloud Monitoring, reaches PromQL by one of two ways.
"""

from __future__ import annotations

import re
from enum import StrEnum

from components.metric_types import MetricType
from workloads.telemetry import CustomMetric


class Naming(StrEnum):
    """Who answers queries for metrics of Cloud Monitoring."""

    GOOGLE = "google"
    """Cloud Monitoring's own PromQL, as Managed Service for Prometheus and Grafana ask it."""
    EXPORTER = "exporter"
    """A Prometheus that scrapes stackdriver_exporter."""

    def metric(self, type: str, resource: str) -> str:  # noqa: A002 - the API's own word
        """The name of a metric.

        `google`, by cloud.google.com/monitoring/promql/promql-mapping: the first `/` becomes `:`,
        other characters `_`. `exporter`, by the README of prometheus-community's
        stackdriver_exporter: `stackdriver`, the resource and the metric, joined by `_`.
        """
        if self is Naming.EXPORTER:
            return _words(f"stackdriver_{resource}_{type}")
        domain, _, path = type.partition("/")
        return f"{_words(domain)}:{_words(path)}"

    def ours(self, metric: CustomMetric) -> str:
        """The name of a metric that our workloads write."""
        return self.metric(metric.type, "global")

    def googles(self, metric: MetricType) -> str:
        """The name of a metric of Google's."""
        return self.metric(metric.type, metric.resource)


def _words(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", text)
