"""Whoever has a reason asks, as often as it likes; each reason is written down once."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from tests.workloads.release.conftest import USERS, settings_of
from workloads import product as products
from workloads.database import DatabaseSettings
from workloads.product import Product
from workloads.retraining.requests import (
    InvalidEvidence,
    NoRetraining,
    Reason,
    RecordsUnreachable,
    ask,
    key,
)
from workloads.retraining.store import Store, opened

NOW = datetime(2013, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def product() -> Product:
    return products.load("flight-delay")


def test_a_request_is_kept_with_who_why_and_on_which_evidence(
    product: Product, database: DatabaseSettings, store: Store
) -> None:
    evidence = {"feature": "wind", "score": 0.3, "until": NOW}

    asked = ask(product, Reason.DRIFT, evidence, by="the monitor", as_of=NOW, database=database)

    assert store.waiting("flight-delay") == [asked]
    assert asked.evidence["feature"] == "wind"
    assert (asked.asked_by, asked.asked_at, asked.as_of) == ("the monitor", NOW, NOW)
    (line,) = store.history("flight-delay")
    assert (line.decision, line.actor, line.request) == ("asked", "the monitor", asked.id)


def test_the_same_evidence_is_the_same_request(
    product: Product, database: DatabaseSettings, store: Store
) -> None:
    first = ask(product, Reason.DRIFT, {"a": 1, "b": 2}, by="x", now=NOW, database=database)
    again = ask(product, Reason.DRIFT, {"b": 2, "a": 1}, by="y", database=database)
    other = ask(product, Reason.DRIFT, {"a": 1, "b": 3}, by="x", now=NOW, database=database)
    worse = ask(product, Reason.PERFORMANCE, {"a": 1, "b": 2}, by="x", now=NOW, database=database)

    assert again == first
    assert len({first.id, other.id, worse.id}) == 3
    assert len(store.history("flight-delay")) == 3


def test_a_key_of_its_own_tells_evidence_apart(
    product: Product, database: DatabaseSettings, store: Store
) -> None:
    evidence = {"key": "2013-06", "score": 0.3}
    first = ask(product, Reason.DRIFT, evidence, by="x", now=NOW, database=database)
    evidence = {"key": "2013-06", "score": 0.4}
    assert ask(product, Reason.DRIFT, evidence, by="x", now=NOW, database=database) == first
    assert len(store.waiting("flight-delay")) == 1


@pytest.mark.parametrize("evidence", [{"key": ""}, {"key": 7}, {"score": object()}])
def test_evidence_that_cannot_be_kept_is_refused(evidence: dict[str, object]) -> None:
    with pytest.raises(InvalidEvidence, match="evidence"):
        key(evidence)


def test_a_product_that_is_trained_by_hand_only_is_not_asked_for(
    product: Product, database: DatabaseSettings
) -> None:
    by_hand = dataclasses.replace(product, retraining=None)
    with pytest.raises(NoRetraining, match="declare when"):
        ask(by_hand, Reason.PERSON, {}, by="ana", database=database)


def test_where_the_database_is_off_it_is_said_what_to_switch_on(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_HOST", "DATABASE_NAME", "DATABASE_USER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NoRetraining, match=r"database\.enabled"):
        ask(product, Reason.PERSON, {}, by="ana")


def test_a_database_that_does_not_answer_is_told(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_SQL_EMULATOR_HOST", "127.0.0.1:1")
    with pytest.raises(RecordsUnreachable, match="does not answer"):
        ask(product, Reason.PERSON, {}, by="ana", database=settings_of(USERS[0]))


def test_another_workload_may_ask_whoever_made_the_tables(
    product: Product, database: DatabaseSettings, store: Store
) -> None:
    with opened(settings_of(USERS[1]), "monitor") as other:
        asked = other.ask("flight-delay", Reason.DRIFT, {"a": 1}, by="monitor", at=NOW)
    assert [one.id for one in store.waiting("flight-delay")] == [asked.id]


def test_what_was_decided_cannot_be_changed(store: Store) -> None:
    import psycopg

    store.ask("flight-delay", Reason.PERSON, {}, by="ana", at=NOW)
    for statement in (
        "UPDATE retraining.decisions SET why = ''",
        "DELETE FROM retraining.decisions",
    ):
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            store._connection.execute(statement)
