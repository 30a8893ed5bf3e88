"""Writes the prediction log to PostgreSQL: a Cloud Run service behind a push subscription.

Pub/Sub pushes one row a request, many at once. Those that are there while a transaction is written
go into the next one together. A 2xx answer means that the row is in the table; anything else has
Pub/Sub deliver it again, and set it aside as a dead letter in the end.

Cloud Run lets in only the identity that the subscription pushes with; nothing is checked here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from workloads import contracts
from workloads.contracts import ContractViolation
from workloads.prediction_log.contract import PredictionLogged

log: Final = logging.getLogger(__name__)

BODY_LIMIT: Final = 2 * 1024 * 1024
"""Bytes. A row holds one row of a request, and base64 makes four bytes of three."""
MOST_TOGETHER: Final = 500
"""Rows in one transaction."""


class Writer(Protocol):
    """Takes rows; `workloads.prediction_log.store.Store` fulfils it."""

    def write(self, rows: Sequence[PredictionLogged]) -> None:
        """Write all of them, or none and raise."""
        ...


class _Message(msgspec.Struct):
    data: str = ""


class _Push(msgspec.Struct):
    message: _Message


def read(body: bytes) -> PredictionLogged:
    """The row of a push.

    Raises:
        ContractViolation: it is none.
    """
    try:
        push = msgspec.json.decode(body, type=_Push)
        data = base64.b64decode(push.message.data, validate=True)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as error:
        raise ContractViolation(PredictionLogged, "$", body, f"a push ({error})") from None
    return contracts.decode(PredictionLogged, data)


class Service:
    """The ASGI application."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._waiting: list[tuple[PredictionLogged, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        if scope["method"] == "GET":
            status, text = 200, "ok"
        else:
            body = b""
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message.get("body", b"")
                if len(body) > BODY_LIMIT or not message.get("more_body", False):
                    break
            status, text = await self._taken(body)
        content = text.encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(content)).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _taken(self, body: bytes) -> tuple[int, str]:
        if len(body) > BODY_LIMIT:
            return 413, f"more than {BODY_LIMIT} bytes"
        try:
            row = read(body)
        except ContractViolation as error:
            log.warning("not written: %s", error)
            return 400, str(error)
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((row, written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        try:
            await written
        except Exception as error:  # noqa: BLE001 - whatever it is, the row comes again
            return 503, f"not written yet: {type(error).__name__}"
        return 200, "written"

    async def _write(self) -> None:
        """Until nothing waits."""
        try:
            while self._waiting:
                together = self._waiting[:MOST_TOGETHER]
                del self._waiting[:MOST_TOGETHER]
                problem: Exception | None = None
                try:
                    await asyncio.to_thread(self._writer.write, [row for row, _ in together])
                except Exception as error:
                    log.exception("%d rows are not written yet", len(together))
                    problem = error
                for _, written in together:
                    if written.done():
                        continue
                    if problem is None:
                        written.set_result(None)
                    else:
                        written.set_exception(problem)
        finally:
            self._writing = None
