"""The daemon that keeps the local cloud's services alive, and how it is started and stopped.

One daemon a home. It starts each service as a child process, starts it again when it dies, on the
same port, and ends them all when it is told to stop. When it is killed itself, the kernel ends the
children; whoever needs the cloud next starts it again, and it finds its state in the home.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import psutil

from localcloud.home import DEFAULT_LOCATION, DEFAULT_PROJECT, Endpoints, Home, NotStarted
from localcloud.processes import Supervisor
from localcloud.services import bigquery
from localcloud.services.postgres.cluster import Cluster

log = logging.getLogger(__name__)

START_TIMEOUT: Final = 60.0
"""Seconds for all services to answer; BigQuery's DuckDB takes about 6 of them when cold."""
STOP_TIMEOUT: Final = 20.0
# In the order of need: the workloads that `rest` brings back call the others.
_CHILDREN: Final = {
    "bigquery": None,
    "pubsub": "localcloud.services.pubsub",
    "storage": "localcloud.services.storage",
    "provider": "localcloud.provider",
    "rest": "localcloud.rest",
}
_ON_DEMAND: Final = "postgres"
"""Runs only while the home holds a database instance; see localcloud/services/postgres."""
_CHECKOUT: Final = str(Path(__file__).resolve().parents[1])
_SILENT: Final = frozenset({"pubsub", "provider", "bigquery_storage", "postgres"})
"""Services that speak no HTTP: that they accept a connection is their answer."""


class StartFailed(RuntimeError):
    """A service did not come up; carries the last lines of its log."""


class Service(msgspec.Struct, kw_only=True):
    """How one service does."""

    name: str
    address: str
    answers: bool


class Status(msgspec.Struct, kw_only=True):
    """How a local cloud does."""

    running: bool
    pid: int | None
    home: str
    services: list[Service]

    @property
    def healthy(self) -> bool:
        """Whether the daemon runs and every service answers."""
        return self.running and all(service.answers for service in self.services)


class _Mark(msgspec.Struct):
    """Who the daemon of a home is. The time tells it from a later process with the same id."""

    pid: int
    created: float


def start(
    home: Home,
    project: str = DEFAULT_PROJECT,
    location: str = DEFAULT_LOCATION,
    progress: Callable[[str], None] = lambda _: None,
) -> Endpoints:
    """Bring the local cloud of a home up and wait until every service answers.

    Does nothing if it is up. Safe to call from several processes at once: one daemon results.

    Raises:
        StartFailed: a service did not answer in time.
    """
    endpoints = home.reserve(project, location)
    if _daemon(home) is None:
        home.logs.mkdir(parents=True, exist_ok=True)
        with (home.logs / "daemon.log").open("ab") as output:
            subprocess.Popen(
                [sys.executable, "-m", "localcloud.daemon", "run", "--home", str(home.path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd=_CHECKOUT,
            )
    deadline = time.monotonic() + START_TIMEOUT
    while waiting := [one for one in _running(home, endpoints) if not answers(endpoints, one)]:
        progress(f"waiting for {', '.join(waiting)}")
        if time.monotonic() > deadline:
            raise StartFailed(_failure(home, waiting))
        time.sleep(0.1)
    return endpoints


def stop(home: Home) -> bool:
    """End the daemon of a home and everything it started. True if there was one."""
    daemon = _daemon(home)
    if daemon is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            daemon.terminate()
            try:
                daemon.wait(STOP_TIMEOUT)
            except psutil.TimeoutExpired:
                for child in daemon.children(recursive=True):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
                daemon.kill()
                daemon.wait(STOP_TIMEOUT)
    # A daemon that was killed may have left workloads that have groups of their own.
    Supervisor(home).end_stale()
    return daemon is not None


def status(home: Home) -> Status:
    """How the local cloud of a home does, asking each service."""
    daemon = _daemon(home)
    try:
        endpoints = home.endpoints()
    except NotStarted:
        return Status(running=False, pid=None, home=str(home.path), services=[])
    return Status(
        running=daemon is not None,
        pid=daemon.pid if daemon else None,
        home=str(home.path),
        services=[
            Service(name=name, address=endpoints.address(name), answers=answers(endpoints, name))
            for name in _running(home, endpoints)
        ],
    )


def reconcile(home: Home) -> bool:
    """Have the daemon start or end what runs on demand. False where no daemon runs."""
    daemon = _daemon(home)
    if daemon is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        daemon.send_signal(signal.SIGUSR1)
        return True
    return False


def answers(endpoints: Endpoints, service: str) -> bool:
    """Whether a service answers: HTTP ones say so, others accept."""
    with contextlib.suppress(OSError):
        if service in _SILENT:
            with socket.create_connection((endpoints.host, endpoints.ports[service]), 0.5):
                return True
        try:
            url = f"{endpoints.url(service)}/healthz"
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 (loopback, our own)
                return True
        except urllib.error.HTTPError:
            # local-bigquery has no /healthz; a 404 of its own is an answer too.
            return service == "bigquery"
    return False


def _running(home: Home, endpoints: Endpoints) -> list[str]:
    """The services that should run now."""
    needed = endpoints.ports
    if _ON_DEMAND in needed and Cluster(home).instance is None:
        return [name for name in needed if name != _ON_DEMAND]
    return list(needed)


def _failure(home: Home, waiting: list[str]) -> str:
    lines = [f"the local cloud did not come up within {START_TIMEOUT:.0f} s"]
    for name in waiting:
        file = home.logs / f"{'bigquery' if name == 'bigquery_storage' else name}.log"
        tail = file.read_text(errors="replace").splitlines()[-8:] if file.exists() else []
        lines += [f"{name} does not answer; its log ({file}) ends:", *(f"  {one}" for one in tail)]
    return "\n".join(lines)


def _daemon(home: Home) -> psutil.Process | None:
    try:
        mark = msgspec.json.decode((home.path / "daemon.json").read_bytes(), type=_Mark)
        process = psutil.Process(mark.pid)
        same = abs(process.create_time() - mark.created) < 1
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, msgspec.DecodeError, psutil.Error):
        return None


@contextlib.contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Hold the home; a second daemon ends at once, and leaves the first one its mark."""
    home.path.mkdir(parents=True, exist_ok=True)
    with (home.path / "daemon.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another daemon holds %s", home.path)
            raise SystemExit(0) from None
        own = psutil.Process()
        mark = home.path / "daemon.json"
        draft = mark.with_suffix(f".{own.pid}")
        draft.write_bytes(msgspec.json.encode(_Mark(own.pid, own.create_time())))
        draft.replace(mark)
        try:
            yield
        finally:
            mark.unlink(missing_ok=True)


async def run(home: Home) -> None:
    """Keep the services of a home alive until told to stop (SIGTERM or SIGINT)."""
    with _alone(home):
        endpoints = home.reserve()
        supervisor = Supervisor(home)
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, stopped.set)
        changed = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, changed.set)
        for name, module in _CHILDREN.items():
            if module is None:
                launch = bigquery.command(home, endpoints)
                words, env = launch.words, launch.env
            else:
                words, env = [sys.executable, "-m", module, "--home", str(home.path)], {}
            await supervisor.start(
                f"service/{name}",
                words,
                env={"PYTHONPATH": _CHECKOUT, **env},
                restart="always",
                log_file=home.logs / f"{name}.log",
            )
        log.info("the local cloud of %s is starting (pid %s)", home.path, os.getpid())
        on_demand = asyncio.create_task(_serve_on_demand(home, supervisor, changed))
        await stopped.wait()
        log.info("stopping")
        on_demand.cancel()
        await asyncio.gather(on_demand, return_exceptions=True)
        await supervisor.close(grace=5)


async def _serve_on_demand(home: Home, supervisor: Supervisor, changed: asyncio.Event) -> None:
    """Run PostgreSQL while the home holds an instance; looks again whenever told to."""
    name = f"service/{_ON_DEMAND}"
    while True:
        changed.clear()
        workload = supervisor.get(name)
        runs = workload is not None and workload.state != "exited"
        try:
            if Cluster(home).instance is None:
                await supervisor.stop(name, grace=5)
            elif not runs:
                words = [sys.executable, "-m", "localcloud.services.postgres"]
                await supervisor.start(
                    name,
                    [*words, "--home", str(home.path)],
                    env={"PYTHONPATH": _CHECKOUT},
                    restart="always",
                    log_file=home.logs / f"{_ON_DEMAND}.log",
                )
        except Exception:
            log.exception("%s could not be started or ended", _ON_DEMAND)
        await changed.wait()


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m localcloud.daemon", description=__doc__)
    parser.add_argument("action", choices=["run", "start", "stop"])
    parser.add_argument("--home", type=Path, required=True)
    arguments = parser.parse_args()
    home = Home(arguments.home.resolve())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if arguments.action == "run":
        asyncio.run(run(home))
    elif arguments.action == "start":
        start(home)
    else:
        stop(home)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
