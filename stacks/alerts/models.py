"""Alerts on models: a training that fails, data that drifts, a model that grows old."""

from __future__ import annotations

import pulumi

from components.alert_policy import AlertPolicy, LogMatch, Threshold
from components.series import Series
from stacks.alerts.desk import HOUR, Desk, Watched
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
    settings = desk.settings
    of = {f"metric.labels.{telemetry.PRODUCT}": about.product}
    drift, days = settings.alerts.drift_score, settings.alerts.stale_model_days
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
        desk.policy(
            "drift",
            about,
            [
                Threshold(
                    title=f"drift score above {drift:g}",
                    # Of all features the worst, so that a day on which many drift is one incident.
                    series=Series(
                        metric=desk.drift,
                        aligner="ALIGN_MAX",
                        where=of,
                        period_seconds=HOUR,
                        reducer="REDUCE_MAX",
                    ),
                    above=drift,
                )
            ],
            severity="WARNING",
            title="the data has drifted",
            opts=opts,
            after=desk.declared,
            summary="What the model is asked about no longer looks like what it has learned from.",
        ),
        desk.policy(
            "stale-model",
            about,
            [
                Threshold(
                    title=f"older than {days} days",
                    series=Series(
                        metric=desk.age,
                        aligner="ALIGN_MAX",
                        where=of,
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
