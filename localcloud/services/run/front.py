"""The stable address of a Cloud Run service: an HTTP/1.1 proxy that splits by traffic.

One listening port for a service (and one for each traffic tag) stays the same while revisions come
and go on ports of their own. The split is by request, not by connection, in smooth weighted round
robin: a split of 90 and 10 gives exactly one request in ten, evenly spread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import h11

from localcloud.home import LOOPBACK
from localcloud.rest.errors import ApiError

log = logging.getLogger(__name__)

# How long a request waits for an instance to come (back) up, as Cloud Run queues during a start.
_CONNECT_WAIT: Final = 10.0
_CHUNK: Final = 65536
_HOP_HEADERS: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te"})


@dataclass(frozen=True)
class Route:
    """A share of the traffic: `percent` of the requests go to `port`."""

    revision: str
    port: int
    percent: int
    timeout: float = 300.0
    wake: Callable[[], Awaitable[int]] | None = None
    """Of a revision that starts with its first request: gives its port, once it answers."""


class _Refused(Exception):
    """The request is answered by the front itself."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Front:
    """Listens on one port and forwards each request to one of its routes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self._routes: list[Route] = []
        self._credit: dict[str, int] = {}
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self, port: int = 0) -> int:
        """Listen, on `port` if it is free, else on one that is; returns which."""
        try:
            self._server = await asyncio.start_server(self._accept, LOOPBACK, port)
        except OSError as error:
            if not port:
                raise
            log.warning("%s: port %d is taken (%s); choosing another", self.name, port, error)
            self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    def route(self, routes: Sequence[Route]) -> None:
        """Send new requests there; those under way end where they are."""
        self._routes = [route for route in routes if route.percent > 0]
        self._credit = {}

    def choose(self) -> Route | None:
        """The next request's route, in smooth weighted round robin."""
        if not self._routes:
            return None
        total = 0
        best = self._routes[0]
        for route in self._routes:
            self._credit[route.revision] = self._credit.get(route.revision, 0) + route.percent
            total += route.percent
            if self._credit[route.revision] > self._credit[best.revision]:
                best = route
        self._credit[best.revision] -= total
        return best

    async def close(self) -> None:
        """Stop listening and cut what is under way."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        try:
            await _Connection(self, reader, writer).serve()
        except (OSError, h11.ProtocolError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except Exception:
            log.exception("%s: a request failed in the front", self.name)
        finally:
            writer.close()


class _Connection:
    """One client connection: requests one after another."""

    def __init__(
        self, front: Front, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._front = front
        self._reader = reader
        self._writer = writer
        self._client = h11.Connection(h11.SERVER)

    async def serve(self) -> None:
        while True:
            try:
                event = await _next(self._client, self._reader)
            except h11.RemoteProtocolError as error:
                await self._refuse(error.error_status_hint, f"Bad request: {error}")
                return
            if not isinstance(event, h11.Request):
                return
            try:
                await self._forward(event)
            except _Refused as refused:
                await self._refuse(refused.status, refused.message)
                return
            if self._client.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                return
            self._client.start_next_cycle()

    async def _forward(self, request: h11.Request) -> None:
        route = self._front.choose()
        if route is None:
            raise _Refused(
                503, f"Service Unavailable: {self._front.name} has no revision that is ready"
            )
        reader, writer = await self._connect(route)
        upstream = h11.Connection(h11.CLIENT)
        pump: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(route.timeout):
                writer.write(upstream.send(self._request(request)) or b"")
                pump = asyncio.create_task(self._send_body(upstream, writer))
                switched = await self._answer(upstream, reader)
                # An answer before the end of the body leaves the connection in no state to reuse.
                if not pump.done():
                    pump.cancel()
            if switched:
                await self._tunnel(upstream, reader, writer)
        except TimeoutError:
            message = f"upstream request timeout: revision {route.revision} did not answer"
            raise self._cannot(504, f"{message} within {route.timeout:g} s") from None
        except (OSError, h11.RemoteProtocolError) as error:
            raise self._cannot(
                503, f"Service Unavailable: revision {route.revision} broke off ({error})"
            ) from None
        finally:
            if pump is not None:
                pump.cancel()
                with contextlib.suppress(OSError, h11.ProtocolError, asyncio.CancelledError):
                    await pump
            writer.close()

    def _cannot(self, status: int, message: str) -> Exception:
        # Once the head of an answer is out, all that is left is to cut the connection.
        begun = self._client.our_state not in {h11.IDLE, h11.SEND_RESPONSE}
        return ConnectionError(message) if begun else _Refused(status, message)

    async def _connect(self, route: Route) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = route.port if route.wake is None else await self._wake(route.wake)
        deadline = asyncio.get_running_loop().time() + _CONNECT_WAIT
        while True:
            try:
                return await asyncio.open_connection(LOOPBACK, port)
            except OSError:
                if asyncio.get_running_loop().time() > deadline:
                    raise _Refused(
                        503,
                        f"Service Unavailable: revision {route.revision} accepts no connection",
                    ) from None
            await asyncio.sleep(0.05)

    async def _wake(self, wake: Callable[[], Awaitable[int]]) -> int:
        try:
            return await wake()
        except ApiError as error:
            raise _Refused(503, f"Service Unavailable: {error.message}") from None

    def _request(self, request: h11.Request) -> h11.Request:
        peer = self._writer.get_extra_info("peername")
        upgrade = any(name == b"upgrade" for name, _ in request.headers)
        headers = [
            (name, value)
            for name, value in request.headers.raw_items()
            if upgrade or name.lower() not in _HOP_HEADERS
        ]
        if not upgrade:
            headers.append((b"Connection", b"close"))
        headers += [
            (b"X-Forwarded-For", str(peer[0] if peer else LOOPBACK).encode()),
            (b"X-Forwarded-Proto", b"http"),
        ]
        return h11.Request(method=request.method, target=request.target, headers=headers)

    async def _send_body(self, upstream: h11.Connection, writer: asyncio.StreamWriter) -> None:
        if self._client.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[])
            self._writer.write(self._client.send(go_on) or b"")
        while True:
            event = await _next(self._client, self._reader)
            if isinstance(event, h11.Data | h11.EndOfMessage):
                writer.write(upstream.send(event) or b"")
                await writer.drain()
            if not isinstance(event, h11.Data):
                return

    async def _answer(self, upstream: h11.Connection, reader: asyncio.StreamReader) -> bool:
        """Forward the answer; True when both sides now speak another protocol."""
        while True:
            event = await _next(upstream, reader)
            if isinstance(event, h11.Response):
                headers = [
                    (name, value)
                    for name, value in event.headers.raw_items()
                    if name.lower() not in _HOP_HEADERS
                ]
                event = h11.Response(
                    status_code=event.status_code, headers=headers, reason=event.reason
                )
            elif isinstance(event, h11.InformationalResponse):
                if event.status_code != 101:
                    continue
            elif not isinstance(event, h11.Data | h11.EndOfMessage):
                raise ConnectionError("it closed the connection without an answer")
            self._writer.write(self._client.send(event) or b"")
            await self._writer.drain()
            if isinstance(event, h11.InformationalResponse):
                return True
            if isinstance(event, h11.EndOfMessage):
                return False

    async def _tunnel(
        self,
        upstream: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._writer.write(upstream.trailing_data[0])
        writer.write(self._client.trailing_data[0])

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(_CHUNK):
                sink.write(data)
                await sink.drain()

        both = [
            asyncio.create_task(copy(reader, self._writer)),
            asyncio.create_task(copy(self._reader, writer)),
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for one in both:
            one.cancel()
        await asyncio.gather(*both, return_exceptions=True)

    async def _refuse(self, status: int, message: str) -> None:
        if self._client.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        body = f"{message}\n".encode()
        response = h11.Response(
            status_code=status,
            headers=[
                (b"Content-Type", b"text/plain; charset=utf-8"),
                (b"Content-Length", str(len(body)).encode()),
                (b"Connection", b"close"),
            ],
        )
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self._writer.write(self._client.send(event) or b"")
        await self._writer.drain()


async def _next(connection: h11.Connection, reader: asyncio.StreamReader) -> object:
    """The next event, reading as much as it takes."""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK))
            continue
        return event
