"""Instances of Cloud SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.checks import ANYWHERE, at, each, equals, is_true, one_of, shown
from policies.rule import Level, Resource, Rule, Severity

INSTANCE: Final = "gcp:sql/databaseInstance:DatabaseInstance"
FLAGS: Final = ("log_connections", "log_disconnections", "cloudsql.enable_pgaudit")


def _closed_networks(resource: Resource) -> Iterator[str]:
    path = "settings.ipConfiguration.authorizedNetworks.*.value"
    for where, value in each(resource.props, path):
        if value in ANYWHERE:
            yield f"`{where}` is `{value}`, the whole internet"


def _point_in_time(resource: Resource) -> Iterator[str]:
    mysql = str(at(resource.props, "databaseVersion") or "").startswith("MYSQL")
    setting = "binaryLogEnabled" if mysql else "pointInTimeRecoveryEnabled"
    path = f"settings.backupConfiguration.{setting}"
    if at(resource.props, path) is not True:
        yield f"`{path}` is {shown(at(resource.props, path))}; it has to be true"


def _audit_flags(resource: Resource) -> Iterator[str]:
    on = {
        at(flag, "name")
        for _, flag in each(resource.props, "settings.databaseFlags.*")
        if str(at(flag, "value")).lower() == "on"
    }
    for flag in FLAGS:
        if flag not in on:
            yield f"the flag `{flag}` in `settings.databaseFlags` is not `on`"


def _replica(resource: Resource) -> str | None:
    has_master = "masterInstanceName" in resource.props.keys()  # noqa: SIM118 - reads no value
    return "a replica is backed up with its primary" if has_master else None


def _not_postgres(resource: Resource) -> str | None:
    version = str(at(resource.props, "databaseVersion") or "")
    return None if version.startswith("POSTGRES") else f"{version} is no PostgreSQL"


RULES: Final = (
    Rule(
        name="sql-encrypted-connections",
        description="A database takes encrypted connections only.",
        remedy="Set `settings.ipConfiguration.sslMode` to `ENCRYPTED_ONLY` or stricter.",
        references=("CIS 6.4", "CKV_GCP_6"),
        level=Level.MANDATORY,
        severity=Severity.HIGH,
        types=(INSTANCE,),
        checks=(
            one_of(
                "settings.ipConfiguration.sslMode",
                "ENCRYPTED_ONLY",
                "TRUSTED_CLIENT_CERTIFICATE_REQUIRED",
            ),
        ),
    ),
    Rule(
        name="sql-no-public-address",
        description="A database has no public address.",
        remedy="Set `settings.ipConfiguration.ipv4Enabled` to false, and `privateNetwork`.",
        references=("CIS 6.6", "CKV_GCP_60"),
        level=Level.MANDATORY,
        severity=Severity.CRITICAL,
        types=(INSTANCE,),
        checks=(equals("settings.ipConfiguration.ipv4Enabled", False),),
    ),
    Rule(
        name="sql-no-open-network",
        description="A database is not open to the whole internet.",
        remedy="Take 0.0.0.0/0 out of `settings.ipConfiguration.authorizedNetworks`.",
        references=("CIS 6.5", "CKV_GCP_11"),
        level=Level.MANDATORY,
        severity=Severity.CRITICAL,
        types=(INSTANCE,),
        checks=(_closed_networks,),
    ),
    Rule(
        name="sql-backups",
        description="A database is backed up, and can be restored to any moment.",
        remedy="Set `settings.backupConfiguration.enabled` and `pointInTimeRecoveryEnabled` "
        "(MySQL: `binaryLogEnabled`) to true.",
        references=("CIS 6.7", "CKV_GCP_14"),
        level=Level.IN_PROD,
        severity=Severity.HIGH,
        types=(INSTANCE,),
        checks=(is_true("settings.backupConfiguration.enabled"), _point_in_time),
        spared=_replica,
    ),
    Rule(
        name="sql-audit-flags",
        description="A PostgreSQL database logs who connects and what they do.",
        remedy=f"Set the flags {', '.join(FLAGS)} to `on`.",
        references=("CIS 6.2", "CKV_GCP_51", "CKV_GCP_52", "CKV_GCP_53", "CKV_GCP_110"),
        level=Level.ADVISORY,
        severity=Severity.MEDIUM,
        types=(INSTANCE,),
        checks=(_audit_flags,),
        spared=_not_postgres,
    ),
)
