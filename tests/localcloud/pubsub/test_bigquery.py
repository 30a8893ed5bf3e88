"""BigQuery subscriptions, against the local BigQuery."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import avro.io
import avro.schema
import pytest
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery import Client, SchemaField, Table
from google.protobuf.duration_pb2 import Duration

from localcloud.services.bigquery import BigQueryNotInstalled, command

if TYPE_CHECKING:
    from localcloud.services.pubsub.server import PubSubServer
    from tests.localcloud.pubsub.conftest import PubSub

PROJECT = "test-project"
METADATA = [
    SchemaField("subscription_name", "STRING"),
    SchemaField("message_id", "STRING"),
    SchemaField("publish_time", "TIMESTAMP"),
    SchemaField("attributes", "STRING"),
]
AVRO = json.dumps(
    {
        "type": "record",
        "name": "Flight",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "delay", "type": ["null", "double"]},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "legs", "type": {"type": "array", "items": "string"}},
        ],
    }
)
COLUMNS = [
    SchemaField("id", "STRING", "REQUIRED"),
    SchemaField("delay", "FLOAT"),
    SchemaField("at", "TIMESTAMP"),
    SchemaField("legs", "STRING", "REPEATED"),
]

type Until = Callable[..., Any]


class Warehouse:
    """The local BigQuery, with a dataset."""

    def __init__(self, url: str) -> None:
        self.client = Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=url),
        )
        self.client.create_dataset("events", exists_ok=True)

    def table(self, columns: list[SchemaField]) -> str:
        name = f"{PROJECT}.events.t{uuid.uuid4().hex[:8]}"
        self.client.create_table(Table(name, schema=columns))
        return name

    def rows(self, table: str, order: str = "1") -> list[dict[str, Any]]:
        query = f"SELECT * FROM `{table}` ORDER BY {order}"
        return [dict(row) for row in self.client.query_and_wait(query)]


@pytest.fixture(scope="module")
def warehouse(server: PubSubServer) -> Iterator[Warehouse]:
    endpoints = server.home.endpoints()
    try:
        start = command(server.home, endpoints)
    except BigQueryNotInstalled as error:
        pytest.skip(str(error))
    with (server.home.path / "bigquery.log").open("wb") as log:
        process = subprocess.Popen(start.words, env=os.environ | start.env, stdout=log, stderr=log)
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((endpoints.host, endpoints.ports["bigquery"]), 1).close()
            break
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
    yield Warehouse(endpoints.url("bigquery"))
    process.terminate()
    process.wait(20)


def exported(pubsub: PubSub, topic: str, table: str, more: dict[str, Any], **config: Any) -> str:
    return pubsub.subscription(topic, bigquery_config={"table": table, **config}, **more)


def test_payloads_and_metadata_land_in_the_table(
    pubsub: PubSub, warehouse: Warehouse, until: Until
) -> None:
    table = warehouse.table([SchemaField("data", "STRING"), *METADATA])
    topic = pubsub.topic()
    subscription = exported(pubsub, topic, table, {}, write_metadata=True)
    sent = pubsub.publish(topic, "a", "b", key="k", origin="sensor")
    until(lambda: len(warehouse.rows(table)) == 2)
    rows = warehouse.rows(table, "data")
    assert [row["data"] for row in rows] == ["a", "b"]
    assert [row["message_id"] for row in rows] == sent
    assert {row["subscription_name"] for row in rows} == {subscription}
    assert json.loads(rows[0]["attributes"]) == {"origin": "sensor", "ordering_key": "k"}
    assert rows[0]["publish_time"].tzinfo is not None
    found = pubsub.subscriber.get_subscription(subscription=subscription)
    assert found.bigquery_config.state.name == "ACTIVE"


@pytest.mark.parametrize("encoding", ["JSON", "BINARY"])
def test_the_topics_schema_fills_the_columns(
    pubsub: PubSub, warehouse: Warehouse, until: Until, encoding: str
) -> None:
    table = warehouse.table(COLUMNS)
    schema = pubsub.schema(AVRO)
    topic = pubsub.topic(schema_settings={"schema": schema, "encoding": encoding})
    exported(pubsub, topic, table, {}, use_topic_schema=True)
    flight = {"id": "AA1", "delay": {"double": 2.5}, "at": 1_357_016_400_000_000, "legs": ["x"]}
    data = json.dumps(flight).encode()
    if encoding == "BINARY":
        stream = io.BytesIO()
        native = {**flight, "delay": 2.5}
        plain = json.loads(
            AVRO.replace('{"type": "long", "logicalType": "timestamp-micros"}', '"long"')
        )
        avro.io.DatumWriter(avro.schema.parse(json.dumps(plain))).write(
            native, avro.io.BinaryEncoder(stream)
        )
        data = stream.getvalue()
    pubsub.publisher.publish(topic, data).result(10)
    until(lambda: warehouse.rows(table))
    (row,) = warehouse.rows(table)
    assert row.pop("at").isoformat() == "2013-01-01T05:00:00+00:00"
    assert row == {"id": "AA1", "delay": 2.5, "legs": ["x"]}


def test_the_tables_schema_takes_json_and_the_misfits_become_dead_letters(
    pubsub: PubSub, warehouse: Warehouse, until: Until
) -> None:
    table = warehouse.table(COLUMNS)
    topic, letters = pubsub.topic(), pubsub.topic()
    inspection = pubsub.subscription(letters)
    backoff = Duration(nanos=1_000_000)
    more = {
        "dead_letter_policy": {"dead_letter_topic": letters},
        "retry_policy": {"minimum_backoff": backoff, "maximum_backoff": backoff},
    }
    exported(pubsub, topic, table, more, use_table_schema=True)
    misfits = [
        '{"id": "x", "surplus": 1}',
        '{"delay": 1.0}',
        "not json",
        '{"id": "x", "legs": "no list"}',
        '{"id": "x", "delay": "no number"}',
    ]
    pubsub.publish(topic, '{"id": "good1", "delay": 1, "legs": []}', *misfits, '{"id": "good2"}')
    refused = pubsub.take(inspection, len(misfits), seconds=60)
    assert sorted(r.message.data.decode() for r in refused) == sorted(misfits)
    assert [row["id"] for row in warehouse.rows(table)] == ["good1", "good2"]


def test_unknown_fields_may_be_dropped(pubsub: PubSub, warehouse: Warehouse, until: Until) -> None:
    table = warehouse.table([SchemaField("id", "STRING")])
    schema = pubsub.schema(AVRO)
    topic = pubsub.topic(schema_settings={"schema": schema, "encoding": "JSON"})
    with pytest.raises(exceptions.InvalidArgument, match="at, delay, legs"):
        exported(pubsub, topic, table, {}, use_topic_schema=True)
    exported(pubsub, topic, table, {}, use_topic_schema=True, drop_unknown_fields=True)
    pubsub.publish(topic, '{"id": "AA1", "delay": null, "at": 0, "legs": []}')
    until(lambda: warehouse.rows(table) == [{"id": "AA1"}])


def test_destinations_that_cannot_work_are_refused(pubsub: PubSub, warehouse: Warehouse) -> None:
    topic = pubsub.topic()
    with pytest.raises(exceptions.NotFound):
        exported(pubsub, topic, f"{PROJECT}.events.not_there", {})
    bare = warehouse.table([SchemaField("other", "STRING")])
    for config, expected in (
        ({}, "no column data"),
        ({"write_metadata": True}, "lacks subscription_name"),
        ({"use_topic_schema": True}, "has no schema"),
    ):
        with pytest.raises(exceptions.InvalidArgument, match=expected):
            exported(pubsub, topic, bare, {}, **config)
    needy = warehouse.table([SchemaField("data", "STRING"), SchemaField("x", "STRING", "REQUIRED")])
    with pytest.raises(exceptions.InvalidArgument, match="requires x"):
        exported(pubsub, topic, needy, {})


def test_a_table_that_vanishes_shows_in_the_state_and_nothing_is_lost(
    pubsub: PubSub, warehouse: Warehouse, until: Until
) -> None:
    table = warehouse.table([SchemaField("data", "STRING")])
    topic = pubsub.topic()
    subscription = exported(pubsub, topic, table, {})

    def states() -> tuple[str, str]:
        found = pubsub.subscriber.get_subscription(subscription=subscription)
        return found.state.name, found.bigquery_config.state.name

    warehouse.client.delete_table(table)
    pubsub.publish(topic, "kept")
    until(lambda: states() == ("RESOURCE_ERROR", "NOT_FOUND"), 30)
    warehouse.client.create_table(Table(table, schema=[SchemaField("data", "STRING")]))
    until(lambda: warehouse.rows(table) == [{"data": "kept"}], 60)
    until(lambda: states() == ("ACTIVE", "ACTIVE"))
