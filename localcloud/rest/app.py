"""The ASGI application: finds the method of a request, checks it, calls the service's handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from localcloud.rest.discovery import Api, decode_json
from localcloud.rest.errors import ApiError, Internal, InvalidArgument, NotFound, Unimplemented

log = logging.getLogger(__name__)

# Google's front ends refuse more than 10 MiB for most methods; some services allow less.
MAX_BODY_BYTES: Final = 10 * 1024 * 1024
_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]
# Bodies of this schema are whatever bytes the caller sends.
_HTTP_BODY: Final = "GoogleApiHttpBody"


@dataclass(frozen=True)
class Request:
    """A request that was checked against the discovery document.

    Attributes:
        method_id: such as `aiplatform.projects.locations.models.list`.
        path: path parameters, percent-decoded.
        query: query parameters by camel-case name, typed; absent ones are absent.
        body: the normalised JSON body, or None when the method takes none.
        raw: the body's bytes as they came.
        headers: by lower-case name.
    """

    method_id: str
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any
    raw: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[dict[str, Any] | Response]]


@runtime_checkable
class Service(Protocol):
    """One API of the local cloud.

    A service may also have `routes: list[BaseRoute]`, which are asked before the documents, and
    `raw_methods: set[str]`, methods whose body is any bytes and reaches the handler unread.
    """

    @property
    def apis(self) -> Sequence[Api]:
        """The documents whose methods it owns."""
        ...

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Handlers by method id; a method without one is answered 501."""
        ...

    async def start(self) -> None:
        """Called once in the running event loop, before the first request."""
        ...

    async def stop(self) -> None:
        """Called at the end; has 3 seconds."""
        ...


def build_app(services: Sequence[Service]) -> Starlette:
    """The application that answers for all the services."""
    dispatcher = _Dispatcher(services)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        started: list[Service] = []
        try:
            for service in services:
                await service.start()
                started.append(service)
            yield
        finally:
            # Together, because the supervisor gives the process 3 seconds for all of them.
            ended = await asyncio.gather(
                *(service.stop() for service in started), return_exceptions=True
            )
            for error in ended:
                if isinstance(error, BaseException):
                    log.error("a service did not stop cleanly", exc_info=error)

    extra: list[BaseRoute] = [
        route for service in services for route in getattr(service, "routes", ())
    ]
    return Starlette(
        routes=[
            Route("/healthz", _healthz),
            *extra,
            Route("/{path:path}", dispatcher, methods=_METHODS),
        ],
        lifespan=lifespan,
    )


async def _healthz(request: HttpRequest) -> Response:
    return Response("ok", media_type="text/plain")


class _Dispatcher:
    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._raw = frozenset(
            method for service in services for method in getattr(service, "raw_methods", ())
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response = await self._answer(HttpRequest(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, http: HttpRequest) -> Response:
        try:
            return await self._dispatch(http)
        except ApiError as error:
            return _json(error.body(), error.code)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            log.exception("%s %s failed", http.method, http.url.path)
            return _json(Internal(f"{type(error).__name__}: {error}").body(), 500)

    async def _dispatch(self, http: HttpRequest) -> Response:
        raw_path = http.scope.get("raw_path")
        # Some servers keep the query in the raw path.
        path = raw_path.decode("ascii").partition("?")[0] if raw_path else http.url.path
        api, handler, method_id, parameters = self._find(http.method, path)
        method = api.methods[method_id]
        query = api.validate_query(method_id, http.query_params.multi_items())
        raw = await _read(http)
        body: Any = None
        if method.request == _HTTP_BODY or method_id in self._raw:
            pass
        elif method.request is not None:
            body = api.validate_body(method.request, decode_json(raw) if raw.strip() else {})
        elif raw.strip():
            # Google's front ends take an empty message where the method has no body.
            body = decode_json(raw)
            if body not in ({}, None) and not method_id.endswith((".cancel", ".wait")):
                raise InvalidArgument(f"{method_id} takes no request body.")
        request = Request(method_id, parameters, query, body, raw, dict(http.headers))
        answer = await handler(request)
        return answer if isinstance(answer, Response) else _json(answer, 200)

    def _find(self, http_method: str, path: str) -> tuple[Api, Handler, str, dict[str, str]]:
        known: tuple[Api, str] | None = None
        for service in self._services:
            for api in service.apis:
                found = api.match(http_method, path)
                if found is None:
                    continue
                handler = service.handlers.get(found[0])
                if handler is not None:
                    return api, handler, *found
                known = known or (api, found[0])
        if known is not None:
            api, method_id = known
            raise Unimplemented(
                f"{method_id} ({api.name} {api.version}) exists on Google Cloud; the local cloud "
                "does not implement it."
            )
        raise NotFound(f"No method of the local cloud's APIs answers {http_method} {path}.")


async def _read(http: HttpRequest) -> bytes:
    too_large = InvalidArgument(f"Request payload size exceeds the limit: {MAX_BODY_BYTES} bytes.")
    length = http.headers.get("content-length", "")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    async for chunk in http.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


def _json(body: Any, code: int) -> Response:
    return Response(
        msgspec.json.encode(body), status_code=code, media_type="application/json; charset=UTF-8"
    )
