"""Alerts on what answers: the endpoint, Cloud Run services, the API in front of them."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from components import metric_types as metrics
from components.alert_policy import AlertPolicy, Threshold
from components.series import Series
from stacks.alerts.desk import MINUTES, Desk, Watched


def services(
    watched: Mapping[str, tuple[pulumi.Input[str], int]],
    about: Watched | None,
    desk: Desk,
    opts: pulumi.ResourceOptions,
) -> list[AlertPolicy]:
    """Make the alerts on Cloud Run services.

    Args:
        watched: As `Watched.services`.
        about: The product that they belong to, if one.
        desk: Puts them together.
        opts: Carry the provider.
    """
    share = desk.settings.alerts.error_share
    made: list[AlertPolicy] = []
    for what, (service, latency) in sorted(watched.items()):
        where = {"resource.labels.service_name": service}
        requests = Series(
            metric=metrics.REQUESTS,
            aligner="ALIGN_DELTA",
            where=where,
            period_seconds=5 * MINUTES,
            reducer="REDUCE_SUM",
        )
        failed = Series(
            metric=metrics.REQUESTS,
            aligner="ALIGN_DELTA",
            where={**where, "metric.labels.response_code_class": "5xx"},
            period_seconds=5 * MINUTES,
            reducer="REDUCE_SUM",
        )
        latencies = Series(
            metric=metrics.REQUEST_LATENCIES,
            aligner="ALIGN_PERCENTILE_99",
            where=where,
            period_seconds=5 * MINUTES,
            reducer="REDUCE_MAX",
        )
        made += [
            desk.policy(
                "service-errors",
                about,
                [
                    Threshold(
                        title=f"more than {share:.1%} of requests fail",
                        series=failed,
                        over=requests,
                        above=share,
                        for_seconds=5 * MINUTES,
                    )
                ],
                severity="ERROR",
                title=f"{what} fails",
                part=what,
                opts=opts,
                summary="A Cloud Run service answers with 5xx.",
            ),
            desk.policy(
                "service-latency",
                about,
                [
                    Threshold(
                        title=f"99th percentile above {latency} ms",
                        series=latencies,
                        above=latency,
                        for_seconds=5 * MINUTES,
                    )
                ],
                severity="WARNING",
                title=f"{what} is slow",
                part=what,
                opts=opts,
                summary="One in a hundred requests to a Cloud Run service waits too long.",
            ),
        ]
    return made


def endpoint(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> list[AlertPolicy]:
    """Make the alerts on the prediction endpoint."""
    alerts = desk.settings.alerts
    # Of a private endpoint Google counts either, by how it is reached: both are watched.
    kinds = ("public", "private") if about.private else ("public",)
    return [
        desk.policy(
            "endpoint-errors",
            about,
            [
                Threshold(
                    title=f"more than {alerts.error_share:.1%} of answers are 5xx ({kind})",
                    series=responses(about, kind, failed=True),
                    over=responses(about, kind),
                    above=alerts.error_share,
                    for_seconds=5 * MINUTES,
                )
                for kind in kinds
            ],
            severity="CRITICAL",
            title="the endpoint fails",
            opts=opts,
            summary="The model does not answer, or answers with an error of its own.",
        ),
        desk.policy(
            "endpoint-latency",
            about,
            [
                Threshold(
                    title=f"99th percentile above {alerts.latency_ms} ms ({kind})",
                    series=latencies(about, kind),
                    above=alerts.latency_ms,
                    for_seconds=5 * MINUTES,
                )
                for kind in kinds
            ],
            severity="WARNING",
            title="the endpoint is slow",
            opts=opts,
            summary="One in a hundred predictions takes longer than was promised.",
        ),
    ]


def responses(about: Watched, kind: str, *, failed: bool = False) -> Series:
    """Answers of the endpoint; with `failed`, those that are 5xx."""
    private = kind == "private"
    code = "metric.labels.response_code"
    return Series(
        metric=metrics.PRIVATE_RESPONSES if private else metrics.RESPONSES,
        aligner="ALIGN_DELTA",
        where={"resource.labels.endpoint_id": about.endpoint},
        starts={code: "5"} if failed and not private else {},
        at_least={code: 500} if failed and private else {},
        period_seconds=5 * MINUTES,
        reducer="REDUCE_SUM",
    )


def latencies(about: Watched, kind: str, aligner: str = "ALIGN_PERCENTILE_99") -> Series:
    """Milliseconds that the endpoint takes, overhead included."""
    private = kind == "private"
    return Series(
        metric=metrics.PRIVATE_LATENCIES if private else metrics.LATENCIES,
        aligner=aligner,
        where={
            "resource.labels.endpoint_id": about.endpoint,
            **({} if private else {"metric.labels.latency_type": "total"}),
        },
        period_seconds=5 * MINUTES,
        reducer="REDUCE_MAX",
    )


def unreachable(
    about: Watched, check: pulumi.Input[str], desk: Desk, opts: pulumi.ResourceOptions
) -> AlertPolicy:
    """Make the alert on an uptime check of a product's API."""
    return desk.policy(
        "api-unreachable",
        about,
        [
            Threshold(
                title="two regions get no answer",
                series=Series(
                    metric=metrics.UPTIME,
                    aligner="ALIGN_NEXT_OLDER",
                    where={"metric.labels.check_id": check},
                    period_seconds=20 * MINUTES,
                    reducer="REDUCE_COUNT_FALSE",
                ),
                # One region alone has trouble of its own.
                above=1,
                for_seconds=MINUTES,
            )
        ],
        severity="CRITICAL",
        title="the API cannot be reached",
        opts=opts,
        summary="Clients outside get no answer from the prediction API.",
    )
