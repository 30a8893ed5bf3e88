"""A product that predicts a number, without a model."""

from __future__ import annotations

import dataclasses

from workloads.product import Product, Task


def minutes_late(product: Product) -> Product:
    """The flight-delay product as if it asked how late, by the name `minutes-late`."""
    return dataclasses.replace(
        product,
        name="minutes-late",
        title="How many minutes late will this flight arrive?",
        task=Task.REGRESSION,
        label=dataclasses.replace(product.label, column="arrival_delay"),
        gate=dataclasses.replace(product.gate, metric="mae"),
        batch=dataclasses.replace(product.batch, publish_to_database=True),
    )
