"""The feature store on the real engine: made real, compared, changed, deleted."""

from __future__ import annotations

import pulumi
import pytest
from pulumi_gcp import vertex

from localcloud.provider.clients import Clients

from .conftest import Cloud, Deployment, changes

pytestmark = pytest.mark.engine

LOCATION = "us-central1"


def features(cron: str = "0 * * * *", meaning: str = "Hour of departure") -> None:
    """A group with one feature, and a store with a view of each source."""
    group = vertex.AiFeatureGroup(
        "flights",
        name="flights",
        region=LOCATION,
        description="Flights",
        big_query={
            "big_query_source": {"input_uri": "bq://p.curated.features"},
            "entity_id_columns": ["flight"],
        },
    )
    hour = vertex.AiFeatureGroupFeature(
        "hour", name="hour", feature_group=group.name, region=LOCATION, description=meaning
    )
    store = vertex.AiFeatureOnlineStore(
        "online",
        name="online",
        region=LOCATION,
        force_destroy=True,
        labels={"owner": "sales"},
        bigtable={"auto_scaling": {"min_node_count": 1, "max_node_count": 1}},
    )
    view = vertex.AiFeatureOnlineStoreFeatureview(
        "latest",
        name="latest",
        region=LOCATION,
        feature_online_store=store.name,
        sync_config={"cron": cron},
        big_query_source={"uri": "bq://p.curated.latest", "entity_id_columns": ["flight"]},
    )
    vertex.AiFeatureOnlineStoreFeatureview(
        "registered",
        name="registered",
        region=LOCATION,
        feature_online_store=store.name,
        feature_registry_source={
            "feature_groups": [{"feature_group_id": group.name, "feature_ids": [hour.name]}]
        },
    )
    pulumi.export("view", view.id)
    pulumi.export("feature", hour.id)


def test_the_feature_store_follows_the_program(deploy: Deployment, cloud: Cloud) -> None:
    cloud.start("rest")
    rest = Clients(cloud.home).rest
    made = deploy.up(features)
    view, feature = (made.outputs[one] for one in ("view", "feature"))
    place = f"projects/{deploy.config['gcp:project']}/locations/{LOCATION}"
    assert view == f"{place}/featureOnlineStores/online/featureViews/latest"
    assert feature == f"{place}/featureGroups/flights/features/hour"
    assert rest.get(f"/v1/{place}/featureOnlineStores/online")["state"] == "STABLE"
    assert changes(deploy.up(features)) == {}
    assert set(deploy.refresh()) == {"same"}

    changed = deploy.up(lambda: features("30 * * * *", "Local hour of departure"))
    assert changes(changed) == {"update": 2}
    assert rest.get(f"/v1/{view}")["syncConfig"] == {"cron": "30 * * * *"}
    assert rest.get(f"/v1/{feature}")["description"] == "Local hour of departure"

    rest.call("DELETE", f"/v1/{view}")
    assert deploy.refresh()["delete"] == 1
    assert changes(deploy.up(features)) == {"create": 1, "update": 1}
    deploy.destroy()
    assert rest.find(f"/v1/{place}/featureOnlineStores/online") is None
    assert rest.find(f"/v1/{place}/featureGroups/flights") is None
