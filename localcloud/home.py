"""Where a local cloud keeps its state, and where its services listen.

One home belongs to one checkout (`.esteira/local`), so two clones on one machine share nothing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

LOOPBACK: Final = "127.0.0.1"
SERVICES: Final = (
    "pubsub",
    "storage",
    "bigquery",
    "bigquery_storage",
    "rest",
    "provider",
    "postgres",
)
DEFAULT_PROJECT: Final = "esteira-local"
# Below where Linux (32768), macOS and Windows (49152) take ports for outgoing connections from.
_PORTS: Final = (20_000, 32_768)
_PORT_TRIES: Final = 200
DEFAULT_LOCATION: Final = "us-central1"


class NotStarted(Exception):
    """The home holds no endpoints: the local cloud has never been started there."""


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """The addresses of one local cloud. All are on loopback."""

    ports: dict[str, int]
    host: str = LOOPBACK
    project: str = DEFAULT_PROJECT
    location: str = DEFAULT_LOCATION

    def address(self, service: str) -> str:
        """`host:port` of a service, as gRPC clients want it."""
        return f"{self.host}:{self.ports[service]}"

    def url(self, service: str) -> str:
        """`http://host:port` of a service."""
        return f"http://{self.address(service)}"

    def environment(self) -> dict[str, str]:
        """The variables that point any Google client, and the Pulumi engine, at this cloud."""
        provider = self.ports["provider"]
        return {
            "GOOGLE_CLOUD_PROJECT": self.project,
            "GOOGLE_CLOUD_LOCATION": self.location,
            "PUBSUB_EMULATOR_HOST": self.address("pubsub"),
            "STORAGE_EMULATOR_HOST": self.url("storage"),
            "BIGQUERY_EMULATOR_HOST": self.url("bigquery"),
            "BIGQUERY_STORAGE_EMULATOR_HOST": self.address("bigquery_storage"),
            "VERTEX_API_ENDPOINT": self.url("rest"),
            "RUN_API_ENDPOINT": self.url("rest"),
            "SCHEDULER_API_ENDPOINT": self.url("rest"),
            "DATAFLOW_API_ENDPOINT": self.url("rest"),
            "MONITORING_API_ENDPOINT": self.url("rest"),
            "PROJECT_API_ENDPOINT": self.url("rest"),
            "KUBERNETES_API_ENDPOINT": self.url("rest"),
            "KFP_API_ENDPOINT": self.url("rest"),
            **(
                {"CLOUD_SQL_EMULATOR_HOST": self.address("postgres")}
                if "postgres" in self.ports
                else {}
            ),
            # Google's clients otherwise look for a metadata server and wait for it.
            "NO_GCE_CHECK": "true",
            # gcsfs otherwise asks for a gRPC storage layout that no emulator offers.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "PULUMI_DEBUG_PROVIDERS": f"gcp:{provider},kubernetes:{provider},docker:{provider}",
        }


@dataclass(frozen=True)
class Home:
    """The folder that holds all state of one local cloud."""

    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def folder(self, service: str) -> Path:
        """The state folder of a service, made when first asked for."""
        folder = self.path / service
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def endpoints(self) -> Endpoints:
        """The addresses written at the first start.

        Raises:
            NotStarted: there are none yet.
        """
        file = self.path / "endpoints.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=Endpoints)
        except FileNotFoundError:
            raise NotStarted(
                f"no local cloud at {self.path}; start it with `esteira local start`"
            ) from None

    def reserve(
        self, project: str = DEFAULT_PROJECT, location: str = DEFAULT_LOCATION
    ) -> Endpoints:
        """The addresses of this home, choosing free ports the first time.

        Ports stay the same over restarts, because stack state and deployed workloads hold them.
        """
        try:
            endpoints = self.endpoints()
        except NotStarted:
            endpoints = Endpoints(ports=free_ports(SERVICES), project=project, location=location)
            self.write(endpoints)
            return endpoints
        # A home of an older checkout knows nothing of services that came later.
        new = tuple(name for name in SERVICES if name not in endpoints.ports)
        if new:
            endpoints = msgspec.structs.replace(
                endpoints, ports={**endpoints.ports, **free_ports(new)}
            )
            self.write(endpoints)
        return endpoints

    def write(self, endpoints: Endpoints) -> None:
        """Record the addresses; atomic, so that a reader never sees half a file."""
        self.path.mkdir(parents=True, exist_ok=True)
        draft = self.path / f"endpoints.json.{os.getpid()}"
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(endpoints)) + b"\n")
        draft.replace(self.path / "endpoints.json")


def free_ports(names: tuple[str, ...]) -> dict[str, int]:
    """A free loopback port for each name, all different.

    A service binds its port only later, again after each restart. So none is taken from where the
    system finds ports for outgoing connections, of which one could meanwhile have it.

    Raises:
        OSError: no port is free.
    """
    with contextlib.ExitStack() as held:
        return {name: _hold_free_port(held) for name in names}


def _hold_free_port(held: contextlib.ExitStack) -> int:
    for _ in range(_PORT_TRIES):
        port = _PORTS[0] + secrets.randbelow(_PORTS[1] - _PORTS[0])
        one = held.enter_context(socket.socket())
        with contextlib.suppress(OSError):
            one.bind((LOOPBACK, port))
            return port
    raise OSError(f"no free port found from {_PORTS[0]} to {_PORTS[1]} in {_PORT_TRIES} tries")
