"""The log never blocks, and never loses in silence."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from workloads import contracts, gcp
from workloads import product as products
from workloads.prediction_log.contract import PredictionLogged
from workloads.prediction_log.publisher import MOST_ROWS, Entry, Publisher, deployed
from workloads.prediction_log.tables import dataset, log_table, topic

TOPIC = "projects/p/topics/t"


class Row(msgspec.Struct):
    distance: int = 3


def entry(rows: int = 1, **more: Any) -> Entry:
    given = {
        "at": 1_700_000_000.0,
        "model_version": "7",
        "model_run": "run-7",
        "variant": "champion",
        "status": 200,
        "latency_ms": 1.5,
        "rows": [Row()] * rows,
        "value": [0.5] * rows,
        "threshold": 0.4,
    }
    return Entry(**(given | more))


def test_every_row_arrives_once_in_requests_that_the_topic_takes() -> None:
    requests: list[list[dict[str, Any]]] = []
    log = Publisher("p", TOPIC, publish=requests.append)
    for _ in range(5):
        log.add(entry(rows=500))
    log.close(10)
    assert [len(one) for one in requests] == [MOST_ROWS, MOST_ROWS, 500]
    rows = [contracts.decode(PredictionLogged, one["data"]) for many in requests for one in many]
    assert len({one.prediction_id for one in rows}) == 2500
    assert (log.sent, log.dropped, log.waiting) == (2500, 0, 0)


def test_a_topic_that_does_not_answer_blocks_nobody_and_what_is_lost_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reached, released = threading.Event(), threading.Event()

    def publish(_: Any) -> None:
        reached.set()
        assert released.wait(30)

    log = Publisher("p", TOPIC, most_waiting=10, publish=publish)
    log.start()
    log.add(entry(rows=4))
    assert reached.wait(10)
    began = time.perf_counter()
    for _ in range(100):
        log.add(entry())
    assert time.perf_counter() - began < 1
    assert (log.waiting, log.dropped) == (10, 94)
    log.close(0.1)
    assert (log.waiting, log.dropped) == (0, 104)
    assert "104 predictions of p are not in the log" in caplog.text
    released.set()


def test_what_fails_is_sent_again_until_it_is_taken() -> None:
    failures = [ConnectionError("no"), ConnectionError("no")]
    taken: list[Any] = []

    def publish(messages: list[Any]) -> None:
        if failures:
            raise failures.pop()
        taken.extend(messages)

    log = Publisher("p", TOPIC, publish=publish)
    log.start()
    log.add(entry(rows=3))
    deadline = time.monotonic() + 10
    while log.sent < 3 and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert (len(taken), log.dropped) == (3, 0)
    log.close(1)


def test_what_the_topic_will_never_take_is_dropped_and_counted() -> None:
    class Refused(Exception):
        code = 400

    calls: list[int] = []

    def publish(messages: list[Any]) -> None:
        calls.append(len(messages))
        if len(calls) == 1:
            raise Refused("schema")

    log = Publisher("p", TOPIC, publish=publish)
    log.start()
    log.add(entry(rows=2))
    deadline = time.monotonic() + 10
    while not log.dropped and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    log.add(entry())
    log.close(10)
    assert (calls, log.dropped, log.sent) == ([2, 1], 2, 1)


def test_a_request_that_cannot_be_written_is_dropped_and_the_log_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    taken: list[Any] = []
    log = Publisher("p", TOPIC, publish=taken.extend)
    log.start()
    log.add(entry(rows=2))
    # The second row is no row of a contract.
    broken = entry(rows=2)
    broken.rows = [Row(), object()]
    log.add(broken)
    log.add(entry(at=1e300))
    log.add(entry())
    log.close(10)
    assert (len(taken), log.sent, log.dropped, log.waiting) == (3, 3, 3, 0)
    assert "2 predictions cannot be written to the log" in caplog.text


def test_without_a_client_it_tries_until_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    faults = [OSError("no credentials"), OSError("no credentials")]

    def publisher() -> Any:
        if faults:
            raise faults.pop()
        return object()

    def publish(client: Any, topic: str, messages: list[Any], **more: Any) -> None:
        taken.extend(messages)

    monkeypatch.setattr(gcp, "publisher", publisher)
    monkeypatch.setattr(gcp, "publish", publish)
    log = Publisher("p", TOPIC)
    log.start()
    log.add(entry(rows=3))
    deadline = time.monotonic() + 10
    while log.sent < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    log.close(10)
    assert (len(taken), log.sent, log.dropped) == (3, 3, 0)


def test_the_end_does_not_wait_for_a_client_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def publisher() -> Any:
        raise OSError("no credentials")

    monkeypatch.setattr(gcp, "publisher", publisher)
    log = Publisher("p", TOPIC)
    log.add(entry(rows=3))
    began = time.monotonic()
    log.close(10)
    assert time.monotonic() - began < 5
    assert (log.sent, log.dropped) == (0, 3)


def test_the_end_does_not_wait_for_a_topic_that_is_not_there() -> None:
    def publish(_: Any) -> None:
        raise ConnectionError("refused")

    log = Publisher("p", TOPIC, publish=publish)
    log.add(entry(rows=2))
    began = time.perf_counter()
    log.close(20)
    assert time.perf_counter() - began < 5
    assert log.dropped == 2


def test_a_number_that_is_none_is_no_value() -> None:
    rows: list[dict[str, Any]] = []
    log = Publisher("p", TOPIC, publish=rows.extend)
    log.add(
        entry(rows=2, value=[float("nan"), 3.0], lower=[1.0, 2.0], upper=[4.0, 5.0], threshold=None)
    )
    log.close(10)
    first, second = (contracts.decode(PredictionLogged, one["data"]) for one in rows)
    assert (first.value, first.answer) == (None, None)
    assert (second.value, second.lower, second.upper, second.answer) == (3.0, 2.0, 5.0, None)


@pytest.mark.parametrize(
    "more",
    [
        {"key": "ana", "entities": ["f1"]},
        {"threshold": None, "lower": [0.25], "upper": [2.0]},
        {"rows": 0, "status": 422},
    ],
)
def test_what_is_sent_is_what_the_contract_writes(more: dict[str, Any]) -> None:
    sent: list[dict[str, Any]] = []
    log = Publisher("p", TOPIC, deployed_model_id="42", publish=sent.extend)
    log.add(entry(**more))
    log.close(10)
    (message,) = sent
    row = contracts.decode(PredictionLogged, message["data"])
    found, written = (msgspec.json.decode(one) for one in (message["data"], contracts.encode(row)))
    assert found == written
    assert (row.status, row.deployed_model_id) == (more.get("status", 200), "42")


def test_the_table_follows_from_the_contract() -> None:
    flights = products.load("flight-delay")
    table = log_table(flights)
    assert [one["name"] for one in table.columns] == list(PredictionLogged.__struct_fields__)
    assert (table.name, table.partition, table.cluster) == (
        "log",
        "predicted_at",
        ("model_version",),
    )
    assert topic(flights) == "flight-delay-predictions"
    assert dataset(flights) == "flight_delay_predictions"


def test_rows_of_people_are_kept_from_who_may_not_see_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts, "personal", lambda contract: ("name",))
    product: Any = SimpleNamespace(name="p", id="p", features=SimpleNamespace(request=object))
    assert log_table(product).personal == ("entity", "features")


@pytest.mark.parametrize(
    ("vertex", "revision", "version", "said"),
    [
        ("42", "flight-delay-api-v3-7", "3", "42"),
        ("", "flight-delay-api-00001-abc", "3", "flight-delay-api-00001-abc/3"),
        ("", "", "3", ""),
    ],
)
def test_the_log_says_who_answered(vertex: str, revision: str, version: str, said: str) -> None:
    assert deployed(vertex, revision, version) == said


def test_both_arms_of_a_server_are_told_apart() -> None:
    sent: list[dict[str, Any]] = []
    log = Publisher("p", TOPIC, revision="p-api-00001-abc", publish=sent.extend)
    log.add(entry(model_version="3"))
    log.add(entry(model_version="4", variant="challenger"))
    log.close(10)
    rows = [contracts.decode(PredictionLogged, one["data"]) for one in sent]
    assert [(one.variant, one.deployed_model_id) for one in rows] == [
        ("champion", "p-api-00001-abc/3"),
        ("challenger", "p-api-00001-abc/4"),
    ]
