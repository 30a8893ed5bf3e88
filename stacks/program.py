"""The program of every stack: settings, then what is shared, then each product, then outputs.

`pulumi up -s STACK` runs it through `stacks/__main__.py`, `esteira up STACK` hands it to the
Automation API; it is the same either way.
"""

from __future__ import annotations

from typing import Any

import pulumi

from stacks import data, foundation, ingestion, model, outputs
from stacks.settings import Settings
from workloads import product as products


def program() -> None:
    """Declare all resources of the selected stack.

    Raises:
        SettingsError: the stack's configuration cannot be used; nothing was declared.
        RunError: a product's declaration cannot be used; nothing was declared.
    """
    settings = Settings.load()
    try:
        declared = [products.load(name) for name in settings.products]
    except products.InvalidProduct as error:
        raise pulumi.RunError(str(error)) from error
    shared = foundation.lay(settings)
    outputs.export(
        {
            "environment": settings.environment.value,
            "project": settings.project,
            "location": settings.location,
            "image_repository": shared.repository.url,
            "images": shared.images,
            "products": {product.name: _lay(product, shared) for product in declared},
        }
    )


def _lay(product: products.Product, shared: foundation.Foundation) -> dict[str, Any]:
    """Make all that one product has, and tell its outputs."""
    opts = pulumi.ResourceOptions(providers=[shared.provider(product)])
    its_data = data.lay(product, shared, opts)
    its_ingestion = ingestion.lay(product, shared, its_data, opts)
    its_model = model.lay(product, shared, its_data, its_ingestion.caller, opts)
    return {
        "name": product.name,
        "title": product.title,
        "owner": product.owner,
        **data.outputs(product, its_data),
        **ingestion.outputs(product, its_data, its_ingestion),
        **model.outputs(product, shared, its_model),
        "service_accounts": {
            "ingest": its_ingestion.workers.email,
            "call": its_ingestion.caller.email,
            "replay": its_ingestion.publisher.email,
            "train": its_model.runner.service_account,
            "serve": its_model.server.email,
            "batch": its_model.predictor.email,
        },
    }
