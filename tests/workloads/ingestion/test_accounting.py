"""The equation holds for whatever kills and redeliveries leave in the tables."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest
from google.api_core import exceptions

from workloads import gcp, product
from workloads.ingestion import tables
from workloads.ingestion.accounting import Account, account
from workloads.ingestion.judging import discarded, raw_row, refused
from workloads.products.flight_delay.contracts import FlightArrival

PRODUCT = product.load("flight-delay")
NOW = datetime(2026, 5, 4, tzinfo=UTC)


def row(message_id: str, flight: int, source: str = "pubsub") -> dict[str, Any]:
    arrival = FlightArrival(
        flight_id=f"2013-01-01-UA-{flight}-EWR-0515", landed_at=NOW, arrival_delay=1
    )
    return raw_row(arrival, message_id, NOW, NOW, source)


def aside(message_id: str, flight: int, outcome: Any) -> dict[str, Any]:
    identity = f"2013-01-01-UA-{flight}-EWR-0515"
    return discarded(FlightArrival, outcome, message_id, identity, NOW, NOW)


def dead(message_id: str, contract: str | None = "arrival", **more: Any) -> dict[str, Any]:
    letter = refused(
        message_id=message_id,
        received_at=NOW,
        source="pubsub",
        raw=b"?",
        attributes={},
        field="$",
        value="?",
        reason="?",
        contract=contract,
        version=1,
    )
    return letter | more


def insert(cloud: Any, rows: dict[str, list[dict[str, Any]]]) -> None:
    for table, some in rows.items():
        where = f"{cloud.project}.{tables.dataset(PRODUCT)}.{table}"
        assert gcp.bigquery_client().insert_rows_json(where, some) == []


def test_tables_that_do_not_exist_are_told(cloud: Any) -> None:
    with pytest.raises(exceptions.NotFound):
        account("flight-delay")


def test_each_message_counts_once_as_the_best_of_its_outcomes(cloud: Any) -> None:
    cloud.lay_tables(PRODUCT)
    empty = account("flight-delay")
    assert empty.contracts == ()
    assert empty.total.balances(0)
    insert(
        cloud,
        {
            "arrivals": [
                row("m1", 1),
                row("m1", 1),  # written twice by a worker that was killed
                row("m2", 1),  # a duplicate that passed after a restart
                row("m3", 2),
                row("gs://b/arrivals/a.jsonl#7:1", 3, "gs://b/arrivals/a.jsonl#7:1"),
                row("m9", 4),  # was dead, and was replayed
            ],
            tables.DISCARDED: [
                aside("m3", 2, "duplicate"),  # redelivered after it was written
                aside("m4", 2, "duplicate"),
                aside("m4", 2, "duplicate"),
                aside("m5", 5, "late"),
            ],
            tables.DEAD_LETTERS: [
                dead("m6"),
                dead("m6"),
                dead("m9"),
                dead("m9", replayed_at="2026-05-05T00:00:00Z"),
                dead("m10", contract=None),
            ],
        },
    )
    accounts = account("flight-delay")
    assert accounts.of("arrivals") == Account(
        contract="arrivals",
        received=8,
        ingested=4,
        dead_letters=1,
        duplicates=2,
        late=1,
        replayed=1,
    )
    assert accounts.of("arrivals").balances(8)
    assert accounts.of("").dead_letters == 1
    assert accounts.total.received == 9
    assert account("flight-delay", source="gs://").total.ingested == 1
    # What readers see holds each event once.
    (current,) = cloud.rows("SELECT COUNT(*) AS n FROM flight_delay_raw.arrivals_current")
    assert current["n"] == 4


def test_it_balances_for_any_stream_with_kills_and_redeliveries(laid: Any) -> None:
    """Messages are judged once and delivered up to three times, with what a kill leaves behind."""
    choose = random.Random(7)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    expected = dict.fromkeys(("dead", "late"), 0)
    flights = set[int]()
    published = 400
    for number in range(published):
        message_id, flight = f"m{number}", choose.randrange(150)
        fate = choose.choice(["valid", "valid", "valid", "dead", "late"])
        if fate == "valid":
            flights.add(flight)
        else:
            expected[fate] += 1
        for delivery in range(choose.choice([1, 1, 1, 2, 3])):
            if fate == "dead":
                found[tables.DEAD_LETTERS].append(dead(message_id))
            elif fate == "late":
                found[tables.DISCARDED].append(aside(message_id, flight, "late"))
            elif delivery == 0 and flight not in {int(one["flight"]) for one in found["seen"]}:
                found["seen"].append({"flight": flight})
                found["arrivals"].append(row(message_id, flight))
            elif choose.random() < 0.3:
                # The state was lost with a worker.
                found["arrivals"].append(row(message_id, flight))
            else:
                found[tables.DISCARDED].append(aside(message_id, flight, "duplicate"))
    del found["seen"]
    # Tables of the project hold rows of other tests.
    stream = {
        table: [one | {"source": "with-kills"} for one in rows] for table, rows in found.items()
    }
    insert(laid, stream)
    arrivals = account("flight-delay", source="with-kills").of("arrivals")
    assert arrivals.balances(published)
    assert (arrivals.ingested, arrivals.dead_letters, arrivals.late) == (
        len(flights),
        expected["dead"],
        expected["late"],
    )
