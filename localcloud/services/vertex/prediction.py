"""Online predictions: routes a request to a deployed model's server by the traffic split."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping
from typing import Any, Final, final

import httpx
import msgspec
from starlette.responses import Response

from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import (
    ApiError,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    Unavailable,
)
from localcloud.rest.operations import seconds
from localcloud.services.vertex import traffic
from localcloud.services.vertex.containers import Container, Containers
from localcloud.services.vertex.endpoints import Endpoints
from localcloud.services.vertex.request_log import RequestLog

MAX_REQUEST_BYTES: Final = 1_572_864
"""1.5 MiB, Vertex's limit for online predictions."""
DEFAULT_TIMEOUT: Final = 60.0
# How long a request waits for a server that is being started again after a crash.
_RECOVERY_SECONDS: Final = 15.0
_RECONNECT_SECONDS: Final = 0.1
# HTTP status of the container -> HTTP status and canonical status of the answer. Other 4xx become
# a failed precondition, other 5xx an internal error.
_STATUSES: Final[Mapping[int, tuple[int, str]]] = {
    400: (400, "INVALID_ARGUMENT"),
    401: (401, "UNAUTHENTICATED"),
    403: (403, "PERMISSION_DENIED"),
    404: (404, "NOT_FOUND"),
    409: (409, "ABORTED"),
    422: (400, "INVALID_ARGUMENT"),
    429: (429, "RESOURCE_EXHAUSTED"),
    501: (501, "UNIMPLEMENTED"),
    503: (503, "UNAVAILABLE"),
    504: (504, "DEADLINE_EXCEEDED"),
}


class _Answer(msgspec.Struct):
    """What a container answers; predictions stay bytes unless they are logged."""

    predictions: msgspec.Raw
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Prediction(msgspec.Struct, omit_defaults=True, rename="camel"):
    predictions: msgspec.Raw
    deployed_model_id: str
    model: str
    model_display_name: str
    model_version_id: str
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


@final
class Predictions:
    """`predict` and `rawPredict`.

    Args:
        endpoints: know what is deployed and who gets how much.
        containers: the servers.
        request_log: takes the sampled requests.
    """

    def __init__(
        self, endpoints: Endpoints, containers: Containers, request_log: RequestLog
    ) -> None:
        self._endpoints = endpoints
        self._containers = containers
        self._log = request_log

    def handlers(self) -> dict[str, Handler]:
        """Handlers by method id."""
        prefix = "aiplatform.projects.locations.endpoints."
        return {f"{prefix}predict": self.predict, f"{prefix}rawPredict": self.raw_predict}

    async def predict(self, request: Request) -> Response:
        """Predictions for the instances, with the model that made them."""
        body: dict[str, Any] = request.body
        instances = body.get("instances")
        if not instances:
            raise InvalidArgument("instances is required: a list with at least one instance.")
        endpoint, deployed, container = await self._route(request)
        content = request.raw
        if not body.keys() <= {"instances", "parameters"}:
            body = {key: body[key] for key in ("instances", "parameters") if key in body}
            content = msgspec.json.encode(body)
        response = await _call(container, endpoint, content, "application/json")
        try:
            answer = msgspec.json.decode(response.content, type=_Answer)
        except msgspec.DecodeError as error:
            raise Internal(
                "The model server's response is not a JSON object with 'predictions' "
                f"({error}): {response.text[:500]}"
            ) from None
        if self._log.wanted(endpoint):
            predictions = msgspec.json.decode(answer.predictions)
            listed = predictions if isinstance(predictions, list) else [predictions]
            self._log.add(endpoint, deployed["id"], instances, listed)
        return Response(
            msgspec.json.encode(
                _Prediction(
                    predictions=answer.predictions,
                    deployed_model_id=deployed["id"],
                    model=deployed["model"],
                    model_display_name=deployed["displayName"],
                    model_version_id=deployed["modelVersionId"],
                    metadata=answer.metadata,
                )
            ),
            media_type="application/json; charset=UTF-8",
        )

    async def raw_predict(self, request: Request) -> Response:
        """The container's own answer, whatever its form, with headers that name the model."""
        content, content_type = _raw_body(request)
        endpoint, deployed, container = await self._route(request)
        response = await _call(container, endpoint, content, content_type)
        if self._log.wanted(endpoint):
            self._log.add(
                endpoint,
                deployed["id"],
                [content.decode(errors="replace")],
                [response.content.decode(errors="replace")],
            )
        return Response(
            response.content,
            media_type=response.headers.get("content-type"),
            headers={
                "X-Vertex-AI-Endpoint-Id": endpoint["name"].rpartition("/")[2],
                "X-Vertex-AI-Deployed-Model-Id": deployed["id"],
                "X-Vertex-AI-Model": deployed["model"],
                "X-Vertex-AI-Model-Version-Id": deployed["modelVersionId"],
            },
        )

    async def _route(self, request: Request) -> tuple[dict[str, Any], dict[str, Any], Container]:
        if len(request.raw) > MAX_REQUEST_BYTES:
            raise InvalidArgument(
                f"Request payload size exceeds the limit: {MAX_REQUEST_BYTES} bytes."
            )
        endpoint = self._endpoints.find(request.path["endpoint"])
        number = traffic.choose(endpoint.get("trafficSplit", {}))
        if number is None:
            raise FailedPrecondition(
                f"The Endpoint '{endpoint['name']}' has no deployed model that gets traffic; "
                "deploy a model with a share of the traffic_split."
            )
        deployed = next(one for one in endpoint["deployedModels"] if one["id"] == number)
        container = self._containers.get(number)
        if container is None:
            raise Unavailable(
                f"The server of the DeployedModel '{number}' could not be started; "
                "undeploy it and deploy it again."
            )
        if not container.healthy.is_set():
            try:
                async with asyncio.timeout(_RECOVERY_SECONDS):
                    await container.healthy.wait()
            except TimeoutError:
                raise Unavailable(
                    f"The server of the DeployedModel '{number}' is being started again; retry."
                ) from None
        return endpoint, deployed, container


async def _call(
    container: Container, endpoint: Mapping[str, Any], content: bytes, content_type: str
) -> httpx.Response:
    configured = endpoint.get("clientConnectionConfig", {}).get("inferenceTimeout")
    limit = seconds(configured) if configured else DEFAULT_TIMEOUT
    deadline = time.monotonic() + _RECOVERY_SECONDS
    try:
        while True:
            try:
                response = await container.client.post(
                    container.predict_route,
                    content=content,
                    headers={"content-type": content_type},
                    timeout=limit,
                )
                break
            except httpx.ConnectError:
                # The server is gone and nobody has noticed yet. It has seen nothing of this
                # request, so the request waits for the server that is started in its place.
                if time.monotonic() > deadline or container.client.is_closed:
                    raise
                await asyncio.sleep(_RECONNECT_SECONDS)
    except httpx.TimeoutException:
        raise DeadlineExceeded(f"The model server did not answer within {limit:g} s.") from None
    except httpx.HTTPError as error:
        raise Unavailable(
            f"The server of the DeployedModel '{container.deployed_model_id}' is not reachable "
            f"({type(error).__name__}); it is started again if it crashed. Retry."
        ) from None
    if response.is_success:
        return response
    code = response.status_code
    fallback = (400, "FAILED_PRECONDITION") if code < 500 else (500, "INTERNAL")
    raise ApiError(*_STATUSES.get(code, fallback), response.text or f"HTTP {code}")


def _raw_body(request: Request) -> tuple[bytes, str]:
    """The bytes for the container: those sent, or those in a generated client's `httpBody`."""
    sent = request.headers.get("content-type", "application/json")
    if sent.startswith("application/json") and request.raw.lstrip()[:1] == b"{":
        try:
            body = msgspec.json.decode(request.raw)
        except msgspec.DecodeError:
            return request.raw, sent
        wrapped = body.get("httpBody") or body.get("http_body")
        if isinstance(wrapped, dict) and len(body) == 1:
            kind = wrapped.get("contentType") or wrapped.get("content_type") or "application/json"
            return base64.b64decode(wrapped.get("data", "")), kind
    return request.raw, sent
