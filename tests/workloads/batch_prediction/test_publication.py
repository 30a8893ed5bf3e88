"""Predictions in PostgreSQL, as a BI tool reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from localcloud.provider.clients import Clients
from localcloud.provider.realise.sql_database import Database
from localcloud.provider.realise.sql_user import User
from localcloud.services.postgres.client import connected
from tests.workloads.batch_prediction.conftest import minutes_late
from tests.workloads.tracking_cloud import RECORDS, TrackingCloud
from workloads.batch_prediction.publication import definition, publish
from workloads.database import DatabaseSettings
from workloads.product import Product

DATABASE = "predicted"
DAY = date(2013, 1, 12)
NOON = datetime(2013, 1, 12, 17, tzinfo=UTC)
"""Noon in New York."""
ANALYST = "analyst@example.com"


class Rows:
    """Predictions of two hours, as they lie in BigQuery."""

    def __init__(self, version: str = "1", shift: float = 0.0, minutes: int = 0) -> None:
        self.rows = 2
        self._version, self._shift = version, shift
        self._at = NOON + timedelta(minutes=minutes)

    def batches(self) -> Iterator[pa.RecordBatch]:
        instant = pa.timestamp("us", tz="UTC")
        for one in range(self.rows):
            yield pa.RecordBatch.from_pydict(
                {
                    "entity": [f'"{one}", it says'],
                    "event_time": pa.array([NOON + timedelta(hours=one)], instant),
                    "prediction_date": pa.array([DAY]),
                    "prediction": [0.1 + 0.2 + one + self._shift],
                    "lower": [-1e-9],
                    "upper": [1e300],
                    "model_version": [self._version],
                    "model_run": ["r"],
                    "predicted_at": pa.array([self._at], instant),
                }
            )


@pytest.fixture(scope="module")
def _accounts(tracking_cloud: TrackingCloud) -> list[str]:
    clients = Clients(tracking_cloud.home)
    Database(clients).create({**RECORDS, "name": DATABASE})
    accounts = ["minutes-late-batch@p.iam", "other-batch@p.iam"]
    kind = {"type": "CLOUD_IAM_SERVICE_ACCOUNT", "databaseRoles": ["cloudsqlsuperuser"]}
    for account in accounts:
        User(clients).create({**RECORDS, "name": account, **kind})
    User(clients).create({**RECORDS, "name": ANALYST, "type": "CLOUD_IAM_USER"})
    return accounts


@pytest.fixture
def settings(
    tracking_cloud: TrackingCloud, _accounts: list[str], monkeypatch: pytest.MonkeyPatch
) -> list[DatabaseSettings]:
    """The database as each of two products' accounts reaches it; with no table in it."""
    for name, value in tracking_cloud.endpoints.environment().items():
        monkeypatch.setenv(name, value)
    with connected(tracking_cloud.home, DATABASE) as connection:
        connection.execute("DROP SCHEMA IF EXISTS bi CASCADE")
        connection.execute("DROP SCHEMA IF EXISTS predictions CASCADE")
    return [
        DatabaseSettings(database_host="unused", database_name=DATABASE, database_user=account)
        for account in _accounts
    ]


@pytest.fixture
def late(product: Product) -> Product:
    return minutes_late(product)


Ask = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def ask(tracking_cloud: TrackingCloud) -> Ask:
    def run(query: str, user: str | None = None) -> list[tuple[Any, ...]]:
        if user is None:
            with connected(tracking_cloud.home, DATABASE) as connection:
                return connection.execute(query.encode()).fetchall()
        port = tracking_cloud.endpoints.ports["postgres"]
        given = {"host": "127.0.0.1", "port": port, "user": user, "dbname": DATABASE}
        with psycopg.connect(**given) as connection:
            return connection.execute(query.encode()).fetchall()

    return run


VIEW = "SELECT entity, prediction, model_version FROM bi.minutes_late_daily ORDER BY entity"


def test_a_bi_tool_reads_the_view_and_nothing_else(
    late: Product, settings: list[DatabaseSettings], ask: Ask, tracking_cloud: TrackingCloud
) -> None:
    assert publish(late, Rows(), settings[0]) == 2
    # As the guide tells the owner of the database to do.
    with connected(tracking_cloud.home, DATABASE) as connection:
        connection.execute(f'GRANT bi_reader TO "{ANALYST}"'.encode())

    found = ask(VIEW, ANALYST)
    assert found == [('"0", it says', 0.1 + 0.2, "1"), ('"1", it says', 0.1 + 0.2 + 1, "1")]
    ((day, local, moment, lower, upper),) = ask(
        "SELECT prediction_date, event_time_local, event_time, lower, upper"
        " FROM bi.minutes_late_daily ORDER BY entity LIMIT 1",
        ANALYST,
    )
    assert (day, local, moment) == (DAY, datetime(2013, 1, 12, 12), NOON)  # noqa: DTZ001
    assert (lower, upper) == (-1e-9, 1e300)
    for refused in (
        "SELECT * FROM predictions.minutes_late",
        "CREATE VIEW bi.mine AS SELECT 1",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(refused, ANALYST)


def test_every_column_of_the_view_says_what_it_is(
    late: Product, settings: list[DatabaseSettings], ask: Ask
) -> None:
    publish(late, Rows(), settings[0])
    notes = dict(
        ask(
            "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute"
            " WHERE attrelid = 'bi.minutes_late_daily'::regclass AND attnum > 0"
        )
    )
    assert all(notes.values())
    assert notes["lower"] == "Lower bound of the 80 % interval of `arrival_delay`: its 0.1 quantile"
    assert "America/New_York" in notes["event_time_local"]
    ((about,),) = ask("SELECT obj_description('bi.minutes_late_daily'::regclass)")
    assert about.startswith("How many minutes late will this flight arrive?")


def test_published_twice_is_published_once(
    late: Product, settings: list[DatabaseSettings], ask: Ask
) -> None:
    publish(late, Rows(), settings[0])
    before = ask(VIEW)
    assert publish(late, Rows(), settings[0]) == 2
    assert ask(VIEW) == before
    # An attempt that computed earlier, and comes in later, changes nothing.
    assert publish(late, Rows(shift=50.0, minutes=-5), settings[0]) == 0
    assert ask(VIEW) == before
    assert publish(late, Rows(shift=50.0, minutes=5), settings[0]) == 2
    assert ask(VIEW)[0][1] == pytest.approx(50.3)


def test_the_version_that_answered_last_is_shown(
    late: Product, settings: list[DatabaseSettings], ask: Ask
) -> None:
    publish(late, Rows("1"), settings[0])
    publish(late, Rows("2", minutes=1), settings[0])
    assert [row[2] for row in ask(VIEW)] == ["2", "2"]
    publish(late, Rows("1", minutes=2), settings[0])  # rolled back
    assert [row[2] for row in ask(VIEW)] == ["1", "1"]
    assert ask("SELECT count(*) FROM predictions.minutes_late") == [(4,)]


def test_a_source_that_breaks_off_leaves_nothing(
    late: Product, settings: list[DatabaseSettings], ask: Ask
) -> None:
    class Broken(Rows):
        def batches(self) -> Iterator[pa.RecordBatch]:
            yield next(super().batches())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(late, Broken(), settings[0])
    assert ask("SELECT count(*) FROM predictions.minutes_late") == [(0,)]
    assert publish(late, Rows(), settings[0]) == 2


def test_tasks_and_products_that_begin_at_once_do_not_stand_in_each_others_way(
    product: Product, late: Product, settings: list[DatabaseSettings], ask: Ask
) -> None:
    other = dataclasses.replace(late, name="other")
    jobs = [(late, settings[0]), (late, settings[0]), (other, settings[1]), (late, settings[0])]
    with ThreadPoolExecutor(len(jobs)) as pool:
        list(pool.map(lambda job: publish(job[0], Rows(), job[1]), jobs))
    assert len(ask(VIEW)) == 2
    assert ask("SELECT count(*) FROM bi.other_daily") == [(2,)]


def test_a_view_of_another_definition_is_brought_up_to_date(
    late: Product, settings: list[DatabaseSettings], ask: Ask
) -> None:
    publish(late, Rows(), settings[0])
    batch = dataclasses.replace(late.batch, time_zone="Europe/Lisbon")
    publish(dataclasses.replace(late, batch=batch), Rows(), settings[0])
    local = "SELECT event_time_local FROM bi.minutes_late_daily ORDER BY entity LIMIT 1"
    assert ask(local) == [(datetime(2013, 1, 12, 17),)]  # noqa: DTZ001


def test_text_of_a_product_cannot_end_a_statement(late: Product) -> None:
    named = dataclasses.replace(late, title="It's late'; DROP TABLE x; --?")
    (about,) = [one for one in definition(named) if one.startswith("COMMENT ON VIEW")]
    assert "'It''s late''; DROP TABLE x; --?" in about
