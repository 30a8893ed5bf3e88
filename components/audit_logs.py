"""Audit logs of who read and wrote data. Changes of resources are always logged, by Google."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

KINDS: Final = ("ADMIN_READ", "DATA_READ", "DATA_WRITE")
SERVICES: Final = (
    "aiplatform",
    "artifactregistry",
    "bigquery",
    "cloudkms",
    "cloudsql",
    "iam",
    "iamcredentials",
    "pubsub",
    "run",
    "secretmanager",
    "storage",
    "sts",
)
"""Services that hold data or give access to it, by the names that audit logs know them
(cloud.google.com/logging/docs/audit/services)."""


@dataclass(frozen=True, kw_only=True)
class AuditLogsArgs:
    """What is logged.

    Raises:
        InvalidArgs: at construction, when a service is none of those that hold data.
    """

    project: str
    services: Sequence[str] = SERVICES
    """APIs whose reads and writes are logged."""

    def __post_init__(self) -> None:
        for service in self.services:
            checks.one_of("AuditLogs", "services", service, SERVICES)


class AuditLogs(pulumi.ComponentResource):
    """Data access logs of one project, by service; nobody is exempt."""

    configs: dict[str, gcp.projects.IAMAuditConfig]

    def __init__(
        self, name: str, *, args: AuditLogsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:audit_logs:AuditLogs", name, {}, opts)
        self.configs = {
            service: gcp.projects.IAMAuditConfig(
                f"{name}-{service}",
                project=args.project,
                service=f"{service}.googleapis.com",
                audit_log_configs=[
                    gcp.projects.IAMAuditConfigAuditLogConfigArgs(log_type=kind) for kind in KINDS
                ],
                opts=child_opts(self),
            )
            for service in args.services
        }
        self.register_outputs({"services": list(args.services)})
