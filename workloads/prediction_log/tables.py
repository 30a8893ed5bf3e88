"""Where the prediction log goes: its topic, and its table. Plain data, cheap to import."""

from __future__ import annotations

from typing import Final

from workloads import contracts
from workloads.ingestion.tables import Table
from workloads.prediction_log.contract import PredictionLogged
from workloads.product import Product

NAME: Final = PredictionLogged.PLURAL
POSTGRES: Final = "prediction_log"
"""The table in PostgreSQL, of all products."""


def topic(product: Product) -> str:
    """The id of the topic that servers publish to."""
    return f"{product.name}-predictions"


def dataset(product: Product) -> str:
    """The id of the dataset that holds the table."""
    return f"{product.id}_predictions"


def log_table(product: Product) -> Table:
    """The table in BigQuery.

    A row may be there twice: Pub/Sub delivers at least once. Count distinct `prediction_id`.
    """
    return Table(
        name=NAME,
        description=f"Each row that servers of {product.name} were asked about, and the answer. "
        f"Contract version {PredictionLogged.VERSION}.",
        columns=tuple(contracts.bigquery_schema(PredictionLogged)),
        partition=str(PredictionLogged.EVENT_TIME),
        cluster=("model_version",),
        # A row is logged as it was asked, so it holds what its contract may.
        personal=("entity", "features") if contracts.personal(product.features.request) else (),
    )
