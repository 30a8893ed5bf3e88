"""Revisions: the processes behind a Cloud Run service, one each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any, Final

from localcloud.images import Image, ImageNotFound, Images
from localcloud.processes import AlreadyRunning, Supervisor, Workload
from localcloud.rest.errors import ApiError, FailedPrecondition, NotFound
from localcloud.rest.operations import now, seconds
from localcloud.rest.store import Documents
from localcloud.services.run import containers
from localcloud.services.run.conditions import condition
from localcloud.services.run.front import Route
from localcloud.services.run.names import (
    location_parent,
    process_name,
    project_of,
    short,
)

log = logging.getLogger(__name__)

# Cloud Run sends SIGTERM and gives a container this long.
GRACE: Final = 10.0
_LOG_LINES: Final = 15
# Seconds to wait for a revision that comes back after a restart of the local cloud.
_COMEBACK: Final = 30.0


class Revisions:
    """Starts, watches and stops the processes of revisions."""

    def __init__(self, documents: Documents, supervisor: Supervisor, images: Images) -> None:
        self._documents = documents
        self._supervisor = supervisor
        self._images = images
        self._liveness: dict[str, asyncio.Task[None]] = {}
        self._waking: dict[str, asyncio.Lock] = {}

    def route(self, name: str, percent: int) -> Route | None:
        """Where requests for a revision go; None while it has no process."""
        revision = self._documents.get(f"revision:{name}") or {}
        timeout = seconds(revision.get("timeout", "300s"))
        if revision.get("_sleeps") and revision.get("_state") == "ready":
            return Route(short(name), 0, percent, timeout, wake=lambda: self._awake(name))
        workload = self._supervisor.get(process_name(name))
        if workload is None or workload.state == "exited":
            return None
        return Route(short(name), workload.port, percent, timeout)

    async def bring_up(self, name: str) -> None:
        """Make sure that a revision's process runs and answers.

        Raises:
            ApiError: it does not, and why. The revision's conditions say the same.
        """
        workload = self._supervisor.get(process_name(name))
        if workload is not None and workload.state != "exited":
            return
        revision = self._documents.get(f"revision:{name}")
        if revision is None:
            raise NotFound(f"Revision '{short(name)}' does not exist.")
        try:
            if revision.get("_sleeps"):
                self._runnable(revision)
            else:
                await self._up(name, revision)
        except ApiError as error:
            self._settle(name, error)
            raise
        self._settle(name, None)

    async def _awake(self, name: str) -> int:
        """The port of a revision that runs from its first request on; waits until it answers."""
        async with self._waking.setdefault(name, asyncio.Lock()):
            workload = self._supervisor.get(process_name(name))
            if workload is None or workload.state == "exited":
                revision = self._documents.get(f"revision:{name}")
                if revision is None:
                    raise NotFound(f"Revision '{short(name)}' does not exist.")
                workload = await self._up(name, {**revision, "_state": "new"})
            return workload.port

    async def _up(self, name: str, revision: Mapping[str, Any]) -> Workload:
        """Start the process, wait until it answers, and watch it."""
        workload = await self._start(name, revision)
        probe = containers.probe_of(revision["containers"][0], "startupProbe")
        if revision.get("_state") == "ready":
            # It has served before: what it needs may only not be there yet after a restart of
            # everything, so it is kept, and tried again and again.
            if not await workload.ready(_COMEBACK):
                log.warning("revision %s does not answer yet", name)
        elif probe is not None and not await containers.started(workload, probe):
            raise await self._never_ready(revision, workload)
        liveness = containers.probe_of(revision["containers"][0], "livenessProbe")
        if liveness is not None:
            self._liveness[name] = asyncio.create_task(_keep_alive(workload, liveness))
        return workload

    async def take_down(self, name: str, grace: float = GRACE) -> None:
        """Stop a revision's process, if it has one."""
        watcher = self._liveness.pop(name, None)
        if watcher is not None:
            watcher.cancel()
        await self._supervisor.stop(process_name(name), grace)

    async def close(self) -> None:
        """Stop watching; the processes are the supervisor's."""
        for watcher in self._liveness.values():
            watcher.cancel()
        await asyncio.gather(*self._liveness.values(), return_exceptions=True)

    def _runnable(self, revision: Mapping[str, Any]) -> Image:
        container = revision["containers"][0]
        try:
            image = self._images.resolve(revision.get("_image") or container["image"])
        except ImageNotFound:
            raise NotFound(f"Image '{container['image']}' not found.") from None
        containers.check_runnable(image, container)
        return image

    async def _start(self, name: str, revision: Mapping[str, Any]) -> Workload:
        container, image = revision["containers"][0], self._runnable(revision)
        service = short(revision["service"])
        env = {
            "GOOGLE_CLOUD_PROJECT": project_of(name),
            "GOOGLE_CLOUD_LOCATION": short(location_parent(name)),
            **containers.literal_environment(container),
            "K_SERVICE": service,
            "K_CONFIGURATION": service,
            "K_REVISION": short(name),
        }
        try:
            return await self._supervisor.start(
                process_name(name),
                image,
                args=container.get("args"),
                override=container.get("command"),
                cwd=image.locate(container["workingDir"]) if "workingDir" in container else None,
                env=env,
                restart="always",
            )
        except (OSError, AlreadyRunning) as error:
            raise FailedPrecondition(
                f"Revision '{short(name)}' could not be started: {error}"
            ) from None

    async def _never_ready(self, revision: Mapping[str, Any], workload: Workload) -> ApiError:
        port = (revision["containers"][0].get("ports") or [{}])[0].get("containerPort")
        await self._supervisor.stop(workload.name, grace=1.0)
        ending = f" It {workload.last_exit.reason()}." if workload.last_exit else ""
        lines = "\n".join(f"  {line}" for line in workload.tail(_LOG_LINES))
        return FailedPrecondition(
            f"Revision '{short(revision['name'])}' is not ready and cannot serve traffic. The "
            "user-provided container failed to start and listen on the port defined provided by "
            f"the PORT={port or containers.DEFAULT_PORT} environment variable within the "
            "allocated timeout. This can happen when the container port is misconfigured or if "
            f"the timeout is too short. The health check timeout can be extended.{ending} Logs "
            f"for this revision: {workload.log_file}" + (f"\n{lines}" if lines else "")
        )

    def _settle(self, name: str, error: ApiError | None) -> None:
        def edit(revision: dict[str, Any]) -> None:
            if error is None:
                states = [("Ready", "SUCCEEDED"), ("ContainerHealthy", "SUCCEEDED")]
                revision["conditions"] = [condition(kind, state) for kind, state in states]
                revision["_state"] = "ready"
            elif revision.get("_state") != "ready":
                missing = isinstance(error, NotFound)
                revision["conditions"] = [
                    condition(
                        "Ready",
                        "FAILED",
                        error.message,
                        reason="CONTAINER_MISSING" if missing else "",
                        revision_reason="" if missing else "HEALTH_CHECK_CONTAINER_ERROR",
                    )
                ]
                revision["_state"] = "failed"
                revision["_error"] = [error.status, error.message]
            revision.pop("reconciling", None)
            revision["observedGeneration"] = revision["generation"]
            revision["updateTime"] = now()

        # Gone when the service was deleted meanwhile.
        with contextlib.suppress(NotFound):
            self._documents.change(f"revision:{name}", edit)


async def _keep_alive(workload: Workload, probe: containers.Probe) -> None:
    """End the process when its liveness probe fails too often; the supervisor starts it anew."""
    await asyncio.sleep(probe.delay)
    failures = 0
    while True:
        await asyncio.sleep(probe.period)
        if workload.state != "running" or await containers.ask(probe, workload.port):
            failures = 0
            continue
        failures += 1
        if failures >= probe.failures:
            log.warning("%s fails its liveness probe; restarting it", workload.name)
            workload.interrupt()
            failures = 0
