"""Alerts on models: a training that fails, data that drifts, a model that grows old."""

from __future__ import annotations

from typing import Final

import pulumi

from components.alert_policy import AlertPolicy, LogMatch, Threshold
from components.series import Series
from stacks.alerts.desk import DAY, HOUR, Desk, Watched
from workloads import telemetry


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
    ]


def measured(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> list[AlertPolicy]:
    """Make those that the local cloud evaluates too: on metrics of our own. Not that of a model's
    age: what is replayed there happened years ago.
    """
    return [*monitors(about, desk, opts), *retraining(about, desk, opts)]


def monitors(about: Watched, desk: Desk, opts: pulumi.ResourceOptions) -> list[AlertPolicy]:
    """Make an alert for each kind of monitor: one incident, however many features are in it."""
    return [
        desk.policy(
            alert,
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
                            f"metric.labels.{telemetry.KIND}": alert,
                        },
                        period_seconds=HOUR,
                        reducer="REDUCE_MAX",
                    ),
                    above=0.5,
                )
            ],
            severity=severity,
            title=title,
            # A monitor that runs once a day says nothing for a day, which is no recovery.
            auto_close_seconds=3 * DAY,
            opts=opts,
            after=desk.declared,
            summary=summary,
        )
        for alert, severity, title, summary in MONITORS
    ]


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


MONITORS: Final = (
    (
        "drift",
        "WARNING",
        "the data has drifted",
        "What the model is asked about no longer looks like what it has learned from.",
    ),
    (
        "skew",
        "ERROR",
        "serving differs from training",
        (
            "The model is asked with features that differ from those that training computes for "
            "the same time: more often a fault than a change of the world."
        ),
    ),
    (
        "prediction-drift",
        "WARNING",
        "the predictions have drifted",
        "The model answers differently than it did where it was judged.",
    ),
    (
        "performance",
        "ERROR",
        "the model has got worse",
        (
            "By the labels that have come in, or by the estimate without them, the model does "
            "worse than when it was judged."
        ),
    ),
    (
        "concept-drift",
        "ERROR",
        "the model errs more than it did",
        (
            "The errors of the model have changed at one point in time: what it has learned no "
            "longer holds."
        ),
    ),
)
"""By alert: severity, title, and what it means."""
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
