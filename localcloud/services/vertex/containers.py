"""Model containers as supervised processes under Vertex's custom container contract.

Whatever number of replicas a deployment asks for, one process serves it here; it listens on the
free loopback port in `AIP_HTTP_PORT`, not on a port that the model declared.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

import httpx

from localcloud.home import LOOPBACK, Home, free_ports
from localcloud.images import ImageNotFound, ImageNotRunnable, Images
from localcloud.processes import Exit, Supervisor, Workload
from localcloud.rest.errors import DeadlineExceeded, FailedPrecondition, Internal
from localcloud.rest.operations import seconds
from localcloud.services.vertex import names
from localcloud.services.vertex.models import RESOLVED_IMAGE

log = logging.getLogger(__name__)

# Vertex waits half an hour for a model server unless the container spec says otherwise.
DEFAULT_DEPLOYMENT_TIMEOUT: Final = 1800.0
# A server that ended this often before it was ever healthy will not become so.
_ATTEMPTS: Final = 3
_PROBE_SECONDS: Final = 0.1
_LOG_LINES: Final = 20
_STOP_GRACE: Final = 5.0
_REFERENCE: Final = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
# uvicorn closes idle connections after 5 s; ours have to be the first to go.
_LIMITS: Final = httpx.Limits(
    max_connections=100, max_keepalive_connections=20, keepalive_expiry=2.0
)


@dataclass
class Container:
    """The running server of one deployed model."""

    endpoint: str
    deployed_model_id: str
    predict_route: str
    health_route: str
    workload: Workload
    client: httpx.AsyncClient
    healthy: asyncio.Event = field(default_factory=asyncio.Event)

    async def close(self) -> None:
        """Release the connections; the process goes on."""
        await self.client.aclose()


@final
class Containers:
    """Starts, watches and stops the servers of deployed models.

    Args:
        home: of the local cloud.
        supervisor: runs the processes.
        images: resolves container images.
    """

    def __init__(self, home: Home, supervisor: Supervisor, images: Images) -> None:
        self._home = home
        self._supervisor = supervisor
        self._images = images
        self._running: dict[str, Container] = {}
        self._watches: set[asyncio.Task[None]] = set()

    def get(self, deployed_model_id: str) -> Container | None:
        """The server of a deployed model, healthy or not."""
        return self._running.get(deployed_model_id)

    async def start(
        self, endpoint: str, deployed: Mapping[str, Any], version: Mapping[str, Any]
    ) -> Container:
        """Start the server; it may not be healthy yet.

        Args:
            endpoint: resource name of the endpoint.
            deployed: the deployed model, with its `id`.
            version: the model version as the registry stores it.

        Raises:
            FailedPrecondition: the image is gone or cannot be started here.
        """
        spec: Mapping[str, Any] = version["containerSpec"]
        resource = names.parse(endpoint, "endpoints")
        number: str = deployed["id"]
        try:
            image = self._images.resolve(version.get(RESOLVED_IMAGE) or spec["imageUri"])
        except ImageNotFound as error:
            raise FailedPrecondition(f"{error} Build and push it again.") from None
        port = free_ports(("aip",))["aip"]
        default_route = f"/v1/endpoints/{resource.id}/deployedModels/{number}"
        health = spec.get("healthRoute") or default_route
        predict = spec.get("predictRoute") or f"{default_route}:predict"
        machine = deployed.get("dedicatedResources", {}).get("machineSpec", {})
        environment = {
            "GOOGLE_CLOUD_PROJECT": resource.project,
            "GOOGLE_CLOUD_LOCATION": resource.location,
            "AIP_ACCELERATOR_TYPE": machine.get("acceleratorType", ""),
            "AIP_DEPLOYED_MODEL_ID": number,
            "AIP_ENDPOINT_ID": resource.id,
            "AIP_FRAMEWORK": "CUSTOM_CONTAINER",
            "AIP_HEALTH_ROUTE": health,
            "AIP_HTTP_PORT": str(port),
            "AIP_MACHINE_TYPE": machine.get("machineType", ""),
            "AIP_MODE": "PREDICTION",
            "AIP_MODE_VERSION": "1.0.0",
            "AIP_MODEL_NAME": names.parse(version["name"], "models").id,
            "AIP_PREDICT_ROUTE": predict,
            "AIP_PROJECT_NUMBER": names.project_number(resource.project),
            "AIP_STORAGE_URI": version.get("artifactUri", ""),
            "AIP_VERSION_NAME": version["versionId"],
            "PORT": str(port),
        }
        for variable in spec.get("env", []):
            environment[variable["name"]] = expand(variable.get("value", ""), environment)
        try:
            workload = await self._supervisor.start(
                f"endpoints/{resource.id}/{number}",
                image,
                args=[expand(word, environment) for word in spec.get("args", [])] or None,
                override=[expand(word, environment) for word in spec.get("command", [])] or None,
                env=environment,
                restart="always",
                on_exit=lambda ended: self._ended(number, ended),
            )
        except ImageNotRunnable as error:
            raise FailedPrecondition(str(error)) from None
        container = Container(
            endpoint=endpoint,
            deployed_model_id=number,
            predict_route=predict,
            health_route=health,
            workload=workload,
            # A proxy from the environment would only be in the way on loopback.
            client=httpx.AsyncClient(
                base_url=f"http://{LOOPBACK}:{port}", limits=_LIMITS, trust_env=False
            ),
        )
        self._running[number] = container
        return container

    async def until_healthy(self, container: Container, limit: float) -> None:
        """Wait for the first 200 from the health route.

        Raises:
            Internal: the server ended again and again; the message holds its last log lines.
            DeadlineExceeded: it was not healthy within `limit` seconds; the same.
        """
        workload = container.workload
        deadline = asyncio.get_running_loop().time() + limit
        while True:
            if await self._probe(container):
                container.healthy.set()
                return
            if workload.restarts + (workload.state != "running") >= _ATTEMPTS:
                ended = workload.last_exit
                raise Internal(
                    "Model server terminated: model server container terminated: "
                    f"{ended.reason() if ended else 'never started'}.{_tail(workload)}"
                )
            if asyncio.get_running_loop().time() >= deadline:
                raise DeadlineExceeded(
                    f"Model server never became ready: GET {container.health_route} did not answer "
                    f"200 within {limit:g} s.{_tail(workload)}"
                )
            await asyncio.sleep(_PROBE_SECONDS)

    def watch(self, container: Container) -> None:
        """Let a recovered server become healthy in the background."""
        task = asyncio.create_task(self._recover(container))
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)

    async def stop(self, deployed_model_id: str) -> None:
        """End a server; requests that it is answering have 5 s to finish."""
        container = self._running.pop(deployed_model_id, None)
        if container is not None:
            await self._supervisor.stop(container.workload.name, _STOP_GRACE)
            await container.close()

    async def close(self) -> None:
        """Release the clients; the supervisor ends the processes."""
        for task in list(self._watches):
            task.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        for container in self._running.values():
            await container.close()
        self._running.clear()

    def _ended(self, number: str, ended: Exit) -> None:
        container = self._running.get(number)
        if container is not None and ended.will_restart and container.healthy.is_set():
            log.warning("server of deployed model %s %s; restarting", number, ended.reason())
            container.healthy.clear()
            self.watch(container)

    async def _recover(self, container: Container) -> None:
        while not await self._probe(container):
            if self._running.get(container.deployed_model_id) is not container:
                return
            await asyncio.sleep(_PROBE_SECONDS)
        container.healthy.set()
        log.info("deployed model %s is healthy again", container.deployed_model_id)

    async def _probe(self, container: Container) -> bool:
        if container.workload.state != "running":
            return False
        try:
            response = await container.client.get(container.health_route, timeout=10.0)
        except httpx.HTTPError:
            return False
        return response.status_code == 200


def deployment_timeout(version: Mapping[str, Any]) -> float:
    """Seconds that a model's server may take to become healthy."""
    text = version["containerSpec"].get("deploymentTimeout")
    return seconds(text) if text else DEFAULT_DEPLOYMENT_TIMEOUT


def expand(text: str, environment: Mapping[str, str]) -> str:
    """`$(NAME)` replaced as Kubernetes does: unknown names stay, `$$` is a dollar sign."""

    def value(found: re.Match[str]) -> str:
        if found.group(0) == "$$":
            return "$"
        return environment.get(found.group(1), found.group(0))

    return _REFERENCE.sub(value, text)


def _tail(workload: Workload) -> str:
    lines = workload.tail(_LOG_LINES)
    if not lines:
        return f" It wrote nothing to its log {workload.log_file}."
    return " Last lines of its log:\n" + "\n".join(lines)
