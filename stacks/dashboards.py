"""What a product's people look at: its stream, its serving, its models; and what it all costs."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from components import metric_types as metrics
from components.dashboard import Chart, Dashboard, DashboardArgs, Line, Logs, Note, Panel, Promql
from components.log_metric import prometheus_name
from components.metric_types import MetricType
from components.series import Series
from stacks.alerts import serving
from stacks.alerts.desk import HOUR, MINUTES, Desk, Watched
from stacks.alerts.ingestion import dead_letters_metric
from stacks.alerts.models import pipeline_failures_filter
from workloads import telemetry


def lay(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> dict[str, Dashboard]:
    """Make the dashboards of one product, by what they show."""
    shown: dict[str, list[Panel]] = {
        "stream": _stream(about, desk),
        "serving": _serving(about, desk),
        "models": _models(about, desk),
    }
    return {
        what: Dashboard(
            f"{about.product}-{what}",
            args=DashboardArgs(title=f"{about.product}: {what}", panels=panels),
            opts=opts,
        )
        for what, panels in shown.items()
        if panels
    }


def cost(products: Sequence[Watched], desk: Desk, opts: pulumi.ResourceOptions) -> Dashboard:
    """Make the dashboard of what grows the bill, for all products."""
    names = ", ".join(one.product for one in products)
    project = desk.settings.project
    panels: list[Panel] = [
        Note(
            content=f"What grows the bill of **{project}** ({names}). In money it is told by "
            f"[Billing](https://console.cloud.google.com/billing?project={project})."
        ),
        _each("Bytes that queries read", metrics.BYTES_BILLED, "ALIGN_DELTA", "bytes", "", HOUR),
        _each("Processors of Dataflow", metrics.DATAFLOW_CPUS, "ALIGN_MEAN", "vCPU", "job_name"),
        _each(
            "Instances of Cloud Run", metrics.INSTANCE_TIME, "ALIGN_RATE", "instances",
            "service_name",
        ),
        _each("Replicas of endpoints", metrics.REPLICAS, "ALIGN_MEAN", "replicas", "endpoint_id"),
        _each(
            "Stored in buckets", metrics.STORED_BYTES, "ALIGN_MEAN", "bytes", "bucket_name", HOUR
        ),
    ]  # fmt: skip
    return Dashboard(
        "platform-cost", args=DashboardArgs(title="platform: cost", panels=panels), opts=opts
    )


def _each(
    title: str,
    metric: MetricType,
    aligner: str,
    unit: str,
    label: str,
    period: int = 5 * MINUTES,
) -> Chart:
    """The sum of a metric, apart by a label of its resource."""
    group = (f"resource.labels.{label}",) if label else ()
    series = Series(
        metric=metric, aligner=aligner, period_seconds=period, reducer="REDUCE_SUM", group_by=group
    )
    legend = f"${{{group[0]}}}" if group else title
    return Chart(title=title, unit=unit, lines=[Line(series=series, legend=legend)])


def _header(about: Watched, text: str) -> Note:
    return Note(content=f"**{about.product}**, owned by {about.owner}. {text}")


def _stream(about: Watched, desk: Desk) -> list[Panel]:
    alerts = desk.settings.alerts
    waiting = [
        (plural, {"resource.labels.subscription_id": subscription})
        for plural, subscription in sorted(about.subscriptions.items())
    ]
    if about.batch_jobs is None:
        return []
    panels: list[Panel] = [_header(about, "Events on their way in: published, waiting, set aside.")]
    if waiting:
        panels += [
            Chart(
                title="Publish requests", unit="requests/s",
                lines=[
                    Line(
                        series=Series(
                            metric=metrics.PUBLISHED, aligner="ALIGN_RATE",
                            where={"resource.labels.topic_id": topic}, reducer="REDUCE_SUM",
                        ),
                        legend=plural,
                    )
                    for plural, topic in sorted(about.topics.items())
                ],
            ),
            _lines("Messages that wait", metrics.BACKLOG, "ALIGN_MEAN", "messages", waiting,
                   alerts.backlog_messages),
            _lines("Age of the oldest", metrics.OLDEST_UNACKED, "ALIGN_MAX", "seconds", waiting,
                   alerts.oldest_unacked_seconds),
            _lines("Given up by Pub/Sub", metrics.UNDELIVERABLE, "ALIGN_DELTA", "messages",
                   waiting, None),
        ]  # fmt: skip
    counted = prometheus_name(dead_letters_metric(about.product))
    streaming = (
        []
        if about.streaming_job is None
        else [("streaming", {"resource.labels.job_name": about.streaming_job})]
    )
    return [
        *panels,
        Promql(
            title="Set aside by ingestion, by field",
            query=f'sum by (field) (increase({counted}{{monitored_resource="dataflow_step"}}[1h]))',
            unit="messages an hour",
            legend="${metric.labels.field}",
        ),
        *(
            [_lines("System lag of the job", metrics.DATAFLOW_LAG, "ALIGN_MAX", "seconds",
                    streaming, alerts.oldest_unacked_seconds)]
            if streaming else []
        ),
        Logs(
            title="Warnings of ingestion",
            filter='resource.type="dataflow_step" AND severity>=WARNING AND '
            f'resource.labels.job_name=~"^{about.product}-"',
        ),
    ]  # fmt: skip


def _lines(
    title: str,
    metric: MetricType,
    aligner: str,
    unit: str,
    wheres: Sequence[tuple[str, dict[str, pulumi.Input[str]]]],
    threshold: float | None,
) -> Chart:
    return Chart(
        title=title,
        unit=unit,
        threshold=threshold,
        lines=[
            Line(series=Series(metric=metric, aligner=aligner, where=where), legend=legend)
            for legend, where in wheres
        ],
    )


def _serving(about: Watched, desk: Desk) -> list[Panel]:
    alerts = desk.settings.alerts
    kinds = ("public", "private") if about.private else ("public",)
    endpoint = {"resource.labels.endpoint_id": about.endpoint}
    quantiles = (("50", "ALIGN_PERCENTILE_50"), ("99", "ALIGN_PERCENTILE_99"))
    panels: list[Panel] = [
        _header(about, "What the endpoint and the services answer, and how fast."),
        Chart(
            title="Answers of the endpoint", unit="answers in 5 minutes",
            lines=[
                Line(series=serving.responses(about, kind), legend=kind) for kind in kinds
            ],
        ),
        Chart(
            title="Share of errors", unit="share", threshold=alerts.error_share,
            lines=[
                Line(
                    series=serving.responses(about, kind, failed=True),
                    over=serving.responses(about, kind), legend=kind,
                )
                for kind in kinds
            ],
        ),
        Chart(
            title="Latency of the endpoint", unit="ms", threshold=alerts.latency_ms,
            lines=[
                Line(
                    series=serving.latencies(about, kind, aligner),
                    legend=f"{quantile} % ({kind})",
                )
                for kind in kinds
                for quantile, aligner in quantiles
            ],
        ),
        Chart(
            title="Replicas", unit="replicas",
            lines=[
                Line(
                    series=Series(
                        metric=metrics.REPLICAS, aligner="ALIGN_MEAN", where=endpoint,
                        reducer="REDUCE_SUM", group_by=("metric.labels.deployed_model_id",),
                    ),
                    legend="${metric.labels.deployed_model_id}",
                )
            ],
        ),
    ]  # fmt: skip
    for what, (service, _) in sorted(about.services.items()):
        where = {"resource.labels.service_name": service}
        panels.append(
            Chart(
                title=f"Requests to {what}",
                unit="requests in 5 minutes",
                lines=[
                    Line(
                        series=Series(
                            metric=metrics.REQUESTS,
                            aligner="ALIGN_DELTA",
                            where=where,
                            period_seconds=5 * MINUTES,
                            reducer="REDUCE_SUM",
                            group_by=("metric.labels.response_code_class",),
                        ),
                        legend="${metric.labels.response_code_class}",
                    )
                ],
            )
        )
    return panels


def _models(about: Watched, desk: Desk) -> list[Panel]:
    alerts = desk.settings.alerts
    of: dict[str, pulumi.Input[str]] = {f"metric.labels.{telemetry.PRODUCT}": about.product}
    feature = f"metric.labels.{telemetry.FEATURE}"
    return [
        _header(about, "Whether the model still fits the world, and what became of new ones."),
        Chart(
            title="Drift by feature", unit="divergence", threshold=alerts.drift_score,
            lines=[
                Line(
                    series=Series(
                        metric=desk.drift, aligner="ALIGN_MAX", where=of, period_seconds=HOUR,
                        reducer="REDUCE_MAX", group_by=(feature,),
                    ),
                    legend=f"${{{feature}}}",
                )
            ],
        ),
        Chart(
            title="Age of the model", unit="days", threshold=alerts.stale_model_days,
            lines=[
                Line(
                    series=Series(
                        metric=desk.age, aligner="ALIGN_MAX", where=of, period_seconds=HOUR
                    ),
                    legend=about.product,
                )
            ],
        ),
        Chart(
            title="Predictions by model", unit="predictions/s",
            lines=[
                Line(
                    series=Series(
                        metric=metrics.PREDICTIONS, aligner="ALIGN_RATE",
                        where={"resource.labels.endpoint_id": about.endpoint},
                        reducer="REDUCE_SUM", group_by=("metric.labels.deployed_model_id",),
                    ),
                    legend="${metric.labels.deployed_model_id}",
                )
            ],
        ),
        Logs(
            title="Training runs that failed",
            filter=pipeline_failures_filter(desk.settings.project, about.product),
        ),
        Logs(
            title="Decisions of the gate",
            filter=f'"{telemetry.GATE_DECISION_START}product={about.product} "',
        ),
    ]  # fmt: skip
