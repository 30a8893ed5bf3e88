"""From rows of features to rows of the table of predictions, chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from workloads.product import Product, Task
from workloads.scoring import Answers, ModelRefused, Scorer

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Answering:
    """A version of the model that answers the questions of one day.

    Raises:
        ModelRefused: at construction, when a classification has no threshold.
    """

    product: Product
    scorer: Scorer
    threshold: float | None
    """From which probability the answer of a classification is yes; None for a regression."""
    version: str
    run: str
    day: date
    predicted_at: datetime

    def __post_init__(self) -> None:
        if self.product.task is Task.CLASSIFICATION and self.threshold is None:
            raise ModelRefused(
                f"version {self.version} of {self.product.name} has no threshold, which a "
                "classification needs to answer; register the model again"
            )

    def __call__(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of the table for these rows of the feature query, in their order."""
        import pyarrow as pa

        features = self.product.features
        instant = pa.timestamp("us", tz="UTC")

        def alike(value: object, kind: Any) -> Any:
            return pa.repeat(pa.scalar(value, kind), rows.num_rows)

        columns = {
            "entity": rows.column(features.entity).cast(pa.string()),
            "event_time": rows.column(features.event_time).cast(instant),
            "prediction_date": alike(self.day, pa.date32()),
            **self._answers(self.scorer.table(rows)),
            "model_version": alike(self.version, pa.string()),
            "model_run": alike(self.run, pa.string()),
            "predicted_at": alike(self.predicted_at, instant),
        }
        return pa.RecordBatch.from_pydict(columns)

    def _answers(self, answers: Answers) -> dict[str, Any]:
        import pyarrow as pa

        if self.threshold is not None:
            return {
                "probability": pa.array(answers.value),
                "answer": pa.array(answers.value >= self.threshold),
            }
        return {
            "prediction": pa.array(answers.value),
            "lower": pa.array(answers.lower),
            "upper": pa.array(answers.upper),
        }
