"""Runs the service: as a process, or inside a test in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import uvicorn

from localcloud.home import LOOPBACK, Home, NotStarted
from localcloud.services.storage.app import build_app
from localcloud.services.storage.clock import Clock, wall_clock
from localcloud.services.storage.service import CloudStorage

log = logging.getLogger(__name__)

_GRACE: Final = 1  # seconds for downloads under way when the process is told to end
_BACKLOG: Final = 512


class _Uvicorn(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again after its shutdown, and the process not exit with 0.
        yield


def _listen(port: int) -> socket.socket:
    listener = socket.create_server((LOOPBACK, port), backlog=_BACKLOG)
    # What is accepted inherits it; asyncio sees to it only for sockets that it made itself. The
    # second write of an answer could otherwise wait for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.set_inheritable(True)
    return listener


def _server(storage: CloudStorage) -> _Uvicorn:
    return _Uvicorn(
        uvicorn.Config(
            build_app(storage),
            access_log=False,
            log_config=None,
            lifespan="on",
            timeout_graceful_shutdown=_GRACE,
            timeout_keep_alive=60,
            server_header=False,
        )
    )


def _pubsub_of(home: Home) -> Callable[[], str]:
    return lambda: home.endpoints().address("pubsub")


def serve(home: Home) -> None:
    """Serve a home until SIGTERM or SIGINT.

    Raises:
        NotStarted: the home has no endpoints.
        OSError: the port is taken.
    """
    endpoints = home.endpoints()
    listener = _listen(endpoints.ports["storage"])
    storage = CloudStorage(home.folder("storage"), endpoints.url("storage"), _pubsub_of(home))
    server = _server(storage)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, setattr, server, "should_exit", True)
        log.info("Cloud Storage at %s", endpoints.url("storage"))
        await server.serve(sockets=[listener])

    uvicorn_loop = server.config.get_loop_factory()
    with asyncio.Runner(loop_factory=uvicorn_loop) as runner:
        runner.run(run())


class InProcess:
    """The service in a thread of this process, for tests.

    Args:
        folder: where its state is kept.
        pubsub: gives `host:port` of Pub/Sub.
        clock: the present.
        port: 0 for a free one.
        sweep_every: seconds between two rounds of lifecycle rules.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pubsub: Callable[[], str] | None = None,
        clock: Clock = wall_clock,
        port: int = 0,
        sweep_every: float = 3600,
    ) -> None:
        self._listener = _listen(port)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.storage = CloudStorage(
            folder, self.url, pubsub or _no_pubsub, clock=clock, sweep_every=sweep_every
        )
        self._server = _server(self.storage)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cloud-storage", daemon=True)

    def _run(self) -> None:
        async def run() -> None:
            self._loop = asyncio.get_running_loop()
            self._ready.set()
            await self._server.serve(sockets=[self._listener])

        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            runner.run(run())

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it; a second time does nothing."""
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def sweep(self) -> None:
        """Apply the lifecycle rules now."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self.storage.lifecycle.sweep(), self._loop).result()


def _no_pubsub() -> str:
    raise NotStarted("this Cloud Storage was started without a Pub/Sub")
