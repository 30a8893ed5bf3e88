"""A replay publishes exactly what it says, and goes on where it was cut off."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from workloads import gcp, product
from workloads.products.flight_delay.contracts import FlightArrival
from workloads.replay.replayer import InvalidPlan, Plan, Published, TopicRefused, replay, schedule

PRODUCT = product.load("flight-delay")
DAWN = datetime(2013, 3, 23, 4, tzinfo=UTC)
PLAN = Plan(
    product="flight-delay",
    start=DAWN,
    end=DAWN + timedelta(days=1),
    poison=40,
    duplicates=30,
    late=20,
    unfit=10,
)


def pulled(cloud: Any) -> list[Any]:
    """Everything that waits in the subscriptions of ingestion."""
    client, found = gcp.subscriber(), []
    for source in PRODUCT.streams:
        name = f"{PRODUCT.name}-{source.contract.PLURAL}-ingestion"
        path = client.subscription_path(cloud.project, name)
        while True:
            request = {"subscription": path, "max_messages": 1000, "return_immediately": True}
            received = client.pull(request=request, timeout=10).received_messages
            if not received:
                break
            acknowledged = [one.ack_id for one in received]
            client.acknowledge(request={"subscription": path, "ack_ids": acknowledged})
            found += [one.message for one in received]
    return found


def test_its_count_is_what_the_subscriptions_hold(cloud: Any) -> None:
    cloud.lay_topics(PRODUCT)
    seen = list[int]()
    published = replay(PLAN, progress=lambda so_far, of: seen.append(so_far.total * 1000 // of))
    assert published.refused == 10
    assert [published.count(kind) for kind in ("poison", "duplicate", "late", "unfit")] == [
        40,
        30,
        20,
        0,
    ]
    messages = pulled(cloud)
    assert len(messages) == published.total
    assert len({one.attributes["idempotency_key"] for one in messages}) == published.total
    assert seen == sorted(seen)
    late = [
        one
        for one in messages
        if one.publish_time - datetime.fromisoformat(one.attributes["event_timestamp"])
        > timedelta(hours=1)
    ]
    assert len(late) == 20


def test_cut_off_and_taken_up_again_it_counts_everything_once(cloud: Any, tmp_path: Path) -> None:
    cloud.lay_topics(PRODUCT)
    checkpoint, stop = tmp_path / "replay.json", threading.Event()

    def stop_soon(so_far: Published, _: int) -> None:
        if so_far.total > 600:
            stop.set()

    part = replay(PLAN, checkpoint, stop_soon, stop)
    assert 600 < part.total < len(schedule(PLAN)) - 10
    before = checkpoint.read_bytes()
    whole = replay(PLAN, checkpoint)
    assert whole.total == len(schedule(PLAN)) - 10
    assert replay(PLAN, checkpoint) == whole, "a replay that has ended publishes nothing"
    assert len(pulled(cloud)) == whole.total
    # Killed before it could write down its last requests, it sends them under the same keys.
    checkpoint.write_bytes(before)
    assert replay(PLAN, checkpoint) == whole
    again = pulled(cloud)
    assert len(again) == whole.total - part.total
    with pytest.raises(InvalidPlan, match="belongs to another plan"):
        replay(replace(PLAN, seed=1), checkpoint)


def test_at_a_chosen_speed_an_hour_takes_its_time(cloud: Any) -> None:
    cloud.lay_topics(PRODUCT)
    hour = replace(PLAN, start=DAWN + timedelta(hours=10), end=DAWN + timedelta(hours=11))
    plan = replace(hour, speed=1800, poison=0, duplicates=0, late=0, unfit=0)
    messages = schedule(plan)
    lasts = (messages[-1].at - messages[0].at) / plan.speed
    began = datetime.now(UTC)
    replay(plan)
    assert datetime.now(UTC) - began >= lasts
    for one in pulled(cloud):
        stamped = datetime.fromisoformat(one.attributes["event_timestamp"])
        assert timedelta() <= one.publish_time - stamped < timedelta(seconds=5)


def test_a_topic_that_refuses_what_is_valid_is_another_contracts(cloud: Any) -> None:
    flights, arrivals = PRODUCT.streams

    class Misplaced(FlightArrival, frozen=True):
        NAME: ClassVar[str] = "flight"
        PLURAL: ClassVar[str] = "flights"

    crossed = replace(PRODUCT, sources=(replace(flights, contract=Misplaced), arrivals))
    cloud.lay_topics(crossed)
    with pytest.raises(TopicRefused, match="its schema is not that of the contract"):
        replay(PLAN)
