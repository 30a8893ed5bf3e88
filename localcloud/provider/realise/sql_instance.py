"""`gcp:sql:DatabaseInstance` as the PostgreSQL of the local cloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from localcloud import daemon
from localcloud.home import LOOPBACK
from localcloud.provider.clients import Clients
from localcloud.provider.errors import Refused, ServiceError
from localcloud.services.postgres.client import NotReady, await_end, await_ready
from localcloud.services.postgres.cluster import Cluster, Instance

VERSION: Final = "POSTGRES_17"


class DatabaseInstance:
    """The one instance of a home; its private address is loopback."""

    usual: Final[dict[str, Any]] = {"instanceType": "CLOUD_SQL_INSTANCE"}

    def __init__(self, clients: Clients) -> None:
        self._home = clients.home

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        held = Cluster(self._home).instance
        name = str(properties["name"])
        return name if held and (held.project, held.name) == (properties["project"], name) else None

    def create(self, properties: Mapping[str, Any]) -> str:
        name = str(properties["name"])
        version = properties.get("databaseVersion")
        if version != VERSION:
            raise Refused(
                f"{name}: databaseVersion is {version!r}; the local cloud runs {VERSION} only"
            )
        for unsupported in ("masterInstanceName", "clone", "restoreBackupContext"):
            if properties.get(unsupported):
                raise Refused(
                    f"{name}: {unsupported} is set; the local cloud has no replicas, no clones and "
                    "no backups"
                )
        held = Cluster(self._home).instance
        if held is not None:
            raise Refused(
                f"{name}: the local cloud runs one instance, and {held.project}:{held.name} is "
                "there; destroy that one first"
            )
        self._hold(properties)
        return name

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        held = Cluster(self._home).instance
        if held is None or held.name != id:
            return None
        settings = {} if state else {"settings": held.properties.get("settings")}
        return {
            "name": held.name,
            "project": held.project,
            "region": held.region,
            "databaseVersion": VERSION,
            "connectionName": f"{held.project}:{held.region}:{held.name}",
            "privateIpAddress": LOOPBACK,
            "firstIpAddress": LOOPBACK,
            "ipAddresses": [{"ipAddress": LOOPBACK, "type": "PRIVATE"}],
            # Connections over loopback are not encrypted, so nothing is signed.
            "serverCaCerts": [],
            **settings,
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        if new.get("databaseVersion") != VERSION:
            raise Refused(
                f"{id}: databaseVersion is {new.get('databaseVersion')!r}; the local cloud runs "
                f"{VERSION} only"
            )
        self._hold(new)
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        cluster = Cluster(self._home)
        held = cluster.instance
        if held is None or held.name != id:
            return
        cluster.release()
        daemon.reconcile(self._home)
        try:
            await_end(self._home)
        except NotReady as error:
            cluster.hold(held)
            raise ServiceError(id, 503, str(error)) from error
        cluster.remove()

    def _hold(self, properties: Mapping[str, Any]) -> None:
        name = str(properties["name"])
        kept = {key: properties[key] for key in ("settings",) if key in properties}
        Cluster(self._home).hold(
            Instance(
                project=str(properties["project"]),
                name=name,
                region=str(properties["region"]),
                properties=kept,
            )
        )
        daemon.reconcile(self._home)
        try:
            await_ready(self._home)
        except NotReady as error:
            raise ServiceError(name, 503, str(error)) from error
