"""A workload's account in a database: it logs in as itself, with a token of IAM and no password.

It may make schemas and tables in every database of the instance, as
`components/database.py` tells of `OWNER`. The right to log in at all is granted where the
workload's identity is made (`roles/cloudsql.instanceUser`).
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components.child_opts import child_opts
from components.database import OWNER, login


@dataclass(frozen=True, kw_only=True)
class DatabaseUserArgs:
    """What an account needs."""

    instance: pulumi.Input[str]
    """Name of the Cloud SQL instance."""
    email: pulumi.Input[str]
    """Of the workload's service account."""


class DatabaseUser(pulumi.ComponentResource):
    """The role in PostgreSQL that a service account logs in as."""

    user: gcp.sql.User
    login: pulumi.Output[str]
    """Its name in PostgreSQL, known once it can be used."""

    def __init__(
        self, name: str, *, args: DatabaseUserArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:database_user:DatabaseUser", name, {}, opts)
        self.user = gcp.sql.User(
            name,
            name=pulumi.Output.from_input(args.email).apply(login),
            instance=args.instance,
            type="CLOUD_IAM_SERVICE_ACCOUNT",
            database_roles=[OWNER],
            # PostgreSQL keeps a role that owns tables; without its IAM role it cannot log in.
            deletion_policy="ABANDON",
            opts=child_opts(self),
        )
        self.login = self.user.name
        self.register_outputs({"login": self.login})
