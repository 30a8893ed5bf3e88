"""Alerts on models: a training that fails, data that drifts, a model that grows old."""

from __future__ import annotations

from typing import Final

import pulumi

from components.alert_policy import AlertPolicy, LogMatch, Threshold
from components.series import Series
from stacks.alerts.desk import DAY, HOUR, Desk, Watched
from stacks.settings import Environment
from workloads import telemetry
from workloads.notifications.kinds import MONITORED
from workloads.notifications.links import FOUND, REPORTS


def pipeline_failures_filter(project: str, product: str) -> str:
    """Log entries of Vertex AI that say that a training pipeline failed."""
    return "\n".join(
        (
            'resource.type="aiplatform.googleapis.com/PipelineJob"',
            f'logName="projects/{project}/logs/aiplatform.googleapis.com%2Fpipeline_job_events"',
            'jsonPayload.state="PIPELINE_STATE_FAILED"',
            # Runs are named after the product and the second that they started.
            f'resource.labels.pipeline_job_id=~"^{product}-[0-9]{{8}}-"',
        )
    )


def models(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> list[AlertPolicy]:
    """Make the alerts on a product's models."""
    settings, days = desk.settings, desk.settings.alerts.stale_model_days
    return [
        desk.policy(
            "training-failed",
            about,
            [
                LogMatch(
                    title="a pipeline job has failed",
                    filter=pipeline_failures_filter(settings.project, about.product),
                    labels={"run": "EXTRACT(resource.labels.pipeline_job_id)"},
                    quiet_seconds=HOUR,
                )
            ],
            severity="ERROR",
            title="training has failed",
            opts=opts,
            summary="A run of the training pipeline ended without a model. The one that serves "
            "goes on serving.",
        ),
        *measured(about, desk, opts),
        desk.policy(
            "stale-model",
            about,
            [
                Threshold(
                    title=f"older than {days} days",
                    series=Series(
                        metric=desk.age,
                        aligner="ALIGN_MAX",
                        where={f"metric.labels.{telemetry.PRODUCT}": about.product},
                        period_seconds=HOUR,
                        reducer="REDUCE_MAX",
                    ),
                    above=days,
                )
            ],
            severity="WARNING",
            title="the model is old",
            opts=opts,
            after=desk.declared,
            summary="No newer model has passed the gate for long.",
        ),
        stale_table(about, desk, opts),
    ]


def stale_table(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> AlertPolicy:
    """Make the alert on a product's tables: one incident, however many of them are stale."""
    hours = about.stale_hours
    return desk.policy(
        "stale-table",
        about,
        [
            Threshold(
                title=f"a table to which nothing has come for {hours:g} hours",
                series=Series(
                    metric=desk.table_age,
                    aligner="ALIGN_NEXT_OLDER",
                    where={f"metric.labels.{telemetry.PRODUCT}": about.product},
                    period_seconds=HOUR,
                    reducer="REDUCE_MAX",
                ),
                above=hours,
            )
        ],
        severity="WARNING",
        title=STALE_TABLE,
        # Ages are written when monitors run.
        auto_close_seconds=7 * DAY,
        opts=opts,
        after=desk.declared,
        summary=STALE_TABLE_MEANS,
    )


def measured(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> list[AlertPolicy]:
    """Make those that the local cloud evaluates too: on metrics of our own. Not those of a model's
    age and of its tables': what is replayed there happened years ago.
    """
    return [*monitors(about, desk, opts), *retraining(about, desk, opts)]


def monitors(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> list[AlertPolicy]:
    """Make an alert for each kind of monitor: one incident, however many features are in it."""
    return [
        desk.policy(
            kind.name,
            about,
            [
                Threshold(
                    title="the monitor's verdict is an alarm",
                    series=Series(
                        metric=desk.alarm,
                        # The newest verdict counts: it has been held back by the monitor already.
                        aligner="ALIGN_NEXT_OLDER",
                        where={
                            f"metric.labels.{telemetry.PRODUCT}": about.product,
                            f"metric.labels.{telemetry.KIND}": kind.name,
                        },
                        period_seconds=HOUR,
                        reducer="REDUCE_MAX",
                    ),
                    above=0.5,
                )
            ],
            severity=kind.severity,
            title=kind.title,
            # As long as Google allows: a monitor that runs twice a week, or cannot tell for days,
            # says nothing meanwhile, which is no recovery.
            auto_close_seconds=7 * DAY,
            # Whoever is told by Cloud Monitoring itself, by e-mail, has no other way to the facts.
            notes=f"The platform {kind.does}\n\n"
            f"What was found: {about.reports}/latest-{kind.name}.json; reports: {about.reports}/",
            links=_reports(about, kind.name, desk),
            opts=opts,
            after=desk.declared,
            summary=kind.means,
        )
        for kind in MONITORED
    ]


def _reports(about: Watched, kind: str, desk: Desk) -> dict[str, str]:
    """Where a browser shows what the monitors wrote; nowhere, of the local cloud."""
    if desk.settings.environment is Environment.LOCAL:
        return {}
    folder = about.reports.removeprefix("gs://")
    return {
        FOUND: f"https://storage.cloud.google.com/{folder}/latest-{kind}.json",
        REPORTS: f"https://console.cloud.google.com/storage/browser/{folder}"
        f"?project={about.project}",
    }


def retraining(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> list[AlertPolicy]:
    """Make the alerts on retraining that does not help: people have to decide."""
    return [
        desk.policy(
            f"retraining-{reason}",
            about,
            [
                Threshold(
                    title=condition,
                    series=Series(
                        metric=desk.held,
                        aligner="ALIGN_NEXT_OLDER",
                        where={
                            f"metric.labels.{telemetry.PRODUCT}": about.product,
                            f"metric.labels.{telemetry.REASON}": reason,
                        },
                        period_seconds=HOUR,
                        reducer="REDUCE_MAX",
                    ),
                    above=0.5,
                )
            ],
            severity="WARNING",
            title=title,
            auto_close_seconds=7 * DAY,
            opts=opts,
            after=desk.declared,
            summary=summary,
        )
        for reason, condition, title, summary in HELD
    ]


STALE_TABLE: Final = "a table is stale"
STALE_TABLE_MEANS: Final = (
    "Nothing has come to one of the product's tables for longer than it declares. Features, "
    "monitors and training go on with what there was before."
)
HELD: Final = (
    (
        "rejected",
        "the gate has refused the retrained model",
        "the retrained model is no better",
        (
            "The gate has refused the newest retrained model. The one that serves goes on "
            "serving, and the next retraining waits longer."
        ),
    ),
    (
        "budget",
        "the month's retrainings are used up",
        "the budget for retraining is used up",
        (
            "As many retrainings have run this month as the product allows. None starts by "
            "itself before the next month."
        ),
    ),
)
"""By reason why retraining is held back: condition, title, and what it means."""
