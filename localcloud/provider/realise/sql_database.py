"""`gcp:sql:Database` in the PostgreSQL of the local cloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.provider.clients import Clients
from localcloud.provider.errors import ServiceError
from localcloud.provider.realise.shapes import short
from localcloud.services.postgres.client import connected
from localcloud.services.postgres.cluster import Cluster

OWNER = "cloudsqlsuperuser"


class Database:
    """One database; as in Cloud SQL it belongs to `cloudsqlsuperuser`."""

    def __init__(self, clients: Clients) -> None:
        self._home = clients.home

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        name = str(properties["name"])
        return self._id(properties) if self._there(str(properties["instance"]), name) else None

    def create(self, properties: Mapping[str, Any]) -> str:
        from psycopg import sql

        name, instance = str(properties["name"]), str(properties["instance"])
        require_instance(self._home, instance, f"database {name}")
        if properties.get("charset", "UTF8") != "UTF8":
            raise ServiceError(name, 400, f"charset is {properties['charset']!r}; allowed: `UTF8`")
        with connected(self._home) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'").format(
                    sql.Identifier(name), sql.Identifier(OWNER)
                )
            )
        return self._id(properties)

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        _, project, _, instance, _, name = id.split("/")
        if not self._there(instance, name):
            return None
        return {"name": name, "instance": instance, "project": project}

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        from psycopg import errors, sql

        name, instance = short(id), id.split("/")[3]
        if not self._there(instance, name):
            return
        with connected(self._home) as connection:
            try:
                connection.execute(
                    sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
                )
            except errors.ObjectInUse as error:
                raise ServiceError(id, 400, f"400 FAILED_PRECONDITION: {error}") from error

    def _id(self, properties: Mapping[str, Any]) -> str:
        return (
            f"projects/{properties['project']}/instances/{properties['instance']}"
            f"/databases/{properties['name']}"
        )

    def _there(self, instance: str, name: str) -> bool:
        held = Cluster(self._home).instance
        if held is None or held.name != instance:
            return False
        with connected(self._home) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            return found.fetchone() is not None


def require_instance(home: Any, instance: str, what: str) -> None:
    """Refuse what belongs to an instance that is not there.

    Raises:
        ServiceError: 404, in Google's words.
    """
    held = Cluster(home).instance
    if held is None or held.name != instance:
        raise ServiceError(
            what, 404, f"404 NOT_FOUND: The Cloud SQL instance {instance!r} does not exist."
        )
