"""arrival-delay, from another product's raw tables to a version in the registry."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from workloads import gcp
from workloads import product as products
from workloads.features.query import FeatureQuery, InvalidFeatureQuery
from workloads.manifest import ANSWERS_PROFILE, EVALUATION, EXAMPLES, PROFILE, Example
from workloads.product import Product
from workloads.registry import CHALLENGER, Registry
from workloads.training import data, evaluation, fitting, registration

IMAGE = "us-central1-docker.pkg.dev/esteira-test/esteira/serving:test"
NEW_YORK = ZoneInfo("America/New_York")
PARTS = tuple(datetime(2013, 1, day, tzinfo=NEW_YORK) for day in (1, 8, 11))


@pytest.fixture
def arrival_delay(january: Product) -> Product:
    """The product beside flight-delay, whose raw tables hold January."""
    product = products.load("arrival-delay")
    bucket = f"{gcp.project()}-{product.name}-models"
    client = gcp.storage_client()
    if client.lookup_bucket(bucket) is None:
        client.create_bucket(bucket)
    assert january.name in product.owners
    return product


def test_its_features_are_made_of_the_raw_tables_of_flight_delay(arrival_delay: Product) -> None:
    rows = FeatureQuery(arrival_delay).run(PARTS[1], PARTS[2])

    late = rows.column("minutes_late")
    assert rows.num_rows > 2000
    assert pa.types.is_integer(late.type)
    assert 0 < late.null_count < rows.num_rows / 10, "cancelled flights have no label"
    assert rows.column("aircraft_delay_24h").null_count < rows.num_rows / 2


def test_its_features_may_not_name_the_raw_tables_themselves(
    arrival_delay: Product, tmp_path: Path
) -> None:
    sql = tmp_path / "features.sql"
    sql.write_text("SELECT * FROM `esteira-test.flight_delay_raw.flights`")
    features = dataclasses.replace(arrival_delay.features, sql=sql)

    with pytest.raises(InvalidFeatureQuery, match="names the dataset flight_delay_raw"):
        FeatureQuery(dataclasses.replace(arrival_delay, features=features)).text()


def test_it_is_trained_judged_and_registered(arrival_delay: Product) -> None:
    parts = data.extract(arrival_delay, *PARTS)
    checked = data.validate(arrival_delay, parts)
    model = fitting.fit_and_export(arrival_delay, parts)
    evaluated = evaluation.evaluate(arrival_delay, model, parts)
    manifest = registration.write_artifacts(
        arrival_delay, "arrival-delay-test", model, parts, evaluated, "test-code"
    )
    made = registration.register(arrival_delay, manifest, IMAGE)

    assert checked.leak_check_rows > 0
    assert made.metrics["mae"].value < made.baseline["mae"].value
    assert made.metrics["pinball"].value < made.baseline["pinball"].value
    version = Registry(arrival_delay).get(CHALLENGER)
    assert version.number == made.version
    (shown,) = version.model.list_model_evaluations()
    assert shown.metrics["meanAbsoluteError"] == pytest.approx(made.metrics["mae"].value)
    assert "regression_metrics" in shown._gca_resource.metrics_schema_uri
    examples = version.folder.read_json(EXAMPLES, list[Example])
    request = arrival_delay.features.request
    found = version.scorer(arrival_delay).rows([request(**one.instance) for one in examples])
    assert found.lower is not None
    assert found.lower.tolist() == pytest.approx([one.lower for one in examples])
    assert version.manifest().answered == {
        "minutes_late": "value",
        "lower": "lower",
        "upper": "upper",
    }
    assert set(version.folder.read_json(PROFILE, dict)) == set(request.__struct_fields__)
    assert "value" in version.folder.read_json(ANSWERS_PROFILE, dict)
    assert "| mae |" in version.folder.read(EVALUATION).decode()
