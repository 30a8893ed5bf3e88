"""What the topic holds, in BigQuery and in PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import pytest
from google.cloud.bigquery import SchemaField
from google.pubsub_v1.types import Subscription

from localcloud.services.pubsub import wire
from localcloud.services.pubsub.avro_codec import parse
from localcloud.services.pubsub.messages import Message
from localcloud.services.pubsub.rows import Rows
from tests.workloads.local_cloud import ACCOUNTS
from workloads import contracts, database
from workloads import product as products
from workloads.database import DatabaseSettings
from workloads.prediction_log.contract import PredictionLogged
from workloads.prediction_log.service import BODY_LIMIT, Service
from workloads.prediction_log.store import Store
from workloads.prediction_log.tables import log_table

ROW = PredictionLogged(
    prediction_id="a-1",
    predicted_at=datetime(2026, 11, 21, 12, tzinfo=UTC),
    product="flight-delay",
    model_version="7",
    model_run="run-7",
    deployed_model_id="",
    variant="champion",
    status=200,
    latency_ms=1.25,
    value=0.5,
    answer=True,
    features='{"carrier":"UA"}',
)


def settings(user: str) -> DatabaseSettings:
    return DatabaseSettings(database_host="127.0.0.1", database_name="esteira", database_user=user)


def rows(user: str = ACCOUNTS[0]) -> list[Any]:
    with psycopg.connect(**database.parameters(settings(user))) as connection:
        return connection.execute("SELECT * FROM prediction_log ORDER BY prediction_id").fetchall()


def many(count: int, first: int = 0) -> list[PredictionLogged]:
    return [
        msgspec.structs.replace(ROW, prediction_id=f"a-{number}")
        for number in range(first, first + count)
    ]


@pytest.mark.usefixtures("empty")
class TestPostgres:
    def test_a_row_reads_as_it_was_written_by_whoever_may_read(self) -> None:
        store = Store(settings(ACCOUNTS[0]))
        store.write([ROW])
        store.close()
        # Another workload's login: it judges releases by this.
        assert rows(ACCOUNTS[1]) == [msgspec.structs.astuple(ROW)]

    def test_a_row_that_is_delivered_again_is_there_once(self) -> None:
        store = Store(settings(ACCOUNTS[0]))
        for first in (0, 2, 0):
            store.write(many(4, first))
        store.close()
        assert len(rows()) == 6

    def test_instances_that_start_at_once_make_one_table(self) -> None:

        def write(number: int) -> None:
            store = Store(settings(ACCOUNTS[number % 2]))
            store.write(many(2, number * 2))
            store.close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        assert len(rows()) == 8

    def test_a_connection_that_was_closed_is_made_anew(self) -> None:
        store = Store(settings(ACCOUNTS[0]))
        store.write(many(1))
        pid = store._connection.info.backend_pid
        with psycopg.connect(**database.parameters(settings(ACCOUNTS[0]))) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
        store.write(many(1, 1))
        store.close()
        assert len(rows()) == 2


def test_what_is_published_fits_the_table_that_pubsub_writes() -> None:
    schema = json.dumps(contracts.avro_schema(PredictionLogged))
    table = log_table(products.load("flight-delay"))
    columns = [SchemaField.from_api_repr(one) for one in table.columns]
    config = Subscription(bigquery_config={"table": "p.d.log", "use_topic_schema": True})
    layout = Rows(Subscription.pb(config), columns, parse(schema), wire.JSON)
    assert layout.problem() == ""
    body = wire.PubsubMessage(data=contracts.encode(ROW)).SerializeToString()
    written = layout.row(Message(1, 0, "", body), "s")
    assert written["predicted_at"].startswith("2026-11-21T12:00:00")
    assert (written["value"], written["answer"], written["status"]) == (0.5, True, 200)
    assert "lower" not in written


class Remembering:
    """Stands in for PostgreSQL."""

    def __init__(self) -> None:
        self.transactions: list[list[str]] = []
        self.fault: Exception | None = None

    def write(self, rows: Sequence[PredictionLogged]) -> None:
        if self.fault is not None:
            raise self.fault
        self.transactions.append([row.prediction_id for row in rows])


def push(row: PredictionLogged) -> bytes:
    data = base64.b64encode(contracts.encode(row)).decode()
    return json.dumps({"message": {"data": data, "messageId": "1"}, "subscription": "s"}).encode()


async def ask(service: Service, body: bytes) -> int:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    await service({"type": "http", "method": "POST", "headers": []}, receive, send)
    return sent[0]["status"]


class TestService:
    def test_rows_that_come_while_one_is_written_are_written_together(self) -> None:
        writer = Remembering()

        async def main() -> list[int]:
            service = Service(writer)
            return await asyncio.gather(*(ask(service, push(row)) for row in many(20)))

        assert asyncio.run(main()) == [200] * 20
        written = [one for together in writer.transactions for one in together]
        assert sorted(written) == sorted(row.prediction_id for row in many(20))
        assert len(writer.transactions) <= 3

    def test_what_is_not_written_is_asked_for_again(self) -> None:
        writer = Remembering()
        writer.fault = ConnectionError("no")
        service = Service(writer)
        assert asyncio.run(ask(service, push(ROW))) == 503
        writer.fault = None
        assert asyncio.run(ask(service, push(ROW))) == 200

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"{", 400),
            (b'{"message": {"data": "!"}}', 400),
            (b'{"message": {"data": "e30="}}', 400),
            (b" " * (BODY_LIMIT + 1), 413),
        ],
    )
    def test_what_is_no_row_is_refused(self, body: bytes, status: int) -> None:
        writer = Remembering()
        assert asyncio.run(ask(Service(writer), body)) == status
        assert writer.transactions == []
