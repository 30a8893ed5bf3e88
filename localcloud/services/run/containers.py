"""What may stand in a container of a service or job, and what process it becomes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from localcloud.home import LOOPBACK
from localcloud.images import Image, ImageNotFound, ImageNotRunnable, Images
from localcloud.processes import Workload
from localcloud.rest.errors import FailedPrecondition, InvalidArgument, NotFound, Unimplemented
from localcloud.rest.operations import seconds

# https://cloud.google.com/run/docs/container-contract: set by the system, refused from users.
_RESERVED: Final = {
    "service": frozenset({"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}),
    "job": frozenset(
        {
            "CLOUD_RUN_JOB",
            "CLOUD_RUN_EXECUTION",
            "CLOUD_RUN_TASK_INDEX",
            "CLOUD_RUN_TASK_ATTEMPT",
            "CLOUD_RUN_TASK_COUNT",
        }
    ),
}
DEFAULT_PORT: Final = 8080
# The default startup probe: one try that may take this long.
_DEFAULT_STARTUP: Final = 240.0


@dataclass(frozen=True)
class Probe:
    """A health check. `path` is None for a TCP probe."""

    path: str | None
    headers: tuple[tuple[str, str], ...]
    delay: float
    period: float
    timeout: float
    failures: int

    @property
    def limit(self) -> float:
        """Seconds until a container that never answers counts as failed."""
        return self.delay + max(self.period, self.timeout) * self.failures


def check_template(template: Mapping[str, Any] | None, field: str, kind: str) -> Mapping[str, Any]:
    """The container of a revision template or task template, checked.

    Args:
        template: with `containers`, `volumes`, `timeout`.
        field: where it stands, for messages.
        kind: `service` or `job`.

    Raises:
        InvalidArgument: it is wrong.
        Unimplemented: it is right, but nothing that a local process could be given.
    """
    containers = (template or {}).get("containers") or []
    if template is None or not containers:
        raise InvalidArgument(f"{field}.containers: a container is required.")
    if len(containers) > 1:
        raise Unimplemented(
            f"{field}.containers: sidecars are not supported by the local cloud; got "
            f"{len(containers)} containers, give one."
        )
    if template.get("volumes"):
        raise Unimplemented(
            f"{field}.volumes: the local cloud runs processes, which can mount no volumes; read "
            "from Cloud Storage with its client instead."
        )
    container: Mapping[str, Any] = containers[0]
    where = f"{field}.containers[0]"
    if not container.get("image"):
        raise InvalidArgument(f"{where}.image: an image is required.")
    for unsupported in ("sourceCode", "baseImageUri", "buildConfig", "sandboxLauncher"):
        if container.get(unsupported):
            raise Unimplemented(f"{where}.{unsupported} is not supported by the local cloud.")
    ports = container.get("ports") or []
    if len(ports) > 1:
        raise InvalidArgument(f"{where}.ports: at most one port may be given, got {len(ports)}.")
    if ports and ports[0].get("name") == "h2c":
        raise Unimplemented(f"{where}.ports[0].name: h2c is not supported by the local cloud.")
    _check_environment(container.get("env") or [], f"{where}.env", kind)
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        if name in container:
            if kind == "job" or name == "readinessProbe":
                raise Unimplemented(f"{where}.{name} is not supported by the local cloud here.")
            probe_of(container, name)
    if "timeout" in template and not 0 < seconds(template["timeout"]) <= (
        3600 if kind == "service" else 168 * 3600
    ):
        raise InvalidArgument(f"{field}.timeout: {template['timeout']} is out of range.")
    return container


def _check_environment(env: list[Mapping[str, Any]], field: str, kind: str) -> None:
    seen: set[str] = set()
    for index, variable in enumerate(env):
        name = variable.get("name") or ""
        if not name or "=" in name:
            raise InvalidArgument(f"{field}[{index}].name: '{name}' is no name of a variable.")
        if name in seen:
            raise InvalidArgument(f"{field}[{index}].name: '{name}' is given twice.")
        seen.add(name)
        if variable.get("valueSource"):
            raise Unimplemented(
                f"{field}[{index}].value_source: the local cloud has no Secret Manager, so "
                f"secretKeyRef cannot be resolved; give '{name}' a literal value."
            )
    if reserved := sorted(seen & _RESERVED[kind]):
        raise InvalidArgument(
            f"{field}: The following reserved env names were provided: {', '.join(reserved)}. "
            "These values are automatically set by the system."
        )


def literal_environment(container: Mapping[str, Any]) -> dict[str, str]:
    """The container's variables."""
    return {one["name"]: one.get("value", "") for one in container.get("env") or []}


def resolve(images: Images, reference: str) -> Image:
    """The image, which has to be runnable here.

    Raises:
        NotFound: in Google's words.
        FailedPrecondition: it cannot be started here.
    """
    try:
        image = images.resolve(reference)
    except ImageNotFound as error:
        raise NotFound(str(error)) from None
    return image


def check_runnable(image: Image, container: Mapping[str, Any]) -> None:
    """Refuse an image that this machine could not start.

    Raises:
        FailedPrecondition: with the reason.
    """
    try:
        image.argv(container.get("command"), container.get("args"))
    except ImageNotRunnable as error:
        raise FailedPrecondition(str(error)) from None


def probe_of(container: Mapping[str, Any], name: str) -> Probe | None:
    """A probe of the container; the default one (TCP) for a startup probe that is not given.

    Raises:
        InvalidArgument: it is wrong.
        Unimplemented: it asks over gRPC.
    """
    given = container.get(name)
    if given is None:
        if name == "startupProbe":
            return Probe(None, (), 0, _DEFAULT_STARTUP, _DEFAULT_STARTUP, 1)
        return None
    if "grpc" in given:
        raise Unimplemented(f"{name}.grpc is not supported by the local cloud.")
    if ("httpGet" in given) == ("tcpSocket" in given):
        raise InvalidArgument(f"{name}: exactly one of http_get, tcp_socket and grpc is required.")
    if name == "livenessProbe" and "tcpSocket" in given:
        raise InvalidArgument(f"{name}.tcp_socket: liveness probes are http_get or grpc.")
    period = int(given.get("periodSeconds") or 10)
    limit = int(given.get("timeoutSeconds") or 1)
    if limit > period:
        raise InvalidArgument(
            f"{name}.timeout_seconds: {limit} must not be greater than period_seconds, {period}."
        )
    http = given.get("httpGet")
    return Probe(
        path=(http.get("path") or "/") if http is not None else None,
        headers=tuple((h["name"], h.get("value", "")) for h in (http or {}).get("httpHeaders", [])),
        delay=int(given.get("initialDelaySeconds") or 0),
        period=period,
        timeout=limit,
        failures=int(given.get("failureThreshold") or 3),
    )


async def ask(probe: Probe, port: int) -> bool:
    """Whether an HTTP probe is answered well now."""
    with contextlib.suppress(httpx.HTTPError):
        async with httpx.AsyncClient(trust_env=False, timeout=probe.timeout) as client:
            answer = await client.get(
                f"http://{LOOPBACK}:{port}{probe.path}", headers=list(probe.headers)
            )
            return 200 <= answer.status_code < 400
    return False


async def started(workload: Workload, probe: Probe) -> bool:
    """Whether the startup probe succeeds in time, and before the process ends.

    It is asked more often than its period says: what counts is when it succeeds.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + probe.limit
    if not await _first_start(workload, probe.limit):
        return False
    while probe.path is not None:
        if await ask(probe, workload.port):
            return True
        if loop.time() > deadline or workload.restarts or workload.state != "running":
            return False
        await asyncio.sleep(0.1)
    return True


async def _first_start(workload: Workload, limit: float) -> bool:
    """Like `Workload.ready`, but an exit is final: a revision that crashes at start has failed."""
    ready = asyncio.create_task(workload.ready(limit))
    try:
        while True:
            done, _ = await asyncio.wait({ready}, timeout=0.1)
            if done:
                return ready.result() and workload.restarts == 0
            if workload.last_exit is not None:
                return False
    finally:
        ready.cancel()
