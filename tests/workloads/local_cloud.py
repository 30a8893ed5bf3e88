"""Services of a local cloud as processes of a test session, all of one home, each started once."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Final

from localcloud.home import Endpoints, Home
from localcloud.provider.clients import Clients
from localcloud.provider.realise.sql_database import Database
from localcloud.provider.realise.sql_user import User
from localcloud.services.postgres.client import await_ready
from localcloud.services.postgres.cluster import Cluster, Instance
from tests.tied import tied

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 90
RECORDS: Final = {"project": "p", "instance": "records"}
"""The instance of PostgreSQL, as the properties of what is in it name it."""
ACCOUNTS: Final = ("one@p.iam", "other@p.iam")
"""Service accounts of two workloads that share tables in the database of the records."""


@dataclasses.dataclass
class LocalCloud:
    """A home, and the processes of its services."""

    home: Home
    endpoints: Endpoints
    processes: list[subprocess.Popen[bytes]] = dataclasses.field(default_factory=list)

    def start(
        self, name: str, words: list[str], env: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process, which ends with this one; its output goes to a log of its name."""
        self.home.logs.mkdir(parents=True, exist_ok=True)
        with (self.home.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                tied(words), cwd=CHECKOUT, env={**os.environ, **(env or {})}, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def start_service(self, name: str) -> None:
        """Start one of the local cloud's own services."""
        module = f"localcloud.services.{name}"
        self.start(name, [sys.executable, "-m", module, "--home", str(self.home.path)])

    def await_service(self, name: str, path: str) -> None:
        """Wait until a service answers over HTTP."""
        address = self.endpoints.url(name) + path
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(address, timeout=2)
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    log = (self.home.logs / f"{name}.log").read_text()[-2000:]
                    raise AssertionError(f"{name} did not start: {error}\n{log}") from error
                time.sleep(0.1)

    def start_postgres(self) -> None:
        """Have PostgreSQL run, with an instance and no database in it."""
        instance = Instance(
            project=RECORDS["project"], name=RECORDS["instance"], region="us-central1"
        )
        Cluster(self.home).hold(instance)
        self.start_service("postgres")
        await_ready(self.home)

    def stop(self) -> None:
        """End all processes."""
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(timeout=30)


def make_database(home: Home, name: str, *accounts: str) -> None:
    """A database, and the service accounts of workloads that share tables in it."""
    clients = Clients(home)
    Database(clients).create({**RECORDS, "name": name})
    for account in accounts:
        User(clients).create(
            {
                **RECORDS,
                "name": account,
                "type": "CLOUD_IAM_SERVICE_ACCOUNT",
                "databaseRoles": ["cloudsqlsuperuser"],
            }
        )
