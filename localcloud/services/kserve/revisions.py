"""Revisions of predictors: a process for each that may be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from localcloud.home import Endpoints
from localcloud.images import ImageNotFound, Images
from localcloud.processes import AlreadyRunning, Supervisor
from localcloud.services.run import containers
from localcloud.services.run.front import Route

READY_SECONDS: Final = 120
"""How long a container may take to become ready; Knative's own limit is ten minutes."""
GRACE: Final = 5.0
_LINES: Final = 10


class NotReady(Exception):
    """A revision did not become ready; says why."""


class Revisions:
    """Starts and stops the processes of revisions, by their names in a namespace."""

    def __init__(self, supervisor: Supervisor, images: Images, endpoints: Endpoints) -> None:
        self._supervisor = supervisor
        self._images = images
        self._endpoints = endpoints

    async def bring_up(self, name: str, predictor: Mapping[str, Any]) -> None:
        """Have a revision's process run and answer its readiness probe.

        Raises:
            NotReady: it does not.
        """
        workload = self._supervisor.get(_process(name))
        if workload is not None and workload.state != "exited":
            return
        container = predictor["containers"][0]
        try:
            image = self._images.resolve(container["image"])
        except ImageNotFound as error:
            raise NotReady(f"ErrImagePull: {error}") from None
        env = {
            "GOOGLE_CLOUD_PROJECT": self._endpoints.project,
            "GOOGLE_CLOUD_LOCATION": self._endpoints.location,
            **containers.literal_environment(container),
            "K_REVISION": name.rpartition("/")[2],
        }
        try:
            workload = await self._supervisor.start(
                _process(name),
                image,
                args=container.get("args"),
                override=container.get("command"),
                env=env,
                restart="always",
            )
        except (OSError, AlreadyRunning, ValueError) as error:
            raise NotReady(f"CreateContainerError: {error}") from None
        path = container.get("readinessProbe", {}).get("httpGet", {}).get("path")
        probe = containers.Probe(path, (), 0, 1, 1, READY_SECONDS)
        if not await containers.started(workload, probe):
            lines = "; ".join(workload.tail(_LINES)) or "it wrote nothing to its log"
            await self._supervisor.stop(_process(name), 1.0)
            raise NotReady(f"Revision {name.rpartition('/')[2]} failed to start: {lines}")

    async def take_down(self, name: str) -> None:
        """Stop a revision's process, if it has one."""
        await self._supervisor.stop(_process(name), GRACE)

    def route(self, name: str, percent: int) -> Route | None:
        """Where requests for a revision go; None while it has no process."""
        workload = self._supervisor.get(_process(name))
        if workload is None or workload.state == "exited":
            return None
        return Route(name.rpartition("/")[2], workload.port, percent)


def _process(name: str) -> str:
    return "kserve." + name.replace("/", ".")
