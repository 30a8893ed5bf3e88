"""A product that reads what another takes in: what it has, and what it has no need of."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pytest

SHARING, OWNER = "arrival-delay", "flight-delay"


def _configuration(products: list[str], environment: str = "prod") -> dict[str, str]:
    return {
        "environment": environment,
        "project": f"esteira-{environment}",
        "products": json.dumps(products),
    }


@pytest.fixture(scope="module")
def both(compose: Any) -> Any:
    # Named in the wrong order on purpose.
    return compose(_configuration([SHARING, OWNER]))


def _of(composed: Any, token: str, product: str) -> list[str]:
    return [one.name for one in composed.mocks.find(token) if one.name.startswith(product)]


def test_it_has_no_stream_and_no_ingestion_of_its_own(both: Any) -> None:
    for token in ("pubsub/schema:Schema", "dataflow/flexTemplateJob:FlexTemplateJob"):
        assert _of(both, f"gcp:{token}", OWNER)
    assert _of(both, "gcp:dataflow/flexTemplateJob:FlexTemplateJob", SHARING) == []
    assert _of(both, "gcp:pubsub/schema:Schema", SHARING) == [
        # What it answers is its own.
        one
        for one in _of(both, "gcp:pubsub/schema:Schema", SHARING)
        if "predictions" in one
    ]
    datasets = {one.inputs["datasetId"] for one in both.mocks.find("gcp:bigquery/dataset:Dataset")}
    assert "flight_delay_raw" in datasets
    assert "arrival_delay_raw" not in datasets
    assert "arrival_delay_predictions" in datasets


def test_its_outputs_say_that_it_takes_nothing_in(both: Any) -> None:
    mine = both.outputs["esteira"]["products"][SHARING]

    assert mine["streams"] == {}
    assert mine["landing"]["folders"] == {}
    assert set(mine["ingestion"].values()) == {""}
    assert mine["tables"]["raw"] == {}
    assert set(mine["service_accounts"]).isdisjoint({"ingest", "replay"})
    assert set(mine["dashboards"]) == {"serving", "models"}


def test_whoever_works_on_its_rows_may_read_the_owners_raw_tables(both: Any) -> None:
    entries = [
        one.inputs
        for one in both.mocks.find("gcp:bigquery/datasetAccess:DatasetAccess")
        if one.inputs["datasetId"] == "flight_delay_raw"
    ]
    readers = {
        one["userByEmail"].partition("@")[0] for one in entries if one.get("role") == "READER"
    }
    assert {f"{SHARING}-{role}" for role in ("train", "batch", "monitor")} <= readers
    writers = {
        one["userByEmail"].partition("@")[0] for one in entries if one.get("role") == "WRITER"
    }
    assert not any(one.startswith(SHARING) for one in writers)
    viewing = [
        one["authorizedDataset"]["dataset"]["datasetId"]
        for one in entries
        if "authorizedDataset" in one
    ]
    assert set(viewing) == {"flight_delay_curated", "arrival_delay_curated"}


def test_its_views_read_the_owners_tables(both: Any) -> None:
    (examples,) = (
        one.inputs["view"]["query"]
        for one in both.mocks.find("gcp:bigquery/table:Table")
        if one.inputs["datasetId"] == "arrival_delay_curated"
        and one.inputs["tableId"] == "examples"
    )
    assert "`esteira-prod.flight_delay_raw.flights`" in examples


@pytest.mark.parametrize("environment", ["local", "prod"])
def test_it_is_refused_without_the_product_that_takes_it_in(
    compose_anew: Any, environment: str
) -> None:
    with pytest.raises(pulumi.RunError) as refused:
        compose_anew(_configuration([SHARING], environment))

    assert str(refused.value) == (
        "esteira:products is ['arrival-delay']: arrival-delay reads what flight-delay takes in; "
        "add flight-delay, or leave arrival-delay out"
    )
