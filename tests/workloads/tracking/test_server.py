"""MLflow on PostgreSQL and Cloud Storage of the local cloud, used through its own client."""

from __future__ import annotations

import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from localcloud.home import LOOPBACK
from localcloud.provider.clients import Clients
from localcloud.services.postgres.client import connected
from localcloud.services.postgres.cluster import Cluster
from tests.workloads.local_cloud import make_database
from tests.workloads.tracking_cloud import USER, TrackingCloud, until
from workloads.tracking import schema


@pytest.fixture
def client(tracking_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_server, registry_uri=tracking_server)


def test_what_a_run_logs_is_read_back(
    tracking_cloud: TrackingCloud, client: Any, tmp_path: Path
) -> None:
    experiment = client.create_experiment("tried")
    run = client.create_run(experiment)
    client.log_param(run.info.run_id, "iterations", 200)
    client.log_metric(run.info.run_id, "roc_auc", 0.681, step=1)
    file = tmp_path / "model.onnx"
    file.write_bytes(b"\x08" + b"onnx" * 1000)
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
    place = f"artifacts/{experiment}/{run.info.run_id}/artifacts/"
    bucket = Clients(tracking_cloud.home).storage.bucket("p-mlflow")
    assert [one.name for one in bucket.list_blobs(prefix=place)] == [f"{place}model.onnx"]
    with connected(tracking_cloud.home, "mlflow") as connection:
        found = connection.execute("SELECT value FROM params WHERE key = 'iterations'").fetchone()
    assert found == ("200",)


def test_a_model_and_its_alias_are_registered(client: Any) -> None:
    experiment = client.create_experiment("registry")
    run = client.create_run(experiment)
    client.create_registered_model("tried")
    version = client.create_model_version(
        "tried", f"runs:/{run.info.run_id}/model", run.info.run_id
    )
    client.set_registered_model_alias("tried", "champion", version.version)
    assert client.get_model_version_by_alias("tried", "champion").version == version.version


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/ajax-api/3.0/mlflow/jobs/any", None, 404),
        ("/api/2.0/mlflow/webhooks/list", None, 404),
        ("/api/2.0/mlflow/experiments/get?experiment_id=0", "evil.example.com", 403),
        ("/health", "evil.example.com", 200),
    ],
)
def test_what_is_not_ours_is_refused(
    tracking_server: str, path: str, host: str | None, status: int
) -> None:
    request = urllib.request.Request(tracking_server + path)
    if host is not None:
        request.add_header("Host", host)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            found = answer.status
    except urllib.error.HTTPError as error:
        found = error.code
    assert found == status


def test_instances_that_start_at_once_make_the_tables_once(
    tracking_cloud: TrackingCloud, tracking_server: str
) -> None:
    """The lock is PostgreSQL's: whoever has it makes the others wait, in other containers too."""
    del tracking_server
    make_database(tracking_cloud.home, "fresh")
    port = Cluster(tracking_cloud.home).port
    uri = f"postgresql+psycopg://{USER.replace('@', '%40')}@{LOOPBACK}:{port}/fresh"
    with ThreadPoolExecutor(2) as pool, connected(tracking_cloud.home, "fresh") as holder:
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
