"""arrival-delay, from another product's raw tables to a version that serves and predicts days."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from localcloud.home import Home
from localcloud.services.postgres.client import connected
from tests.workloads.conftest import LocalCloud, reaching
from tests.workloads.local_cloud import ACCOUNTS
from workloads import gcp
from workloads import product as products
from workloads.batch_prediction import __main__ as batch_job
from workloads.batch_prediction.tables import NAME, batch_table, dataset
from workloads.batch_prediction.task import Outcome, predict_day
from workloads.database import DatabaseSettings
from workloads.features.query import FeatureQuery, InvalidFeatureQuery
from workloads.manifest import ANSWERS_PROFILE, EVALUATION, EXAMPLES, PROFILE, Example
from workloads.product import Product
from workloads.registry import CHALLENGER, CHAMPION, Registry
from workloads.release.controller import Controller
from workloads.release.endpoint import Endpoint
from workloads.release.states import Strategy
from workloads.release.store import opened
from workloads.training import data, evaluation, fitting, registration
from workloads.training.registration import Registration

IMAGE = "us-central1-docker.pkg.dev/esteira-test/esteira/serving:test"
NEW_YORK = ZoneInfo("America/New_York")
DAY = date(2013, 1, 2)
"""Of the first days, before which there is little that its features are made of."""
PARTS = tuple(datetime(2013, 1, day, tzinfo=NEW_YORK) for day in (1, 8, 11))


@pytest.fixture
def arrival_delay(january: Product) -> Product:
    """The product beside flight-delay, whose raw tables hold January."""
    product = products.load("arrival-delay")
    bucket = f"{gcp.project()}-{product.name}-models"
    client = gcp.storage_client()
    if client.lookup_bucket(bucket) is None:
        client.create_bucket(bucket)
    assert january.name in product.owners
    return product


def test_its_features_are_made_of_the_raw_tables_of_flight_delay(arrival_delay: Product) -> None:
    rows = FeatureQuery(arrival_delay).run(PARTS[1], PARTS[2])

    late = rows.column("minutes_late")
    assert rows.num_rows > 2000
    assert pa.types.is_integer(late.type)
    assert 0 < late.null_count < rows.num_rows / 10, "cancelled flights have no label"
    assert rows.column("aircraft_delay_24h").null_count < rows.num_rows / 2


def test_its_features_may_not_name_the_raw_tables_themselves(
    arrival_delay: Product, tmp_path: Path
) -> None:
    sql = tmp_path / "features.sql"
    sql.write_text("SELECT * FROM `esteira-test.flight_delay_raw.flights`")
    features = dataclasses.replace(arrival_delay.features, sql=sql)

    with pytest.raises(InvalidFeatureQuery, match="names the dataset flight_delay_raw"):
        FeatureQuery(dataclasses.replace(arrival_delay, features=features)).text()


@pytest.fixture(scope="module")
def _made() -> list[Registration]:
    return []


@pytest.fixture
def made(arrival_delay: Product, _made: list[Registration]) -> Registration:
    """A version of three days of January, trained and registered once."""
    if not _made:
        parts = data.extract(arrival_delay, *PARTS)
        assert data.validate(arrival_delay, parts).leak_check_rows > 0
        model = fitting.fit_and_export(arrival_delay, parts)
        evaluated = evaluation.evaluate(arrival_delay, model, parts)
        manifest = registration.write_artifacts(
            arrival_delay, "arrival-delay-test", model, parts, evaluated, "test-code"
        )
        _made.append(registration.register(arrival_delay, manifest, IMAGE))
    return _made[0]


def test_it_is_trained_judged_and_registered(arrival_delay: Product, made: Registration) -> None:
    assert made.metrics["mae"].value < made.baseline["mae"].value
    assert made.metrics["pinball"].value < made.baseline["pinball"].value
    version = Registry(arrival_delay).get(CHALLENGER)
    assert version.number == made.version
    (shown,) = version.model.list_model_evaluations()
    assert shown.metrics["meanAbsoluteError"] == pytest.approx(made.metrics["mae"].value)
    assert "regression_metrics" in shown._gca_resource.metrics_schema_uri
    examples = version.folder.read_json(EXAMPLES, list[Example])
    request = arrival_delay.features.request
    found = version.scorer(arrival_delay).rows([request(**one.instance) for one in examples])
    assert found.lower is not None
    assert found.lower.tolist() == pytest.approx([one.lower for one in examples])
    assert version.manifest().answered == {
        "minutes_late": "value",
        "lower": "lower",
        "upper": "upper",
    }
    assert set(version.folder.read_json(PROFILE, dict)) == set(request.__struct_fields__)
    assert "value" in version.folder.read_json(ANSWERS_PROFILE, dict)
    assert "| mae |" in version.folder.read(EVALUATION).decode()


@pytest.fixture
def database(_records: Home, monkeypatch: pytest.MonkeyPatch) -> DatabaseSettings:
    """The stack's database, as the product's batch job reaches it."""
    address = ("127.0.0.1", "esteira", ACCOUNTS[0])
    names = ("database_host", "database_name", "database_user")
    for name, value in zip(names, address, strict=True):
        monkeypatch.setenv(name.upper(), value)
    return DatabaseSettings()  # pyright: ignore[reportCallIssue]  # from the environment


@pytest.fixture(scope="module")
def _released(_processes: LocalCloud) -> Iterator[list[Product]]:
    """What serves at the end of the module; nobody else asks it."""
    served: list[Product] = []
    yield served
    with pytest.MonkeyPatch.context() as patch, reaching(_processes, patch):
        for one in served:
            Endpoint(one).resource.delete(force=True)
            Registry(one).drop(CHAMPION)


@pytest.fixture
def released(
    arrival_delay: Product,
    made: Registration,
    database: DatabaseSettings,
    _records: Home,
    _released: list[Product],
) -> Product:
    """The product with its endpoint and its tables, as a stack makes them, and a champion."""
    if not _released:
        from google.cloud import bigquery

        with connected(_records, "esteira") as connection:
            for schema in ("release", "bi", "predictions"):
                connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())
        client, table = gcp.bigquery_client(), batch_table(arrival_delay)
        client.create_dataset(dataset(arrival_delay), exists_ok=True)
        fields = [bigquery.SchemaField.from_api_repr(one) for one in table.columns]
        client.create_table(bigquery.Table(_batch(arrival_delay), schema=fields))
        gcp.vertex().Endpoint.create(display_name=arrival_delay.name, endpoint_id="1234567891")
        _released.append(arrival_delay)
        with opened(database, "ana@laptop") as store:
            Controller(arrival_delay, store).promote(
                made.version, approved=True, strategy=Strategy.DIRECT
            )
    return arrival_delay


def _batch(product: Product) -> str:
    return f"{gcp.project()}.{dataset(product)}.{NAME}"


def test_its_endpoint_answers_with_minutes_and_their_bounds(
    released: Product, made: Registration
) -> None:
    examples = Registry(released).get(made.version).folder.read_json(EXAMPLES, list[Example])

    answers: Any = (
        Endpoint(released).resource.predict([one.instance for one in examples]).predictions
    )

    assert [one["minutes_late"] for one in answers] == pytest.approx(
        [one.value for one in examples], abs=1e-3
    )
    assert all(one["lower"] <= one["minutes_late"] <= one["upper"] for one in answers)
    assert {one["model"] for one in answers} == {"arrival-delay-test"}


@pytest.fixture
def analyst(_records: Home) -> Callable[[str], list[tuple[Any, ...]]]:
    """Asks the database as somebody who may read what is for BI tools, and nothing else."""

    def ask(query: str) -> list[tuple[Any, ...]]:
        with connected(_records, "esteira") as connection:
            connection.execute("SET ROLE bi_reader")
            return connection.execute(query.encode()).fetchall()

    return ask


def test_its_batch_job_fills_its_table_and_the_view_for_bi_tools(
    released: Product,
    made: Registration,
    database: DatabaseSettings,
    analyst: Callable[[str], list[tuple[Any, ...]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = released.batch.tasks
    assert tasks == 2
    start = datetime(DAY.year, DAY.month, DAY.day, tzinfo=NEW_YORK)
    questions = FeatureQuery(released).run(start, start.replace(day=DAY.day + 1))
    asked = sorted(questions.column("flight_id").to_pylist())

    first = predict_day(released, DAY, index=0, count=tasks, database=database)
    # The other task as Cloud Run tells it what to do, by its environment alone.
    for name, value in {
        "PRODUCT": released.name,
        "PREDICTION_DATE": DAY.isoformat(),
        "CLOUD_RUN_TASK_INDEX": "1",
        "CLOUD_RUN_TASK_COUNT": str(tasks),
    }.items():
        monkeypatch.setenv(name, value)
    assert batch_job.main() == 0

    assert first == Outcome(
        day=DAY, rows=first.rows, model_version=made.version, published=first.rows
    )
    assert 0 < first.rows < len(asked)
    columns = "entity, prediction, lower, upper, model_version"
    written = gcp.bigquery_client().query(
        f"SELECT {columns} FROM `{_batch(released)}` ORDER BY entity"
    )
    rows = [tuple(row.values()) for row in written.result()]
    assert [row[0] for row in rows] == asked
    assert all(lower <= value <= upper for _, value, lower, upper, _ in rows)
    shown = analyst(
        f"SELECT {columns} FROM bi.arrival_delay_daily"
        f" WHERE prediction_date = '{DAY}' ORDER BY entity COLLATE \"C\""
    )
    assert shown == rows
