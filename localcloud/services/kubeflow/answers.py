"""How the API server of Kubeflow Pipelines reads requests and answers: JSON in proto's names."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from localcloud.rest.errors import (
    RPC_CODES,
    ApiError,
    Internal,
    InvalidArgument,
    Unimplemented,
)

log = logging.getLogger(__name__)

PREFIX: Final = "/apis/v2beta1"
MAX_BODY_BYTES: Final = 32 * 1024 * 1024
"""The API server's own limit of an uploaded pipeline."""

type Document = dict[str, Any]
type Handler = Callable[[Request], Awaitable[Document]]


def route(path: str, verb: str, handler: Handler) -> BaseRoute:
    """A route below the prefix whose errors are answered as the API server words them."""

    async def answer(request: Request) -> Response:
        try:
            return _json(await handler(request))
        except ApiError as error:
            return _error(error)
        except Exception as error:
            log.exception("%s %s failed", verb, request.url.path)
            return _error(Internal(f"{type(error).__name__}: {error}"))

    return Route(f"{PREFIX}{path}", answer, methods=[verb])


def health_routes() -> list[BaseRoute]:
    """What a client asks first."""

    async def healthz(request: Request) -> Document:
        del request
        return {"multi_user": False, "pipeline_store": "database"}

    return [route("/healthz", "GET", healthz)]


def refused_routes() -> list[BaseRoute]:
    """What exists on Kubeflow and not here."""

    async def refuse(request: Request) -> Document:
        raise Unimplemented(
            f"{request.method} {request.url.path} exists in Kubeflow Pipelines; the local cloud "
            "does not implement it."
        )

    verbs = ("GET", "POST", "PATCH", "DELETE")
    return [route("/{rest:path}", verb, refuse) for verb in verbs]


async def body(request: Request, model: str) -> Document:
    """The JSON body, held to the fields of a message.

    Args:
        model: name of the message in `kfp_server_api`, such as `V2beta1Run`.

    Raises:
        InvalidArgument: it is no JSON object, or has a field that the message has not.
    """
    raw = await request.body()
    if len(raw) > MAX_BODY_BYTES:
        raise InvalidArgument(f"the body has {len(raw)} bytes, at most {MAX_BODY_BYTES}")
    try:
        document = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise InvalidArgument(f"the body is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgument("the body is no JSON object")
    _check(document, model, "")
    return document


def text(document: Mapping[str, Any], field: str) -> str:
    """A field that holds text; empty where it is absent.

    Raises:
        InvalidArgument: it holds something else.
    """
    value = document.get(field) or ""
    if not isinstance(value, str):
        raise InvalidArgument(f"{field} must be text, got {value!r}")
    return value


def _check(document: Mapping[str, Any], model: str, at: str) -> None:
    known = _fields(model)
    for name, value in document.items():
        if name not in known:
            allowed = ", ".join(sorted(known))
            raise InvalidArgument(f"unknown field {at}{name} of {model}; it has {allowed}")
        kind = known[name]
        if kind.startswith("V2beta1") and isinstance(value, Mapping):
            _check(value, kind, f"{at}{name}.")


@cache
def _fields(model: str) -> Mapping[str, str]:
    # Its import takes 0.6 s, which a local cloud without such runs need not wait for.
    import kfp_server_api

    described: Any = getattr(kfp_server_api, model)
    return {described.attribute_map[own]: kind for own, kind in described.openapi_types.items()}


def _json(document: Document, code: int = 200) -> Response:
    return Response(msgspec.json.encode(document), code, media_type="application/json")


def _error(error: ApiError) -> Response:
    # As grpc-gateway shows a status.
    code = RPC_CODES[error.status]
    shown = {"error": error.message, "code": code, "message": error.message, "details": []}
    return _json(shown, error.code)
