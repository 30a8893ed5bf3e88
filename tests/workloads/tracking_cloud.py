"""MLflow's server on PostgreSQL and Cloud Storage of a local cloud, as processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localcloud.home import LOOPBACK, Home
from localcloud.provider.clients import Clients
from localcloud.provider.realise.sql_database import Database
from localcloud.provider.realise.sql_user import User
from localcloud.services.postgres.client import await_ready
from localcloud.services.postgres.cluster import Cluster, Instance

CHECKOUT = Path(__file__).resolve().parents[2]
USER = "tracking@p.iam"
RECORDS = {"project": "p", "instance": "records"}


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(0.05)
    return value


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


class TrackingCloud:
    """PostgreSQL and Cloud Storage of one home, as processes; and servers on them."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "home")
        self.endpoints = self.home.reserve()
        self._children: list[subprocess.Popen[bytes]] = []
        self.home.logs.mkdir(parents=True)

    def run(self, module: str, *words: str, **env: str) -> subprocess.Popen[bytes]:
        """Start a module; its output goes to a log of its name."""
        kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        with (self.home.logs / f"{module}.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                cwd=CHECKOUT,
                env={**kept, **self.endpoints.environment(), **env},
                stdout=log,
                stderr=log,
            )
        self._children.append(child)
        return child

    def start(self) -> None:
        """Bring the services up, with the database, the account and the bucket of the program."""
        Cluster(self.home).hold(Instance(project="p", name="records", region="us-central1"))
        for service in ("postgres", "storage"):
            self.run(f"localcloud.services.{service}", "--home", str(self.home.path))
        await_ready(self.home)
        clients = Clients(self.home)
        Database(clients).create({**RECORDS, "name": "mlflow"})
        User(clients).create(
            {
                **RECORDS,
                "name": USER,
                "type": "CLOUD_IAM_SERVICE_ACCOUNT",
                "databaseRoles": ["cloudsqlsuperuser"],
            }
        )
        until(lambda: answers(f"{self.endpoints.url('storage')}/healthz"))
        clients.storage.create_bucket("p-mlflow")

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
        child = self.run("workloads.tracking", **self.settings(port))
        url = f"http://{LOOPBACK}:{port}"
        log = self.home.logs / "workloads.tracking.log"

        def ready() -> bool:
            assert child.poll() is None, log.read_text()
            return answers(f"{url}/health")

        until(ready, 60)
        return url

    def stop(self) -> None:
        for child in reversed(self._children):
            if child.poll() is None:
                child.terminate()
        for child in self._children:
            child.wait(15)
