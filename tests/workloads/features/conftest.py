"""The product's features, served online by the local Vertex AI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from localcloud.home import Home
from workloads import gcp
from workloads.features import store, views
from workloads.product import Product


@pytest.fixture
def clients(cloud: Any) -> Iterator[None]:
    """Clients of this test's cloud."""
    ours = (gcp.feature_store_client, gcp.feature_store_admin_client)
    for one in ours:
        one.cache_clear()
    yield
    for one in ours:
        one.cache_clear()


Serve = Callable[[Product], Product]


@pytest.fixture
def serve(clients: None, _postgres: Home) -> Serve:
    """`serve(product)` gives it a feature view over `latest_features`, as a stack would."""

    def make(product: Product) -> Product:
        from google.api_core.exceptions import Conflict
        from google.cloud import bigquery

        client, dataset = gcp.bigquery_client(), f"{product.id}_curated"
        client.create_dataset(dataset, exists_ok=True)
        table = bigquery.Table(f"{gcp.project()}.{dataset}.{views.LATEST}")
        table.view_query = views.latest(product, gcp.project())
        client.delete_table(table, not_found_ok=True)
        client.create_table(table)
        admin = gcp.feature_store_admin_client()
        online, _, name = store.view_name(product).partition("/featureViews/")
        place, _, short = online.partition("/featureOnlineStores/")
        bigtable = {"auto_scaling": {"min_node_count": 1, "max_node_count": 1}}
        source = {
            "uri": f"bq://{gcp.project()}.{dataset}.{views.LATEST}",
            "entity_id_columns": [product.features.entity],
        }
        for create, parent, given in (
            (
                admin.create_feature_online_store,
                place,
                {
                    "feature_online_store": {"bigtable": bigtable},
                    "feature_online_store_id": short,
                },
            ),
            (
                admin.create_feature_view,
                online,
                {"feature_view": {"big_query_source": source}, "feature_view_id": name},
            ),
        ):
            try:
                create(request={"parent": parent, **given}).result()
            except Conflict:
                continue
        return product

    return make


@dataclass
class _Served:
    done: list[str] = field(default_factory=list[str])


@pytest.fixture(scope="session")
def _served() -> _Served:
    return _Served()


@pytest.fixture
def served(january: Product, serve: Serve, _served: _Served) -> Product:
    """The product of `january`, its features in the online store."""
    from workloads.features import syncing

    if not _served.done:
        _served.done.append(syncing.sync(serve(january)).name)
    return january
