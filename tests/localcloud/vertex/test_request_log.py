"""Requests and responses land in BigQuery, in Google's table, off the path of the predictions."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform, bigquery

from localcloud.home import Endpoints, Home
from localcloud.services.bigquery import BigQueryNotInstalled, command
from localcloud.services.vertex.request_log import RequestLog, Table, destination

from .conftest import PROJECT, Cloud, until, upload

TABLE = f"{PROJECT}.predictions.online"


@pytest.fixture(scope="module")
def warehouse(cloud: Cloud) -> Iterator[bigquery.Client]:
    try:
        words = command(cloud.home, cloud.endpoints)
    except BigQueryNotInstalled as missing:
        pytest.skip(str(missing))
    with (cloud.home.logs / "bigquery.log").open("ab") as log:
        process = subprocess.Popen(
            words.words, env={**os.environ, **words.env}, stdout=log, stderr=log
        )

    def accepts() -> bool:
        assert process.poll() is None, (cloud.home.logs / "bigquery.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", cloud.endpoints.ports["bigquery"])) == 0

    try:
        until(accepts, "BigQuery to accept connections")
        yield bigquery.Client(project=PROJECT, credentials=AnonymousCredentials())
    finally:
        process.terminate()
        process.wait(timeout=10)


def rows(client: bigquery.Client, table: str) -> list[dict[str, Any]]:
    try:
        return [dict(row) for row in client.query(f"SELECT * FROM `{table}`").result()]
    except exceptions.NotFound:
        return []


def test_sampled_predictions_are_logged_as_google_logs_them(warehouse: bigquery.Client) -> None:
    endpoint = aiplatform.Endpoint.create(
        "logged",
        enable_request_response_logging=True,
        request_response_logging_sampling_rate=1.0,
        request_response_logging_bq_destination_table=f"bq://{TABLE}",
    )
    endpoint.deploy(upload("logged"), machine_type="n1-standard-2")
    for number in range(3):
        endpoint.predict([[number, 1], [number, 2]])
    written = until(lambda: len(rows(warehouse, TABLE)) == 3 and rows(warehouse, TABLE), "rows")
    deployed = endpoint.list_models()[0].id
    endpoint.delete(force=True)
    assert {row["endpoint"] for row in written} == {endpoint.name}
    assert {row["deployed_model_id"] for row in written} == {deployed}
    assert len({row["request_id"] for row in written}) == 3
    logged = sorted(
        ([json.loads(one) for one in row["request_payload"]], row["response_payload"])
        for row in written
    )
    assert logged[2] == ([[2, 1], [2, 2]], ["3.0", "4.0"])
    table = warehouse.get_table(TABLE)
    assert [(one.name, one.field_type, one.mode) for one in table.schema] == [
        ("endpoint", "STRING", "NULLABLE"),
        ("deployed_model_id", "STRING", "NULLABLE"),
        ("logging_time", "TIMESTAMP", "NULLABLE"),
        ("request_id", "NUMERIC", "NULLABLE"),
        ("request_payload", "STRING", "REPEATED"),
        ("response_payload", "STRING", "REPEATED"),
    ]


@pytest.mark.parametrize(
    ("uri", "table"),
    [
        ("bq://p.d.t", Table("p", "d", "t")),
        ("bq://p.d", Table("p", "d", "request_response_logging")),
        ("bq://p", Table("p", "logging_flight_delay_7", "request_response_logging")),
        ("", Table("own", "logging_flight_delay_7", "request_response_logging")),
    ],
)
def test_what_the_destination_leaves_out_is_named_as_google_names_it(
    uri: str, table: Table
) -> None:
    endpoint = {
        "name": "projects/own/locations/l/endpoints/7",
        "displayName": "flight-delay",
        "predictRequestResponseLoggingConfig": {
            "enabled": True,
            "bigqueryDestination": {"outputUri": uri},
        },
    }
    assert destination(endpoint) == table


@pytest.mark.parametrize(
    ("rate", "table"), [(0.0, f"bq://{TABLE}"), (1.5, f"bq://{TABLE}"), (1.0, "bigquery/table")]
)
def test_a_wrong_configuration_is_refused_at_creation(rate: float, table: str) -> None:
    with pytest.raises(exceptions.BadRequest, match=r"sampling_rate|output_uri"):
        aiplatform.Endpoint.create(
            "wrong",
            enable_request_response_logging=True,
            request_response_logging_sampling_rate=rate,
            request_response_logging_bq_destination_table=table,
        )


def test_the_sample_has_the_size_that_was_asked_for() -> None:
    config = {"enabled": True, "samplingRate": 0.25}
    endpoint = {"predictRequestResponseLoggingConfig": config}
    taken = sum(RequestLog.wanted(endpoint) for _ in range(10_000))
    # Ten standard deviations around 2500.
    assert 2067 < taken < 2933
    assert not RequestLog.wanted({})
    assert not RequestLog.wanted({"predictRequestResponseLoggingConfig": {"enabled": False}})


def test_without_bigquery_predictions_go_on_and_the_loss_is_counted(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = Home(tmp_path_factory.mktemp("home"))
    home.write(Endpoints(ports={"bigquery": 1, "provider": 2}))
    endpoint = {
        "name": "projects/p/locations/l/endpoints/7",
        "displayName": "e",
        "predictRequestResponseLoggingConfig": {"enabled": True, "samplingRate": 1},
    }

    async def scenario() -> RequestLog:
        log = RequestLog(home)
        log.start()
        for _ in range(25_000):
            log.add(endpoint, "1", [[1]], [2])
        await log.stop()
        return log

    log = asyncio.run(scenario())
    # Whether waiting, being written or over the bound of the queue: each row is accounted for.
    assert (log.written, log.lost) == (0, 25_000)
