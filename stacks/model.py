"""The layer that trains, serves and batch-predicts with one product's models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from components.pipeline_runner import PipelineRunner, PipelineRunnerArgs
from components.prediction_endpoint import PredictionEndpoint, PredictionEndpointArgs
from components.scheduled_job import ScheduledJob, ScheduledJobArgs
from components.workload_identity import (
    Grant,
    ProjectWide,
    WorkloadIdentity,
    WorkloadIdentityArgs,
)
from stacks.data import FEATURES, ONLINE, PREDICTIONS, RAW, Data
from stacks.environment import environment
from stacks.foundation import Foundation
from stacks.names import account_id
from workloads.batch_prediction.settings import BatchPredictionSettings
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


def lay(
    product: Product,
    foundation: Foundation,
    data: Data,
    caller: WorkloadIdentity,
    opts: pulumi.ResourceOptions,
) -> Model:
    """Make the pipeline runner, the endpoint and the scheduled batch predictions.

    Args:
        product: The declaration.
        foundation: What products share.
        data: What models learn from, and where their predictions go.
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
            reads=[datasets[RAW]],
            writes=[datasets[FEATURES]],
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
            ],
        ),
        opts=opts,
    )
    predictor = WorkloadIdentity(
        f"{product.name}-batch",
        args=WorkloadIdentityArgs(
            account_id=account_id(product.name, "batch"),
            description=f"Predicts with models of {product.name} in batches",
            grants=[
                Grant(
                    role="roles/storage.objectViewer", on=data.landing.models, label="read-models"
                ),
                Grant(role="roles/bigquery.dataViewer", on=datasets[RAW], label="read-raw"),
                Grant(
                    role="roles/bigquery.dataEditor",
                    on=datasets[PREDICTIONS],
                    label="write-predictions",
                ),
                Grant(role="roles/bigquery.jobUser", on=project, label="query"),
                Grant(role="roles/bigquery.readSessionUser", on=project, label="read-fast"),
                # Which model is the champion is asked of the Model Registry.
                Grant(role="roles/aiplatform.user", on=project, label="find-model"),
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
            environment=environment(
                BatchPredictionSettings,
                {
                    "google_cloud_project": settings.project,
                    "google_cloud_location": settings.location,
                    "product": product.name,
                },
            ),
            paused=settings.batch.pause_schedules,
            subnetwork=foundation.subnetwork,
            kms_key=foundation.key("run"),
            deletion_protection=settings.security.deletion_protection,
        ),
        opts=opts,
    )
    return Model(runner=runner, endpoint=endpoint, server=server, predictor=predictor, batch=batch)


def outputs(product: Product, foundation: Foundation, model: Model) -> dict[str, Any]:
    """The part of the stack's outputs that tells of a product's models."""
    settings = foundation.settings
    return {
        "training": {
            "pipeline_root": model.runner.root,
            "service_account": model.runner.service_account,
            "image": foundation.images["training"],
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
