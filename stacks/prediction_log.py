"""The layer that keeps what one product's models answered: BigQuery, and PostgreSQL where it is."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components.prediction_log import PredictionLog, PredictionLogArgs
from components.push_service import PushService, PushServiceArgs
from components.workload_identity import (
    Grant,
    ProjectWide,
    WorkloadIdentity,
    WorkloadIdentityArgs,
)
from stacks import records
from stacks.data import PREDICTIONS, Data
from stacks.foundation import Foundation
from stacks.names import account_id
from stacks.tracking import Tracking
from workloads import contracts
from workloads.prediction_log import tables
from workloads.prediction_log.contract import PredictionLogged
from workloads.product import Product


@dataclass(frozen=True, kw_only=True)
class PredictionLogs:
    """Where one product's predictions are logged."""

    log: PredictionLog
    copy: PushService | None
    """Writes PostgreSQL; None where the stack has none."""

    def publisher(self) -> Grant:
        """What an identity needs to log predictions."""
        return Grant(role="roles/pubsub.publisher", on=self.log.topic, label="log-predictions")


def lay(
    product: Product,
    foundation: Foundation,
    data: Data,
    tracking: Tracking,
    caller: WorkloadIdentity,
    opts: pulumi.ResourceOptions,
) -> PredictionLogs:
    """Make the topic that servers publish to, and what takes it from there.

    Args:
        product: The declaration.
        foundation: What products share.
        data: Has the table in BigQuery.
        tracking: Has the database, if there is one.
        caller: The identity that Pub/Sub calls the service with.
        opts: Carry the product's provider.
    """
    settings = foundation.settings
    dataset = tables.dataset(product)
    table = data.warehouse.tables[PREDICTIONS][tables.NAME]
    log = PredictionLog(
        tables.topic(product),
        args=PredictionLogArgs(
            avro_schema=contracts.avro_schema(PredictionLogged),
            # Known once the table is made.
            table=table.table_id.apply(lambda name: f"{settings.project}.{dataset}.{name}"),
            dataset_id=data.warehouse.datasets[PREDICTIONS].dataset_id,
            pubsub_agent=foundation.agents.members["pubsub"],
            location=settings.location,
            kms_key=foundation.key("pubsub"),
            retention_days=settings.retention.messages,
            dead_letter_retention_days=settings.retention.dead_letters,
        ),
        opts=opts,
    )
    copy = (
        None
        if tracking.database is None
        else _copy(product, foundation, log, tracking, caller, opts)
    )
    return PredictionLogs(log=log, copy=copy)


def _copy(
    product: Product,
    foundation: Foundation,
    log: PredictionLog,
    tracking: Tracking,
    caller: WorkloadIdentity,
    opts: pulumi.ResourceOptions,
) -> PushService:
    settings = foundation.settings
    project = ProjectWide(project=settings.project)
    name = f"{product.name}-prediction-log"
    identity = WorkloadIdentity(
        f"{product.name}-log",
        args=WorkloadIdentityArgs(
            account_id=account_id(product.name, "log"),
            description=f"Writes what models of {product.name} answered to PostgreSQL",
            grants=[
                *records.grants(tracking, project),
                Grant(role="roles/logging.logWriter", on=project, label="log"),
                Grant(role="roles/monitoring.metricWriter", on=project, label="measure"),
            ],
        ),
        opts=opts,
    )
    return PushService(
        name,
        args=PushServiceArgs(
            image=foundation.images["serving"],
            location=settings.location,
            service_account=identity.email,
            caller=caller.account,
            topic=log.topic.id,
            subscription=f"{tables.topic(product)}-postgres",
            pubsub_agent=foundation.agents.members["pubsub"],
            command=("python", "-m", "workloads.prediction_log"),
            environment=records.variables(f"{product.name}-log", identity, tracking, opts),
            subnetwork=foundation.subnetwork,
            kms_key=foundation.key("run"),
            topic_kms_key=foundation.key("pubsub"),
            deletion_protection=settings.security.deletion_protection,
        ),
        opts=opts,
    )
