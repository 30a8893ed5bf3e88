"""`gcp:sql:User` in the PostgreSQL of the local cloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from localcloud.provider.clients import Clients
from localcloud.provider.errors import Refused, ServiceError
from localcloud.provider.realise.sql_database import OWNER, require_instance
from localcloud.services.postgres.client import connected
from localcloud.services.postgres.cluster import Cluster

BUILT_IN: Final = "BUILT_IN"
GROUPS: Final = {
    "CLOUD_IAM_USER": "cloudsqliamuser",
    "CLOUD_IAM_SERVICE_ACCOUNT": "cloudsqliamserviceaccount",
}
"""By type of user, the role whose members log in without a password here."""
_DOMAIN: Final = ".gserviceaccount.com"


class User:
    """A role that can log in: an account of IAM, or a built-in user with a password."""

    def __init__(self, clients: Clients) -> None:
        self._home = clients.home

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        name, instance = str(properties["name"]), str(properties["instance"])
        return _id(name, instance) if self._there(instance, name) else None

    def create(self, properties: Mapping[str, Any]) -> str:
        from psycopg import sql

        name, instance = str(properties["name"]), str(properties["instance"])
        kind = _kind(properties)
        require_instance(self._home, instance, f"user {name}")
        if kind == "CLOUD_IAM_SERVICE_ACCOUNT" and name.endswith(_DOMAIN):
            raise ServiceError(
                name,
                400,
                "400 INVALID_ARGUMENT: Database username for Cloud IAM service account should be "
                f"created without {_DOMAIN!r} suffix.",
            )
        with connected(self._home) as connection, connection.transaction():
            if kind == BUILT_IN:
                connection.execute(
                    sql.SQL(
                        "CREATE ROLE {} LOGIN CREATEDB CREATEROLE IN ROLE {} PASSWORD {}"
                    ).format(
                        sql.Identifier(name),
                        sql.Identifier(OWNER),
                        sql.Literal(_password(properties)),
                    )
                )
            else:
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN IN ROLE {}").format(
                        sql.Identifier(name), sql.Identifier(GROUPS[kind])
                    )
                )
            _grant(connection, name, properties.get("databaseRoles") or [])
        return _id(name, instance)

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        name, _, instance = id.split("/")
        held = Cluster(self._home).instance
        if held is None or not self._there(instance, name):
            return None
        return {"name": name, "instance": instance, "project": held.project}

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        from psycopg import sql

        name = str(new["name"])
        kind = _kind(new)
        with connected(self._home) as connection, connection.transaction():
            if kind == BUILT_IN:
                connection.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                        sql.Identifier(name), sql.Literal(_password(new))
                    )
                )
            wanted = set(new.get("databaseRoles") or [])
            for role in set(old.get("databaseRoles") or []) - wanted:
                connection.execute(
                    sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(role), sql.Identifier(name))
                )
            _grant(connection, name, wanted)
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        from psycopg import errors, sql

        name, _, instance = id.split("/")
        if not self._there(instance, name):
            return
        with connected(self._home) as connection:
            try:
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
            except errors.DependentObjectsStillExist as error:
                raise ServiceError(id, 400, f"400 FAILED_PRECONDITION: {error}") from error

    def _there(self, instance: str, name: str) -> bool:
        held = Cluster(self._home).instance
        if held is None or held.name != instance:
            return False
        with connected(self._home) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_roles WHERE rolname = %s AND rolcanlogin", [name]
            )
            return found.fetchone() is not None


def _id(name: str, instance: str) -> str:
    # As terraform-provider-google has it: name, host (none in PostgreSQL), instance.
    return f"{name}//{instance}"


def _kind(properties: Mapping[str, Any]) -> str:
    kind = properties.get("type") or BUILT_IN
    if kind != BUILT_IN and kind not in GROUPS:
        raise Refused(
            f"user {properties['name']}: type is {kind!r}; the local cloud has "
            f"{', '.join((BUILT_IN, *GROUPS))}"
        )
    return str(kind)


def _password(properties: Mapping[str, Any]) -> str:
    password = properties.get("password") or properties.get("passwordWo")
    if not password:
        raise ServiceError(
            str(properties["name"]),
            400,
            "400 INVALID_ARGUMENT: password is missing; a built-in user of PostgreSQL needs one",
        )
    return str(password)


def _grant(connection: Any, name: str, roles: Any) -> None:
    from psycopg import errors, sql

    for role in sorted(roles):
        try:
            connection.execute(
                sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(name))
            )
        except errors.UndefinedObject as error:
            raise ServiceError(
                name, 400, f"400 INVALID_ARGUMENT: databaseRoles: role {role!r} does not exist"
            ) from error
