"""The layer that releases one product's models: a job that advances releases by their evidence.

Releases are kept in PostgreSQL, so a stack without a database has none of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.column_policy import READER
from components.scheduled_job import ScheduledJob, ScheduledJobArgs
from components.workload_identity import (
    Grant,
    ProjectWide,
    WorkloadIdentity,
    WorkloadIdentityArgs,
)
from stacks import records
from stacks.data import PREDICTIONS, Data
from stacks.defaults import Environment
from stacks.environment import environment, variable
from stacks.foundation import Foundation
from stacks.model import Model
from stacks.names import account_id
from stacks.prediction_api import PredictionApi
from stacks.settings import Settings
from stacks.tracking import RECORDS, Tracking
from workloads import contracts
from workloads.database import DatabaseSettings
from workloads.product import Product
from workloads.release.policy import ServingTarget
from workloads.release.settings import FOLDER, ReleaseSettings

SECONDS: Final = 3600
"""The longest that one step may take: a deployment is most of it."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """What advances releases of a product."""

    identity: WorkloadIdentity
    job: ScheduledJob
    variables: dict[str, pulumi.Input[str]]
    """What the job is told of the database."""


def lay(
    product: Product,
    foundation: Foundation,
    data: Data,
    model: Model,
    api: PredictionApi | None,
    tracking: Tracking,
    caller: WorkloadIdentity,
    opts: pulumi.ResourceOptions,
) -> Release | None:
    """Make the job and its identity; None where the stack has no database.

    Args:
        product: The declaration.
        foundation: What products share.
        data: Holds models and the prediction log.
        model: Has the identity that models serve as.
        api: The Cloud Run service, where the stack has one.
        tracking: Has the database, if there is one, and MLflow.
        caller: The identity that starts scheduled jobs.
        opts: Carry the product's provider.
    """
    settings = foundation.settings
    if tracking.database is None:
        return None
    name = f"{product.name}-release"
    identity = _identity(product, foundation, data, model, api, tracking, opts)
    told = records.variables(name, identity, tracking, opts)
    job = ScheduledJob(
        name,
        args=ScheduledJobArgs(
            image=foundation.images["serving"],
            location=settings.location,
            service_account=identity.email,
            scheduler=caller.email,
            schedule=product.release.schedule,
            # What was begun is gone on with by the next run; a second try at once would be one too.
            retries=0,
            timeout_seconds=SECONDS,
            command=("python", "-m", "workloads.release"),
            environment={
                **environment(
                    ReleaseSettings,
                    {
                        "google_cloud_project": settings.project,
                        "google_cloud_location": settings.location,
                        "product": product.name,
                        "service_account": model.server.email,
                        "mlflow_tracking_uri": tracking.address,
                        **_limit(settings),
                    },
                ),
                **told,
            },
            # Locally a person advances releases: every ten minutes would be for nothing else.
            paused=settings.batch.pause_schedules or settings.environment is Environment.LOCAL,
            subnetwork=foundation.subnetwork,
            kms_key=foundation.key("run"),
            deletion_protection=settings.security.deletion_protection,
        ),
        opts=opts,
    )
    return Release(identity=identity, job=job, variables=told)


def outputs(release: Release | None) -> dict[str, Any]:
    """The part of the stack's outputs that tells how releases are made."""

    def told(field: str) -> pulumi.Input[str] | None:
        return None if release is None else release.variables[variable(DatabaseSettings, field)]

    return {
        "release": {
            "job": None if release is None else release.job.job.id,
            "schedule": None if release is None else release.job.schedule.name,
            "database": None if release is None else RECORDS,
            "database_host": told("database_host"),
            "database_user": told("database_user"),
        }
    }


def _limit(settings: Settings) -> dict[str, str]:
    most = settings.serving.max_replicas
    return {} if most is None else {"serving_max_replicas": str(most)}


def _identity(
    product: Product,
    foundation: Foundation,
    data: Data,
    model: Model,
    api: PredictionApi | None,
    tracking: Tracking,
    opts: pulumi.ResourceOptions,
) -> WorkloadIdentity:
    project = ProjectWide(project=foundation.settings.project)
    revisions = product.serving.target is ServingTarget.CLOUD_RUN and api is not None
    return WorkloadIdentity(
        f"{product.name}-release",
        args=WorkloadIdentityArgs(
            account_id=account_id(product.name, "release"),
            description=f"Releases models of {product.name}",
            grants=[
                *records.grants(tracking, project),
                *tracking.grants(),
                # It moves aliases in the Model Registry, and deploys to the endpoint.
                Grant(role="roles/aiplatform.user", on=project, label="release"),
                Grant(
                    role="roles/iam.serviceAccountUser",
                    on=model.server.account,
                    label="serve-as",
                ),
                Grant(
                    role="roles/storage.objectViewer", on=data.landing.models, label="read-models"
                ),
                Grant(
                    role="roles/storage.objectUser",
                    on=data.landing.models,
                    label="write-outcomes",
                    folder=FOLDER,
                ),
                Grant(
                    role="roles/bigquery.dataViewer",
                    on=data.warehouse.datasets[PREDICTIONS],
                    label="read-log",
                ),
                *(
                    [Grant(role=READER, on=data.policy.tag, label="read-personal")]
                    if contracts.personal(product.features.request)
                    else []
                ),
                Grant(role="roles/bigquery.jobUser", on=project, label="query"),
                Grant(role="roles/logging.logWriter", on=project, label="log"),
                Grant(role="roles/monitoring.metricWriter", on=project, label="measure"),
                *(
                    [
                        Grant(
                            role="roles/run.developer", on=api.web.service, label="make-revisions"
                        ),
                        Grant(role="roles/run.invoker", on=api.web.service, label="ask-revisions"),
                    ]
                    if revisions and api is not None
                    else []
                ),
            ],
        ),
        opts=opts,
    )
