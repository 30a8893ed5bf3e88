"""One connection: what may be held of a request before it has a body, and for how long.

uvicorn bounds neither. Here the head of a request has a size, a time to arrive, and shares the
memory of all that arrives with the bodies of others; so has what may follow a body. Who is silent,
sends drop by drop, or does not fetch the answer, is let go; and there are as many connections as
there may be, of which the one that has been idle longest makes room for a new one.

A request that comes in one piece, as nearly all do, costs two comparisons more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from collections.abc import Callable
from heapq import nsmallest
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from workloads.serving import answers
from workloads.serving.answers import Answer
from workloads.serving.settings import ServingSettings

log: Final = logging.getLogger(__name__)

MOST_HEAD_BYTES: Final = 65_536
"""Of a request line and headers; of what may follow a body; Google's front ends pass on less."""
MOST_PIPELINED: Final = 100
"""Requests of one connection that wait for the answer to the one before."""
LINGER_SECONDS: Final = 1.0
"""How long what a refused caller still sends is thrown away, so that the answer reaches it."""
_KEPT_FILES: Final = 64
"""File descriptors that are not for connections."""


class Lines(ServerState):
    """The connections of one server, and what they may hold.

    Args:
        settings: of the server.
        keep_alive: seconds for which a connection may be idle.
        refused: told of the status of each answer that is given here.
    """

    def __init__(
        self, settings: ServingSettings, keep_alive: float, refused: Callable[[int], None]
    ) -> None:
        super().__init__()
        self.most = _room(settings.most_connections)
        """Connections."""
        self.most_held = settings.most_body_bytes
        """Bytes of all heads that are arriving."""
        self.most_drained = 8 * settings.max_body_bytes
        """Bytes of a body that is thrown away because its request is answered already."""
        self.seconds = settings.body_seconds
        self.keep_alive = keep_alive
        self.held = 0
        self.refused = refused
        self._next = 0.0

    def watch(self, now: float) -> None:
        """Let go whom nothing is to be expected of. To be called often; it looks now and then."""
        if now < self._next:
            return
        self._next = now + self.seconds / 4
        for one in list(self.connections):
            if isinstance(one, Connection):
                one.look(now)

    def make_room(self, newest: Connection) -> None:
        """Close those that have been idle longest: one in a hundred, so that it is done seldom."""
        idle = [
            one
            for one in self.connections
            if isinstance(one, Connection) and one is not newest and one.idle_since >= 0
        ]
        for one in nsmallest(max(1, self.most // 100), idle, key=lambda one: one.idle_since):
            one.give_up()


class Connection(HttpToolsProtocol):
    """One connection.

    Raises:
        TypeError: the server's state is no `Lines`.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        if not isinstance(server_state, Lines):
            raise TypeError(f"server_state is {server_state!r}; allowed: Lines")
        self._lines = server_state
        self._unread = 0
        """Bytes that the parser holds, or threw away: of a head, or of what follows a body."""
        self.url = b""
        self._refused = False
        self._state: tuple[str, Any] = ("", None)
        self._since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take in a caller, in the place of an idle one where there are too many."""
        super().connection_made(transport)
        lines = self._lines
        if len(self.connections) > lines.most:
            lines.make_room(self)
            if len(self.connections) > lines.most:
                self._refuse(answers.busy(f"{lines.most} connections are open"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing of it is held any more."""
        self._hold(0)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        before = self.cycle
        # Of a body that is arriving, what is there already.
        body = len(before.body) if before is not None and before.more_body else -1
        super().data_received(data)
        cycle = self.cycle
        if (
            cycle is not None
            and not cycle.more_body
            and cycle.scope is self.scope
            and len(data) <= MOST_HEAD_BYTES
            and not self._unread
            and not self.pipeline
        ):
            return
        self._measure(len(data), before, body)

    def _measure(self, size: int, before: Any, body: int) -> None:
        """Refuse what holds more than it may."""
        cycle, scope = self.cycle, self.scope
        if self._refused or scope is None:
            return
        if len(self.pipeline) > MOST_PIPELINED:
            self.give_up()
        elif "method" not in scope:
            # What came along with the end of another request is not counted: one reading at most.
            self._hold(self._unread + size if cycle is before and body < 0 else 0)
            self._bounded(MOST_HEAD_BYTES)
        elif cycle is not before:
            self._hold(0)
            lengths = (len(name) + len(value) + len(": \r\n") for name, value in self.headers)
            if len(self.url) + sum(lengths) > MOST_HEAD_BYTES:
                self._refuse(answers.head_too_large(MOST_HEAD_BYTES))
        elif cycle.more_body and len(cycle.body) <= body:
            # Nothing of this was body: the extension of a chunk, headers that follow it, or what
            # nobody wants any more because the request is answered.
            self._hold(self._unread + size)
            self._bounded(self._lines.most_drained if cycle.response_complete else MOST_HEAD_BYTES)
        else:
            self._hold(0)

    def _hold(self, size: int) -> None:
        self._lines.held += size - self._unread
        self._unread = size

    def _bounded(self, most: int) -> None:
        if self._unread > most:
            self._refuse(answers.head_too_large(most))
        elif self._lines.held > self._lines.most_held:
            self._refuse(answers.busy(f"{self._lines.held} bytes are arriving"))

    def look(self, now: float) -> None:
        """Let the caller go who has been in one state for too long."""
        state = self._now()
        if state[0] != self._state[0] or state[1] is not self._state[1]:
            self._state, self._since = state, now
            return
        seconds = now - self._since
        match state[0]:
            case "silent" if seconds > self._lines.keep_alive:
                self.give_up()
            case "head" if seconds > self._lines.seconds:
                self._refuse(answers.too_slow(self._lines.seconds))
            case "over" | "unfetched" if seconds > self._lines.seconds:
                self.give_up()
            case _:
                pass

    @property
    def idle_since(self) -> float:
        """Since when nothing is under way, as far as that was looked at; -1: something is."""
        state = self._now()
        if state[0] not in ("silent", "idle"):
            return -1
        return self._since if state[1] is self._state[1] else self.loop.time()

    def _now(self) -> tuple[str, Any]:
        """What it does, and at which request."""
        cycle, scope = self.cycle, self.scope
        if cycle is not None and not cycle.response_complete:
            # Bodies have a watch of their own.
            return ("unfetched" if self.flow.write_paused else "under way", cycle)
        if scope is None:
            return ("silent", None)
        if "method" not in scope:
            return ("head", scope)
        # uvicorn ends whom it waits for itself. It waits for nobody who has sent something after
        # the answer: an empty line, or the rest of a body, the end of which it does not tell.
        over = self.timeout_keep_alive_task is None or cycle is None or cycle.more_body
        return ("over" if over else "idle", cycle)

    def give_up(self) -> None:
        """Close it without a word."""
        self._forget()
        self.connections.discard(self)
        self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        del msg
        self._refuse(answers.malformed())

    def _forget(self) -> None:
        self._hold(0)
        self._refused = True
        self.pipeline.clear()
        self._unset_keepalive_if_required()

    def _refuse(self, answer: Answer) -> None:
        """Answer in the place of the application, and hear no more."""
        cycle, transport = self.cycle, self.transport
        if cycle is not None and cycle.scope is self.scope and cycle.response_started:
            # It has its answer, and sends too much all the same.
            self.give_up()
            return
        self._forget()
        self._lines.refused(answer.status)
        if self.url.startswith(b"/v2"):
            answer = answers.in_words(answer)
        transport.set_protocol(_Deaf(self))
        self.flow.resume_reading()
        if cycle is not None and not cycle.response_complete:
            if cycle.scope is not self.scope:
                # The request before this one is answered first, and that is the end.
                cycle.keep_alive = False
                self.loop.call_later(self._lines.seconds, transport.abort)
                return
            cycle.disconnected = True
            cycle.message_event.set()
        headers = dict(answer.headers) | {
            b"content-type": answer.kind,
            b"content-length": b"%d" % len(answer.body),
            b"connection": b"close",
        }
        lines = b"".join(b"%s: %s\r\n" % pair for pair in headers.items())
        transport.write(STATUS_LINE[answer.status] + lines + b"\r\n" + answer.body)
        with contextlib.suppress(OSError, RuntimeError):
            transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, transport.abort)


class _Deaf(asyncio.Protocol):
    """Throws away what a refused caller still sends. A connection that is closed while something
    of it is unread is reset, and the caller might never see the answer."""

    def __init__(self, before: Connection) -> None:
        self._before = before

    def connection_lost(self, exc: Exception | None) -> None:
        self._before.connection_lost(exc)


def _room(wanted: int) -> int:
    """The connections that there may be: each is a file of the process."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = wanted if files == resource.RLIM_INFINITY else min(wanted, max(1, files - _KEPT_FILES))
    if room < wanted:
        log.warning("%d connections at most, not %d: the process has %d files", room, wanted, files)
    return room
