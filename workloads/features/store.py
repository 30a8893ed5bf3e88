"""Where the features of a product are served online, by name. No client, no request."""

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
