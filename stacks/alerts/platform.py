"""Alerts on what products share: the database, and the way that alerts themselves take."""

from __future__ import annotations

from typing import Final

import pulumi

from components import metric_types as metrics
from components.alert_policy import AlertPolicy, Threshold
from components.series import Series
from stacks.alerts.desk import MINUTES, Desk

FULL_DISK: Final = 0.85
BUSY_CPU: Final = 0.9
CONNECTIONS: Final = 80
"""The smallest instance takes 100 (cloud.google.com/sql/docs/postgres/quotas), others more."""


def database(
    instance: pulumi.Input[str], desk: Desk, opts: pulumi.ResourceOptions
) -> list[AlertPolicy]:
    """Make the alerts of a Cloud SQL instance, `project:name`."""
    where: dict[str, pulumi.Input[str]] = {"resource.labels.database_id": instance}
    return [
        desk.policy(
            alert,
            None,
            [
                Threshold(
                    title=words,
                    series=Series(
                        metric=metric,
                        aligner="ALIGN_MEAN",
                        where=where,
                        period_seconds=5 * MINUTES,
                        reducer=reducer,
                    ),
                    above=limit,
                    for_seconds=10 * MINUTES,
                )
            ],
            severity=severity,
            title=title,
            summary=summary,
            opts=opts,
        )
        for alert, metric, reducer, limit, severity, words, title, summary in (
            (
                "database-disk",
                metrics.DATABASE_DISK,
                "REDUCE_MAX",
                FULL_DISK,
                "ERROR",
                f"more than {FULL_DISK:.0%} full",
                "the database's disk is nearly full",
                "PostgreSQL stops when its disk is full. It grows by itself, unless it cannot.",
            ),
            (
                "database-cpu",
                metrics.DATABASE_CPU,
                "REDUCE_MAX",
                BUSY_CPU,
                "WARNING",
                f"more than {BUSY_CPU:.0%} busy",
                "the database is busy",
                "Queries wait for a processor.",
            ),
            (
                "database-connections",
                metrics.DATABASE_CONNECTIONS,
                "REDUCE_SUM",
                CONNECTIONS,
                "WARNING",
                f"more than {CONNECTIONS}",
                "the database has many connections",
                "When all are taken, whoever comes next is refused.",
            ),
        )
    ]


def undelivered(subscription: pulumi.Input[str], desk: Desk, opts: pulumi.ResourceOptions) -> None:
    """Make the alert that tells that a channel was not told."""
    desk.policy(
        "undelivered-alerts",
        None,
        [
            Threshold(
                title="an alert was given up",
                series=Series(
                    metric=metrics.UNDELIVERABLE,
                    aligner="ALIGN_DELTA",
                    where={"resource.labels.subscription_id": subscription},
                    period_seconds=5 * MINUTES,
                    reducer="REDUCE_SUM",
                ),
                above=0,
            )
        ],
        severity="ERROR",
        title="alerts do not reach a channel",
        opts=opts,
        summary="The relay could not post an alert, however often it tried.",
    )
