"""Cloud Run Admin v2: services and jobs whose containers are processes of this machine.

Not here, and refused: sidecars, volumes, secrets, gRPC probes, h2c, worker pools, instances,
builds. Recorded without effect: service accounts, VPC access, CPU and memory limits, and the
number of instances (each revision that gets traffic has one process; without traffic, none).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from localcloud.home import Home
from localcloud.images import Images
from localcloud.processes import Supervisor
from localcloud.rest.app import Handler, Service
from localcloud.rest.discovery import Api
from localcloud.rest.operations import Operations
from localcloud.rest.store import Documents
from localcloud.services.run.executions import Executions
from localcloud.services.run.jobs import Jobs
from localcloud.services.run.revisions import Revisions
from localcloud.services.run.services import Services


class CloudRun:
    """The service that answers for `run.googleapis.com`, v2."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._api = Api.load("run", "v2")
        self._documents = Documents(home.folder("run") / "state.sqlite")
        self._operations = Operations(self._documents)
        self._supervisor = Supervisor(home)
        images = Images(home)
        self._executions = Executions(self._documents, self._operations, self._supervisor, images)
        revisions = Revisions(self._documents, self._supervisor, images)
        self._services = Services(self._api, self._documents, self._operations, revisions, images)
        jobs = Jobs(self._api, self._documents, self._operations, self._executions, images)
        self._handlers: dict[str, Handler] = {
            **self._services.handlers(),
            **jobs.handlers(),
            **self._executions.handlers(),
            **self._operations.handlers(self._api),
        }

    @property
    def apis(self) -> Sequence[Api]:
        """Cloud Run's document."""
        return [self._api]

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By method id."""
        return self._handlers

    async def start(self) -> None:
        """End what an earlier daemon left, then bring back services and executions."""
        self._supervisor.end_stale()
        self._operations.recover()
        self._executions.recover()
        self._services.recover()

    async def stop(self) -> None:
        """Stop every process; the state stays."""
        await self._operations.stop()
        # First, so that ending processes are not taken for failing tasks.
        await self._executions.close()
        await self._services.close()
        await self._supervisor.close(grace=1.0)
        self._documents.close()


def service(home: Home) -> Service:
    """Cloud Run for one home."""
    return CloudRun(home)
