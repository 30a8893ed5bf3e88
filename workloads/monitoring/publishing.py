"""Where people and alerts look: the bucket of reports, Cloud Monitoring.

Whatever is written is written again by the next attempt over itself: objects by their name, points
of a gauge by their value.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from workloads import gcp
from workloads.artifacts import Folder
from workloads.product import Product
from workloads.telemetry import CustomMetric

SERIES: Final = 200
"""Time series that Cloud Monitoring takes in one request."""
_ATTEMPTS: Final = 5


@dataclass(frozen=True, kw_only=True)
class Point:
    """A gauge's value now."""

    metric: CustomMetric
    labels: Mapping[str, str]
    value: float


class Metrics:
    """Cloud Monitoring's custom metrics."""

    def write(self, points: Sequence[Point], at: datetime) -> None:
        """Write gauges, as of a moment.

        Raises:
            googleapiclient.errors.HttpError: Cloud Monitoring refused them.
        """
        import googleapiclient.errors

        end = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        series = [
            {
                "metric": {"type": one.metric.type, "labels": dict(one.labels)},
                "resource": {"type": "global", "labels": {"project_id": gcp.project()}},
                "metricKind": "GAUGE",
                "valueType": "DOUBLE",
                "points": [{"interval": {"endTime": end}, "value": {"doubleValue": one.value}}],
            }
            for one in points
        ]
        api = gcp.monitoring().projects().timeSeries()
        for start in range(0, len(series), SERIES):
            body = {"timeSeries": series[start : start + SERIES]}
            for attempt in range(_ATTEMPTS):
                try:
                    api.create(name=f"projects/{gcp.project()}", body=body).execute(num_retries=4)
                    break
                except googleapiclient.errors.HttpError as error:
                    # An attempt that was killed after it wrote has left a point of this moment or
                    # a later one; a gauge takes one each five seconds, in order.
                    if attempt == _ATTEMPTS - 1 or "more frequently" not in str(error):
                        raise
                    time.sleep(2.0)


def reports(product: Product) -> Folder:
    """Where reports and the record of the newest incident lie."""
    return Folder.of(product, "reports", product.name)
