"""The layer that registers one product's features, and serves them online."""

from __future__ import annotations

from typing import Any

import pulumi

from components.feature_group import FeatureGroup, FeatureGroupArgs
from stacks.commons import Commons
from stacks.data import CURATED, Data
from stacks.foundation import Foundation
from workloads import contracts
from workloads.features import views
from workloads.product import Product


def lay(
    product: Product,
    foundation: Foundation,
    commons: Commons,
    data: Data,
    opts: pulumi.ResourceOptions,
) -> FeatureGroup | None:
    """Register the fields of the product's request; None where the settings leave it out.

    Args:
        product: The declaration.
        foundation: What products share.
        commons: Has the store, if there is one.
        data: Has the view that the features are read from.
        opts: Carry the product's provider.
    """
    settings = foundation.settings
    if not settings.features.registry:
        return None
    wanted = views.names(product)
    return FeatureGroup(
        product.name,
        args=FeatureGroupArgs(
            location=settings.location,
            description=f"What the models of {product.name} are told",
            source=data.warehouse.table_id(CURATED, views.FEATURES),
            source_table=data.warehouse.tables[CURATED][views.FEATURES],
            entity=[product.features.entity],
            features={
                field.name: field.description
                for field in contracts.fields(product.features.request)
                if field.name in wanted
            },
            store=None if commons.online_store is None else commons.online_store.store,
            sync=settings.features.sync,
        ),
        opts=opts,
    )


def outputs(group: FeatureGroup | None) -> dict[str, Any]:
    """The part of the stack's outputs that tells of a product's features."""
    return {
        "features": {
            "group": None if group is None else group.group.id,
            "online_view": None if group is None or group.view is None else group.view.id,
        }
    }
