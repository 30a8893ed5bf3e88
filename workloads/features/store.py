"""Where the features of a product are served online, by name; and that they are not."""

from __future__ import annotations

from typing import Final

from workloads import gcp
from workloads.product import Product

STORE: Final = "esteira"
"""The online store of a stack; all its products share it."""


def view_name(product: Product) -> str:
    """The product's feature view: `projects/.../featureOnlineStores/.../featureViews/...`."""
    place = f"projects/{gcp.project()}/locations/{gcp.location()}"
    return f"{place}/featureOnlineStores/{STORE}/featureViews/{product.id}"


class OnlineFeaturesError(Exception):
    """Features could not be had online. Every error of the online store is one."""


class NoOnlineStore(OnlineFeaturesError):
    """The product's features are not served online."""

    def __init__(self, product: Product) -> None:
        super().__init__(
            f"there is no {view_name(product)}: the features of {product.name} are not served "
            "online; set `esteira:features` to `online: true` and run `esteira up`"
        )


def served(product: Product) -> bool:
    """Whether the product has a feature view, synced or not."""
    from google.api_core.exceptions import NotFound

    try:
        gcp.feature_store_admin_client().get_feature_view(name=view_name(product))
    except NotFound:
        return False
    return True
