"""The program of every stack: settings, then what is shared, then each product, then outputs.

`pulumi up -s STACK` runs it through `stacks/__main__.py`, `esteira up STACK` hands it to the
Automation API; it is the same either way.
"""

from __future__ import annotations

import gc
from typing import Any, Final

import pulumi

from stacks import (
    commons,
    data,
    features,
    foundation,
    ingestion,
    model,
    operations,
    outputs,
    prediction_api,
    prediction_log,
    release,
    tracking,
    workbench,
)
from stacks.settings import Settings
from workloads import product as products

_ALLOCATIONS: Final = 100_000
"""Objects that are made between two collections of garbage, in place of 2,000: the SDK keeps all it
makes until the end, so looking through it again and again finds nothing, and took a quarter of a
preview of prod."""


def program() -> None:
    """Declare all resources of the selected stack.

    Raises:
        SettingsError: the stack's configuration cannot be used; nothing was declared.
        RunError: a product's declaration cannot be used; nothing was declared.
    """
    gc.set_threshold(_ALLOCATIONS, *gc.get_threshold()[1:])
    settings = Settings.load()
    try:
        declared = _declared(settings)
    except products.InvalidProduct as error:
        raise pulumi.RunError(str(error)) from error
    shared = foundation.lay(settings)
    common = commons.lay(shared)
    records = tracking.lay(shared, common)
    watching = operations.lay(shared, common)
    datas: dict[str, data.Data] = {}
    laid = {
        product.name: _lay(product, shared, common, records, watching, datas)
        for product in declared
    }
    bench = workbench.lay(shared, datas)
    outputs.export(
        {
            "environment": settings.environment.value,
            "project": settings.project,
            "location": settings.location,
            "image_repository": shared.repository.url,
            "images": shared.images,
            "products": laid,
            **tracking.outputs(records),
            "operations": operations.finish(watching, records),
            "commons": {
                **commons.outputs(common),
                "workbench": None if bench is None else bench.instance.id,
            },
        }
    )


def _declared(settings: Settings) -> list[products.Product]:
    """The products to deploy, each after those that it reads from.

    Raises:
        InvalidProduct: a declaration cannot be used, or a product reads from one left out.
    """
    declared = [products.load(name) for name in settings.products]
    for product in declared:
        for owner in product.owners:
            if owner not in settings.products:
                raise products.InvalidProduct(
                    f"esteira:products is {list(settings.products)}: {product.name} reads what "
                    f"{owner} takes in; add {owner}, or leave {product.name} out"
                )
    # What others read from takes in all it gives, so one step back is all there is.
    taken = {owner for product in declared for owner in product.owners}
    return sorted(declared, key=lambda one: (one.name not in taken, len(one.owners)))


def _lay(
    product: products.Product,
    shared: foundation.Foundation,
    common: commons.Commons,
    records: tracking.Tracking,
    watching: operations.Operations,
    datas: dict[str, data.Data],
) -> dict[str, Any]:
    """Make all that one product has, keep its data by its name, and tell its outputs."""
    opts = pulumi.ResourceOptions(providers=[shared.provider(product)])
    its_data = datas[product.name] = data.lay(product, shared, common, datas, opts)
    its_features = features.lay(product, shared, common, its_data, opts)
    its_ingestion = ingestion.lay(product, shared, its_data, opts)
    its_log = prediction_log.lay(product, shared, its_data, records, its_ingestion.caller, opts)
    its_model = model.lay(
        product, shared, its_data, its_features, its_log, records, its_ingestion.caller, opts
    )
    its_api = prediction_api.lay(
        product, shared, its_data, its_features, its_log, its_ingestion.caller, opts
    )
    its_release = release.lay(
        product, shared, its_data, its_model, its_api, records, its_ingestion.caller, opts
    )
    return {
        "name": product.name,
        "title": product.title,
        "owner": product.owner,
        **data.outputs(product, its_data),
        **ingestion.outputs(product, its_data, its_ingestion),
        **model.outputs(product, shared, its_data, its_model),
        **prediction_api.outputs(its_api),
        **release.outputs(its_release),
        **features.outputs(its_features),
        **operations.watch(
            watching, product, its_data, its_ingestion, its_model, its_api, its_release, opts
        ),
        "service_accounts": {
            **ingestion.accounts(its_ingestion),
            "train": its_model.runner.service_account,
            "serve": its_model.server.email,
            "batch": its_model.predictor.email,
            "monitor": its_model.monitor.email,
            **({} if its_release is None else {"release": its_release.identity.email}),
        },
    }
