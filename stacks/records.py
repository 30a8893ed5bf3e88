"""How a workload of a product gets at the database of records, where a stack has one."""

from __future__ import annotations

import pulumi

from components.database_user import DatabaseUser, DatabaseUserArgs
from components.workload_identity import Grant, ProjectWide, WorkloadIdentity
from stacks.environment import environment
from stacks.tracking import RECORDS, Tracking
from workloads.database import DatabaseSettings


def grants(tracking: Tracking, project: ProjectWide) -> list[Grant]:
    """What the workload's identity needs to log in; nothing where there is no database."""
    if tracking.database is None:
        return []
    return [Grant(role="roles/cloudsql.instanceUser", on=project, label="log-in")]


def variables(
    name: str, identity: WorkloadIdentity, tracking: Tracking, opts: pulumi.ResourceOptions
) -> dict[str, pulumi.Input[str]]:
    """An account in the database, and what the workload is told of it; nothing where there is none.

    Args:
        name: Of the account in the program, after the workload's.
        identity: Was made with `grants`.
        tracking: Has the database, if there is one.
        opts: Carry the product's provider.
    """
    database = tracking.database
    if database is None:
        return {}
    account = DatabaseUser(
        name,
        args=DatabaseUserArgs(instance=database.instance.name, email=identity.email),
        opts=opts,
    )
    return environment(
        DatabaseSettings,
        {
            "database_host": database.address,
            "database_name": RECORDS,
            "database_user": account.login,
            "database_certificates": database.certificate,
        },
    )
