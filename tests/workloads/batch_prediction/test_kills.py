"""A task is killed between any two steps, starts again, and each question is answered once."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from localcloud.provider.clients import Clients
from localcloud.provider.realise.sql_database import Database
from localcloud.provider.realise.sql_user import User
from localcloud.services.postgres.client import connected
from tests.workloads.tracking_cloud import RECORDS, TrackingCloud
from workloads import gcp
from workloads.batch_prediction import staging, task
from workloads.batch_prediction.task import predict_day
from workloads.database import DatabaseSettings
from workloads.product import Product
from workloads.registry import CHAMPION, Registry

DAY = date(2013, 1, 2)
DATASET = "flight_delay_predictions"
DATABASE = "killed"
ACCOUNT = "flight-delay-batch@p.iam"
ROWS = 300
# (what is called, whether the kill comes before it or after)
STEPS = [
    (name, moment)
    for name in (
        "create_table",
        "create_write_stream",
        "append_rows",
        "finalize_write_stream",
        "batch_commit_write_streams",
        "_merge",
        "publish",
        "delete_table",
    )
    for moment in ("before", "after")
]
# Around the two moments at which rows appear somewhere, all at once.
TELLING = [("append_rows", "after"), ("_merge", "before"), ("_merge", "after")]


class Killed(BaseException):
    """Nothing that a task does about errors sees this, as nothing sees SIGKILL."""


@pytest.fixture(scope="module")
def database(tracking_cloud: TrackingCloud) -> DatabaseSettings:
    clients = Clients(tracking_cloud.home)
    Database(clients).create({**RECORDS, "name": DATABASE})
    kind = {"type": "CLOUD_IAM_SERVICE_ACCOUNT", "databaseRoles": ["cloudsqlsuperuser"]}
    User(clients).create({**RECORDS, "name": ACCOUNT, **kind})
    return DatabaseSettings(database_host="unused", database_name=DATABASE, database_user=ACCOUNT)


@pytest.fixture
def champion(
    january: Product,
    trained: object,
    tracking_cloud: TrackingCloud,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Product]:
    """The product with a champion, and no predictions yet."""
    registry = Registry(january)
    registry.move(CHAMPION, registry.get("1"))
    client = gcp.bigquery_client()
    client.query(f"DELETE FROM {DATASET}.batch WHERE TRUE").result()
    for one in leftovers():
        client.delete_table(one)
    with connected(tracking_cloud.home, DATABASE) as connection:
        connection.execute("DROP SCHEMA IF EXISTS bi CASCADE")
        connection.execute("DROP SCHEMA IF EXISTS predictions CASCADE")
    port = tracking_cloud.endpoints.ports["postgres"]
    monkeypatch.setenv("CLOUD_SQL_EMULATOR_HOST", f"127.0.0.1:{port}")
    batch = dataclasses.replace(january.batch, publish_to_database=True)
    yield dataclasses.replace(january, batch=batch)
    registry.drop(CHAMPION)


@pytest.fixture(scope="module")
def _asked() -> dict[str, pa.RecordBatch]:
    return {}


@pytest.fixture
def quick(
    champion: Product, _asked: dict[str, pa.RecordBatch], monkeypatch: pytest.MonkeyPatch
) -> Product:
    """The same, and the feature query, which is not what these tests are about, asked once."""
    if not _asked:
        start, end = _day(champion)
        rows = task._questions(champion, start, end, (0, 1))
        _asked["day"] = next(iter(rows.batches())).slice(0, ROWS)

    class Known:
        rows = ROWS

        def batches(self) -> Iterator[pa.RecordBatch]:
            yield _asked["day"]

    monkeypatch.setattr(task, "_questions", lambda *_: Known())
    return champion


def _day(product: Product) -> tuple[Any, Any]:
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo

    start = datetime(DAY.year, DAY.month, DAY.day, tzinfo=ZoneInfo(product.batch.time_zone))
    return start, start + timedelta(days=1)


def leftovers() -> list[Any]:
    tables = gcp.bigquery_client().list_tables(DATASET)
    return [one.reference for one in tables if one.table_id.startswith("batch_")]


def predicted() -> dict[tuple[str, Any], float]:
    """The table of predictions, which holds no question twice."""
    sql = f"SELECT entity, event_time, probability FROM {DATASET}.batch"
    rows = [tuple(row) for row in gcp.bigquery_client().query(sql).result()]
    found = {(entity, moment): value for entity, moment, value in rows}
    assert len(found) == len(rows)
    return found


def published(cloud: TrackingCloud) -> dict[tuple[str, Any], float]:
    sql = "SELECT entity, event_time, probability FROM bi.flight_delay_daily"
    with connected(cloud.home, DATABASE) as connection:
        rows = connection.execute(sql.encode()).fetchall()
    return {(entity, moment): value for entity, moment, value in rows}


class Deadly:
    """A client of Google's that is killed around one call of one method."""

    def __init__(self, client: Any, step: str, moment: str) -> None:
        self._client, self._step, self._moment = client, step, moment

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return _deadly(method, self._moment) if name == self._step else method


def _deadly(method: Callable[..., Any], moment: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if moment == "before":
            raise Killed
        answer = method(*args, **kwargs)
        if method.__name__ != "append_rows":
            raise Killed
        # The connection is there, and the first rows have been taken.
        return _dying(answer)

    return call


def _dying(answers: Any) -> Iterator[Any]:
    assert next(iter(answers)).error.code == 0
    raise Killed
    yield


@pytest.mark.parametrize(
    ("step", "moment"),
    [
        pytest.param(*one, marks=() if one in TELLING else pytest.mark.long, id=" ".join(one))
        for one in STEPS
    ],
)
def test_killed_at_any_step_it_converges(
    quick: Product,
    step: str,
    moment: str,
    database: DatabaseSettings,
    tracking_cloud: TrackingCloud,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        for module, name in ((staging, "_merge"), (task, "publish")):
            if name == step:
                patched.setattr(module, name, _deadly(getattr(module, name), moment))
        for name in ("bigquery_client", "bigquery_write_client"):
            client = getattr(gcp, name)()
            patched.setattr(gcp, name, lambda client=client: Deadly(client, step, moment))
        with pytest.raises(Killed):
            predict_day(quick, DAY, database=database)

    after = STEPS.index((step, moment)) >= STEPS.index(("_merge", "after"))
    assert len(predicted()) == (ROWS if after else 0)
    # What the killed attempt has left goes by itself.
    assert all(gcp.bigquery_client().get_table(one).expires for one in leftovers())

    outcome = predict_day(quick, DAY, database=database)

    assert outcome.rows == outcome.published == ROWS
    assert len(predicted()) == ROWS
    assert published(tracking_cloud) == pytest.approx(predicted())


@pytest.mark.long
def test_a_process_killed_with_a_day_half_written_is_made_good(champion: Product) -> None:
    words = [sys.executable, "-m", "workloads.batch_prediction"]
    environment = {**os.environ, "PRODUCT": champion.name, "PREDICTION_DATE": DAY.isoformat()}
    process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    # From the moment that its own table is there until it has been merged.
    while not leftovers():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(leftovers()) == 1
    before = len(predicted())

    outcome = predict_day(champion, DAY)

    assert before in (0, outcome.rows)
    assert len(predicted()) == outcome.rows > ROWS
