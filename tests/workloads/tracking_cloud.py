"""MLflow's server on PostgreSQL and Cloud Storage of a local cloud, as a process."""

from __future__ import annotations

import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from localcloud.home import LOOPBACK, Endpoints, Home
from localcloud.provider.clients import Clients
from tests.workloads.local_cloud import RECORDS, LocalCloud, make_database

__all__ = ["RECORDS", "USER", "TrackingCloud", "until"]
USER = "tracking@p.iam"


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(0.05)
    return value


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


class TrackingCloud:
    """What MLflow's server has in a local cloud, where PostgreSQL and Cloud Storage run."""

    def __init__(self, local: LocalCloud) -> None:
        """With the database, the account and the bucket of the program."""
        self._local = local
        make_database(local.home, "mlflow", USER)
        Clients(local.home).storage.create_bucket("p-mlflow")

    @property
    def home(self) -> Home:
        """Of the local cloud."""
        return self._local.home

    @property
    def endpoints(self) -> Endpoints:
        """Of the local cloud."""
        return self._local.endpoints

    def settings(self, port: int) -> dict[str, str]:
        """The server's environment, as the program sets it."""
        return {
            "DATABASE_HOST": LOOPBACK,
            "DATABASE_NAME": "mlflow",
            "DATABASE_USER": USER,
            "ARTIFACTS": "gs://p-mlflow/artifacts",
            "ALLOWED_HOSTS": "127.0.0.1:*",
            "PORT": str(port),
            "HOST": LOOPBACK,
        }

    def serve(self) -> str:
        """Start MLflow; its address, once it answers."""
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        child = self._local.start(
            "mlflow",
            [sys.executable, "-m", "workloads.tracking"],
            {**self.endpoints.environment(), **self.settings(port)},
        )
        url = f"http://{LOOPBACK}:{port}"

        def ready() -> bool:
            assert child.poll() is None, (self.home.logs / "mlflow.log").read_text()
            return _answers(f"{url}/health")

        until(ready, 60)
        return url
