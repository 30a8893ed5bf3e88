"""PostgreSQL of a home of its own, as the process that the daemon would start."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud import daemon
from localcloud.home import Home
from localcloud.services.postgres.client import await_end, await_ready
from localcloud.services.postgres.cluster import Cluster, Instance
from tests.tied import tied

CHECKOUT = Path(__file__).resolve().parents[3]


class Postgres:
    """The service of one home: stands in for the daemon, without the services that take long."""

    def __init__(self, home: Home) -> None:
        self.home = home
        home.reserve()
        self.cluster = Cluster(home)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the service, as the daemon does it."""
        self.home.logs.mkdir(parents=True, exist_ok=True)
        module = "localcloud.services.postgres"
        with (self.home.logs / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen(
                tied([sys.executable, "-m", module, "--home", str(self.home.path)]),
                cwd=CHECKOUT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def hold(self) -> None:
        """Have an instance, and wait until it answers."""
        self.cluster.hold(Instance(project="p", name="records", region="us-central1"))
        self.start()
        await_ready(self.home)

    def end(self) -> None:
        """SIGTERM."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(15)

    def reconcile(self, home: Home) -> bool:
        """What the daemon does when it is told that something changed."""
        assert home.path == self.home.path
        running = self.process is not None and self.process.poll() is None
        if self.cluster.instance is None:
            self.end()
        elif not running:
            self.start()
        return True

    def log(self) -> str:
        """What it said."""
        return (self.home.logs / "postgres.log").read_text()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="esteira-postgres-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def postgres(folder: Path) -> Iterator[Postgres]:
    """PostgreSQL, running; the provider's realisers reach it as they would the daemon."""
    one = Postgres(Home(folder / "home"))
    kept = daemon.reconcile
    daemon.reconcile = one.reconcile
    try:
        one.hold()
        yield one
    finally:
        daemon.reconcile = kept
        one.end()
        await_end(one.home)
        assert one.process is None or one.process.poll() is not None
