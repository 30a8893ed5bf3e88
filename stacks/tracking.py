"""The layer that keeps records: PostgreSQL, and MLflow's tracking server on it.

One instance for all products, a database for each use: `mlflow` belongs to MLflow, `esteira` takes
release records and inference logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pulumi

from components.database import Database, DatabaseArgs
from components.tracking_server import TrackingServer, TrackingServerArgs
from components.workload_identity import (
    Grant,
    ProjectWide,
    WorkloadIdentity,
    WorkloadIdentityArgs,
)
from stacks.commons import Commons
from stacks.defaults import Environment
from stacks.environment import environment
from stacks.foundation import Foundation, shared_labels
from stacks.settings import Settings
from workloads.tracking.settings import TrackingSettings

SERVER: Final = "mlflow-tracking"
"""Name of the service, of its identity and, after the project's, of its bucket."""
MLFLOW: Final = "mlflow"
RECORDS: Final = "esteira"
OWNER: Final = "tracking"
INSTANCE: Final = "esteira"
"""The instance in the program; Google's name for it is in the settings, or new each time."""


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where records are kept; None for what the stack's settings leave out."""

    database: Database | None
    server: TrackingServer | None

    @property
    def address(self) -> pulumi.Input[str]:
        """Of MLflow, for the environment of what logs to it; empty where there is none."""
        return "" if self.server is None else self.server.web.service.uri

    def grants(self) -> list[Grant]:
        """What an identity needs to log its runs, and to have MLflow follow the registry."""
        if self.server is None:
            return []
        return [
            Grant(role="roles/run.invoker", on=self.server.web.service, label="log-experiments")
        ]


def lay(foundation: Foundation, commons: Commons) -> Tracking:
    """Make the database and the server, as far as the settings have them.

    Args:
        foundation: What products share.
        commons: Holds the bucket of access logs.
    """
    settings = foundation.settings
    if not settings.database.enabled:
        return Tracking(database=None, server=None)
    identity = _identity(foundation) if settings.tracking.enabled else None
    database = _database(foundation, identity)
    if identity is None:
        return Tracking(database=database, server=None)
    return Tracking(database=database, server=_server(foundation, commons, database, identity))


def outputs(tracking: Tracking) -> dict[str, Any]:
    """The part of the stack's outputs that tells where records are kept."""
    database, server = tracking.database, tracking.server
    return {
        "database": {
            "connection_name": None if database is None else database.connection_name,
            "address": None if database is None else database.address,
            "databases": [] if database is None else sorted(database.databases),
        },
        "tracking": {
            "url": None if server is None else server.web.service.uri,
            "artifacts": None if server is None else server.bucket.url,
        },
    }


def _identity(foundation: Foundation) -> WorkloadIdentity:
    project = ProjectWide(project=foundation.settings.project)
    return WorkloadIdentity(
        SERVER,
        args=WorkloadIdentityArgs(
            account_id=SERVER,
            description="Serves MLflow",
            grants=[
                Grant(role="roles/cloudsql.instanceUser", on=project, label="log-in"),
                Grant(role="roles/logging.logWriter", on=project, label="log"),
                Grant(role="roles/monitoring.metricWriter", on=project, label="measure"),
            ],
        ),
        opts=foundation.opts,
    )


def _database(foundation: Foundation, identity: WorkloadIdentity | None) -> Database:
    settings = foundation.settings
    wanted = settings.database
    return Database(
        INSTANCE,
        args=DatabaseArgs(
            name=wanted.name,
            location=settings.location,
            network=_network(foundation),
            databases=[MLFLOW, RECORDS] if settings.tracking.enabled else [RECORDS],
            owners={} if identity is None else {OWNER: identity.email},
            tier=wanted.tier,
            edition=wanted.edition,
            highly_available=wanted.highly_available,
            disk_gb=wanted.disk_gb,
            backups=wanted.backups,
            recovery_days=wanted.recovery_days,
            running=not settings.lifetime.rest,
            labels=shared_labels(settings),
            kms_key=foundation.key("sqladmin"),
            deletion_protection=settings.security.deletion_protection,
            protect=settings.security.protect,
        ),
        opts=foundation.opts,
    )


def _network(foundation: Foundation) -> pulumi.Input[str]:
    if foundation.network is not None:
        return foundation.network.services_ready
    # Settings let only the local stack be without a network of its own.
    return f"projects/{foundation.settings.project}/global/networks/default"


def _server(
    foundation: Foundation, commons: Commons, database: Database, identity: WorkloadIdentity
) -> TrackingServer:
    settings = foundation.settings
    bucket = f"{settings.project}-{SERVER}"
    return TrackingServer(
        SERVER,
        args=TrackingServerArgs(
            location=settings.location,
            bucket=bucket,
            image=foundation.images["tracking"],
            service_account=identity.email,
            environment=environment(
                TrackingSettings,
                {
                    "database_host": database.address,
                    "database_name": MLFLOW,
                    "database_user": database.users[OWNER].name,
                    "database_certificates": database.certificate,
                    "artifacts": f"gs://{bucket}/artifacts",
                    "allowed_hosts": _hosts(settings),
                },
            ),
            # Callers grant themselves the right, each with its own identity: see `grants`.
            callers={},
            min_instances=settings.tracking.min_instances,
            # MLflow takes some 8 s to start and 300 MB: on one machine, whoever trains waits for
            # it, and who only brings the platform up does not.
            on_first_request=settings.environment is Environment.LOCAL,
            max_instances=settings.tracking.max_instances,
            noncurrent_days=settings.retention.noncurrent_objects,
            access_log=None if commons.access_log is None else commons.access_log.name,
            subnetwork=foundation.subnetwork,
            kms_key=foundation.key("run"),
            bucket_kms_key=foundation.key("storage"),
            force_destroy=settings.security.force_destroy,
            protect=settings.security.protect,
            deletion_protection=settings.security.deletion_protection,
        ),
        opts=foundation.opts,
    )


def _hosts(settings: Settings) -> str:
    """The names that the service is called by: Cloud Run's own, which all end alike."""
    if settings.environment is Environment.LOCAL:
        return "127.0.0.1:*"
    return f"{SERVER}-*.run.app"
