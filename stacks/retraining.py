"""The layer that trains one product's models again: a job that decides on what was asked, hourly.

Requests and runs are kept in PostgreSQL. A stack without a database has no controller: there the
product's schedule submits a training run, and people judge and release what it makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi

from components.pipeline_runner import PipelineRunner
from components.scheduled_job import ScheduledJob, ScheduledJobArgs
from components.workload_identity import (
    Grant,
    ProjectWide,
    WorkloadIdentity,
    WorkloadIdentityArgs,
)
from stacks import records
from stacks.data import Data
from stacks.environment import environment, variable
from stacks.foundation import Foundation
from stacks.names import account_id
from stacks.tracking import RECORDS, Tracking
from workloads.database import DatabaseSettings
from workloads.product import Product
from workloads.retraining.settings import RetrainingSettings
from workloads.training.settings import TrainingSettings

SCHEDULE: Final = "20 * * * *"
"""When the controller looks at what was asked; the product's own schedule is one of the reasons."""
SECONDS: Final = 12 * 3600
"""The longest that a training run is followed. The next turn goes on following it."""


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """What trains a product's models again."""

    job: ScheduledJob
    identity: WorkloadIdentity | None = None
    """None without a database: then the job only submits runs, as the identity of their steps."""
    variables: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    """What the job is told of the database."""


def lay(
    product: Product,
    foundation: Foundation,
    data: Data,
    runner: PipelineRunner,
    server: WorkloadIdentity,
    reads: Sequence[Grant],
    tracking: Tracking,
    caller: WorkloadIdentity,
    opts: pulumi.ResourceOptions,
) -> Retraining | None:
    """Make the job and its identity; None where the product is trained by hand only.

    The provider has no schedule of Vertex AI's own.

    Args:
        product: The declaration.
        foundation: What products share.
        data: Holds models.
        runner: What the pipeline's steps run as.
        server: What models serve as.
        reads: What querying the product's raw rows takes.
        tracking: Has the database, if there is one, and MLflow.
        caller: The identity that starts scheduled jobs.
        opts: Carry the product's provider.
    """
    settings = foundation.settings
    if product.retraining is None:
        return None
    name = f"{product.name}-retraining"
    common: dict[str, pulumi.Input[str]] = {
        "google_cloud_project": settings.project,
        "google_cloud_location": settings.location,
        "product": product.name,
        "training_image": foundation.images["training"],
        "serving_image": foundation.images["serving"],
        "service_account": runner.service_account,
        "mlflow_tracking_uri": tracking.address,
    }
    identity = None
    told: Mapping[str, pulumi.Input[str]] = {}
    if tracking.database is None:
        module, given = "workloads.training", environment(TrainingSettings, common)
        account, schedule = runner.service_account, product.retraining.schedule
    else:
        identity = _identity(product, foundation, data, runner, reads, tracking, opts)
        told = records.variables(name, identity, tracking, opts)
        module, account, schedule = "workloads.retraining", identity.email, SCHEDULE
        given = {
            **environment(RetrainingSettings, {**common, "serving_service_account": server.email}),
            **told,
        }
    job = ScheduledJob(
        name,
        args=ScheduledJobArgs(
            image=foundation.images["training"],
            location=settings.location,
            service_account=account,
            scheduler=caller.email,
            schedule=schedule,
            time_zone=product.retraining.time_zone,
            # What costs runs on Vertex AI; this compiles, waits and judges. A second attempt finds
            # the run of the first by its name and follows that.
            retries=1,
            timeout_seconds=SECONDS,
            memory="4Gi",
            command=("python", "-m", module),
            environment=given,
            paused=settings.batch.pause_schedules or settings.batch.pause_retraining,
            subnetwork=foundation.subnetwork,
            kms_key=foundation.key("run"),
            deletion_protection=settings.security.deletion_protection,
        ),
        opts=opts,
    )
    return Retraining(job=job, identity=identity, variables=told)


def outputs(retraining: Retraining | None) -> dict[str, Any]:
    """The part of the stack's outputs that tells who decides on retraining."""

    def told(field: str) -> pulumi.Input[str] | None:
        if retraining is None or retraining.identity is None:
            return None
        return retraining.variables[variable(DatabaseSettings, field)]

    controlled = retraining is not None and retraining.identity is not None
    return {
        "retraining": {
            "job": retraining.job.job.id if retraining is not None and controlled else None,
            "database": RECORDS if controlled else None,
            "database_host": told("database_host"),
            "database_user": told("database_user"),
        }
    }


def _identity(
    product: Product,
    foundation: Foundation,
    data: Data,
    runner: PipelineRunner,
    reads: Sequence[Grant],
    tracking: Tracking,
    opts: pulumi.ResourceOptions,
) -> WorkloadIdentity:
    project = ProjectWide(project=foundation.settings.project)
    return WorkloadIdentity(
        f"{product.name}-retrain",
        args=WorkloadIdentityArgs(
            account_id=account_id(product.name, "retrain"),
            description=f"Decides when models of {product.name} are trained again",
            grants=[
                # The steps have no way to the records: what they run is the product's own code.
                *records.grants(tracking, project),
                *tracking.grants(),
                # It submits runs, and labels versions with what the gate says.
                Grant(role="roles/aiplatform.user", on=project, label="train"),
                Grant(
                    role="roles/iam.serviceAccountUser",
                    on=runner.identity.account,
                    label="train-as",
                ),
                # It writes the gate's records beside versions, and reads the snapshots they are
                # judged on.
                Grant(
                    role="roles/storage.objectUser", on=data.landing.models, label="write-records"
                ),
                *reads,
                Grant(role="roles/bigquery.jobUser", on=project, label="query"),
                Grant(role="roles/bigquery.readSessionUser", on=project, label="read-fast"),
                Grant(role="roles/logging.logWriter", on=project, label="log"),
                Grant(role="roles/monitoring.metricWriter", on=project, label="measure"),
            ],
        ),
        opts=opts,
    )
