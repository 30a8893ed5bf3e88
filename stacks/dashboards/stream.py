"""Events on their way in: published, waiting, set aside, how fresh."""

from __future__ import annotations

from components import metric_types as metrics
from components.dashboard import Chart, Line, Logs, Panel, Promql
from components.log_metric import prometheus_name
from components.series import Series
from stacks.alerts.desk import Desk, Watched
from stacks.alerts.ingestion import dead_letters_metric
from stacks.dashboards.charts import apart, header, lines


def panels(about: Watched, desk: Desk) -> list[Panel]:
    """What is shown; nothing of a product that takes in nothing itself."""
    if about.batch_jobs is None:
        return []
    return [
        header(about, "Events on their way in: published, waiting, set aside, how fresh."),
        *_subscriptions(about, desk),
        *_streaming(about, desk),
        Chart(
            title="Dataflow jobs that failed",
            unit="jobs",
            threshold=0,
            lines=[
                Line(
                    series=Series(
                        metric=metrics.DATAFLOW_FAILED,
                        aligner="ALIGN_MAX",
                        starts={"resource.labels.job_name": f"{about.product}-"},
                        reducer="REDUCE_SUM",
                        group_by=("resource.labels.job_name",),
                    ),
                    legend="${resource.labels.job_name}",
                )
            ],
        ),
        _set_aside(about),
        Logs(
            title="Warnings of ingestion",
            filter='resource.type="dataflow_step" AND severity>=WARNING AND '
            f'resource.labels.job_name=~"^{about.product}-"',
        ),
    ]


def _subscriptions(about: Watched, desk: Desk) -> list[Panel]:
    alerts = desk.settings.alerts
    waiting = [
        (plural, {"resource.labels.subscription_id": subscription})
        for plural, subscription in sorted(about.subscriptions.items())
    ]
    if not waiting:
        return []
    published = [
        Line(
            series=Series(
                metric=metrics.PUBLISHED,
                aligner="ALIGN_RATE",
                where={"resource.labels.topic_id": topic},
                reducer="REDUCE_SUM",
            ),
            legend=plural,
        )
        for plural, topic in sorted(about.topics.items())
    ]
    return [
        Chart(title="Publish requests", unit="requests/s", lines=published),
        lines("Messages that wait", metrics.BACKLOG, "ALIGN_MEAN", "messages", waiting,
              alerts.backlog_messages),
        lines("Age of the oldest", metrics.OLDEST_UNACKED, "ALIGN_MAX", "seconds", waiting,
              alerts.oldest_unacked_seconds),
        lines("Given up by Pub/Sub", metrics.UNDELIVERABLE, "ALIGN_DELTA", "messages", waiting, 0),
    ]  # fmt: skip


def _streaming(about: Watched, desk: Desk) -> list[Panel]:
    if about.streaming_job is None:
        return []
    job = {"resource.labels.job_name": about.streaming_job}
    return [
        lines("System lag of the job", metrics.DATAFLOW_LAG, "ALIGN_MAX", "seconds",
              [("streaming", job)], desk.settings.alerts.oldest_unacked_seconds),
        # An idle stream has no new events, and grows old without anything being wrong.
        lines("Freshness: age of the newest event that is stored", metrics.DATAFLOW_AGE,
              "ALIGN_MAX", "seconds", [("streaming", job)]),
        apart("Processors of the job", metrics.DATAFLOW_CPUS, "ALIGN_MEAN", "vCPU", None,
              where=job),
    ]  # fmt: skip


def _set_aside(about: Watched) -> Promql:
    counted = prometheus_name(dead_letters_metric(about.product))
    return Promql(
        title="Set aside by ingestion, by field",
        query=f'sum by (field) (increase({counted}{{monitored_resource="dataflow_step"}}[1h]))',
        unit="messages an hour",
        legend="${metric.labels.field}",
    )
