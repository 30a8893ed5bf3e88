"""The views of the curated dataset say what the feature query says, over all of history."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from workloads import contracts, gcp
from workloads.features import views
from workloads.features.query import FeatureQuery
from workloads.product import Product

NEW_YORK = ZoneInfo("America/New_York")
START = datetime(2013, 1, 3, tzinfo=NEW_YORK)
END = datetime(2013, 1, 4, tzinfo=NEW_YORK)


@pytest.mark.parametrize("text", [views.examples, views.features])
def test_a_view_has_no_parameter_and_names_its_tables(
    product: Product, text: Callable[[Product, str], str]
) -> None:
    sql = text(product, "some-project")

    assert not re.search(r"@\w+|\{\w+\}", sql)
    assert set(re.findall(r"`([^`]+)`", sql)) == {
        f"some-project.flight_delay_raw.{source.contract.PLURAL}" for source in product.sources
    }


def test_the_registry_is_told_features_and_never_the_label(product: Product) -> None:
    assert product.label.column not in views.names(product)
    assert views.names(product) == product.features.request.__struct_fields__
    first = views.features(product, "p").partition("\nFROM")[0]
    assert first.startswith(
        "SELECT CAST(flight_id AS STRING) AS flight_id, asked_at AS feature_timestamp,"
    )
    assert product.label.column not in re.findall(r"\w+", first)


def test_one_day_of_the_view_is_the_query_of_that_day(january: Product) -> None:
    client = gcp.bigquery_client()
    client.create_dataset("views", exists_ok=True)
    made = client.create_table(_view(gcp.project(), views.examples(january, gcp.project())))
    query = FeatureQuery(january)

    rows = client.query(
        f"SELECT * FROM `{made.project}.views.examples`"
        f" WHERE asked_at >= '{START.isoformat()}' AND asked_at < '{END.isoformat()}'"
        " ORDER BY asked_at, flight_id"
    ).result()

    assert tuple(field.name for field in rows.schema) == query.columns
    seen = [dict(row) for row in rows]
    assert len(seen) > 500
    assert seen == query.run(START, END).to_pylist()


def _view(project: str, sql: str) -> object:
    from google.cloud import bigquery

    table = bigquery.Table(f"{project}.views.examples")
    table.view_query = sql
    return table


def test_every_feature_says_what_it_means(product: Product) -> None:
    described = {
        field.name: field.description for field in contracts.fields(product.features.request)
    }
    assert all(described[name] for name in views.names(product))
