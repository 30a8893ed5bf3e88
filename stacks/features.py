"""The layer that registers one product's features, and serves the last of them online."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from components.feature_group import FeatureGroup, FeatureGroupArgs
from components.feature_view import FeatureView, FeatureViewArgs
from components.workload_identity import Grant
from stacks.commons import Commons
from stacks.data import CURATED, Data
from stacks.foundation import Foundation
from workloads import contracts
from workloads.features import views
from workloads.product import Product


@dataclass(frozen=True, kw_only=True)
class Features:
    """Each is None where the settings leave it out."""

    group: FeatureGroup | None
    view: FeatureView | None


def lay(
    product: Product,
    foundation: Foundation,
    commons: Commons,
    data: Data,
    opts: pulumi.ResourceOptions,
) -> Features:
    """Register the fields of the product's request, and have the online store serve them.

    Args:
        product: The declaration.
        foundation: What products share.
        commons: Has the store, if there is one.
        data: Has the views that the features are read from.
        opts: Carry the product's provider.
    """
    return Features(
        group=_group(product, foundation, data, opts),
        view=_view(product, foundation, commons, data, opts),
    )


def _group(
    product: Product, foundation: Foundation, data: Data, opts: pulumi.ResourceOptions
) -> FeatureGroup | None:
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
        ),
        opts=opts,
    )


def _view(
    product: Product,
    foundation: Foundation,
    commons: Commons,
    data: Data,
    opts: pulumi.ResourceOptions,
) -> FeatureView | None:
    if commons.online_store is None:
        return None
    settings = foundation.settings
    return FeatureView(
        product.name,
        args=FeatureViewArgs(
            location=settings.location,
            store=commons.online_store.store,
            source=data.warehouse.table_id(CURATED, views.LATEST),
            source_table=data.warehouse.tables[CURATED][views.LATEST],
            entity=[product.features.entity],
            sync=settings.features.sync,
        ),
        opts=opts,
    )


def grants(features: Features) -> list[Grant]:
    """What a server needs to look entities up."""
    if features.view is None:
        return []
    role = "roles/aiplatform.featurestoreDataViewer"
    return [Grant(role=role, on=features.view.view, label="look-features-up")]


def outputs(features: Features) -> dict[str, Any]:
    """The part of the stack's outputs that tells of a product's features."""
    return {
        "features": {
            "group": None if features.group is None else features.group.group.id,
            "online_view": None if features.view is None else features.view.view.id,
        }
    }
