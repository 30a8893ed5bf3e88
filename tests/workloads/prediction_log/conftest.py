"""PostgreSQL for the prediction log, and rows for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcloud.home import Home
from localcloud.provider.clients import Clients
from localcloud.provider.realise.sql_database import Database
from localcloud.provider.realise.sql_user import User
from localcloud.services.postgres.client import await_end, await_ready, connected
from localcloud.services.postgres.cluster import Cluster, Instance

CHECKOUT = Path(__file__).resolve().parents[3]
INSTANCE = {"project": "p", "instance": "records"}


@pytest.fixture(scope="session")
def _log_database() -> Iterator[Home]:
    folder = Path(tempfile.mkdtemp(prefix="esteira-log-"))
    home = Home(folder / "home")
    home.reserve()
    home.logs.mkdir(parents=True)
    Cluster(home).hold(Instance(project="p", name="records", region="us-central1"))
    with (home.logs / "postgres.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "localcloud.services.postgres", "--home", str(home.path)],
            cwd=CHECKOUT,
            stdout=log,
            stderr=log,
        )
    try:
        await_ready(home)
        clients = Clients(home)
        Database(clients).create({**INSTANCE, "name": "esteira"})
        for name in ("log@p.iam", "other@p.iam"):
            User(clients).create(
                {
                    **INSTANCE,
                    "name": name,
                    "type": "CLOUD_IAM_SERVICE_ACCOUNT",
                    "databaseRoles": ["cloudsqlsuperuser"],
                }
            )
        yield home
    finally:
        process.terminate()
        process.wait(15)
        await_end(home)
        shutil.rmtree(folder)


@pytest.fixture
def empty(_log_database: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A database without the table."""
    address = _log_database.endpoints().address("postgres")
    monkeypatch.setenv("CLOUD_SQL_EMULATOR_HOST", address)
    with connected(_log_database, "esteira") as connection:
        connection.execute("DROP TABLE IF EXISTS prediction_log")
    return _log_database
