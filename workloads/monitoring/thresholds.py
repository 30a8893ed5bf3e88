"""A product's thresholds, each of them a number: what the declaration says, else the default."""

from __future__ import annotations

from typing import Final

from workloads.monitoring import tables
from workloads.monitoring.assessment import Thresholds
from workloads.product import InvalidProduct, Product

ADWIN: Final = "adwin"
"""The statistic of the error stream: the share by which the mean error has grown."""
AGE_HOURS: Final = "age_hours"
"""The statistic of freshness: hours since a table was last written to."""


def thresholds(product: Product, reference: str, *, tests: int = 1) -> Thresholds:
    """From where on a difference from a reference matters.

    Args:
        product: declares them.
        reference: what is compared with, one of `tables.REFERENCES`.
        tests: of how many sets of scores this is one: each has its part of the significance, so
            that slices and sources do not add to the false alarms.

    Raises:
        InvalidProduct: the declaration names a statistic that does not exist, or a number that
            makes no sense.
    """
    ours = product.monitoring
    of_features = reference != tables.ANSWERS
    statistics = {
        tables.ANSWERS: ours.prediction_drift,
        tables.SKEW: ours.skew,
    }.get(reference, ours.drift)
    try:
        return Thresholds(
            statistics=dict(statistics),
            features={name: dict(one) for name, one in ours.features.items()}
            if of_features
            else {},
            significance=ours.significance / max(1, tests),
            least_rows=ours.least_rows,
        )
    except ValueError as error:
        raise InvalidProduct(f"{product.name}: monitoring: {error}") from None


def stale_hours(product: Product) -> float:
    """Hours after which a table is stale."""
    return product.monitoring.stale_after.total_seconds() / 3600
