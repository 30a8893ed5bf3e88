"""What a run tells Cloud Monitoring: every score, the verdicts, and what else people look at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from workloads import telemetry
from workloads.monitoring import tables
from workloads.monitoring.measuring import Measured, Rated
from workloads.monitoring.publishing import Point
from workloads.monitoring.verdicts import Finding
from workloads.monitoring.window import Window
from workloads.product import Product

_OF_FEATURES: Final = (tables.TRAINING, tables.SERVED, tables.SKEW)
"""What features are held against."""


def points(
    product: Product,
    measured: Measured,
    findings: Sequence[Finding],
    learned: datetime,
    now: datetime,
) -> list[Point]:
    """Everything that is known of a window; nothing of what is not.

    Args:
        product: the declaration.
        measured: the window.
        findings: what each kind of monitor says of it.
        learned: the end of the data that the champion has learned from.
        now: the moment of measuring.
    """
    ours = {telemetry.PRODUCT: product.name}
    found = [
        Point(
            metric=telemetry.DRIFT_SCORE,
            labels={
                **ours,
                telemetry.FEATURE: one.feature,
                telemetry.STATISTIC: one.statistic,
                telemetry.REFERENCE: reference,
                telemetry.SLICE: one.slice or telemetry.ALL,
            },
            value=one.score,
        )
        for reference, one in measured.all
        if reference in _OF_FEATURES and one.score is not None
    ]
    found += [
        Point(
            metric=telemetry.PREDICTION_DRIFT,
            labels={
                **ours,
                telemetry.FEATURE: one.feature,
                telemetry.STATISTIC: one.statistic,
            },
            value=one.score,
        )
        for one in measured.of(tables.ANSWERS)
        if one.score is not None
    ]
    found += [
        Point(metric=telemetry.ERROR_GROWTH, labels=ours, value=one.score)
        for one in measured.of(tables.ERRORS)
        if one.score is not None
    ]
    found += [
        Point(
            metric=telemetry.TABLE_AGE,
            labels={**ours, telemetry.TABLE: one.feature},
            value=one.score,
        )
        for one in measured.of(tables.FRESHNESS)
        if one.score is not None
    ]
    found += _rated(measured.rated, measured.window, ours)
    age = (now - learned) / timedelta(days=1)
    found.append(Point(metric=telemetry.MODEL_AGE, labels=ours, value=age))
    found += [
        Point(
            metric=telemetry.MONITOR_ALARM,
            labels={**ours, telemetry.KIND: one.kind},
            value=float(one.alarm),
        )
        for one in findings
        # Nothing while it cannot tell: neither an alarm nor a recovery.
        if one.alarm or one.verdict != "unknown"
    ]
    return found


def _rated(rated: Sequence[Rated], window: Window, ours: dict[str, str]) -> list[Point]:
    return [
        Point(
            metric=telemetry.PERFORMANCE,
            labels={
                **ours,
                telemetry.METRIC: one.performance.metric,
                telemetry.ESTIMATED: str(one.estimated).lower(),
                telemetry.SLICE: one.performance.slice or telemetry.ALL,
            },
            value=one.performance.value,
        )
        for one in rated
        if one.performance.value is not None and one.performance.window == window
    ]
