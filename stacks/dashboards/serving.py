"""What the endpoint and the services answer, how fast, and how busy they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import pulumi

from components import metric_types as metrics
from components.dashboard import Chart, Line, Panel
from components.series import Series
from stacks.alerts import serving
from stacks.alerts.desk import MINUTES, Desk, Watched
from stacks.dashboards.charts import apart, header

QUANTILES: Final = (50, 95, 99)
_CODE: Final = "metric.labels.response_code"
_CLASS: Final = "metric.labels.response_code_class"
_DEPLOYED: Final = "metric.labels.deployed_model_id"


def panels(about: Watched, desk: Desk) -> list[Panel]:
    """What is shown."""
    shown: list[Panel] = [
        header(about, "What the endpoint and the services answer, how fast, how busy they are."),
        *_endpoint(about, desk),
    ]
    if about.uptime_check is not None:
        shown.append(
            apart(
                "The API as seen from outside", metrics.UPTIME, "ALIGN_FRACTION_TRUE",
                "share of probes answered", None, reducer="REDUCE_MEAN",
                where={"metric.labels.check_id": about.uptime_check},
            )
        )  # fmt: skip
    for what, (service, latency) in sorted(about.services.items()):
        shown += _service(what, {"resource.labels.service_name": service}, latency)
    return shown


def _endpoint(about: Watched, desk: Desk) -> list[Panel]:
    alerts = desk.settings.alerts
    kinds = ("public", "private") if about.private else ("public",)
    endpoint = {"resource.labels.endpoint_id": about.endpoint}
    coded = [
        Line(
            series=replace(serving.responses(about, kind), group_by=(_CODE,)),
            legend=f"${{{_CODE}}} ({kind})",
        )
        for kind in kinds
    ]
    failed = [
        Line(
            series=serving.responses(about, kind, failed=True),
            over=serving.responses(about, kind),
            legend=kind,
        )
        for kind in kinds
    ]
    latencies = [
        Line(
            series=serving.latencies(about, kind, f"ALIGN_PERCENTILE_{quantile}"),
            legend=f"{quantile} % ({kind})",
        )
        for kind in kinds
        for quantile in QUANTILES
    ]
    return [
        Chart(title="Answers of the endpoint, by code", unit="in 5 minutes", lines=coded),
        Chart(title="Share of errors", unit="share", threshold=alerts.error_share, lines=failed),
        Chart(title="Latency of the endpoint", unit="ms", threshold=alerts.latency_ms,
              lines=latencies),
        # Vertex AI adds a replica at 60 % of one processor, unless it is told otherwise.
        apart("Saturation: processors in use, by version", metrics.CPU, "ALIGN_MEAN", "share",
              _DEPLOYED, where=endpoint, reducer="REDUCE_MAX"),
        apart("Replicas, by version", metrics.REPLICAS, "ALIGN_MEAN", "replicas", _DEPLOYED,
              where=endpoint),
        apart("Predictions, by version", metrics.PREDICTIONS, "ALIGN_RATE", "predictions/s",
              _DEPLOYED, where=endpoint),
    ]  # fmt: skip


def _service(what: str, where: Mapping[str, pulumi.Input[str]], latency_ms: int) -> list[Panel]:
    quantiles = [
        Line(
            series=Series(
                metric=metrics.REQUEST_LATENCIES,
                aligner=f"ALIGN_PERCENTILE_{quantile}",
                where=where,
                period_seconds=5 * MINUTES,
                reducer="REDUCE_MAX",
            ),
            legend=f"{quantile} %",
        )
        for quantile in QUANTILES
    ]
    saturation = [
        Line(
            series=Series(
                metric=metric,
                aligner="ALIGN_PERCENTILE_99",
                where=where,
                period_seconds=5 * MINUTES,
                reducer="REDUCE_MAX",
            ),
            legend=legend,
        )
        for metric, legend in (
            (metrics.CONCURRENCY, "requests at once, in one instance"),
            (metrics.SERVICE_CPU, "share of its processor"),
        )
    ]
    return [
        apart(f"Requests to {what}", metrics.REQUESTS, "ALIGN_DELTA", "requests in 5 minutes",
              _CLASS, where=where),
        Chart(title=f"Latency of {what}", unit="ms", threshold=latency_ms, lines=quantiles),
        Chart(title=f"Saturation of {what}", unit="99th percentile", lines=saturation),
    ]  # fmt: skip
