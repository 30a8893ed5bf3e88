"""The REST APIs of a local cloud as a process of their own, to be killed and started again."""

from __future__ import annotations

import contextlib
import os
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from google.auth.credentials import AnonymousCredentials
from googleapiclient.discovery import build

from localcloud.home import Home
from localcloud.images import Images

from .forking import Forked, ForkServer

_CHECKOUT = Path(__file__).resolve().parents[2]


class RestProcess:
    """What `python -m localcloud.rest` is, with chosen services, on a home of its own."""

    def __init__(self, home: Home, services: str, forks: ForkServer) -> None:
        self.home = home
        self._forks = forks
        self.url = home.reserve().url("rest")
        self._services = services
        self._process: Forked | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = self.home.path / "rest.log"
        self._process = self._forks.start(self.home.path, self._services, log)

        def answers() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.log()
            with contextlib.suppress(OSError):
                return urllib.request.urlopen(f"{self.url}/healthz", timeout=1).status == 200
            return False

        wait_until(answers, 30)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(15)

    def log(self) -> str:
        """What it said."""
        return (self.home.path / "rest.log").read_text()

    def client(self, api: str, version: str) -> Any:
        """Google's discovery client for one of its APIs."""
        return build(
            api,
            version,
            static_discovery=True,
            cache_discovery=False,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self.url},
        )

    def image(self, name: str, script: str, **env: str) -> str:
        """Build an image whose entry point is a Python script; its reference."""
        context = self.home.path.parent / "contexts" / name
        context.mkdir(parents=True, exist_ok=True)
        (context / "main.py").write_text(script)
        lines = ["FROM python:3.13-slim", *(f"ENV {key}={value}" for key, value in env.items())]
        lines += ["WORKDIR /app", "COPY main.py .", 'ENTRYPOINT ["python", "main.py"]']
        (context / "Dockerfile").write_text("\n".join(lines) + "\n")
        reference = f"us-central1-docker.pkg.dev/p/repo/{name}:latest"
        Images(self.home).build(reference, context / "Dockerfile", context)
        return reference


def wait_until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {condition}")
        time.sleep(0.05)
    return value


@pytest.fixture
def until() -> Callable[..., Any]:
    """Wait for a condition."""
    return wait_until


@pytest.fixture(scope="session")
def _forks() -> Iterator[ForkServer]:
    forks = ForkServer()
    yield forks
    forks.close()


@pytest.fixture
def rest_process(tmp_path: Path, _forks: ForkServer) -> Iterator[Callable[[str], RestProcess]]:
    """Starts the REST process with the named services; ends it and its workloads."""
    made: list[RestProcess] = []
    folder = tmp_path / "home"

    def make(services: str) -> RestProcess:
        one = RestProcess(Home(folder), services, _forks)
        made.append(one)
        one.start()
        return one

    yield make
    for one in made:
        if one._process is not None and one._process.poll() is None:
            one.stop()
    left = [
        process.pid
        for process in psutil.process_iter()
        if process.pid != os.getpid() and _belongs(process, folder)
    ]
    assert not left, f"processes of {folder} outlived it: {left}"


def _belongs(process: psutil.Process, folder: Path) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return process.status() != psutil.STATUS_ZOMBIE and str(folder) in process.cmdline()
    return False
