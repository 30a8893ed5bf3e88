"""BigQuery counts what numpy counts, to the row."""

from __future__ import annotations

import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from google.cloud import bigquery

from workloads import gcp
from workloads.contracts import bigquery_schema
from workloads.features.query import FeatureQuery
from workloads.monitoring import histogram_query as queries
from workloads.monitoring.assessment import Thresholds, Verdict, assess
from workloads.monitoring.counting import MissingColumn, count
from workloads.monitoring.histogram_query import PREDICTED, RowSource
from workloads.monitoring.reference import Feature, Histogram, Reference, from_profile, number
from workloads.monitoring.window import Window
from workloads.prediction_log.contract import PredictionLogged
from workloads.product import Product
from workloads.training import profile

from ..conftest import PROJECT, local

pytestmark = pytest.mark.usefixtures("cloud")

DAYS = Window(start=local(10), end=local(12))


def load(table: str, rows: pd.DataFrame, schema: list[Any] | None = None) -> None:
    content = io.BytesIO()
    rows.to_parquet(content, index=False)
    content.seek(0)
    config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_TRUNCATE")
    if schema is not None:
        config.schema = schema
    client = gcp.bigquery_client()
    client.create_dataset(table.split(".")[0], exists_ok=True)
    client.load_table_from_file(content, f"{PROJECT}.{table}", job_config=config).result()


def mixed(seed: int, rows: int) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        "x": generator.normal(size=rows),
        "whole": generator.integers(0, 7, rows).astype(float),
        "odd": generator.lognormal(0, 3, rows),
    }
    columns["x"][:40] = np.nan
    columns["odd"][:3] = [np.inf, -np.inf, 1e308]
    text = generator.zipf(1.6, rows).astype(str).astype(object)
    text[:4] = [None, "it's", 'a "b"', ""]
    return {**columns, "text": text}


def profiled(columns: dict[str, Any]) -> Reference:
    features: list[Feature] = []
    for name, values in columns.items():
        if values.dtype == object:
            listed = dict(Counter(one for one in values if one is not None).most_common(30))
            rows, nulls = len(values), sum(one is None for one in values)
            entry = {"kind": "string", "rows": rows, "nulls": nulls, "values": listed}
            features += from_profile({name: entry}).features
        else:
            features.append(number(name, np.where(np.isfinite(values), values, np.nan)))
    return Reference(features=tuple(features))


def source(table: str, columns: dict[str, Any]) -> RowSource:
    return RowSource(
        relation=f"`{PROJECT}.{table}`", where="TRUE", expressions={one: one for one in columns}
    )


def test_nulls_edges_infinities_and_odd_text_are_counted_alike() -> None:
    known = profiled(mixed(0, 3_000))
    now = mixed(1, 3_000)
    for one in known.features:
        if one.edges:
            now[one.name][100 : 100 + len(one.edges)] = one.edges
    load("counting.mixed", pd.DataFrame(now))

    assert queries.count(known, source("counting.mixed", now)) == count(known, now)

    parts = queries.count_by(known, source("counting.mixed", now), "text")
    assert set(parts) == {one for one in now["text"] if one}
    here = now["text"] == "1"
    assert parts["1"] == count(known, {name: values[here] for name, values in now.items()})


def test_a_window_without_rows_counts_none() -> None:
    known = profiled(mixed(0, 500))
    now = mixed(1, 10)
    load("counting.empty", pd.DataFrame(now))
    nothing = RowSource(
        relation=f"`{PROJECT}.counting.empty`",
        where="FALSE",
        expressions={one: one for one in now},
    )
    assert queries.count(known, nothing) == {
        one.name: Histogram(cells=(0,) * one.size) for one in known.features
    }


def test_a_renamed_column_is_named_and_no_verdict_is_made() -> None:
    now = mixed(1, 200)
    known = profiled(now)
    load("counting.renamed", pd.DataFrame({**now, "y": now["x"]}).drop(columns="x"))
    with pytest.raises(MissingColumn, match=r"Unrecognized name: x[\s\S]*If one was renamed"):
        queries.count(known, source("counting.renamed", now))
    other = {name: values for name, values in now.items() if name != "x"}
    with pytest.raises(MissingColumn, match=r"no column \['x'\]; there are \['odd', 'text'"):
        queries.histogram_sql(known, source("counting.renamed", other))


@pytest.mark.parametrize("features", [50, pytest.param(1_000, marks=pytest.mark.long)])
def test_many_features_are_one_query(features: int) -> None:
    generator = np.random.default_rng(0)
    before = {f"x{at}": generator.normal(size=200) for at in range(features)}
    now = {name: generator.normal(1, 1, 100) for name in before}
    known = profiled(before)
    rows = source("counting.wide", now)
    assert len(queries.histogram_sql(known, rows)) < 200 * features  # BigQuery takes a megabyte
    load("counting.wide", pd.DataFrame(now))
    assert queries.count(known, rows) == count(known, now)


def test_the_feature_view_of_two_days_is_held_against_training(january: Product) -> None:
    rows = FeatureQuery(january).run(local(1), local(4))
    known = from_profile(profile.of_features(january, rows))
    days = FeatureQuery(january).run(DAYS.start, DAYS.end)
    counts = queries.count(known, queries.raw(january, DAYS))

    assert counts == count(known, {one.name: days[one.name].to_pylist() for one in known.features})
    drifted = {
        one.feature
        for one in assess(known, counts, Thresholds(), window=DAYS)
        if one.verdict is Verdict.DRIFTED
    }
    # After New Year it grew warm in New York; the planes were the same.
    assert "temperature" in drifted
    assert "distance" not in drifted


def logged(product: Product, rows: list[dict[str, Any]]) -> None:
    fields = {one["name"]: one["type"] for one in bigquery_schema(PredictionLogged)}
    kinds = {
        "TIMESTAMP": "datetime64[us, UTC]",
        "STRING": "string",
        "INT64": "Int64",
        "BOOL": "boolean",
        "FLOAT64": "float64",
    }
    table = pd.DataFrame([{name: one.get(name) for name in fields} for one in rows])
    table = table.astype({name: kinds[kind] for name, kind in fields.items()})
    schema = [bigquery.SchemaField.from_api_repr(one) for one in bigquery_schema(PredictionLogged)]
    load(f"{product.id}_predictions.log", table, schema)


def prediction(at: datetime, number_: int, **given: Any) -> dict[str, Any]:
    return {
        "prediction_id": f"p{number_}",
        "predicted_at": at,
        "product": "flight-delay",
        "model_version": "1",
        "model_run": "r",
        "deployed_model_id": "",
        "variant": "champion",
        "status": 200,
        "latency_ms": 1.0,
        **given,
    }


@pytest.fixture
def log(january: Product) -> tuple[Product, list[dict[str, Any]]]:
    """A hundred questions that were asked, and what a log should not count among them."""
    rows = FeatureQuery(january).run(local(8), local(9)).slice(0, 100).to_pylist()
    names = january.features.request.__struct_fields__
    asked = [{name: one[name] for name in names} for one in rows]
    at = datetime(2013, 1, 8, 12, tzinfo=UTC)
    log = [
        prediction(at, n, features=json.dumps(one), value=n / 100, answer=n >= 50, entity=f"e{n}")
        for n, one in enumerate(asked)
    ]
    shadow = {**log[0], "prediction_id": "s", "variant": "shadow"}
    old = {**log[1], "prediction_id": "o", "model_version": "0"}
    refused = prediction(at, 200, status=400)
    skewed = {**log[2], "prediction_id": "f", "predicted_at": at + timedelta(days=3650)}
    logged(january, [*log, log[0], shadow, old, refused, skewed])
    return january, asked


DAY = Window(start=datetime(2013, 1, 8, tzinfo=UTC), end=datetime(2013, 1, 9, tzinfo=UTC))


def test_the_log_tells_what_servers_were_asked(log: tuple[Product, list[dict[str, Any]]]) -> None:
    product, asked = log
    rows = FeatureQuery(product).run(local(1), local(2))
    known = from_profile(profile.of_features(product, rows))
    columns = {one.name: [row[one.name] for row in asked] for one in known.features}

    found = queries.count(known, queries.logged(product, DAY, "1"))
    assert found == count(known, columns)
    # Of every version, one more; the delivered twice, the shadow and the refused never.
    every = queries.count(known, queries.logged(product, DAY))
    assert {one.rows for one in every.values()} == {101}
    by = queries.count_by(known, queries.logged(product, DAY, "1"), "origin")
    assert {name: one["origin"].rows for name, one in by.items()} == Counter(columns["origin"])


def test_the_log_tells_what_they_answered(log: tuple[Product, list[dict[str, Any]]]) -> None:
    product, _ = log
    values = np.arange(100) / 100
    known = Reference(
        features=(
            number("value", values),
            *from_profile(
                {
                    "answer": {
                        "kind": "string",
                        "rows": 100,
                        "nulls": 0,
                        "values": {"true": 10, "false": 90},
                    },
                    "late": {"kind": "string", "rows": 100, "nulls": 0, "values": {}},
                }
            ).features,
        )
    ).only(PREDICTED)
    found = queries.count(known, queries.answered(product, DAY, "1"))
    assert found["value"] == known.feature("value").counts
    assert found["answer"] == Histogram(cells=(50, 50, 0))
    scores = assess(known, found, Thresholds(), window=DAY)
    assert {one.feature for one in scores if one.verdict is Verdict.DRIFTED} == {"answer"}
