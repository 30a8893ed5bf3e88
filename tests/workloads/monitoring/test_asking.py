"""What a monitor asks the controller of retraining for, over the real records of retraining."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import pytest

from workloads import gcp
from workloads.database import DatabaseSettings
from workloads.monitoring import __main__ as main
from workloads.monitoring.job import BY_HAND, Edge, Outcome, monitor

from .conftest import asked
from .test_job import NOW, PRODUCT, Stored, World, after, run, week

CLOSED = "127.0.0.1:1"


@pytest.fixture
def database(records: DatabaseSettings, monkeypatch: pytest.MonkeyPatch) -> DatabaseSettings:
    """Where the requests go, and none in it."""
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    return records


def looked(world: World, database: DatabaseSettings) -> Outcome:
    """A second week that drifts, looked at with the records that requests are kept in."""
    asks = Edge.of(PRODUCT, database).retraining
    edge = dataclasses.replace(world.edge(), store=cast("Any", Stored(world)), retraining=asks)
    return monitor(PRODUCT, week(1), at=NOW, edge=edge)


@pytest.fixture
def world() -> World:
    one = World(shift=after(0, 0.5))
    run(one, 0)
    return one


def test_what_could_not_be_asked_for_is_asked_for_by_the_next_attempt(
    world: World, database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = gcp.sql_emulator()
    monkeypatch.setenv("CLOUD_SQL_EMULATOR_HOST", CLOSED)
    found = looked(world, database)
    assert "does not answer" in found.unasked
    assert found.incident is not None
    assert "the monitor asks again" in found.incident.action
    # Whoever trained by hand as well would have it trained twice.
    assert BY_HAND.format(product=PRODUCT.name) not in found.incident.action

    assert address is not None
    monkeypatch.setenv("CLOUD_SQL_EMULATOR_HOST", "{}:{}".format(*address))
    again = looked(world, database)
    assert again.unasked == ""
    assert again.incident is not None
    assert again.incident.action.startswith("A retraining has been asked for")
    (request,) = asked(database)
    looked(world, database)
    assert asked(database) == [request]


def test_a_job_that_could_not_ask_has_failed_so_that_it_is_started_again(
    world: World, database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "GOOGLE_CLOUD_LOCATION": "us-central1",
        "PRODUCT": PRODUCT.name,
        "DATABASE_HOST": database.database_host,
        "DATABASE_NAME": database.database_name,
        "DATABASE_USER": database.database_user,
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(main, "monitor", lambda *_, **__: looked(world, database))
    assert main.main() == 0
    monkeypatch.setenv("CLOUD_SQL_EMULATOR_HOST", CLOSED)
    assert main.main() == 1


def test_a_database_that_could_be_anybody_is_for_people_to_mend(
    world: World, database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUD_SQL_EMULATOR_HOST")
    found = looked(world, database)
    assert found.unasked == ""
    assert found.incident is not None
    assert "DATABASE_CERTIFICATES" in found.incident.action
    assert BY_HAND.format(product=PRODUCT.name) in found.incident.action
