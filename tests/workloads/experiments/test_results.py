"""The log and the truth become two rows of statistics."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.workloads.conftest import local
from tests.workloads.experiments.test_analysis import arm
from tests.workloads.experiments.test_assignment import experiment
from workloads import gcp
from workloads.experiments.assignment import assign
from workloads.experiments.experiment import Experiment, Metric
from workloads.experiments.results import ArmResults, query, results
from workloads.features.query import FeatureQuery
from workloads.prediction_log.tables import dataset, log_table
from workloads.product import Product

START = datetime(2026, 11, 1, tzinfo=UTC)
NOW = START + timedelta(days=3)
DEFINED = experiment(
    share=30, started_at=START, counted_since=START, labels_since=local(2), minimum_keys=100
)


class Log:
    """The log of one test, and what should be read from it."""

    def __init__(self, product: Product) -> None:
        self.table = f"{gcp.project()}.{dataset(product)}.{log_table(product).name}"
        self.rows: list[dict[str, object]] = []
        self.outcomes: dict[str, list[float]] = {"champion": [], "challenger": []}

    def add(self, key: str | None, variant: str, **fields: object) -> None:
        row: dict[str, object] = {
            "prediction_id": f"p{len(self.rows)}",
            "predicted_at": (START + timedelta(hours=1)).isoformat(),
            "product": "flight-delay",
            "model_version": "1" if variant == "champion" else "2",
            "model_run": "run",
            "deployed_model_id": f"deployed-{variant}",
            "variant": variant,
            "status": 200,
            "latency_ms": 1.0,
            "key": key,
        }
        self.rows.append(row | fields)

    def write(self) -> None:
        from google.cloud import bigquery

        content = io.BytesIO("\n".join(json.dumps(row) for row in self.rows).encode())
        gcp.bigquery_client().load_table_from_file(
            content,
            self.table,
            job_config=bigquery.LoadJobConfig(
                source_format="NEWLINE_DELIMITED_JSON", write_disposition="WRITE_APPEND"
            ),
        ).result()


@pytest.fixture
def log(january: Product) -> Iterator[Log]:
    """Predictions for the flights of a day by the keys of their aircraft."""
    from google.cloud import bigquery

    client, table = gcp.bigquery_client(), log_table(january)
    fields = [bigquery.SchemaField.from_api_repr(one) for one in table.columns]
    made = Log(january)
    client.delete_table(made.table, not_found_ok=True)
    client.create_table(bigquery.Table(made.table, schema=fields))
    yield made
    client.delete_table(made.table)


@pytest.fixture(scope="module")
def _flights() -> list[tuple[str, bool | None]]:
    return []


@pytest.fixture
def flights(
    january: Product, _flights: list[tuple[str, bool | None]]
) -> list[tuple[str, bool | None]]:
    """Of a day, with whether they were late; asked for once."""
    if not _flights:
        rows = FeatureQuery(january).run(local(2), local(3)).to_pylist()
        _flights.extend((row["flight_id"], row["late"]) for row in rows)
    return _flights


def test_the_statistics_are_those_of_the_rows(
    january: Product, log: Log, flights: list[tuple[str, bool | None]]
) -> None:
    keys: dict[str, list[str]] = {"champion": [], "challenger": []}
    outcomes: dict[str, list[float]] = {"champion": [], "challenger": []}
    lost = dict.fromkeys(keys, 0)
    for place, (flight, late) in enumerate(flights):
        key = f"key-{place // 3}"
        variant = assign(key, DEFINED)
        value = (place % 10) / 10
        log.add(key, variant, entity=flight, value=value, answer=value > 0.5)
        if late is None:
            lost[variant] += 1
        else:
            keys[variant].append(key)
            outcomes[variant].append((value - late) ** 2)
    log.rows += log.rows[:50]  # Pub/Sub delivers at least once
    log.add(None, "champion", entity=flights[0][0], value=1.0)
    log.add("shadowed", "shadow", entity=flights[0][0], value=1.0, model_version="2")
    log.add("another", "champion", entity=flights[0][0], value=1.0, model_version="7")
    log.write()

    found = results(january, DEFINED, NOW)

    import numpy as np

    assert found.crossed == 0
    for variant, read in (("champion", found.champion), ("challenger", found.challenger)):
        expected = arm(np.array(outcomes[variant]), np.array(keys[variant]))
        assert len(outcomes[variant]) > 100
        assert read.totals.keys == expected.keys
        assert read.totals.rows == expected.rows
        for name in ("total", "squares", "products", "counts"):
            assert getattr(read.totals, name) == pytest.approx(getattr(expected, name)), name
        assert read.unlabelled == lost[variant]
        assert read.predictions == expected.rows + lost[variant]
        assert read.deployed_models == (f"deployed-{variant}",)


def test_what_is_not_judged_is_counted(
    january: Product, log: Log, flights: list[tuple[str, bool | None]]
) -> None:
    flight, late = next(one for one in flights if one[1] is not None)
    young = (NOW - timedelta(hours=2)).isoformat()
    log.add("a", "champion", entity=flight, value=0.5, answer=late)
    log.add("b", "champion", entity=flight, value=0.5, answer=late, predicted_at=young)
    log.add("c", "champion", entity=flight, status=503)
    log.add("d", "champion", entity="2013-01-02-ZZ-1-JFK-0000", value=0.5, answer=late)
    log.add("e", "champion", value=0.5, answer=late)
    log.add("a", "challenger", entity=flight, value=0.5, answer=not late)
    early = (START - timedelta(hours=2)).isoformat()
    log.add("f", "challenger", entity=flight, answer=late, predicted_at=early)
    log.write()
    judged = experiment(
        metric=Metric.CORRECT, started_at=START, counted_since=START, labels_since=local(2)
    )

    found = results(january, judged, NOW)

    def told(read: ArmResults) -> tuple[int, ...]:
        totals = read.totals
        lost = (read.awaited, read.unlabelled, read.unanswered)
        return (read.predictions, totals.assigned, totals.keys, int(totals.total), *lost)

    assert told(found.champion) == (5, 5, 1, 1, 1, 2, 1)
    assert told(found.challenger) == (1, 1, 1, 0, 0, 0, 0)
    assert found.crossed == 1


def test_an_empty_log_is_no_result(january: Product, log: Log) -> None:
    found = results(january, DEFINED, NOW)

    assert found.champion.predictions == found.challenger.predictions == 0


@pytest.mark.parametrize("metric", list(Metric))
def test_each_metric_has_its_expression(january: Product, metric: Metric) -> None:
    limit = 60.0 if metric is Metric.ABSOLUTE_ERROR else 1.0
    defined: Experiment = experiment(metric=metric, limit=limit)

    text = query(january, defined)

    assert ("@limit" in text) == (metric is Metric.ABSOLUTE_ERROR)
    assert "@start" not in text  # all history, unless the experiment says since when
