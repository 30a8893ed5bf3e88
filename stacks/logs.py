"""What is kept of the logs, and what of them is counted."""

from __future__ import annotations

from typing import Final

import pulumi

from components.log_metric import LogMetric, LogMetricArgs
from components.log_sink import LogSink, LogSinkArgs
from stacks.alerts import ingestion, models
from stacks.alerts.desk import Watched
from stacks.foundation import Foundation
from workloads import telemetry

DATASET: Final = "logs"
KEPT: Final = " OR ".join(
    f'resource.type="{one}"'
    for one in (
        "dataflow_step",
        "cloud_run_revision",
        "cloud_run_job",
        "aiplatform.googleapis.com/PipelineJob",
        "aiplatform.googleapis.com/Endpoint",
        "ml_job",
    )
)
"""What workloads log, wherever they run; steps of a pipeline log as `ml_job`."""
NOISE: Final = {
    "debug": "severity=DEBUG",
    "health-checks": 'resource.type="cloud_run_revision" AND severity<ERROR '
    'AND httpRequest.requestUrl=~"/(health|healthz|ready)$"',
    # Dataflow's machines talk about themselves.
    "dataflow-machines": 'resource.type="dataflow_step" AND severity<WARNING AND '
    'logName=~"dataflow.googleapis.com%2F(agent|docker|harness-startup|kubelet|resource|shuffler'
    '|shuffler-startup|system|vm-health|vm-monitor)$"',
}


def sink(foundation: Foundation) -> LogSink:
    """Make the sink that keeps what workloads log."""
    settings = foundation.settings
    return LogSink(
        "workload-logs",
        args=LogSinkArgs(
            project=settings.project,
            location=settings.location,
            dataset=DATASET,
            description="What workloads logged",
            filter=KEPT,
            exclusions=NOISE,
            retention_days=settings.retention.logs,
            kms_key=foundation.key("bigquery"),
            force_destroy=settings.security.force_destroy,
            protect=settings.security.protect,
        ),
        opts=foundation.opts,
    )


def metrics(about: Watched, opts: pulumi.ResourceOptions) -> None:
    """Count what only logs tell."""
    name = about.product
    decided = telemetry.GATE_DECISION
    set_aside = LogMetricArgs(
        metric=ingestion.dead_letters_metric(name),
        description=f"Messages of {name} that ingestion set aside, by field and source",
        filter="\n".join(
            (
                'resource.type="dataflow_step"',
                f'resource.labels.job_name=~"^{name}-(streaming-ingestion|batch-.*)$"',
                f'jsonPayload.message=~"{telemetry.DEAD_LETTER_START}"',
            )
        ),
        labels={
            "field": 'REGEXP_EXTRACT(jsonPayload.message, "field=([^ ]+)")',
            "source": 'REGEXP_EXTRACT(jsonPayload.message, "source=([^ ]+)")',
        },
    )
    for metric, args in {
        **({} if about.batch_jobs is None else {"dead-letters": set_aside}),
        "pipeline-failures": LogMetricArgs(
            metric=f"esteira/{name}/pipeline_failures",
            description=f"Training runs of {name} that failed",
            filter=models.pipeline_failures_filter(about.project, name),
        ),
        # Wherever the gate runs, in a job or in a step: every field is searched.
        "gate-approvals": LogMetricArgs(
            metric=f"esteira/{name}/gate_approvals",
            description=f"Challengers of {name} that the gate approved",
            filter=f'"{decided % (name, True)}"',
        ),
        "gate-refusals": LogMetricArgs(
            metric=f"esteira/{name}/gate_refusals",
            description=f"Challengers of {name} that the gate refused",
            filter=f'"{decided % (name, False)}"',
        ),
    }.items():
        LogMetric(f"{name}-{metric}", args=args, opts=opts)
