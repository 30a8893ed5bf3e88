"""The streaming job as a process, reading real topics and killed while it works."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from workloads import contracts, gcp, product
from workloads.ingestion import dead_letters, tables
from workloads.ingestion.accounting import Accounts, account
from workloads.products.flight_delay.contracts import FlightArrival
from workloads.replay.replayer import Plan, replay

ROOT = Path(__file__).resolve().parents[3]
PRODUCT = product.load("flight-delay")
DAWN = datetime(2013, 3, 23, 4, tzinfo=UTC)
STILL_DAYS = Plan(
    product="flight-delay",
    start=DAWN,
    end=DAWN + timedelta(days=2),
    poison=120,
    duplicates=90,
    late=40,
    unfit=6,
)


@contextmanager
def streaming(cloud: Any, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    script = ROOT / "workloads/ingestion/streaming.py"
    flags = ["--product=flight-delay", f"--data_project={cloud.project}"]
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, str(script), *flags],
            env={**os.environ, **cloud.environment},
            # Elsewhere than the checkout, as a launcher would.
            cwd=log.parent,
            stdout=out,
            stderr=out,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def received(until: Callable[..., Accounts], number: int) -> Accounts:
    return until(lambda: account("flight-delay"), lambda one: one.total.received >= number, 150)


def unacknowledged(cloud: Any) -> int:
    """Messages that the ingestion subscriptions still hold, by a snapshot of each."""
    root = f"projects/{cloud.project}"
    subscriber = gcp.subscriber()
    waiting = 0
    for source in PRODUCT.streams:
        name = f"{PRODUCT.name}-{source.contract.PLURAL}"
        snapshot, probe = f"{root}/snapshots/{name}", f"{root}/subscriptions/{name}-probe"
        subscriber.create_snapshot(
            request={"name": snapshot, "subscription": f"{root}/subscriptions/{name}-ingestion"}
        )
        subscriber.create_subscription(
            request={"name": probe, "topic": f"{root}/topics/{name}", "ack_deadline_seconds": 10}
        )
        subscriber.seek(request={"subscription": probe, "snapshot": snapshot})
        held = subscriber.pull(
            request={"subscription": probe, "max_messages": 10, "return_immediately": True}
        )
        waiting += len(held.received_messages)
        subscriber.delete_subscription(subscription=probe)
        subscriber.delete_snapshot(snapshot=snapshot)
    return waiting


@pytest.mark.long
def test_nothing_is_lost_or_counted_twice_when_the_job_is_killed(
    cloud: Any, until: Any, tmp_path: Path
) -> None:
    cloud.lay_tables(PRODUCT)
    cloud.lay_topics(PRODUCT)
    log = tmp_path / "streaming.log"
    with streaming(cloud, log) as job:
        published = replay(STILL_DAYS)
        assert published.refused == 6
        received(until, 500)
        job.kill()
    at_kill = account("flight-delay").total.received
    with streaming(cloud, log) as job:
        accounts = received(until, published.total)
        for contract in ("flights", "arrivals"):
            its = accounts.of(contract)
            assert its.balances(published.count(contract=contract)), log.read_text()[-3000:]
            assert its.ingested == published.count("event", contract)
            assert its.dead_letters == published.count("poison", contract)
            assert its.late == published.count("late", contract)
            assert its.duplicates == published.count("duplicate", contract)
        # What was written is acknowledged, so that nothing of it comes again.
        until(lambda: unacknowledged(cloud), (0).__eq__)
        job.terminate()
        assert job.wait(15) == 0
    assert at_kill < published.total, "the kill came while messages were still under way"
    assert "0 messages were under way" in log.read_text().splitlines()[-1]


def test_a_dead_letter_that_today_is_allowed_moves_to_the_table(
    cloud: Any, until: Any, tmp_path: Path
) -> None:
    """As after a fix of the contract: the bytes were refused once and are sent again unchanged."""
    cloud.lay_tables(PRODUCT)
    cloud.lay_topics(PRODUCT)
    arrival = FlightArrival(
        flight_id="2013-03-23-UA-1-EWR-0600", landed_at=DAWN, arrival_delay=2000
    )
    for message_id, data in (("m1", contracts.encode(arrival)), ("m2", b'{"arrival_delay": 9999}')):
        letter = {
            "message_id": message_id,
            "contract": "arrival",
            "contract_version": 1,
            "received_at": "2026-05-04T00:00:00Z",
            "source": "pubsub",
            "raw": base64.b64encode(data).decode(),
            "attributes": '{"event_timestamp": "2026-05-04T00:00:00Z"}',
            "field": "arrival_delay",
            "value": "2000",
            "reason": "allowed: at most 1440",
            "recorded_at": "2026-05-04T00:00:01Z",
        }
        table = f"{cloud.project}.{tables.dataset(PRODUCT)}.{tables.DEAD_LETTERS}"
        assert gcp.bigquery_client().insert_rows_json(table, [letter]) == []
    assert {one.message_id for one in dead_letters.listed("flight-delay")} == {"m1", "m2"}
    waiting = dead_letters.listed("flight-delay", contract="arrivals", message_ids=["m1"])
    for _ in range(2):  # cut off before it was marked, and run again
        done = dead_letters.replay("flight-delay", waiting)
        assert (done.sent, done.still_broken, done.refused) == (1, (), ())
    rest = dead_letters.replay("flight-delay")
    assert rest.sent == 0
    assert [one.field for one in rest.still_broken] == ["arrival_delay"]
    assert [one.message_id for one in dead_letters.listed("flight-delay")] == ["m2"]
    with streaming(cloud, tmp_path / "streaming.log"):
        accounts: Accounts = until(
            lambda: account("flight-delay"), lambda one: one.of("arrivals").ingested == 1
        )
    arrivals = accounts.of("arrivals")
    assert arrivals.balances(2)
    assert (arrivals.dead_letters, arrivals.replayed) == (1, 1)
    (row,) = cloud.rows("SELECT message_id FROM flight_delay_raw.arrivals_current")
    assert row["message_id"] == "m1"


def test_a_subscription_that_does_not_exist_stops_the_job_and_is_named(
    cloud: Any, tmp_path: Path
) -> None:
    log = tmp_path / "streaming.log"
    with streaming(cloud, log) as job:
        assert job.wait(60) != 0
    assert "flight-delay-flights-ingestion" in log.read_text()
