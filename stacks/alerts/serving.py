"""Alerts on what answers: the endpoint, Cloud Run services, the API in front of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import pulumi

from components import metric_types as metrics
from components.alert_policy import AlertPolicy, Threshold
from components.series import Series
from stacks.alerts.desk import MINUTES, Desk, Watched

SATURATED: Final = "serving-saturated"
BUSY: Final = 0.8
"""Share of the processors. Vertex AI adds a replica at 60 %, unless it is told otherwise."""
_PROCESSORS: Final = re.compile(r"[a-z0-9]+-(?:standard|highmem|highcpu|custom)-(\d+)(?:-\d+)?")


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
        failed, refused = (
            Series(
                metric=metrics.REQUESTS,
                aligner="ALIGN_DELTA",
                where={**where, label: value},
                period_seconds=5 * MINUTES,
                reducer="REDUCE_SUM",
            )
            for label, value in (
                ("metric.labels.response_code_class", "5xx"),
                ("metric.labels.response_code", "429"),
            )
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
            desk.policy(
                SATURATED,
                about,
                [
                    Threshold(
                        title=f"more than {share:.1%} of requests are refused with 429",
                        series=refused,
                        over=requests,
                        above=share,
                        for_seconds=5 * MINUTES,
                    )
                ],
                severity="WARNING",
                title=f"{what} is at its limits",
                part=what,
                opts=opts,
                summary="A Cloud Run service refuses requests: it has as many instances as it is "
                "allowed, or what is behind it refuses them.",
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
        desk.policy(
            SATURATED,
            about,
            [
                *(
                    Threshold(
                        title=f"more than {alerts.error_share:.1%} of answers are 429 ({kind})",
                        series=responses(about, kind, refused=True),
                        over=responses(about, kind),
                        above=alerts.error_share,
                        for_seconds=5 * MINUTES,
                    )
                    for kind in kinds
                ),
                *_busy(about),
            ],
            severity="WARNING",
            title="a server is at its limits",
            opts=opts,
            summary="The endpoint refuses requests, or its replicas are busy though Vertex AI adds "
            "more of them long before: there are as many as the product allows.",
        ),
    ]


def _busy(about: Watched) -> list[Threshold]:
    """That the processors of replicas are in use, where it is known how many there are."""
    if about.processors is None:
        return []
    return [
        Threshold(
            title=f"more than {BUSY:.0%} of the processors are in use",
            series=Series(
                metric=metrics.CPU,
                aligner="ALIGN_MEAN",
                where={"resource.labels.endpoint_id": about.endpoint},
                period_seconds=5 * MINUTES,
                # Of all replicas: one that is busy while others wait is no limit.
                reducer="REDUCE_MEAN",
            ),
            # 1 is one processor.
            above=BUSY * about.processors,
            for_seconds=10 * MINUTES,
        )
    ]


def processors(machine: str) -> int | None:
    """How many a machine type has, by its name; None where that does not say."""
    found = _PROCESSORS.fullmatch(machine)
    return None if found is None else int(found[1])


def responses(about: Watched, kind: str, *, failed: bool = False, refused: bool = False) -> Series:
    """Answers of the endpoint; with `failed`, those that are 5xx, with `refused`, those of 429."""
    private = kind == "private"
    code = "metric.labels.response_code"
    where: dict[str, pulumi.Input[str]] = {"resource.labels.endpoint_id": about.endpoint}
    return Series(
        metric=metrics.PRIVATE_RESPONSES if private else metrics.RESPONSES,
        aligner="ALIGN_DELTA",
        where={**where, **({code: "429"} if refused and not private else {})},
        starts={code: "5"} if failed and not private else {},
        at_least={code: 500} if failed and private else {},
        exactly={code: 429} if refused and private else {},
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
