"""The process that listens: uvicorn, and an end that drops no request.

Told to end, it takes no more connections, answers what arrives on those it has, and tells each
caller with its answer to go elsewhere. A caller who is silent for `LINGER_SECONDS` is taken to have
nothing under way, and its connection is closed.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any, Final

import uvicorn

from workloads.serving.app import App
from workloads.serving.connection import Connection, Lines
from workloads.serving.settings import ServingSettings

LINGER_SECONDS: Final = 0.5
_BACKLOG: Final = 2048
_KEEP_ALIVE: Final = 620
"""Longer than the load balancers in front keep an idle connection (600 s), so that it is they who
close it and none of their requests meets a closed one."""


class Server(uvicorn.Server):
    """Serves one application until SIGTERM."""

    def __init__(self, app: App, settings: ServingSettings) -> None:
        self.failed = False
        """Whether it ends because it cannot do what it was started for."""
        self._app = app
        self._grace = settings.grace_seconds
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.aip_http_port,
                loop="uvloop",
                http=Connection,
                ws="none",
                lifespan="off",
                backlog=_BACKLOG,
                log_level="warning",
                access_log=False,
                date_header=False,
                server_header=False,
                # Nobody asks here who the caller is.
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=settings.grace_seconds,
            )
        )
        metrics = app.metrics
        lines = self._lines = Lines(
            settings, _KEEP_ALIVE, lambda status: metrics.requests.update([("http", status)])
        )
        self.server_state = lines
        for name, text, value in (
            ("connections", "Connections that are open", lambda: len(lines.connections)),
            ("connections_limit", "As many, and idle ones make room", lambda: lines.most),
        ):
            metrics.watch(f"esteira_{name}", "gauge", text, value)

    def fail(self) -> None:
        """End, because there is nothing to serve. May be called on any thread."""
        self.failed = True
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """What is done ten times a second."""
        self._lines.watch(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: see the module."""
        # Whoever has connected already is let in before the door closes. Only then is anybody told
        # to go: who connects anew at once would be reset amid those who wait to be let in.
        await asyncio.sleep(0)
        for server in self.servers:
            server.close()
        self._app.end()
        latest = time.monotonic() + self._grace
        silent_since = time.monotonic()
        seen: Any = None
        while self.server_state.connections and time.monotonic() < latest:
            now = (self.server_state.total_requests, self._app.under_way)
            if now != seen or self._app.under_way:
                seen, silent_since = now, time.monotonic()
            if time.monotonic() - silent_since > LINGER_SECONDS:
                break
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
