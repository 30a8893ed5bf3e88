"""A whole run over real flights, on the local BigQuery and Cloud Storage."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud import bigquery

from workloads import gcp
from workloads.batch_prediction.task import predict_day
from workloads.features.query import FeatureQuery
from workloads.ingestion.tables import Table
from workloads.monitoring import tables
from workloads.monitoring.champion import Champion
from workloads.monitoring.job import Edge, monitor
from workloads.monitoring.publishing import Point, reports
from workloads.monitoring.store import Store
from workloads.monitoring.window import Window
from workloads.notifications.incident import decode
from workloads.product import Product
from workloads.registry import CHAMPION, Registry
from workloads.telemetry import DRIFT_SCORE, MONITOR_ALARM

from ..conftest import Trained, local
from .test_histogram_query import logged, prediction

WINDOW = Window(start=local(11), end=local(14))


class Gauges:
    def __init__(self) -> None:
        self.points: list[Point] = []

    def write(self, points: Sequence[Point], at: datetime) -> None:
        self.points = list(points)


def asked(product: Product, reason: str, evidence: dict[str, Any], as_of: datetime | None) -> str:
    return f"asked because of {reason}: {evidence['key']}"


@pytest.fixture(scope="module")
def _predicted() -> list[int]:
    return []


@pytest.fixture
def watched(trained: Trained, january: Product, _predicted: list[int]) -> Product:
    """The product with a champion, the tables of its monitors, and three days predicted."""
    empty(january)
    registry = Registry(january)
    registry.move(CHAMPION, registry.get(trained.registration.version))
    if not _predicted:
        _predicted += [predict_day(january, local(day).date()).rows for day in (11, 12, 13)]
    return january


def empty(product: Product) -> None:
    """The tables of a product's monitors, without rows."""
    gcp.bigquery_client().create_dataset(tables.dataset(product), exists_ok=True)
    for table in tables.TABLES:
        make(product, table)


def make(product: Product, table: Table) -> None:
    fields = [bigquery.SchemaField.from_api_repr(one) for one in table.columns]
    name = f"{gcp.project()}.{tables.dataset(product)}.{table.name}"
    client = gcp.bigquery_client()
    client.delete_table(name, not_found_ok=True)
    client.create_table(bigquery.Table(name, schema=fields))


def stored(product: Product, table: Table) -> list[dict[str, Any]]:
    name = f"{gcp.project()}.{tables.dataset(product)}.{table.name}"
    rows = gcp.bigquery_client().query(f"SELECT * FROM `{name}`").result()
    return [dict(one.items()) for one in rows]


def test_a_window_is_measured_told_and_measured_again_without_a_second_row(
    watched: Product,
) -> None:
    ours = dataclasses.replace(watched.monitoring, least=1, of=2)
    product = dataclasses.replace(watched, monitoring=ours)
    gauges = Gauges()
    edge = dataclasses.replace(Edge.of(product), gauges=gauges, retraining=asked)

    # Three days in January hold other weekdays and other weather than the ten before them.
    first = monitor(product, WINDOW, edge=edge)

    assert first.verdict == "alarm"
    assert first.incident is not None
    assert first.incident.kind == "drift"
    assert "weekday" in {one.feature for one in first.incident.top}
    assert first.incident.action.startswith("asked because of drift: ")
    page = reports(product).read(first.report.rpartition("/")[2]).decode()
    assert page.count("<svg") > 5
    assert "weekday" in page
    assert decode(reports(product).read("latest-drift.json")) == first.incident
    alarms = {
        dict(one.labels)["kind"]: one.value for one in gauges.points if one.metric is MONITOR_ALARM
    }
    assert alarms["drift"] == 1
    # Nothing was served, so nothing is said of skew, neither way.
    assert "skew" not in alarms
    assert {one.metric for one in gauges.points} > {DRIFT_SCORE}

    scores, rated = stored(product, tables.FEATURE_SCORES), stored(product, tables.PERFORMANCE)
    assert len(scores) + len(rated) == first.measurements
    parts = {one["slice"] for one in scores}
    assert parts == {"", "origin=EWR", "origin=JFK", "origin=LGA"}
    whole = [one for one in rated if one["slice"] == ""]
    real, estimated = sorted(whole, key=lambda one: one["estimated"])
    assert real["labelled"] > 2_000
    assert real["low"] < real["value"] < real["high"]
    assert estimated["low"] < real["value"] < estimated["high"]

    # Each slice is held against itself on the hold-out.
    expected = Champion.of(product).parts
    assert {"origin=EWR", "origin=JFK"} <= set(expected)
    assert all(one.low < one.value < one.high for one in expected.values())

    again = monitor(product, WINDOW, edge=edge)
    assert len(stored(product, tables.FEATURE_SCORES)) == len(scores)
    assert len(stored(product, tables.PERFORMANCE)) == len(rated)
    assert again.findings == first.findings

    # What is stored of this window is the history of the next.
    later = Window(start=local(14), end=local(17))
    history = Store(product).history(first.model_version, later, 2)
    assert [one.breach for one in history[tables.TRAINING, "weekday", ""]] == [True]
    assert [one.window for one in history[tables.TRAINING, "weekday", ""]] == [WINDOW]
    known = Store(product).scores(first.model_version, later, 2)
    whole = {one.estimated: one.value for one in known if not one.slice}
    assert whole[False] == pytest.approx(real["value"])
    assert {one.slice for one in known if one.slice} == {
        one["slice"] for one in rated if one["slice"]
    }
    trend = Store(product).trend(first.model_version, later, 2, {"weekday"})
    assert {(one.reference, one.feature) for one in trend} == {(tables.TRAINING, "weekday")}
    assert {one.window for one in trend} == {WINDOW}
    scored = {
        one["statistic"]: (one["score"], one["threshold"])
        for one in scores
        if (one["feature"], one["slice"]) == ("weekday", "") and one["score"] is not None
    }
    assert {one.statistic: (one.score, one.threshold) for one in trend} == scored
    assert Store(product).trend(first.model_version, later, 2, set()) == []


def test_a_column_that_is_gone_is_a_fault_of_the_schema_and_no_crash(watched: Product) -> None:
    client = gcp.bigquery_client()
    table = f"{gcp.project()}.{watched.id}_raw.flights"
    client.query(f"ALTER TABLE `{table}` RENAME COLUMN carrier TO airline").result()
    edge = dataclasses.replace(Edge.of(watched), gauges=Gauges(), retraining=asked)
    try:
        found = monitor(watched, WINDOW, edge=edge, at=datetime(2013, 1, 20, tzinfo=UTC))
    finally:
        client.query(f"ALTER TABLE `{table}` RENAME COLUMN airline TO carrier").result()
    assert found.verdict == "schema"
    assert found.incident is not None
    assert found.incident.severity == "CRITICAL"
    assert [one.feature for one in found.incident.top] == ["carrier"]
    assert "fault" in found.incident.action
    assert {
        one["verdict"]
        for one in stored(watched, tables.FEATURE_SCORES)
        if one["reference"] != tables.FRESHNESS
    } <= {
        "unknown",
        "quiet",
    }
    assert all(one["value"] is None for one in found.performance)
    assert Store(watched).newest()


def test_what_servers_were_shown_is_held_against_the_same_flights(watched: Product) -> None:
    """A server that reads temperatures in Celsius is found, though both look like weather."""
    rows = FeatureQuery(watched).run(WINDOW.start, WINDOW.end).slice(0, 600).to_pylist()
    names = watched.features.request.__struct_fields__
    at = datetime(2026, 11, 21, tzinfo=UTC)
    served: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        shown = {name: row[name] for name in names}
        if shown["temperature"] is not None:
            shown["temperature"] = (shown["temperature"] - 32) / 1.8
        served.append(
            prediction(
                at,
                number,
                entity=row["flight_id"],
                value=0.2,
                features=json.dumps(shown),
            )
        )
    ours = dataclasses.replace(watched.monitoring, least=1, of=1, slices=())
    product = dataclasses.replace(watched, monitoring=ours)
    logged(product, served)
    edge = dataclasses.replace(Edge.of(product), gauges=Gauges(), retraining=asked)
    try:
        found = monitor(product, WINDOW, edge=edge)
    finally:
        logged(product, [prediction(at, 0)])
    [skew] = [one for one in found.findings if one.kind == "skew"]
    assert skew.alarm
    assert [one.feature for one in skew.top] == ["temperature"]
    assert found.incident is not None
    assert found.incident.kind == "skew"
    assert "fault" in found.incident.action
