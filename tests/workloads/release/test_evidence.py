"""Evidence out of a prediction log of the contract's own columns, in the local BigQuery."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from workloads import gcp
from workloads.contracts import bigquery_schema
from workloads.prediction_log import tables
from workloads.prediction_log.contract import PredictionLogged
from workloads.product import Product
from workloads.release.evidence import LoggedEvidence, drift
from workloads.release.policy import GuardMetric, ReleasePolicy
from workloads.release.shadow import Shadow

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
END = START + timedelta(hours=1)

INSTANCE = {
    "carrier": "UA",
    "origin": "EWR",
    "destination": "IAH",
    "departure_minute": 600,
    "weekday": 3,
    "scheduled_arrival_minute": 800,
}


def row(number: int, version: str, **given: Any) -> PredictionLogged:
    fields: dict[str, Any] = {
        "prediction_id": f"{version}-{number}",
        "predicted_at": START + timedelta(seconds=number),
        "product": "flight-delay",
        "model_version": version,
        "model_run": f"run-{version}",
        "deployed_model_id": "",
        "variant": "champion" if version == "1" else "challenger",
        "status": 200,
        "latency_ms": 10.0,
        "value": (number % 100) / 100,
        "answer": number % 4 == 0,
    }
    return PredictionLogged(**(fields | given))


@pytest.fixture
def logged(product: Product, cloud: object) -> Iterator[Any]:
    """Writes rows into an empty log; the product with a guard on the share of yes."""
    from google.cloud import bigquery

    client = gcp.bigquery_client()
    name = f"{gcp.project()}.{tables.dataset(product)}.{tables.NAME}"
    fields = [bigquery.SchemaField.from_api_repr(one) for one in bigquery_schema(PredictionLogged)]
    client.create_dataset(tables.dataset(product), exists_ok=True)
    client.delete_table(name, not_found_ok=True)
    client.create_table(bigquery.Table(name, schema=fields))

    def write(rows: list[PredictionLogged]) -> None:
        documents = [msgspec.to_builtins(one) for one in rows]
        assert client.insert_rows_json(name, documents) == []

    yield write
    client.delete_table(name)


@pytest.fixture
def guarded(product: Product) -> Product:
    guard = GuardMetric(name="said_yes", sql="AVG(IF(answer, 1, 0))", tolerance=0.1)
    return dataclasses.replace(product, release=ReleasePolicy(guard=guard))


def test_a_window_counts_each_row_once_by_version(guarded: Product, logged: Any) -> None:
    champion = [row(n, "1") for n in range(400)]
    challenger = [
        row(
            n,
            "2",
            latency_ms=float(n + 1),
            status=500 if n < 20 else 200,
            value=None if n < 20 else (n % 100) / 100,
            answer=True,
        )
        for n in range(200)
    ]
    aside = [
        row(900, "2", predicted_at=START - timedelta(seconds=1)),
        row(901, "2", predicted_at=END),
        row(902, "2", variant="shadow"),
        row(903, "3"),
    ]
    # Pub/Sub delivers at least once.
    logged([*champion, *challenger, *challenger[:50], *aside])

    window = LoggedEvidence(guarded).window("2", "1", START, END)

    assert window.champion is not None
    assert (window.champion.requests, window.champion.errors) == (400, 0)
    assert (window.challenger.requests, window.challenger.errors) == (200, 20)
    assert window.champion.p95 == 10.0
    # Of those that were answered: 21 to 200 ms.
    assert window.challenger.p50 == pytest.approx(110, abs=3)
    assert window.challenger.p95 == pytest.approx(191, abs=3)
    assert (window.champion.guard, window.challenger.guard) == (0.25, 1.0)
    assert window.drift == pytest.approx(0, abs=0.02)


def test_what_was_shed_is_an_error_and_what_was_refused_says_nothing(
    guarded: Product, logged: Any
) -> None:
    def quick(number: int, status: int) -> PredictionLogged:
        return row(number, "2", status=status, latency_ms=0.1, value=None, answer=None)

    logged(
        [
            *(row(n, "2", latency_ms=100.0) for n in range(200)),
            *(quick(1000 + n, 429) for n in range(60)),
            *(quick(2000 + n, 503) for n in range(40)),
            *(quick(3000 + n, status) for n, status in enumerate((400, 408, 413, 422) * 100)),
        ]
    )

    side = LoggedEvidence(guarded).window("2", None, START, END).challenger

    assert (side.requests, side.errors) == (300, 100)
    # Were the refusals among them, half of all latencies would be 0.1 ms.
    assert (side.p50, side.p95) == (100.0, 100.0)
    # Of what was answered: else `IF(answer, 1, 0)` would take an error for a no.
    assert side.guard == pytest.approx(0.25)


def test_where_nothing_was_logged_there_is_no_evidence(product: Product, logged: Any) -> None:
    window = LoggedEvidence(product).window("2", "1", START, END)

    assert window.challenger.requests == 0
    assert window.champion is None
    assert window.drift is None


def test_without_a_table_there_is_no_evidence_either(product: Product, cloud: object) -> None:
    other = dataclasses.replace(product, name="never-logged")

    assert LoggedEvidence(other).window("2", "1", START, END).challenger.requests == 0


class TestTheShadow:
    """Of models that say what their rows hold, with an offset."""

    def version(self, number: str, offset: float) -> Any:
        def rows(requests: list[Any]) -> Any:
            values = np.array([one.distance / 5000 + offset for one in requests])
            return SimpleNamespace(value=values)

        return SimpleNamespace(number=number, scorer=lambda product: SimpleNamespace(rows=rows))

    @pytest.mark.parametrize(("offset", "differs"), [(0.0, False), (0.4, True)])
    def test_asks_what_the_champion_was_asked(
        self, product: Product, logged: Any, offset: float, differs: bool
    ) -> None:
        asked = [
            row(n, "1", features=json.dumps({**INSTANCE, "distance": 100 + n * 10}))
            for n in range(100)
        ]
        # One of an older contract, which no model of today takes.
        logged([*asked, row(200, "1", features='{"carrier": "UA"}')])

        window = Shadow(product).window(
            SimpleNamespace(beside=False),  # pyright: ignore
            self.version("2", offset),
            self.version("1", 0.0),
            END,
        )

        assert window.source == "logged requests"
        assert window.challenger.requests == 100
        assert window.drift is not None
        assert (window.drift > 0.1) is differs


class TestDrift:
    def test_of_the_same_distribution_is_far_below_what_is_allowed(self) -> None:
        random = np.random.default_rng(0)
        found = [drift(random.beta(2, 5, 2000), random.beta(2, 5, 200)) or 0.0 for _ in range(200)]
        assert max(found) < ReleasePolicy().drift / 2

    @pytest.mark.parametrize(
        ("shift", "low", "high"), [(0.0, 0.0, 0.01), (0.2, 0.1, 0.5), (10.0, 0.7, 1.0)]
    )
    def test_grows_with_the_difference(self, shift: float, low: float, high: float) -> None:
        random = np.random.default_rng(0)
        reference = random.beta(2, 5, 5000)

        found = drift(reference, random.beta(2, 5, 5000) + shift)

        assert found is not None
        assert low <= found <= high

    def test_of_one_value_is_none_or_all(self) -> None:
        same = np.full(100, 0.5)
        assert drift(same, same) == 0
        assert drift(same, np.full(100, 0.7)) == pytest.approx(1)

    def test_of_few_values_is_not_known(self) -> None:
        assert drift(np.zeros(49), np.zeros(5000)) is None
