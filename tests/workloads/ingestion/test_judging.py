"""What becomes of one message."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from workloads import contracts, product
from workloads.ingestion.judging import Message, Verdict, judge
from workloads.products.flight_delay.contracts import FlightArrival

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
SOURCE = product.load("flight-delay").source("arrival")
ARRIVAL = FlightArrival(
    flight_id="2013-01-01-UA-1545-EWR-0515",
    landed_at=datetime(2013, 1, 1, 14, tzinfo=UTC),
    arrival_delay=11,
)


def verdict(data: bytes | None = None, ago: timedelta | None = None, **attributes: str) -> Verdict:
    stamped = {"event_timestamp": (NOW - (ago or timedelta())).isoformat()}
    return judge(
        SOURCE,
        Message(
            data=contracts.encode(ARRIVAL) if data is None else data,
            attributes=stamped | attributes,
            message_id="m1",
            publish_time=NOW,
        ),
        NOW,
    )


def changed(**change: Any) -> bytes:
    return msgspec.json.encode(msgspec.to_builtins(ARRIVAL) | change)


def test_a_valid_event_becomes_a_row_with_its_provenance() -> None:
    found = verdict()
    assert found.outcome == "row"
    assert found.row == {
        "flight_id": "2013-01-01-UA-1545-EWR-0515",
        "landed_at": "2013-01-01T14:00:00Z",
        "arrival_delay": 11,
        "message_id": "m1",
        "publish_time": "2026-05-04T12:00:00Z",
        "ingested_at": "2026-05-04T12:00:00Z",
        "source": "pubsub",
    }


def test_what_breaks_the_contract_keeps_its_bytes_and_says_why() -> None:
    data = changed(arrival_delay=100_000)
    found = verdict(data, colour="red")
    assert found.outcome == "dead"
    assert base64.b64decode(found.row["raw"]) == data
    assert (found.row["contract"], found.row["contract_version"]) == ("arrival", 1)
    assert (found.row["field"], found.row["value"]) == ("arrival_delay", "100000")
    assert "allowed: an integer at least -180 and at most 2880" in found.row["reason"]
    assert json.loads(found.row["attributes"])["colour"] == "red"
    assert found.row["replayed_at"] is None


def test_lateness_is_publish_time_minus_event_time() -> None:
    assert verdict(ago=SOURCE.allowed_lateness).outcome == "row"
    late = verdict(ago=SOURCE.allowed_lateness + timedelta(seconds=1))
    assert late.outcome == "late"
    assert late.row["outcome"] == "late"
    assert late.row["identity"] == ARRIVAL.flight_id


def test_an_event_from_the_future_is_no_reason_to_refuse_it() -> None:
    assert verdict(ago=timedelta(days=-400)).outcome == "row"


def test_without_stamp_the_contracts_event_time_counts() -> None:
    message = Message(contracts.encode(ARRIVAL), {}, "m1", NOW)
    assert judge(SOURCE, message, NOW).outcome == "late"
    message = Message(contracts.encode(ARRIVAL), {}, "m1", ARRIVAL.landed_at)
    assert judge(SOURCE, message, NOW).outcome == "row"


@pytest.mark.parametrize("stamp", ["", "yesterday", "2026-05-04T12:00:00", "12345"])
def test_a_stamp_that_is_no_instant_is_dead(stamp: str) -> None:
    found = verdict(event_timestamp=stamp)
    assert found.outcome == "dead"
    assert found.row["field"] == "attributes.event_timestamp"


def test_an_idempotency_key_is_the_id() -> None:
    assert verdict(idempotency_key="run-7").row["message_id"] == "run-7"


def test_a_replay_stands_for_the_message_that_failed_and_is_not_late_for_waiting() -> None:
    failed_at = NOW - timedelta(days=30)
    found = verdict(
        ago=timedelta(days=30), replay_of="m0", replay_publish_time=failed_at.isoformat()
    )
    assert found.outcome == "row"
    assert found.row["message_id"] == "m0"
    assert found.row["publish_time"] == "2026-04-04T12:00:00Z"


def test_huge_bytes_are_cut_and_the_reason_says_so() -> None:
    found = verdict(b"x" * 7_000_000)
    assert found.outcome == "dead"
    assert len(base64.b64decode(found.row["raw"])) < 7_000_000
    assert "of its 7000000 bytes" in found.row["reason"]
