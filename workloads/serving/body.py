"""The body of a request: whole, in time, and no more of it than may be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

type Scope = MutableMapping[str, Any]
type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]


class TooLarge(Exception):
    """It is larger than one request may be."""


class TooSlow(Exception):
    """It did not arrive in time."""


class Busy(Exception):
    """The bodies that arrive now are as large, together, as they may be."""


class GoneAway(Exception):
    """The caller closed the connection before it was whole."""


class Bodies:
    """Takes in bodies. To be used on one event loop.

    One timer watches all of them: a timer each would cost a request more than its validation.

    Args:
        most: bytes of one.
        together: bytes of all that are arriving.
        seconds: for one to arrive; it is refused a quarter later at the latest.
    """

    def __init__(self, most: int, together: int, seconds: float) -> None:
        self._most = most
        self._together = together
        self._seconds = seconds
        self._since: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._watched_by: asyncio.AbstractEventLoop | None = None
        self.arriving = 0
        """Bytes of bodies that are not whole yet."""

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """The body of a request.

        Raises:
            TooLarge: by what it declares, or by what came; no more than the limit was kept.
            TooSlow, Busy, GoneAway: see there.
        """
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._most:
                raise TooLarge
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a body is read outside of a task")
        loop = asyncio.get_running_loop()
        self._since[task] = loop.time()
        if self._watched_by is not loop:
            self._watched_by = loop
            loop.call_later(self._seconds / 4, self._watch)
        try:
            return await self._whole(receive)
        except asyncio.CancelledError:
            if task in self._late:
                task.uncancel()
                raise TooSlow from None
            raise
        finally:
            del self._since[task]
            self._late.discard(task)

    async def _whole(self, receive: Receive) -> bytes:
        message = await receive()
        body: bytes = message.get("body", b"")
        if message["type"] == "http.disconnect":
            raise GoneAway
        if not message.get("more_body", False):
            if len(body) > self._most:
                raise TooLarge
            return body
        parts = bytearray(body)
        counted = 0
        try:
            while True:
                self.arriving += len(parts) - counted
                counted = len(parts)
                if counted > self._most:
                    raise TooLarge
                if self.arriving > self._together:
                    raise Busy
                if not message.get("more_body", False):
                    return bytes(parts)
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise GoneAway
                parts += message.get("body", b"")
        finally:
            self.arriving -= counted

    def _watch(self) -> None:
        """Give up what is late; come again while anything is arriving."""
        loop = self._watched_by
        if loop is None or not self._since:
            self._watched_by = None
            return
        latest = loop.time() - self._seconds
        for task, since in self._since.items():
            if since < latest and task not in self._late:
                self._late.add(task)
                task.cancel()
        loop.call_later(self._seconds / 4, self._watch)
