"""Whether the model still fits the world, and what became of new ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pulumi

from components import metric_types as metrics
from components.dashboard import Chart, Line, Logs, Panel
from components.metric_types import MetricType
from components.series import Series
from stacks.alerts.desk import HOUR, Desk, Watched
from stacks.alerts.models import pipeline_failures_filter
from stacks.dashboards.charts import header
from workloads import telemetry
from workloads.monitoring.tables import JENSEN_SHANNON, TRAINING

ALL_ROWS: Final = {telemetry.SLICE: telemetry.ALL}
ANSWERED: Final = {telemetry.STATISTIC: JENSEN_SHANNON}
"""Scores of one statistic alone can be told apart on one axis."""
DIVERGENCE: Final = {**ALL_ROWS, **ANSWERED, telemetry.REFERENCE: TRAINING}


def panels(about: Watched, desk: Desk) -> list[Panel]:
    """What is shown."""
    alerts = desk.settings.alerts
    return [
        header(about, "Whether the model still fits the world, and what became of new ones."),
        _monitored(about, "Drift by feature", desk.drift, "Jensen-Shannon, bits",
                   telemetry.FEATURE, threshold=alerts.drift_score, where=DIVERGENCE),
        _monitored(about, "Drift by reference and statistic: the worst feature", desk.drift,
                   "score", telemetry.REFERENCE, telemetry.STATISTIC, where=ALL_ROWS),
        _monitored(about, "Drift of the predictions", desk.prediction_drift,
                   "Jensen-Shannon, bits", telemetry.FEATURE, where=ANSWERED),
        _performance(about, desk),
        _monitored(about, "Concept drift: growth of the error", desk.error_growth,
                   "share of the hold-out's"),
        _monitored(about, "Alarms of the monitors", desk.alarm, "1: alarm", telemetry.KIND,
                   threshold=0.5),
        _monitored(about, "Age of the model", desk.age, "days",
                   threshold=alerts.stale_model_days),
        _monitored(about, "Retraining held back", desk.held, "1: held back", telemetry.REASON,
                   threshold=0.5),
        _monitored(about, "Freshness: age of each table", desk.table_age, "hours",
                   telemetry.TABLE),
        _jobs(about),
        Logs(
            title="Training runs that failed",
            filter=pipeline_failures_filter(desk.settings.project, about.product),
        ),
        Logs(
            title="Decisions of the gate",
            filter=f'"{telemetry.GATE_DECISION_START}product={about.product} "',
        ),
    ]  # fmt: skip


def _monitored(
    about: Watched,
    title: str,
    metric: MetricType,
    unit: str,
    *labels: str,
    threshold: float | None = None,
    where: Mapping[str, str] | None = None,
) -> Chart:
    """A metric that a monitor writes of the product, apart by some of its other labels.

    Args:
        where: labels that have to have a value.
    """
    apart = tuple(f"metric.labels.{label}" for label in labels)
    of: dict[str, pulumi.Input[str]] = {
        f"metric.labels.{label}": value
        for label, value in {telemetry.PRODUCT: about.product, **(where or {})}.items()
    }
    series = Series(
        metric=metric,
        aligner="ALIGN_MAX",
        where=of,
        period_seconds=HOUR,
        reducer="REDUCE_MAX",
        group_by=apart,
    )
    legend = " ".join(f"${{{label}}}" for label in apart) or about.product
    return Chart(
        title=title, unit=unit, threshold=threshold, lines=[Line(series=series, legend=legend)]
    )


def _performance(about: Watched, desk: Desk) -> Chart:
    return _monitored(
        about,
        "Performance: score, and whether it is estimated",
        desk.performance,
        "score",
        telemetry.METRIC,
        telemetry.ESTIMATED,
        where=ALL_ROWS,
    )


def _jobs(about: Watched) -> Chart:
    result = "metric.labels.result"
    return Chart(
        title="Executions of jobs",
        unit="executions an hour",
        lines=[
            Line(
                series=Series(
                    metric=metrics.EXECUTIONS,
                    aligner="ALIGN_DELTA",
                    where={"resource.labels.job_name": job},
                    period_seconds=HOUR,
                    reducer="REDUCE_SUM",
                    group_by=(result,),
                ),
                legend=f"{what}: ${{{result}}}",
            )
            for what, job in sorted(about.jobs.items())
        ],
    )
