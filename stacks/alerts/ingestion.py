"""Alerts on what takes in: streams, the Dataflow jobs behind them, dead letters."""

from __future__ import annotations

import pulumi

from components import metric_types as metrics
from components.alert_policy import AlertPolicy, Query, Threshold
from components.log_metric import prometheus_name
from components.series import Series
from stacks.alerts.desk import MINUTES, Desk, Watched


def dead_letters_metric(product: str) -> str:
    """The log-based metric that counts what ingestion set aside."""
    return f"esteira/{product}/dead_letters"


def streams(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> list[AlertPolicy]:
    """Make the alerts on events: three for each stream, and one for those that are set aside.

    None where a product takes in nothing itself.
    """
    alerts = desk.settings.alerts
    made: list[AlertPolicy] = []
    for plural, subscription in sorted(about.subscriptions.items()):
        where = {"resource.labels.subscription_id": subscription}
        made += [
            desk.policy(
                "stream-backlog",
                about,
                [
                    Threshold(
                        title=f"more than {alerts.backlog_messages} messages wait",
                        series=Series(
                            metric=metrics.BACKLOG,
                            aligner="ALIGN_MEAN",
                            where=where,
                            period_seconds=5 * MINUTES,
                        ),
                        above=alerts.backlog_messages,
                        for_seconds=10 * MINUTES,
                    )
                ],
                severity="WARNING",
                title=f"{plural} pile up",
                part=plural,
                opts=opts,
                summary="Events arrive faster than ingestion stores them. Predictions and "
                "features lag behind; nothing is lost while the subscription keeps them.",
            ),
            desk.policy(
                "stream-oldest-unacked",
                about,
                [
                    Threshold(
                        title=f"a message waits for {alerts.oldest_unacked_seconds} s",
                        series=Series(
                            metric=metrics.OLDEST_UNACKED, aligner="ALIGN_MAX", where=where
                        ),
                        above=alerts.oldest_unacked_seconds,
                        for_seconds=5 * MINUTES,
                    )
                ],
                severity="ERROR",
                title=f"{plural} are not taken in",
                part=plural,
                opts=opts,
                summary="A message has waited so long that ingestion has stopped, is stuck on it, "
                "or cannot keep up.",
            ),
            desk.policy(
                "undeliverable-messages",
                about,
                [
                    Threshold(
                        title="Pub/Sub gave a message up",
                        series=Series(
                            metric=metrics.UNDELIVERABLE,
                            aligner="ALIGN_DELTA",
                            where=where,
                            period_seconds=5 * MINUTES,
                            reducer="REDUCE_SUM",
                        ),
                        above=0,
                    )
                ],
                severity="ERROR",
                title=f"{plural} cannot be delivered",
                part=plural,
                opts=opts,
                summary="No worker survived a message, however often it was delivered. It is kept "
                "on the dead-letter topic.",
            ),
        ]
    if about.batch_jobs is None:
        return made
    counted = prometheus_name(dead_letters_metric(about.product))
    made.append(
        desk.policy(
            "dead-letters",
            about,
            [
                Query(
                    title=f"more than {alerts.dead_letters_per_hour} in an hour",
                    query=f'sum(increase({counted}{{monitored_resource="dataflow_step"}}[1h])) '
                    f"> {alerts.dead_letters_per_hour}",
                )
            ],
            severity="WARNING",
            title="many messages break their contract",
            opts=opts,
            summary="Ingestion sets aside what its contract does not allow, with the reason. "
            "Somebody publishes something else than was agreed.",
        )
    )
    return made


def jobs(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> list[AlertPolicy]:
    """Make the alerts on Dataflow and Cloud Run jobs."""
    return [
        *_streaming(about, desk, opts),
        *_batch(about, desk, opts),
        *(
            desk.policy(
                "job-failed",
                about,
                [
                    Threshold(
                        title="an execution has failed",
                        series=Series(
                            metric=metrics.EXECUTIONS,
                            aligner="ALIGN_DELTA",
                            where={
                                "resource.labels.job_name": job,
                                "metric.labels.result": "failed",
                            },
                            period_seconds=5 * MINUTES,
                            reducer="REDUCE_SUM",
                        ),
                        above=0,
                    )
                ],
                severity="ERROR",
                title=f"{what} has failed",
                part=what,
                opts=opts,
                summary="A Cloud Run job ended without success, after all its retries.",
            )
            for what, job in sorted(about.jobs.items())
        ),
    ]


def _streaming(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> list[AlertPolicy]:
    if about.streaming_job is None:
        return []
    lag = desk.settings.alerts.oldest_unacked_seconds
    streaming = {"resource.labels.job_name": about.streaming_job}
    return [
        desk.policy(
            "streaming-job-failed",
            about,
            [
                Threshold(
                    title="the Dataflow job has failed",
                    series=Series(
                        metric=metrics.DATAFLOW_FAILED, aligner="ALIGN_MAX", where=streaming
                    ),
                    above=0,
                )
            ],
            severity="CRITICAL",
            title="streaming ingestion has failed",
            opts=opts,
            summary="No event is stored any more. Messages wait in their subscriptions until they "
            "expire.",
        ),
        desk.policy(
            "streaming-job-stalled",
            about,
            [
                Threshold(
                    title=f"system lag above {lag} s",
                    series=Series(
                        metric=metrics.DATAFLOW_LAG,
                        aligner="ALIGN_MAX",
                        where=streaming,
                        reducer="REDUCE_MAX",
                    ),
                    above=lag,
                    for_seconds=5 * MINUTES,
                )
            ],
            severity="ERROR",
            title="streaming ingestion is stuck",
            opts=opts,
            summary="The job runs, but something that it pulled has not been stored for long.",
        ),
    ]


def _batch(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> list[AlertPolicy]:
    if about.batch_jobs is None:
        return []
    return [
        desk.policy(
            "batch-ingestion-failed",
            about,
            [
                Threshold(
                    title="a Dataflow job has failed",
                    series=Series(
                        metric=metrics.DATAFLOW_FAILED,
                        aligner="ALIGN_MAX",
                        starts={"resource.labels.job_name": about.batch_jobs},
                    ),
                    above=0,
                )
            ],
            severity="ERROR",
            title="a file was not taken in",
            opts=opts,
            summary="The batch job for a file that landed has failed.",
        ),
    ]
