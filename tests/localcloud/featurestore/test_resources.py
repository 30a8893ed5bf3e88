"""Stores, views and groups are made, changed and deleted as Vertex AI would have it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localcloud.featurestore.conftest import BIGTABLE, PLACE, SOURCE, STORE, VIEW, Call

REGISTRY = {
    "featureRegistrySource": {
        "featureGroups": [{"featureGroupId": "flights", "featureIds": ["hour"]}]
    }
}


@pytest.fixture
def store(call: Call) -> str:
    made = call("POST", f"{PLACE}/featureOnlineStores", BIGTABLE, featureOnlineStoreId="online")
    assert made.json()["done"], made.text
    return STORE


def view(call: Call, body: dict[str, Any] = SOURCE, **query: Any) -> Any:
    query = {"featureViewId": "flights", **query}
    return call("POST", f"{STORE}/featureViews", body, **query)


def message(answer: Any, code: int) -> str:
    assert answer.status_code == code, answer.text
    return answer.json()["error"]["message"]


def test_a_store_and_its_view_are_there_until_they_are_deleted(call: Call, store: str) -> None:
    operation = view(call).json()
    assert operation["response"]["name"] == VIEW
    assert call("GET", operation["name"]).json()["done"]

    assert call("GET", VIEW).json()["bigQuerySource"] == SOURCE["bigQuerySource"]
    assert call("GET", store).json()["state"] == "STABLE"
    listed = call("GET", f"{store}/featureViews").json()["featureViews"]
    assert [one["name"] for one in listed] == [VIEW]
    assert len(call("GET", f"{PLACE}/featureOnlineStores").json()["featureOnlineStores"]) == 1

    assert "1 feature views; set force" in message(call("DELETE", store), 400)
    assert call("DELETE", store, force=True).json()["done"]
    assert message(call("GET", VIEW), 404) == f"The FeatureView '{VIEW}' does not exist."


def test_the_id_is_taken_once(call: Call, store: str) -> None:
    view(call)
    assert "already exists" in message(view(call), 409)


def test_the_times_of_a_view_can_be_changed(call: Call, store: str) -> None:
    view(call)
    path, cron = VIEW, {"syncConfig": {"cron": "TZ=America/New_York 5 * * * *"}}
    changed = call("PATCH", path, cron, updateMask="syncConfig").json()
    assert changed["response"]["syncConfig"] == cron["syncConfig"]
    assert call("GET", path).json()["bigQuerySource"] == SOURCE["bigQuerySource"]
    assert "allowed: " in message(call("PATCH", path, {}, updateMask="name"), 400)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "Exactly one of big_query_source and feature_registry_source"),
        (SOURCE | REGISTRY, "Exactly one"),
        ({"bigQuerySource": {"uri": "curated.latest"}}, "write bq://PROJECT.DATASET.TABLE"),
        (
            {"bigQuerySource": {"uri": "bq://p.c.latest", "entityIdColumns": ["a`; --"]}},
            "letters, digits and underscores",
        ),
        (SOURCE | {"syncConfig": {"cron": "every hour"}}, "write five fields"),
        (SOURCE | {"syncConfig": {"cron": "TZ=Mars/North 0 * * * *"}}, "IANA zone"),
        (SOURCE | {"syncConfig": {"crontab": "0 * * * *"}}, "crontab"),
    ],
)
def test_a_view_that_could_never_be_synced_is_refused(
    call: Call, store: str, body: dict[str, Any], says: str
) -> None:
    assert says in message(view(call, body), 400)


@pytest.mark.parametrize(
    "body",
    [
        SOURCE | {"indexConfig": {"embeddingColumn": "e"}},
        SOURCE | {"syncConfig": {"continuous": True}},
        {"vertexRagSource": {"uri": "bq://p.c.t"}},
    ],
)
def test_what_the_local_cloud_does_not_do_it_says(
    call: Call, store: str, body: dict[str, Any]
) -> None:
    assert "local cloud" in message(view(call, body), 501)


def test_a_store_has_nodes_and_no_address_of_its_own(call: Call) -> None:
    path = f"{PLACE}/featureOnlineStores"
    query = {"featureOnlineStoreId": "online"}
    assert "optimized" in message(call("POST", path, {"optimized": {}}, **query), 501)
    many = {"bigtable": {"autoScaling": {"minNodeCount": 1, "maxNodeCount": 11}}}
    assert "ten times" in message(call("POST", path, many, **query), 400)
    named = {"featureOnlineStoreId": "On-line"}
    assert "lower-case" in message(call("POST", path, BIGTABLE, **named), 400)


def test_a_view_needs_its_store(call: Call) -> None:
    assert f"The FeatureOnlineStore '{STORE}' does not exist." in message(view(call), 404)


def test_a_view_of_the_registry_names_features_that_are_there(call: Call, store: str) -> None:
    assert "FeatureGroup" in message(view(call, REGISTRY), 404)
    group = {"bigQuery": {"bigQuerySource": {"inputUri": "bq://p.curated.history"}}}
    call("POST", f"{PLACE}/featureGroups", group, featureGroupId="flights")
    assert "features/hour' does not exist" in message(view(call, REGISTRY), 404)
    call("POST", f"{PLACE}/featureGroups/flights/features", {}, featureId="hour")
    assert view(call, REGISTRY).json()["done"]

    assert "set force" in message(call("DELETE", f"{PLACE}/featureGroups/flights"), 400)
    assert call("DELETE", f"{PLACE}/featureGroups/flights", force=True).json()["done"]


def test_without_a_database_nothing_is_synced_and_nothing_fetched(call: Call, store: str) -> None:
    view(call)
    assert "there is none: have the stack make a database" in message(
        call("POST", f"{VIEW}:sync", {}), 400
    )
    asked = call("POST", f"{VIEW}:fetchFeatureValues", {"dataKey": {"key": "UA1"}})
    assert "there is none: have the stack make a database" in message(asked, 400)
    assert call("GET", f"{VIEW}/featureViewSyncs").json() == {"featureViewSyncs": []}
