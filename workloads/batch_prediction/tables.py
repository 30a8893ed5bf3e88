"""The table that batch predictions are written to. Plain data, importable by the Pulumi program."""

from __future__ import annotations

from typing import Final

from workloads.ingestion.tables import Column, Table
from workloads.product import Product, Task

NAME: Final = "batch"
"""The table's name in the dataset of predictions."""
KEY: Final = ("entity", "event_time", "model_version")
"""What tells one row from another: a question is answered once by each version of the model."""


def _column(name: str, kind: str, description: str) -> Column:
    return {"name": name, "type": kind, "mode": "REQUIRED", "description": description}


def batch_table(product: Product) -> Table:
    """The table of batch predictions, with the columns that the product's task answers in."""
    return Table(
        name=NAME,
        description="Predictions of whole days, one row for each question and model version.",
        columns=(
            _column("entity", "STRING", "What was asked about, as the feature query names it"),
            _column("event_time", "TIMESTAMP", "The moment of the question"),
            _column("prediction_date", "DATE", "The day that was predicted, in the product's zone"),
            *_answer(product),
            _column("model_version", "STRING", "Number in the Model Registry"),
            _column("model_run", "STRING", "The pipeline run that made the model"),
            _column("predicted_at", "TIMESTAMP", "When the row was last written"),
        ),
        partition="event_time",
        cluster=("model_version", "entity"),
    )


def _answer(product: Product) -> tuple[Column, ...]:
    if product.task is Task.CLASSIFICATION:
        return (
            _column("probability", "FLOAT64", "Of the label being true"),
            _column("answer", "BOOL", "Whether the probability reaches the model's threshold"),
        )
    lower, upper = product.interval
    return (
        _column("prediction", "FLOAT64", f"The predicted {product.label.column}"),
        _column("lower", "FLOAT64", f"The truth lies below with probability {lower:g}"),
        _column("upper", "FLOAT64", f"The truth lies below with probability {upper:g}"),
    )


def dataset(product: Product) -> str:
    """The id of the dataset that holds it."""
    return f"{product.id}_predictions"
