"""What a replay will publish, before it publishes anything."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
import msgspec
import pytest

from workloads import contracts, product
from workloads.contracts import Contract, ContractViolation
from workloads.replay import poison
from workloads.replay.replayer import InvalidPlan, Plan, schedule

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


def contract(plural: str) -> type[Contract]:
    return PRODUCT.source(plural).contract


def fits_avro(of: type[Contract], data: bytes) -> bool:
    """Whether the topic's schema takes it, by fastavro's own judgement."""
    try:
        document: Any = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return False
    record = {
        name: next(iter(value.values())) if isinstance(value, dict) else value
        for name, value in document.items()
    }
    schema = fastavro.parse_schema(contracts.avro_schema(of))
    return fastavro.validate(record, schema, raise_errors=False, strict=True)


def test_events_go_out_when_they_happen_and_in_order() -> None:
    messages = schedule(PLAN)
    assert [one.at for one in messages] == sorted(one.at for one in messages)
    events = [one for one in messages if one.kind == "event"]
    assert all(PLAN.start <= one.at < PLAN.end for one in events)
    for one in events[::100]:
        row = contracts.decode(contract(one.contract), one.data)
        assert one.at == contracts.event_time(row)
    assert {one.contract for one in events} == {"flights", "arrivals"}


def test_the_same_plan_is_the_same_replay() -> None:
    assert schedule(PLAN) == schedule(PLAN)


def test_as_many_of_each_kind_as_asked_for() -> None:
    kinds = Counter(one.kind for one in schedule(PLAN))
    assert kinds["poison"] == 40
    assert kinds["duplicate"] == 30
    assert kinds["late"] == 20
    assert kinds["unfit"] == 10


def test_each_kind_is_what_it_says() -> None:
    events = set[bytes]()
    for one in schedule(PLAN):
        of = contract(one.contract)
        if one.kind == "event":
            events.add(one.data)
        elif one.kind in ("duplicate", "late"):
            assert one.data in events, "a copy goes out after what it copies"
        elif one.kind == "poison":
            with pytest.raises(ContractViolation):
                contracts.decode(of, one.data)
            assert fits_avro(of, one.data)
        else:
            assert not fits_avro(of, one.data)


def test_a_day_without_events_is_an_empty_replay() -> None:
    long_ago = datetime(1999, 1, 1, tzinfo=UTC)
    plan = Plan(product="flight-delay", start=long_ago, end=long_ago + timedelta(1), poison=5)
    assert schedule(plan) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"end": DAWN}, "start is .*; allowed: before end"),
        ({"start": DAWN.replace(tzinfo=None)}, "allowed: with a time zone"),
        ({"late": -1}, "late is -1; allowed: 0 or more"),
        ({"speed": 0.5}, r"speed is 0\.5; allowed: 0 \(as fast as it goes\) or 1 up"),
        ({"speed": -1}, "speed is -1; allowed"),
    ],
)
def test_a_plan_that_cannot_be(change: dict[str, Any], message: str) -> None:
    arguments = {"product": "flight-delay", "start": DAWN, "end": DAWN + timedelta(1)} | change
    with pytest.raises(InvalidPlan, match=message):
        Plan(**arguments)


def test_a_contract_that_forbids_nothing_cannot_be_poisoned() -> None:
    class Text(Contract, frozen=True):
        NAME = "text"
        PLURAL = "texts"
        VERSION = 1

    with pytest.raises(poison.Unbreakable, match="contract text allows whatever"):
        poison.broken(Text(), random.Random(1))
