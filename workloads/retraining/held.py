"""Tells people that retraining does not help: a metric, by which an alert is raised and closed."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Final

from workloads import gcp, telemetry

log = logging.getLogger(__name__)

REJECTED: Final = "rejected"
BUDGET: Final = "budget"


def publish(product: str, *, rejected: bool, out_of_budget: bool) -> bool:
    """Write how things stand, 1 or 0 for each reason; whether it was taken.

    Retraining goes on without it: the records hold the same, and the next turn writes it again.

    Args:
        product: its name.
        rejected: whether the newest retrained model was refused.
        out_of_budget: whether the month's runs are used up.
    """
    at = datetime.now(UTC).isoformat()
    metric = telemetry.RETRAINING_HELD.type
    series: list[dict[str, Any]] = [
        {
            "metric": {
                "type": metric,
                "labels": {telemetry.PRODUCT: product, telemetry.REASON: reason},
            },
            "resource": {"type": "global", "labels": {"project_id": gcp.project()}},
            "metricKind": "GAUGE",
            "valueType": "DOUBLE",
            "points": [{"interval": {"endTime": at}, "value": {"doubleValue": float(held)}}],
        }
        for reason, held in ((REJECTED, rejected), (BUDGET, out_of_budget))
    ]
    from google.auth.exceptions import GoogleAuthError
    from googleapiclient.errors import Error
    from httplib2.error import HttpLib2Error

    try:
        gcp.monitoring().projects().timeSeries().create(
            name=f"projects/{gcp.project()}", body={"timeSeries": series}
        ).execute()
    except (Error, GoogleAuthError, HttpLib2Error, OSError) as error:
        log.warning("%s of %s is not written: %s", metric, product, error)
        return False
    return True
