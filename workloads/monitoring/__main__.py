"""`python -m workloads.monitoring`: the monitors of one product over one window, then the end."""

from __future__ import annotations

import logging
import os
import sys

from google.api_core.exceptions import GoogleAPICallError, RetryError
from googleapiclient.errors import HttpError
from pydantic import ValidationError

from workloads import product as products
from workloads.artifacts import ArtifactNotFound
from workloads.database import DatabaseSettings
from workloads.monitoring import outcomes
from workloads.monitoring.job import Edge, monitor
from workloads.monitoring.settings import MonitoringSettings
from workloads.monitoring.store import StoreRefused
from workloads.monitoring.window import InvalidWindow, Window
from workloads.registry import NoSuchVersion
from workloads.scoring import ModelRefused

log = logging.getLogger("workloads.monitoring")


def main() -> int:
    """Watch the product; 0 when all was measured and told, whatever was found."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    try:
        settings = MonitoringSettings()  # pyright: ignore[reportCallIssue]  # from the environment
        database = _database()
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"]).upper() or "environment"
            log.error("%s is %r: %s", name, fault["input"], fault["msg"])
        return 2
    try:
        product = products.load(settings.product)
        window = None
        if settings.window_start is not None and settings.window_end is not None:
            window = Window(start=settings.window_start, end=settings.window_end)
    except (products.InvalidProduct, InvalidWindow) as error:
        log.error("%s", error)
        return 2
    try:
        outcome = monitor(
            product,
            window,
            at=settings.measured_at,
            as_of=settings.measured_at,
            edge=Edge.of(product, database),
            progress=lambda step: log.info("%s", step),
        )
        outcomes.write(product, settings.cloud_run_execution, outcome)
    except (
        NoSuchVersion,
        ArtifactNotFound,
        ModelRefused,
        StoreRefused,
        GoogleAPICallError,
        RetryError,
        HttpError,
    ) as error:
        log.error("%s", error)
        return 1
    for one in outcome.findings:
        level = logging.WARNING if one.alarm else logging.INFO
        log.log(
            level,
            "%s: %s%s %s %s %s (threshold %s) %s",
            one.kind,
            one.verdict,
            ", alarm" if one.alarm else "",
            one.feature,
            one.statistic,
            one.score,
            one.threshold,
            one.reason,
        )
    log.info("%d measurements; report: %s", outcome.measurements, outcome.report)
    if outcome.unasked:
        log.error("retraining is due and could not be asked for: %s", outcome.unasked)
        return 1
    return 0


def _database() -> DatabaseSettings | None:
    """The stack's database, where it has one."""
    if not os.environ.get("DATABASE_HOST"):
        return None
    return DatabaseSettings()  # pyright: ignore[reportCallIssue]  # from the environment


if __name__ == "__main__":
    sys.exit(main())
