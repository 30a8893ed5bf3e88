"""Zones of the warehouse: who reads what, what is tagged, what goes when."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from typing import Annotated, Any, ClassVar

import pytest
from msgspec import Meta

from workloads import contracts
from workloads import product as products
from workloads.contracts import Contract, Personal
from workloads.ingestion.tables import DEAD_LETTERS_TABLE
from workloads.product import Arrival, Product, Source

READERS = ["group:analysts@example.com"]
PRIVACY = ["group:privacy@example.com"]


class Booking(Contract, frozen=True):
    """Somebody has booked a seat."""

    NAME: ClassVar[str] = "booking"
    PLURAL: ClassVar[str] = "bookings"
    VERSION: ClassVar[int] = 1
    IDENTITY: ClassVar[str | None] = "booking_id"
    EVENT_TIME: ClassVar[str | None] = "booked_at"

    booking_id: Annotated[str, Meta(description="Its number")]
    booked_at: Annotated[datetime, Meta(tz=True, description="When")]
    passenger: Annotated[str, Meta(description="Name of the passenger"), Personal()]
    email: Annotated[str, Meta(description="Where the ticket goes"), Personal()] | None = None


def _configuration(environment: str = "prod", **more: Any) -> dict[str, str]:
    return {
        "environment": environment,
        "project": f"esteira-{environment}",
        "products": '["flight-delay"]',
        **{key: json.dumps(value) for key, value in more.items()},
    }


@pytest.fixture(scope="module")
def flights() -> Product:
    return products.load("flight-delay")


@pytest.fixture(scope="module")
def composed(compose: Any) -> Any:
    return compose(
        _configuration(
            access={"readers": READERS, "sensitiveReaders": PRIVACY},
            retention={"snapshots": 90, "messages": 7, "noncurrentObjects": 7},
        )
    )


def _entries(composed: Any) -> list[dict[str, Any]]:
    return [one.inputs for one in composed.mocks.find("DatasetAccess")]


def _tagged(composed: Any) -> dict[str, list[str]]:
    """By table, the columns with a policy tag."""
    found: dict[str, list[str]] = {}
    for table in composed.mocks.find("gcp:bigquery/table:Table"):
        columns = json.loads(table.inputs.get("schema", "[]"))
        if names := [one["name"] for one in columns if "policyTags" in one]:
            found[table.inputs["tableId"]] = names
    return found


def test_there_is_a_dataset_for_each_zone(composed: Any) -> None:
    datasets = composed.mocks.find("gcp:bigquery/dataset:Dataset")
    mine = {one.inputs["datasetId"] for one in datasets if one.name.startswith("flight-delay-")}
    assert mine == {
        f"flight_delay_{zone}"
        for zone in ("raw", "curated", "features", "predictions", "monitoring")
    }


def test_data_teams_read_views_and_predictions_and_never_a_raw_table(composed: Any) -> None:
    theirs = [one for one in _entries(composed) if one.get("groupByEmail") == READERS[0][6:]]
    assert {one["datasetId"] for one in theirs} == {
        "flight_delay_curated",
        "flight_delay_predictions",
    }
    assert {one["role"] for one in theirs} == {"READER"}


def test_the_curated_dataset_holds_views_only_and_they_may_read_the_raw_tables(
    composed: Any,
) -> None:
    tables = [
        one.inputs
        for one in composed.mocks.find("gcp:bigquery/table:Table")
        if one.inputs["datasetId"] == "flight_delay_curated"
    ]
    assert {one["tableId"] for one in tables} == {
        "flights_current",
        "arrivals_current",
        "weather_current",
        "aircraft_current",
        "examples",
        "features",
        "latest_features",
    }
    assert all("view" in one for one in tables)
    [authorised] = [one for one in _entries(composed) if "authorizedDataset" in one]
    assert authorised["datasetId"] == "flight_delay_raw"
    dataset = authorised["authorizedDataset"]["dataset"]
    assert dataset == {"projectId": "esteira-prod", "datasetId": "flight_delay_curated"}


def test_no_workload_can_change_what_the_views_show(composed: Any) -> None:
    """Whoever writes a view into the curated dataset reads the raw tables through it."""
    writers = [
        one
        for one in _entries(composed)
        if one["datasetId"] == "flight_delay_curated" and one.get("role") != "READER"
    ]
    assert writers == []


def test_no_grant_on_a_dataset_drops_the_others(composed: Any) -> None:
    """An IAM member of a dataset drops the entries through which views read it."""
    granted = {
        one.inputs["datasetId"]
        for token in ("DatasetIamMember", "DatasetIamBinding", "DatasetIamPolicy")
        for one in composed.mocks.find(token)
    }
    assert not {one for one in granted if one.startswith("flight_delay_")}


def test_what_fits_no_contract_may_be_anybodys_data(composed: Any) -> None:
    assert _tagged(composed) == {"dead_letters": ["raw", "attributes", "value"]}
    assert set(DEAD_LETTERS_TABLE.personal) == {"raw", "attributes", "value"}
    members = [one.inputs["member"] for one in composed.mocks.find("PolicyTagIamMember")]
    replay = "serviceAccount:flight-delay-replay@esteira-prod.iam.gserviceaccount.com"
    assert sorted(members) == sorted([*PRIVACY, replay])


def test_a_contract_says_which_of_its_fields_are_personal() -> None:
    assert contracts.personal(Booking) == ("passenger", "email")
    assert [one.personal for one in contracts.fields(Booking)] == [False, False, True, True]


def test_personal_fields_are_tagged_and_only_who_works_on_them_reads_them(
    compose_anew: Any, monkeypatch: pytest.MonkeyPatch, flights: Product
) -> None:
    source = Source(contract=Booking, arrival=Arrival.STREAM)
    booked = dataclasses.replace(flights, sources=(*flights.sources, source))
    monkeypatch.setattr(products, "load", lambda name: booked)

    composed = compose_anew(_configuration())

    assert _tagged(composed)["bookings"] == ["passenger", "email"]
    readers = {
        one.inputs["member"].removeprefix("serviceAccount:").partition("@")[0]
        for one in composed.mocks.find("PolicyTagIamMember")
    }
    agent = next(one for one in readers if one.startswith("service-"))
    assert readers - {agent} == {
        f"flight-delay-{role}" for role in ("train", "retrain", "batch", "monitor", "replay")
    }
    tags = {
        name
        for table in composed.mocks.find("gcp:bigquery/table:Table")
        for column in json.loads(table.inputs.get("schema", "[]"))
        for name in column.get("policyTags", {}).get("names", [])
    }
    [tag] = tags
    assert "/locations/us-central1/taxonomies/" in tag


def test_snapshots_go_when_the_settings_say_so(composed: Any) -> None:
    features = composed.inputs("gcp:bigquery/dataset:Dataset", "flight-delay-features")
    assert features["defaultTableExpirationMs"] == 90 * 86_400_000
    models = composed.inputs("gcp:storage/bucket:Bucket", "flight-delay-models")
    ages = {
        one["condition"]["age"]: one["condition"].get("matchesPrefixes")
        for one in models["lifecycleRules"]
        if one["action"]["type"] == "Delete" and one["condition"].get("age")
    }
    assert ages == {90: ["snapshots/"]}


def test_prod_logs_who_reads_its_buckets(composed: Any) -> None:
    for bucket in composed.mocks.find("gcp:storage/bucket:Bucket"):
        if bucket.name.startswith("flight-delay-"):
            assert bucket.inputs["logging"]["logBucket"] == "esteira-prod-esteira-access-log"


def test_messages_of_a_product_stay_in_its_region(composed: Any) -> None:
    topic = composed.inputs("gcp:pubsub/topic:Topic", "flight-delay-flights")
    assert topic["messageStoragePolicy"]["allowedPersistenceRegions"] == ["us-central1"]
