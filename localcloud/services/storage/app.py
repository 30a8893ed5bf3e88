"""The ASGI application: which request is which method of the JSON API."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from localcloud.rest.discovery import decode_json
from localcloud.rest.errors import ApiError
from localcloud.services.storage import batch, partial
from localcloud.services.storage.bucket_methods import BucketMethods
from localcloud.services.storage.copy_methods import CopyMethods
from localcloud.services.storage.errors import (
    StorageError,
    from_api_error,
    invalid,
    unsupported,
)
from localcloud.services.storage.media import Media
from localcloud.services.storage.object_methods import ObjectMethods
from localcloud.services.storage.service import Call, CloudStorage, Handler
from localcloud.services.storage.upload_methods import Answer, UploadMethods
from localcloud.services.storage.wire import Validator

log = logging.getLogger(__name__)

_HTTP_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
_API: Final = "/storage/v1/"
_UPLOADS: Final = ("/upload/storage/v1/", "/resumable/upload/storage/v1/")
_DOWNLOADS: Final = "/download/storage/v1/"
_BATCHES: Final = ("/batch/storage/v1", "/batch")
_MAX_JSON: Final = 16 << 20
_JSON: Final = {"content-type": "application/json; charset=UTF-8"}


def build_app(storage: CloudStorage) -> Starlette:
    """The application around one Cloud Storage, which it starts and stops."""
    dispatcher = _Dispatcher(storage)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await storage.start()
        try:
            yield
        finally:
            await storage.stop()

    # One route: object names hold slashes, dots and everything else that routers interpret.
    routes = [Route("/{rest:path}", dispatcher.respond, methods=_HTTP_METHODS)]
    return Starlette(routes=routes, lifespan=lifespan)


class _Dispatcher:
    def __init__(self, storage: CloudStorage) -> None:
        self._validator = Validator()
        self._media = Media(storage)
        self._uploads = UploadMethods(storage, self._validator)
        self._handlers: dict[str, Handler] = {
            **BucketMethods(storage).handlers(),
            **ObjectMethods(storage).handlers(),
            **CopyMethods(storage).handlers(),
        }

    async def respond(self, request: Request) -> Response:
        path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1")
        path = path.partition("?")[0]
        # Failures of downloads and of bare paths are told in plain text, as Cloud Storage does.
        plain = request.query_params.get("alt") == "media" or not path.startswith(
            (_API, *_UPLOADS, *_BATCHES)
        )
        try:
            return await self._respond(request, path)
        except StorageError as error:
            return _failure(request, error, plain)
        except ApiError as error:
            return _failure(request, from_api_error(error), plain)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception:
            log.exception("%s %s failed", request.method, path)
            error = _internal()
            return _failure(request, error, plain)

    async def _respond(self, request: Request, path: str) -> Response:
        if path == "/healthz":
            return PlainTextResponse("ok")
        for header in request.headers:
            if header.startswith("x-goog-encryption-"):
                raise unsupported("Customer-supplied encryption keys are")
        for prefix in _UPLOADS:
            if path.startswith(prefix):
                return await self._upload(request, _API + path[len(prefix) :])
        if path in _BATCHES:
            return await self._batch(request)
        pairs = _pairs(request.url.query)
        if path.startswith(_DOWNLOADS):
            path = _API + path[len(_DOWNLOADS) :]
            pairs = [*(pair for pair in pairs if pair[0] != "alt"), ("alt", "media")]
        if not path.startswith(_API):
            return await self._bare(request, path)
        if ("alt", "media") in pairs:
            method, parameters = self._method(request.method, path)
            if method == "storage.objects.get":
                query = self._validator.query(method, pairs)
                return await self._media.download(
                    parameters["bucket"], parameters["object"], query, request.headers
                )
            if method not in self._handlers:
                raise unsupported(f"{method} is")
            raise invalid(f"alt=media goes with storage.objects.get, not with {method}.", "alt")
        status, body = await self._call(
            request.method, path, pairs, request.headers, await _read(request)
        )
        return Response(body, status, _JSON if body else None)

    def _method(self, http_method: str, path: str) -> tuple[str, dict[str, str]]:
        found = self._validator.match(http_method, path)
        if found is None:
            raise StorageError(
                404, "notFound", f"Cloud Storage's JSON API has no {http_method} {path}."
            )
        return found

    async def _call(
        self,
        http_method: str,
        path: str,
        pairs: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        raw: bytes,
    ) -> tuple[int, bytes]:
        method, parameters = self._method(http_method, path)
        handler = self._handlers.get(method)
        if handler is None:
            if method == "storage.objects.insert":
                raise invalid(f"Content is uploaded to {_UPLOADS[0]}, not to {_API}.")
            raise unsupported(f"{method} is")
        query = self._validator.query(method, pairs)
        schema = self._validator.api.methods[method].request
        body: dict[str, Any] = {}
        if schema and raw.strip():
            body = self._validator.body(schema, decode_json(raw))
        result = await handler(Call(method, parameters, query, headers, body))
        if result is None:
            return 204, b""
        return 200, _encode(result, query.get("fields"))

    async def _upload(self, request: Request, path: str) -> Response:
        pairs = _pairs(request.url.query)
        key = request.query_params.get("upload_id")
        if any(header.startswith("x-goog-upload-") for header in request.headers):
            raise unsupported("The X-Goog-Upload-* protocol (use uploadType=resumable) is")
        if key is not None:
            if request.method == "DELETE":
                return _answered(self._uploads.cancel(key), None)
            if request.method not in ("PUT", "POST"):
                raise invalid(
                    f"An upload goes on by PUT and is cancelled by DELETE, not by {request.method}."
                )
            answer = await self._uploads.resume(key, request.headers, request.stream())
            return _answered(answer, request.query_params.get("fields"))
        # Some clients begin an upload by PUT.
        method, parameters = self._method("POST", path)
        if method != "storage.objects.insert" or request.method not in ("POST", "PUT"):
            raise StorageError(404, "notFound", f"Nothing can be uploaded to {path}.")
        query = self._validator.query(method, pairs)
        answer = await self._uploads.insert(
            parameters["bucket"], query, request.headers, request.stream()
        )
        return _answered(answer, query.get("fields"))

    async def _bare(self, request: Request, path: str) -> Response:
        """`/BUCKET/OBJECT`, as public links are written: reading only."""
        bucket, slash, name = path.removeprefix("/").partition("/")
        if request.method not in ("GET", "HEAD") or not slash or not name:
            raise unsupported("The XML API, apart from reading an object, is")
        query = request.query_params
        if set(query) - {"generation"}:
            raise unsupported(f"The XML API's {', '.join(sorted(query))} is")
        return await self._media.download(
            unquote(bucket),
            unquote(name),
            dict(query),
            request.headers,
            head=request.method == "HEAD",
        )

    async def _batch(self, request: Request) -> Response:
        if request.method != "POST":
            raise invalid("A batch is sent by POST.")
        parts = batch.parse(request.headers.get("content-type", ""), await _read(request))
        content_type, body = await batch.answer(parts, self._carry_out)
        return Response(body, headers={"content-type": content_type})

    async def _carry_out(self, part: batch.Part) -> batch.Outcome:
        target = urlsplit(part.target)
        pairs = _pairs(target.query)
        try:
            if not target.path.startswith(_API) or ("alt", "media") in pairs:
                raise invalid("Contents can be neither uploaded nor downloaded in a batch.")
            status, body = await self._call(
                part.method, target.path, pairs, part.headers, part.body
            )
        except (StorageError, ApiError) as failure:
            error = failure if isinstance(failure, StorageError) else from_api_error(failure)
            status, body = error.code, msgspec.json.encode(error.body())
        except Exception:
            log.exception("%s %s in a batch failed", part.method, part.target)
            error = _internal()
            status, body = 500, msgspec.json.encode(error.body())
        return batch.Outcome(status, _JSON if body else {}, body)


def _internal() -> StorageError:
    return StorageError(500, "internalError", "The local Cloud Storage failed; its log tells why.")


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_JSON:
            raise StorageError(413, "uploadTooLarge", f"A request's JSON may be {_MAX_JSON} bytes.")
    return bytes(body)


def _encode(result: dict[str, Any], fields: str | None) -> bytes:
    if fields:
        result = partial.apply(partial.parse(fields), result)
    return msgspec.json.encode(result)


def _answered(answer: Answer, fields: str | None) -> Response:
    body = b"" if answer.body is None else _encode(answer.body, fields)
    headers = dict(answer.headers) | (_JSON if body else {})
    return Response(body, answer.status, headers)


def _failure(request: Request, error: StorageError, plain: bool) -> Response:
    if error.code >= 500:
        log.warning("%s %s: %s %s", request.method, request.url.path, error.code, error.message)
    if error.code == 304 or request.method == "HEAD":
        return Response(status_code=error.code)
    if plain:
        return PlainTextResponse(error.message, error.code)
    return Response(msgspec.json.encode(error.body()), error.code, _JSON)
