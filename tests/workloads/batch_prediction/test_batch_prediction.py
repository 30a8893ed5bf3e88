"""A day is predicted once, however often and by however many tasks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests.workloads.batch_prediction.conftest import minutes_late
from workloads import gcp
from workloads.batch_prediction.answering import Answering
from workloads.batch_prediction.settings import BatchPredictionSettings
from workloads.batch_prediction.staging import NoTable, Staging
from workloads.batch_prediction.tables import NAME, batch_table, dataset
from workloads.batch_prediction.task import predict_day
from workloads.features.query import FeatureQuery
from workloads.product import Product
from workloads.registry import CHAMPION, NoSuchVersion, Registry
from workloads.scoring import Answers

DAY = date(2013, 1, 2)
"""Of the first days, before which there is little that its features are made of."""
TABLE = "flight_delay_predictions.batch"


@pytest.fixture
def champion(january: Product, trained: object) -> Iterator[Product]:
    registry = Registry(january)
    registry.move(CHAMPION, registry.get("1"))
    gcp.bigquery_client().query(f"DELETE FROM {TABLE} WHERE TRUE").result()
    yield january
    registry.drop(CHAMPION)


def table() -> list[dict[str, Any]]:
    rows = gcp.bigquery_client().query(f"SELECT * FROM {TABLE} ORDER BY entity").result()
    return [dict(row) for row in rows]


@pytest.fixture(scope="module")
def _asked() -> list[str]:
    return []


@pytest.fixture
def asked(champion: Product, _asked: list[str]) -> list[str]:
    """The questions of the day, by name."""
    from zoneinfo import ZoneInfo

    if not _asked:
        start = datetime(DAY.year, DAY.month, DAY.day, tzinfo=ZoneInfo(champion.batch.time_zone))
        rows = FeatureQuery(champion).run(start, start + timedelta(days=1))
        _asked.extend(sorted(rows.column("flight_id").to_pylist()))
    return _asked


def test_the_tasks_of_a_day_cover_it_once_and_a_retry_adds_nothing(
    champion: Product, asked: list[str]
) -> None:
    outcomes = [predict_day(champion, DAY, index=index, count=2) for index in range(2)]

    rows = table()
    assert [row["entity"] for row in rows] == asked
    assert sum(one.rows for one in outcomes) == len(rows)
    assert min(one.rows for one in outcomes) > 0
    assert {row["model_version"] for row in rows} == {"1"}
    assert {row["prediction_date"] for row in rows} == {DAY}
    threshold = Registry(champion).get("1").manifest().threshold
    assert all(row["answer"] is (row["probability"] >= threshold) for row in rows)

    predict_day(champion, DAY)
    predict_day(champion, DAY, index=1, count=3)

    after = table()
    assert [row["entity"] for row in after] == asked
    assert [row["probability"] for row in after] == [row["probability"] for row in rows]


def test_a_day_without_questions_writes_nothing(champion: Product) -> None:
    assert predict_day(champion, date(2012, 1, 1)).rows == 0
    assert table() == []


def _started(product: Product, index: int, count: int) -> subprocess.Popen[bytes]:
    """A task as Cloud Run starts it."""
    environment = {
        **os.environ,
        "PRODUCT": product.name,
        "PREDICTION_DATE": DAY.isoformat(),
        "CLOUD_RUN_TASK_INDEX": str(index),
        "CLOUD_RUN_TASK_COUNT": str(count),
    }
    words = [sys.executable, "-m", "workloads.batch_prediction"]
    return subprocess.Popen(words, env=environment, stderr=subprocess.PIPE)


def test_two_attempts_at_a_day_side_by_side(champion: Product, asked: list[str]) -> None:
    """One as Cloud Run starts it, while the other is under way here."""
    running = _started(champion, 0, 1)
    outcome = predict_day(champion, DAY)
    log = running.communicate(timeout=120)[1].decode()

    assert running.returncode == 0, log
    assert f"task 1 of 1: {len(asked)} rows of {DAY} predicted by version 1" in log
    assert outcome.rows == len(asked)
    assert [row["entity"] for row in table()] == asked


@pytest.mark.long
def test_tasks_side_by_side_as_cloud_run_starts_them(champion: Product, asked: list[str]) -> None:
    running = [_started(champion, index, 2) for index in (0, 1, 1)]

    logs = [one.communicate(timeout=120)[1].decode() for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], logs
    assert [row["entity"] for row in table()] == asked


def test_a_task_that_is_told_nonsense_says_what(cloud: object, product: Product) -> None:
    wrong = _started(product, 2, 2)
    assert "allowed: below CLOUD_RUN_TASK_COUNT, 2" in wrong.communicate(timeout=60)[1].decode()
    assert wrong.returncode == 2


def test_without_a_champion_it_says_so(january: Product, trained: object) -> None:
    with pytest.raises(NoSuchVersion, match="has no version 'champion'"):
        predict_day(january, DAY)


def test_without_its_table_it_says_what_makes_it(
    champion: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workloads.batch_prediction import staging

    monkeypatch.setattr(staging, "dataset", lambda _: "flight_delay_nowhere")

    with pytest.raises(NoTable, match="`esteira up STACK` makes it"):
        predict_day(champion, DAY)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PRODUCT", "Flight Delay"),
        ("PREDICTION_DATE", "yesterday"),
        ("CLOUD_RUN_TASK_COUNT", "0"),
        ("CLOUD_RUN_TASK_INDEX", "-1"),
        ("CLOUD_RUN_TASK_INDEX", "1"),
    ],
)
def test_settings_name_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    for name, good in (
        ("GOOGLE_CLOUD_PROJECT", "p"),
        ("GOOGLE_CLOUD_LOCATION", "l"),
        ("PRODUCT", "flight-delay"),
        ("PREDICTION_DATE", ""),
    ):
        monkeypatch.setenv(name, good)
    BatchPredictionSettings()  # type: ignore[call-arg]
    monkeypatch.setenv(variable, value)

    with pytest.raises(ValidationError) as found:
        BatchPredictionSettings()  # type: ignore[call-arg]

    assert variable.lower() in str(found.value) or variable in str(found.value)


def test_a_regression_brings_its_interval_into_its_table(cloud: object, product: Product) -> None:
    import numpy as np
    import pyarrow as pa
    from google.cloud import bigquery

    late = minutes_late(product)
    client = gcp.bigquery_client()
    client.create_dataset(dataset(late), exists_ok=True)
    fields = [bigquery.SchemaField.from_api_repr(one) for one in batch_table(late).columns]
    table = f"{gcp.project()}.{dataset(late)}.{NAME}"
    client.create_table(bigquery.Table(table, schema=fields), exists_ok=True)
    noon = datetime(2013, 1, 12, 17, tzinfo=UTC)

    class Model:
        def table(self, rows: pa.RecordBatch) -> Answers:
            return Answers(*(np.full(rows.num_rows, one) for one in (7.5, -1.0, 30.0)))

    def attempt(version: str) -> None:
        model: Any = Model()
        answer = Answering(
            product=late,
            scorer=model,
            threshold=None,
            version=version,
            run="r",
            day=DAY,
            predicted_at=noon,
        )
        staging = Staging(late, DAY, (0, 1), noon - timedelta(hours=1), noon + timedelta(hours=1))
        asked = {
            "flight_id": ["a", "b"],
            "asked_at": pa.array([noon] * 2, pa.timestamp("us", "UTC")),
        }
        staging.write(answer(pa.RecordBatch.from_pydict(asked)))
        staging.commit()
        staging.remove()

    for version in ("1", "2", "1"):
        attempt(version)

    sql = f"SELECT entity, prediction, lower, upper, model_version FROM `{table}` ORDER BY 5, 1"
    rows = [tuple(row) for row in client.query(sql).result()]
    assert rows == [
        (entity, 7.5, -1.0, 30.0, version) for version in ("1", "2") for entity in ("a", "b")
    ]
    assert [one.table_id for one in client.list_tables(dataset(late))] == [NAME]
