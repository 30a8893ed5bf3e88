"""MLflow on PostgreSQL and Cloud Storage of the local cloud, used through its own client."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from localcloud.home import LOOPBACK, Home
from localcloud.provider.clients import Clients
from localcloud.provider.realise.sql_database import Database
from localcloud.provider.realise.sql_user import User
from localcloud.services.postgres.client import await_ready, connected
from localcloud.services.postgres.cluster import Cluster, Instance
from workloads.tracking import schema

CHECKOUT = Path(__file__).resolve().parents[3]
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


class Cloud:
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

    def stop(self) -> None:
        for child in reversed(self._children):
            if child.poll() is None:
                child.terminate()
        for child in self._children:
            child.wait(15)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    folder = Path(tempfile.mkdtemp(prefix="esteira-tracking-"))
    one = Cloud(folder)
    try:
        one.start()
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(cloud: Cloud) -> str:
    """The address of a running server."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = int(probe.getsockname()[1])
    child = cloud.run("workloads.tracking", **cloud.settings(port))
    url = f"http://{LOOPBACK}:{port}"
    log = cloud.home.logs / "workloads.tracking.log"

    def ready() -> bool:
        assert child.poll() is None, log.read_text()
        return answers(f"{url}/health")

    until(ready, 60)
    return url


@pytest.fixture
def client(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server, registry_uri=server)


def test_what_a_run_logs_is_read_back(cloud: Cloud, client: Any, tmp_path: Path) -> None:
    experiment = client.create_experiment("flight-delay")
    run = client.create_run(experiment)
    client.log_param(run.info.run_id, "iterations", 200)
    client.log_metric(run.info.run_id, "roc_auc", 0.681, step=1)
    file = tmp_path / "model.onnx"
    file.write_bytes(b"onnx" * 1000)
    client.log_artifact(run.info.run_id, str(file))
    client.set_terminated(run.info.run_id)

    seen = client.get_run(run.info.run_id)
    assert seen.data.params == {"iterations": "200"}
    assert seen.data.metrics == {"roc_auc": 0.681}
    assert seen.info.status == "FINISHED"
    assert seen.info.artifact_uri.startswith("mlflow-artifacts:/")
    fetched = Path(client.download_artifacts(run.info.run_id, "model.onnx", str(tmp_path / "out")))
    assert fetched.read_bytes() == file.read_bytes()
    # Not beside the server, but in the bucket; and runs not in a file, but in PostgreSQL.
    names = [one.name for one in Clients(cloud.home).storage.list_blobs("p-mlflow")]
    assert names == [f"artifacts/{experiment}/{run.info.run_id}/artifacts/model.onnx"]
    with connected(cloud.home, "mlflow") as connection:
        found = connection.execute("SELECT value FROM params WHERE key = 'iterations'").fetchone()
    assert found == ("200",)


def test_a_model_and_its_alias_are_registered(client: Any) -> None:
    experiment = client.create_experiment("registry")
    run = client.create_run(experiment)
    client.create_registered_model("flight-delay")
    version = client.create_model_version(
        "flight-delay", f"runs:/{run.info.run_id}/model", run.info.run_id
    )
    client.set_registered_model_alias("flight-delay", "champion", version.version)
    assert client.get_model_version_by_alias("flight-delay", "champion").version == version.version


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/ajax-api/3.0/mlflow/jobs/any", None, 404),
        ("/api/2.0/mlflow/webhooks/list", None, 404),
        ("/api/2.0/mlflow/experiments/get?experiment_id=0", "evil.example.com", 403),
        ("/health", "evil.example.com", 200),
    ],
)
def test_what_is_not_ours_is_refused(server: str, path: str, host: str | None, status: int) -> None:
    request = urllib.request.Request(server + path)
    if host is not None:
        request.add_header("Host", host)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            found = answer.status
    except urllib.error.HTTPError as error:
        found = error.code
    assert found == status


def test_instances_that_start_at_once_make_the_tables_once(cloud: Cloud, server: str) -> None:
    """The lock is PostgreSQL's: whoever has it makes the others wait, in other containers too."""
    del server
    clients = Clients(cloud.home)
    Database(clients).create({**RECORDS, "name": "fresh"})
    port = Cluster(cloud.home).port
    uri = f"postgresql+psycopg://{USER.replace('@', '%40')}@{LOOPBACK}:{port}/fresh"
    with ThreadPoolExecutor(2) as pool, connected(cloud.home, "fresh") as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [schema.LOCK])
        both = [pool.submit(schema.migrate, uri) for _ in range(2)]

        def both_wait() -> bool:
            query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            return holder.execute(query).fetchone() == (2,)

        until(both_wait)
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert holder.execute(tables).fetchone() == (0,)
        holder.execute("SELECT pg_advisory_unlock(%s)", [schema.LOCK])
        assert [one.result(60) for one in both] == [None, None]
        assert holder.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
        # An older server must not touch what a later one has made.
        holder.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        with pytest.raises(schema.SchemaTooNew, match="ffffffffffff"):
            schema.migrate(uri)
