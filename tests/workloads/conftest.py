"""A local cloud of BigQuery, Cloud Storage and Vertex AI, with some January flights in it."""

from __future__ import annotations

import dataclasses
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from localcloud.home import Home
from localcloud.images import Images
from localcloud.services import bigquery as bigquery_emulator
from tests.workloads.local_cloud import ACCOUNTS, LocalCloud, make_database
from tests.workloads.tracking_cloud import TrackingCloud
from workloads import gcp
from workloads import product as products
from workloads.batch_prediction.tables import batch_table, dataset
from workloads.contracts import bigquery_schema
from workloads.ingestion.tables import PROVENANCE
from workloads.product import Product
from workloads.replay.history import between, frame
from workloads.training.registration import Registration
from workloads.training.run import TrainingRun
from workloads.training.submit import StepProgress, new_run, submit

# Boosting spins at barriers by default; beside other processes a fit of 2 s then takes 20.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

ROOT = Path(__file__).parents[2]
PROJECT = "esteira-test"
IMAGES = f"us-central1-docker.pkg.dev/{PROJECT}/esteira"
NEW_YORK = ZoneInfo("America/New_York")
_CLIENTS = (
    gcp.bigquery_client,
    gcp.bigquery_read_client,
    gcp.bigquery_write_client,
    gcp.storage_client,
)


@pytest.fixture(scope="session")
def _local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """The one home of a session; nothing runs in it before another fixture starts it."""
    home = Home(tmp_path_factory.mktemp("cloud"))
    local = LocalCloud(home, home.reserve(PROJECT))
    try:
        yield local
    finally:
        local.stop()


@pytest.fixture(scope="session")
def _storage(_local: LocalCloud) -> None:
    _local.start_service("storage")
    _local.await_service("storage", "/healthz")


@pytest.fixture(scope="session")
def _postgres(_local: LocalCloud) -> Home:
    """PostgreSQL; `make_database` makes a database in it."""
    _local.start_postgres()
    return _local.home


@pytest.fixture(scope="session")
def _records(_postgres: Home) -> Home:
    """The same, with a database `esteira` for `ACCOUNTS`. Each test clears what it will make."""
    make_database(_postgres, "esteira", *ACCOUNTS)
    return _postgres


@pytest.fixture(scope="session")
def _processes(_local: LocalCloud, _storage: None) -> LocalCloud:
    for image in ("training", "serving"):
        dockerfile = ROOT / "workloads" / "images" / image / "Dockerfile"
        Images(_local.home).build(f"{IMAGES}/{image}:test", dockerfile, ROOT)
    bigquery = bigquery_emulator.command(_local.home, _local.endpoints)
    _local.start("bigquery", bigquery.words, bigquery.env)
    rest = ["localcloud.rest", "--only", "vertex", "--only", "kubeflow"]
    _local.start("rest", [sys.executable, "-m", *rest, "--home", str(_local.home.path)])
    _local.await_service("bigquery", f"/bigquery/v2/projects/{PROJECT}/datasets")
    _local.await_service("rest", "/healthz")
    return _local


@contextmanager
def reaching(local: LocalCloud, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment points at the local cloud, until the patch is undone."""
    for name, value in local.endpoints.environment().items():
        patch.setenv(name, value)
    for client in _CLIENTS:
        client.cache_clear()
    yield
    for client in _CLIENTS:
        client.cache_clear()


@pytest.fixture
def cloud(_processes: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCloud]:
    """The environment points at the local cloud for the length of one test."""
    with reaching(_processes, monkeypatch):
        yield _processes


@pytest.fixture(scope="session")
def product() -> Product:
    return products.load("flight-delay")


def load_rows(product: Product, tables: dict[str, pd.DataFrame]) -> None:
    """Fill these raw tables of a product as ingestion would, replacing what they hold."""
    from google.cloud import bigquery

    client = gcp.bigquery_client()
    client.create_dataset(f"{product.id}_raw", exists_ok=True)
    for source in product.own:
        if source.contract.PLURAL not in tables:
            continue
        rows = tables[source.contract.PLURAL].copy()
        for name, value in (
            ("message_id", [f"m{one}" for one in range(len(rows))]),
            ("publish_time", pd.Timestamp("2013-01-01", tz="UTC")),
            ("ingested_at", pd.Timestamp("2013-01-01", tz="UTC")),
            ("source", "gs://test/history.jsonl#1:1"),
        ):
            if name not in rows:
                rows[name] = value
        schema = [*bigquery_schema(source.contract), *PROVENANCE]
        kinds = {"TIMESTAMP": "datetime64[us, UTC]", "STRING": "string", "INT64": "Int64"}
        for column in schema:
            kind = kinds.get(column["type"], "float64")
            rows[column["name"]] = rows[column["name"]].astype(kind)
        content = io.BytesIO()
        rows[[column["name"] for column in schema]].to_parquet(content, index=False)
        content.seek(0)
        fields = [bigquery.SchemaField.from_api_repr(column) for column in schema]
        client.load_table_from_file(
            content,
            f"{gcp.project()}.{product.id}_raw.{source.contract.PLURAL}",
            job_config=bigquery.LoadJobConfig(
                source_format="PARQUET", write_disposition="WRITE_TRUNCATE", schema=fields
            ),
        ).result()


@pytest.fixture(name="load_rows")
def _load_rows() -> Callable[[Product, dict[str, pd.DataFrame]], None]:
    return load_rows


def history(product: Product, days: int) -> dict[str, pd.DataFrame]:
    """Real rows of the first days of January 2013; aircraft as they are in the register."""
    start = datetime(2013, 1, 1, tzinfo=UTC)
    end = start + timedelta(days=days)
    tables: dict[str, pd.DataFrame] = {}
    for source in product.own:
        contract = source.contract
        tables[contract.PLURAL] = between(frame(product, contract), contract, start, end)
    return tables


@pytest.fixture(scope="session")
def _filled() -> dict[str, bool]:
    return {}


@pytest.fixture
def january(cloud: LocalCloud, product: Product, _filled: dict[str, bool]) -> Product:
    """The product, with the raw tables holding 1 to 14 January, and its bucket and tables made."""
    if not _filled:
        from google.cloud import bigquery

        load_rows(product, history(product, days=15))
        gcp.storage_client().create_bucket(f"{PROJECT}-{product.name}-models")
        client = gcp.bigquery_client()
        client.create_dataset(dataset(product), exists_ok=True)
        batch = batch_table(product)
        fields = [bigquery.SchemaField.from_api_repr(one) for one in batch.columns]
        client.create_table(
            bigquery.Table(f"{PROJECT}.{dataset(product)}.{batch.name}", schema=fields)
        )
        gcp.vertex().Endpoint.create(display_name=product.name, endpoint_id="1234567890")
        _filled["january"] = True
    return product


def local(day: int, hour: int = 0) -> datetime:
    """A moment of January 2013 in New York."""
    return datetime(2013, 1, day, hour, tzinfo=NEW_YORK)


@dataclasses.dataclass
class Trained:
    """A run that has been through the pipeline."""

    run: TrainingRun
    registration: Registration
    progress: list[StepProgress]


@pytest.fixture(scope="session")
def _runs() -> list[Trained]:
    return []


@pytest.fixture
def trained(january: Product, _runs: list[Trained]) -> Trained:
    """The first version of the model, made by the pipeline on the local Vertex AI, once."""
    if not _runs:
        run = new_run(
            january,
            start=local(1),
            split=local(11),
            end=local(14),
            training_image=f"{IMAGES}/training:test",
            serving_image=f"{IMAGES}/serving:test",
        )
        progress: list[StepProgress] = []
        _runs.append(Trained(run, submit(run, on_progress=progress.append), progress))
    return _runs[0]


Challenge = Callable[..., Registration]


@pytest.fixture(scope="session")
def _fitted() -> dict[float, tuple[Any, bytes, Any]]:
    return {}


@pytest.fixture
def challenge(
    trained: Trained, january: Product, _fitted: dict[float, tuple[Any, bytes, Any]]
) -> Challenge:
    """Registers another version, without the pipeline: `challenge(name, noise=share of labels)`."""
    from workloads.products.flight_delay.training import train
    from workloads.training import data, evaluation, fitting, registration

    def fit(noise: float) -> tuple[Any, bytes, Any]:
        run = trained.run
        parts = data.extract(january, run.start, run.split, run.end)
        training = data.load(parts.training)
        labels = data.labels(january, training)
        flipped = np.random.default_rng(0).random(labels.size) < noise
        labels = np.where(flipped, 1 - labels, labels).astype(np.int8)
        content = fitting.export(january, train(data.frame(january, training), labels))
        return parts, content, evaluation.evaluate(january, content, parts)

    def make(name: str, *, noise: float = 0.0) -> Registration:
        if noise not in _fitted:
            _fitted[noise] = fit(noise)
        parts, content, evaluated = _fitted[noise]
        manifest = registration.write_artifacts(
            january, name, content, parts, evaluated, "test-code"
        )
        return registration.register(january, manifest, f"{IMAGES}/serving:test")

    return make


@pytest.fixture(scope="session")
def tracking_cloud(_local: LocalCloud, _storage: None, _postgres: Home) -> TrackingCloud:
    """PostgreSQL and Cloud Storage, with what MLflow has in them."""
    return TrackingCloud(_local)


@pytest.fixture(scope="session")
def tracking_server(tracking_cloud: TrackingCloud) -> str:
    """The address of the one MLflow that all tests of a session share: it takes 8 s to start."""
    return tracking_cloud.serve()
