"""The part of MLflow that is let through: runs, metrics, files, models and their pages.

MLflow's server has grown to run code of its users (scorers, prompt optimisation, jobs, an assistant
with a shell), to call other servers in their name (webhooks, gateways) and to read from wherever a
run says that its files are. This platform needs none of it, so what is not listed here is answered
with 404, also when a later version adds to it.

Files are let in by their kind: models are ONNX graphs, and nothing comes in that would be unpickled
or run by whoever loads it, not under another name either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
type App = Callable[[Scope, Receive, Send], Awaitable[None]]

_TRACKING: Final = (
    "artifacts|experiments|logged-models|metrics|model-versions|registered-models|runs|traces"
)
_ALLOWED: Final = re.compile(
    r"/|/health|/version|/static-files/.+|/graphql"
    r"|/get-artifact|/model-versions/get-artifact"
    rf"|/(ajax-)?api/2\.0/mlflow/({_TRACKING})(/.*)?"
    r"|/(ajax-)?api/2\.0/mlflow-artifacts/artifacts(/.*)?"
    r"|/(ajax-)?api/3\.0/mlflow/(datasets|logged-models|traces|server-info)(/.*)?"
    r"|/ajax-api/2\.0/mlflow/upload-artifact"
)
# The first calls a model elsewhere; the second lets files past this server, unseen.
_REFUSED: Final = re.compile(r".*/runs/create-promptlab-run|.*/artifacts/presigned-[^/]*url")
_LOCATED: Final = re.compile(r"/(ajax-)?api/2\.0/mlflow/(experiments|model-versions)/create")
_LOCATIONS: Final = ("artifact_location", "artifactLocation", "source")
_OURS: Final = re.compile(r"(mlflow-artifacts|runs|models):/.*")
MAX_BODY: Final = 1 << 20
"""Bytes of a request that names a location; it holds a few short texts."""
_UPLOAD: Final = re.compile(r"/(ajax-)?api/2\.0/mlflow-artifacts/artifacts/(?P<name>.+)")
_PAGE_UPLOAD: Final = "/ajax-api/2.0/mlflow/upload-artifact"
_TEXT: Final = b""
KINDS: Final[dict[str, bytes]] = {
    # The first field of a graph, the version of the format, is always written.
    ".onnx": b"\x08",
    ".png": b"\x89PNG",
    **dict.fromkeys((".csv", ".json", ".md", ".svg", ".txt", ".yaml", ".yml"), _TEXT),
}
"""How the name of a file ends that is kept, and how its content begins; nothing: it is text."""
_LOOKED_AT: Final = 512
"""Bytes of a file that show its kind."""


class Guard:
    """Answers what is not needed with 404, and hands everything else on."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, as ASGI has it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = str(scope["path"])
        # Dots and double slashes could read differently further in.
        plain = "//" not in path and ".." not in path.split("/")
        if not plain or not _ALLOWED.fullmatch(path) or _REFUSED.fullmatch(path):
            await _refuse(send, 404, "ENDPOINT_NOT_FOUND", f"{path} is not offered here")
            return
        name = _uploaded(scope, path)
        if name is not None:
            await self._keep(name, scope, receive, send)
            return
        if not _LOCATED.fullmatch(path):
            await self._app(scope, receive, send)
            return
        body = await _whole(receive)
        fault = _foreign(body)
        if fault is not None:
            await _refuse(send, 400, "INVALID_PARAMETER_VALUE", fault)
            return
        await self._app(scope, _again([_message(body or b"", False)], receive), send)

    async def _keep(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a file in, if it is of a kind that is kept."""
        messages, begun = await _begin(receive)
        fault = _unkept(name, begun)
        if fault is not None:
            await _refuse(send, 400, "INVALID_PARAMETER_VALUE", fault)
            return
        await self._app(scope, _again(messages, receive), send)


def _uploaded(scope: Scope, path: str) -> str | None:
    """The name of the file that a request brings; none if it brings none."""
    found = _UPLOAD.fullmatch(path)
    if found and scope.get("method") not in {"GET", "HEAD", "DELETE"}:
        return found["name"]
    if path == _PAGE_UPLOAD:
        return parse_qs(bytes(scope.get("query_string", b"")).decode("latin-1")).get("path", [""])[
            -1
        ]
    return None


def _unkept(name: str, begun: bytes) -> str | None:
    """Why a file is not kept; none if it is."""
    kind = next((kind for kind in KINDS if name.lower().endswith(kind)), None)
    if kind is None:
        return (
            f"{name} is not kept here; allowed: files that end in {', '.join(KINDS)}. Models are "
            "ONNX graphs: export the model, and log the graph"
        )
    wanted = KINDS[kind]
    if not begun or (begun.startswith(wanted) if wanted else not _binary(begun)):
        return None
    return f"{name} is not kept here: its content is none of a {kind} file"


def _binary(begun: bytes) -> bool:
    # Every binary pickle begins with this byte, which begins no character of UTF-8; archives and
    # tensors have zeros soon, which no text has.
    return begun[:1] == b"\x80" or b"\0" in begun


async def _begin(receive: Receive) -> tuple[list[MutableMapping[str, Any]], bytes]:
    """What came until the kind of a file can be told, as messages and as bytes."""
    messages: list[MutableMapping[str, Any]] = []
    begun = b""
    while True:
        message = await receive()
        messages.append(message)
        begun += message.get("body", b"")
        if len(begun) >= _LOOKED_AT or not message.get("more_body", False):
            return messages, begun[:_LOOKED_AT]


def _foreign(body: bytes | None) -> str | None:
    """Why the server would have to read from a place that is not its own; none if it would not."""
    if body is None:
        return f"the request is larger than {MAX_BODY} bytes"
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return "the request is no JSON object"
    if not isinstance(document, dict):
        return "the request is no JSON object"
    for name in _LOCATIONS:
        place = document.get(name)
        if place and not (isinstance(place, str) and _OURS.fullmatch(place)):
            return (
                f"{name} is {place!r}; allowed: nothing, or a place that the server keeps itself "
                "(`mlflow-artifacts:/...`, `runs:/...`, `models:/...`)"
            )
    return None


async def _whole(receive: Receive) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _message(body: bytes, more: bool) -> MutableMapping[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def _again(messages: list[MutableMapping[str, Any]], receive: Receive) -> Receive:
    """The messages once more, then what the connection has to say."""
    left = list(messages)

    async def replay() -> MutableMapping[str, Any]:
        return left.pop(0) if left else await receive()

    return replay


async def _refuse(send: Send, status: int, code: str, message: str) -> None:
    body = json.dumps({"error_code": code, "message": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
