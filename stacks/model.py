"""The layer that trains, serves and batch-predicts with one product's models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from components.column_policy import READER
from components.pipeline_runner import PipelineRunner, PipelineRunnerArgs
from components.prediction_endpoint import PredictionEndpoint, PredictionEndpointArgs
from components.scheduled_job import ScheduledJob, ScheduledJobArgs
from components.workload_identity import (
    Grant,
    ProjectWide,
    WorkloadIdentity,
    WorkloadIdentityArgs,
)
from stacks import records, retraining
from stacks.data import FEATURES, MONITORING, ONLINE, PREDICTIONS, REPORTS, Data
from stacks.environment import environment
from stacks.features import Features, grants
from stacks.foundation import Foundation
from stacks.names import account_id
from stacks.prediction_log import PredictionLogs
from stacks.retraining import Retraining
from stacks.tracking import Tracking
from workloads.batch_prediction.settings import BatchPredictionSettings
from workloads.monitoring.settings import MonitoringSettings
from workloads.product import Product


@dataclass(frozen=True, kw_only=True)
class Model:
    """What models of a product run on."""

    runner: PipelineRunner
    endpoint: PredictionEndpoint
    server: WorkloadIdentity
    """Serves models on the endpoint."""
    predictor: WorkloadIdentity
    """Runs batch predictions."""
    batch: ScheduledJob
    retraining: Retraining | None
    """Trains again; None where the product is trained by hand only."""
    monitor: WorkloadIdentity
    """Watches data and models, wherever that runs."""
    monitoring: ScheduledJob
    """Runs the monitors over the last whole window."""


def lay(
    product: Product,
    foundation: Foundation,
    data: Data,
    features: Features,
    logs: PredictionLogs,
    tracking: Tracking,
    caller: WorkloadIdentity,
    opts: pulumi.ResourceOptions,
) -> Model:
    """Make the pipeline runner, the endpoint and the scheduled batch predictions.

    Args:
        product: The declaration.
        foundation: What products share.
        data: What models learn from, and where their predictions go.
        features: What the endpoint may look up.
        logs: Where the endpoint logs its predictions.
        tracking: Where training logs its runs.
        caller: The identity that starts scheduled jobs.
        opts: Carry the product's provider.
    """
    settings = foundation.settings
    datasets = data.warehouse.datasets
    project = ProjectWide(project=settings.project)
    runner = PipelineRunner(
        f"{product.name}-train",
        args=PipelineRunnerArgs(
            project=settings.project,
            account_id=account_id(product.name, "train"),
            bucket=data.landing.models,
            reads=list(data.raw.values()),
            writes=[datasets[FEATURES]],
            reads_personal=data.personal,
            grants=tracking.grants(),
            images=foundation.repository.repository,
        ),
        opts=opts,
    )
    endpoint = PredictionEndpoint(
        product.name,
        args=PredictionEndpointArgs(
            project=settings.project,
            location=settings.location,
            description=product.title,
            request_log=data.warehouse.table_id(PREDICTIONS, ONLINE),
            request_log_table=data.warehouse.tables[PREDICTIONS][ONLINE],
            sampling_rate=settings.serving.request_log_sampling,
            private=settings.security.private_endpoint,
            kms_key=foundation.key("aiplatform"),
            protect=settings.security.protect,
        ),
        opts=opts,
    )
    server = WorkloadIdentity(
        f"{product.name}-serve",
        args=WorkloadIdentityArgs(
            account_id=account_id(product.name, "serve"),
            description=f"Serves models of {product.name} on its endpoint",
            grants=[
                Grant(
                    role="roles/storage.objectViewer", on=data.landing.models, label="read-models"
                ),
                Grant(
                    role="roles/artifactregistry.reader",
                    on=foundation.repository.repository,
                    label="pull-images",
                ),
                Grant(role="roles/logging.logWriter", on=project, label="log"),
                Grant(role="roles/monitoring.metricWriter", on=project, label="measure"),
                *grants(features),
                logs.publisher(),
            ],
        ),
        opts=opts,
    )
    publishes = product.batch.publish_to_database
    predictor = WorkloadIdentity(
        f"{product.name}-batch",
        args=WorkloadIdentityArgs(
            account_id=account_id(product.name, "batch"),
            description=f"Predicts with models of {product.name} in batches",
            grants=[
                Grant(
                    role="roles/storage.objectViewer", on=data.landing.models, label="read-models"
                ),
                *raw(data),
                Grant(
                    role="roles/bigquery.dataEditor",
                    on=datasets[PREDICTIONS],
                    label="write-predictions",
                ),
                Grant(role="roles/bigquery.jobUser", on=project, label="query"),
                Grant(role="roles/bigquery.readSessionUser", on=project, label="read-fast"),
                # Which model is the champion is asked of the Model Registry.
                Grant(role="roles/aiplatform.user", on=project, label="find-model"),
                *(records.grants(tracking, project) if publishes else []),
            ],
        ),
        opts=opts,
    )
    batch = ScheduledJob(
        f"{product.name}-batch-prediction",
        args=ScheduledJobArgs(
            image=foundation.images["serving"],
            location=settings.location,
            service_account=predictor.email,
            scheduler=caller.email,
            schedule=product.batch.schedule,
            time_zone=product.batch.time_zone,
            tasks=product.batch.tasks,
            command=("python", "-m", "workloads.batch_prediction"),
            environment={
                **environment(
                    BatchPredictionSettings,
                    {
                        "google_cloud_project": settings.project,
                        "google_cloud_location": settings.location,
                        "product": product.name,
                    },
                ),
                **(
                    records.variables(f"{product.name}-batch", predictor, tracking, opts)
                    if publishes
                    else {}
                ),
            },
            paused=settings.batch.pause_schedules,
            subnetwork=foundation.subnetwork,
            kms_key=foundation.key("run"),
            deletion_protection=settings.security.deletion_protection,
        ),
        opts=opts,
    )
    monitor = _monitor(product, data, tracking, project, opts)
    return Model(
        runner=runner,
        endpoint=endpoint,
        server=server,
        predictor=predictor,
        batch=batch,
        retraining=retraining.lay(
            product, foundation, data, runner, server, raw(data), tracking, caller, opts
        ),
        monitor=monitor,
        monitoring=_monitoring(product, foundation, monitor, tracking, caller, opts),
    )


def outputs(product: Product, foundation: Foundation, data: Data, model: Model) -> dict[str, Any]:
    """The part of the stack's outputs that tells of a product's models."""
    settings = foundation.settings
    return {
        "training": {
            "pipeline_root": model.runner.root,
            "service_account": model.runner.service_account,
            "image": foundation.images["training"],
            "schedule": None if model.retraining is None else model.retraining.job.schedule.name,
            "cron": None if product.retraining is None else product.retraining.schedule,
        },
        **retraining.outputs(model.retraining),
        "monitoring": {
            "reports": pulumi.Output.concat(data.landing.models.url, "/", REPORTS),
            "service_account": model.monitor.email,
            "job": model.monitoring.job.id,
            "schedule": model.monitoring.schedule.name,
            "cron": product.monitoring.schedule,
            "drift_score": settings.alerts.drift_score,
        },
        "endpoint": {
            "name": pulumi.Output.format(
                "projects/{0}/locations/{1}/endpoints/{2}",
                settings.project,
                settings.location,
                model.endpoint.endpoint.name,
            ),
            "number": model.endpoint.number,
            "display_name": model.endpoint.endpoint.display_name,
            "private": settings.security.private_endpoint,
            "serving_image": foundation.images["serving"],
            "service_account": model.server.email,
        },
        "batch": {
            "job": model.batch.job.id,
            "schedule": model.batch.schedule.name,
            "cron": product.batch.schedule,
            "time_zone": product.batch.time_zone,
        },
    }


def raw(data: Data) -> list[Grant]:
    """What a workload needs to query the raw rows that features are made of.

    Some of their columns may tell of a person.
    """
    return [
        *(
            # The first is the product's own, where it has one.
            Grant(
                role="roles/bigquery.dataViewer",
                on=dataset,
                label=f"read-raw-{number}" if number else "read-raw",
            )
            for number, dataset in enumerate(data.raw.values())
        ),
        *(
            Grant(
                role=READER, on=tag, label=f"read-personal-{number}" if number else "read-personal"
            )
            for number, tag in enumerate(data.personal)
        ),
    ]


def _monitoring(
    product: Product,
    foundation: Foundation,
    monitor: WorkloadIdentity,
    tracking: Tracking,
    caller: WorkloadIdentity,
    opts: pulumi.ResourceOptions,
) -> ScheduledJob:
    settings = foundation.settings
    return ScheduledJob(
        f"{product.name}-monitor",
        args=ScheduledJobArgs(
            image=foundation.images["monitoring"],
            location=settings.location,
            service_account=monitor.email,
            scheduler=caller.email,
            schedule=product.monitoring.schedule,
            time_zone=product.monitoring.time_zone,
            command=("python", "-m", "workloads.monitoring"),
            environment={
                **environment(
                    MonitoringSettings,
                    {
                        "google_cloud_project": settings.project,
                        "google_cloud_location": settings.location,
                        "product": product.name,
                    },
                ),
                # Retraining is asked for in the database of records.
                **records.variables(f"{product.name}-monitor", monitor, tracking, opts),
            },
            paused=settings.batch.pause_schedules,
            subnetwork=foundation.subnetwork,
            kms_key=foundation.key("run"),
            deletion_protection=settings.security.deletion_protection,
        ),
        opts=opts,
    )


def _monitor(
    product: Product,
    data: Data,
    tracking: Tracking,
    project: ProjectWide,
    opts: pulumi.ResourceOptions,
) -> WorkloadIdentity:
    datasets = data.warehouse.datasets
    return WorkloadIdentity(
        f"{product.name}-monitor",
        args=WorkloadIdentityArgs(
            account_id=account_id(product.name, "monitor"),
            description=f"Watches the data and the models of {product.name}",
            grants=[
                *raw(data),
                Grant(
                    role="roles/bigquery.dataViewer",
                    on=datasets[PREDICTIONS],
                    label="read-predictions",
                ),
                Grant(
                    role="roles/bigquery.dataEditor",
                    on=datasets[MONITORING],
                    label="write-scores",
                ),
                Grant(
                    role="roles/storage.objectViewer", on=data.landing.models, label="read-profile"
                ),
                Grant(
                    role="roles/storage.objectUser",
                    on=data.landing.models,
                    label="write-reports",
                    folder=REPORTS,
                ),
                Grant(role="roles/bigquery.jobUser", on=project, label="query"),
                Grant(role="roles/bigquery.readSessionUser", on=project, label="read-fast"),
                Grant(role="roles/monitoring.metricWriter", on=project, label="measure"),
                Grant(role="roles/logging.logWriter", on=project, label="log"),
                # Vertex Model Monitoring is set up by a workload: the provider has no resource.
                Grant(role="roles/aiplatform.user", on=project, label="monitor-models"),
                *records.grants(tracking, project),
            ],
        ),
        opts=opts,
    )
