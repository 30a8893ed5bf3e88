"""Cloud SQL for PostgreSQL: one private instance, a database for each use, no password anywhere.

Whoever connects is an identity of Google Cloud and shows an access token where PostgreSQL asks for
a password (IAM database authentication). It leaves alone what is inside the databases: tables
belong to the workload that migrates them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

VERSION: Final = "POSTGRES_17"
NAME: Final = (
    re.compile(r"[a-z]([a-z0-9-]{0,96}[a-z0-9])?"),
    "at most 98 lower-case letters, digits and hyphens, starting with a letter",
)
"""Google counts the project and a colon as well, and Pulumi may append eight characters."""
DATABASE: Final = (
    re.compile(r"[a-z][a-z0-9_]{0,62}"),
    "at most 63 lower-case letters, digits and underscores, starting with a letter",
)
TIME: Final = (re.compile(r"([01][0-9]|2[0-3]):00"), "a full hour UTC, e.g. `02:00`")
OWNER: Final = "cloudsqlsuperuser"
"""The role that owns every database of an instance. Nothing less can make tables in a schema that
Cloud SQL made, and nothing but SQL could grant less: see docs/decisions/0006."""
FLAGS: Final[Mapping[str, str]] = {
    "cloudsql.iam_authentication": "on",
    "cloudsql.enable_pgaudit": "on",
    # Definitions and grants only: rows that are written would put data into the log.
    "pgaudit.log": "ddl,role",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_checkpoints": "on",
    "log_lock_waits": "on",
    "log_temp_files": "0",
    "log_min_duration_statement": "-1",
}
"""What CIS Google Cloud Foundations 6.2 asks of PostgreSQL, and authentication by IAM."""
HOUR_OF_MAINTENANCE: Final = 3
SUNDAY: Final = 7
MOST_BACKUPS: Final = 365


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """What an instance needs.

    Raises:
        InvalidArgs: at construction, when a value is out of range or two do not go together.
    """

    location: str
    network: pulumi.Input[str]
    """`projects/.../global/networks/...`, in which it has its only address, by private service
    access; known once Google's services may take addresses there."""
    name: str | None = None
    """The instance's own name; without one it is the component's and seven digits that are new
    whenever it is made anew, since Google keeps the name of a deleted instance for a week."""
    databases: Sequence[str]
    """One for each use."""
    owners: Mapping[str, pulumi.Input[str]]
    """Service accounts that log in and make tables: e-mails, by a short name."""
    tier: str = "db-custom-1-3840"
    """Its machine, as Cloud SQL names it."""
    edition: str = "ENTERPRISE"
    """`ENTERPRISE` or `ENTERPRISE_PLUS`."""
    highly_available: bool = False
    """Whether a standby in another zone takes over."""
    disk_gb: int = 10
    """At the start; it grows by itself and never shrinks."""
    disk_limit_gb: int = 500
    """It grows no further: a runaway writer must not fill an endless bill."""
    backups: bool = True
    """Whether there is one each day, and recovery to any point in time."""
    backup_hour: str = "02:00"
    """When the daily backup starts, UTC."""
    backups_kept: int = 14
    """How many daily backups there are at most."""
    recovery_days: int = 7
    """Days to which any point in time can be recovered; 1 to 7, with ENTERPRISE_PLUS to 35."""
    running: bool = True
    """Whether it runs; while it does not, its disk is all that is paid for. It has to run when its
    databases and users are made."""
    labels: Mapping[str, str]
    """On the instance: it is the one thing that a provider's default labels do not reach."""
    kms_key: pulumi.Input[str] | None = None
    deletion_protection: bool = False
    """Whether Google refuses to delete it."""
    protect: bool = False
    """Whether Pulumi refuses to delete it."""

    def __post_init__(self) -> None:
        who = "Database"
        if self.name is not None:
            checks.matches(who, "name", self.name, NAME)
        for database in self.databases:
            checks.matches(who, "databases", database, DATABASE)
        checks.one_of(who, "edition", self.edition, ("ENTERPRISE", "ENTERPRISE_PLUS"))
        checks.between(who, "disk_gb", self.disk_gb, 10, 65_536, "GB")
        checks.between(who, "disk_limit_gb", self.disk_limit_gb, self.disk_gb, 65_536, "GB")
        checks.matches(who, "backup_hour", self.backup_hour, TIME)
        checks.between(who, "backups_kept", self.backups_kept, 1, MOST_BACKUPS)
        most = 35 if self.edition == "ENTERPRISE_PLUS" else 7
        checks.between(who, "recovery_days", self.recovery_days, 1, most, f"days ({self.edition})")
        if self.edition == "ENTERPRISE_PLUS" and not self.tier.startswith("db-perf-optimized"):
            raise checks.InvalidArgs(
                who, "tier", self.tier, "`db-perf-optimized-N-...` with edition ENTERPRISE_PLUS"
            )
        if self.highly_available and not self.backups:
            raise checks.InvalidArgs(
                who,
                "backups",
                self.backups,
                "true where `highly_available` is: the standby is fed from what recovery keeps",
            )
        if self.highly_available and self.tier in ("db-f1-micro", "db-g1-small"):
            raise checks.InvalidArgs(
                who,
                "tier",
                self.tier,
                "a `db-custom-...` tier: shared cores have no standby under"
                " Cloud SQL's service level agreement",
            )


class Database(pulumi.ComponentResource):
    """An instance, reached over TLS at a private address only."""

    instance: gcp.sql.DatabaseInstance
    databases: dict[str, gcp.sql.Database]
    users: dict[str, gcp.sql.User]
    """By the short name of the owner."""
    connection_name: pulumi.Output[str]
    """`project:region:name`, by which Google's connectors know it."""
    address: pulumi.Output[str]
    """The private address, known once every database and user is there."""
    certificate: pulumi.Output[str]
    """The certificates, PEM, of the authority that signs the server's. Nothing secret."""

    def __init__(
        self, name: str, *, args: DatabaseArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("Database", "name", name, NAME)
        super().__init__("esteira:database:Database", name, {}, opts)
        self.instance = gcp.sql.DatabaseInstance(
            name,
            name=args.name,
            region=args.location,
            database_version=VERSION,
            encryption_key_name=args.kms_key,
            deletion_protection=args.deletion_protection,
            settings=_settings(args),
            # The disk grows by itself: what it grew to is no difference to be undone.
            opts=child_opts(self, protect=args.protect, ignore_changes=["settings.diskSize"]),
        )
        self.databases = {
            database: gcp.sql.Database(
                f"{name}-{database}",
                name=database,
                instance=self.instance.name,
                charset="UTF8",
                # Goes with its instance; dropping it would fail while anybody is connected.
                deletion_policy="ABANDON",
                opts=child_opts(self, protect=args.protect),
            )
            for database in args.databases
        }
        self.users = {
            label: gcp.sql.User(
                f"{name}-{label}",
                name=pulumi.Output.from_input(email).apply(login),
                instance=self.instance.name,
                type="CLOUD_IAM_SERVICE_ACCOUNT",
                database_roles=[OWNER],
                # PostgreSQL keeps a role that owns tables; without its IAM role it cannot log in.
                deletion_policy="ABANDON",
                opts=child_opts(self),
            )
            for label, email in args.owners.items()
        }
        self.connection_name = self.instance.connection_name
        ready = [one.urn for one in (*self.databases.values(), *self.users.values())]
        self.address = pulumi.Output.all(self.instance.private_ip_address, *ready).apply(
            lambda known: str(known[0])
        )
        self.certificate = self.instance.server_ca_certs.apply(
            lambda known: "".join(one.cert or "" for one in known)
        )
        self.register_outputs({"connection_name": self.connection_name, "address": self.address})


def login(email: str) -> str:
    """What a service account is called in PostgreSQL: its e-mail without the domain's end.

    PostgreSQL cuts names at 63 bytes; Cloud SQL therefore leaves `.gserviceaccount.com` out.
    """
    return email.removesuffix(".gserviceaccount.com")


def _settings(args: DatabaseArgs) -> gcp.sql.DatabaseInstanceSettingsArgs:
    sql = gcp.sql
    return sql.DatabaseInstanceSettingsArgs(
        tier=args.tier,
        edition=args.edition,
        user_labels=dict(args.labels),
        activation_policy="ALWAYS" if args.running else "NEVER",
        availability_type="REGIONAL" if args.highly_available else "ZONAL",
        deletion_protection_enabled=args.deletion_protection,
        disk_type="PD_SSD",
        disk_size=args.disk_gb,
        disk_autoresize=True,
        disk_autoresize_limit=args.disk_limit_gb,
        ip_configuration=sql.DatabaseInstanceSettingsIpConfigurationArgs(
            ipv4_enabled=False,
            private_network=args.network,
            # Not TRUSTED_CLIENT_CERTIFICATE_REQUIRED: clients prove themselves by their token, and
            # a certificate of theirs would be one more key to keep.
            ssl_mode="ENCRYPTED_ONLY",
            server_ca_mode="GOOGLE_MANAGED_INTERNAL_CA",
        ),
        database_flags=[
            sql.DatabaseInstanceSettingsDatabaseFlagArgs(name=flag, value=value)
            for flag, value in sorted(FLAGS.items())
        ],
        backup_configuration=sql.DatabaseInstanceSettingsBackupConfigurationArgs(
            enabled=args.backups,
            point_in_time_recovery_enabled=args.backups,
            start_time=args.backup_hour,
            location=args.location,
            transaction_log_retention_days=args.recovery_days,
            backup_retention_settings=(
                sql.DatabaseInstanceSettingsBackupConfigurationBackupRetentionSettingsArgs(
                    retained_backups=args.backups_kept, retention_unit="COUNT"
                )
            ),
        ),
        maintenance_window=sql.DatabaseInstanceSettingsMaintenanceWindowArgs(
            day=SUNDAY, hour=HOUR_OF_MAINTENANCE, update_track="stable"
        ),
        insights_config=sql.DatabaseInstanceSettingsInsightsConfigArgs(
            query_insights_enabled=True,
            query_plans_per_minute=5,
            query_string_length=1024,
            record_application_tags=True,
            record_client_address=False,
        ),
    )
