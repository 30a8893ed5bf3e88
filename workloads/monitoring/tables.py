"""The tables that measurements are written to. Plain data, importable by the Pulumi program.

A measurement that is repeated has the same `measurement_id`: write with MERGE on it, or read the
newest `measured_at` of each.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from workloads.ingestion.tables import Column, Table
from workloads.product import Product

if TYPE_CHECKING:
    from workloads.monitoring.assessment import FeatureScore
    from workloads.monitoring.performance import Performance

TRAINING: Final = "training"
"""The reference is the model's profile, or its answers on the hold-out: skew, and drift since."""
SERVED: Final = "training-served"
"""The reference is the model's profile; the window is of what the servers were asked."""
SKEW: Final = "raw"
"""The reference is what the feature query says of the very entities that servers were asked about;
the window is what the servers were shown of them."""
ANSWERS: Final = "answers"
"""The reference is the model's answers on the hold-out."""
ERRORS: Final = "errors"
"""The reference is the model's errors on the hold-out."""
FRESHNESS: Final = "freshness"
"""There is no reference: how long ago a table was last written to."""
JENSEN_SHANNON: Final = "jensen_shannon"
"""The statistic that every feature and every answer has, which dashboards show."""
REFERENCES: Final = (TRAINING, SERVED, SKEW, ANSWERS, ERRORS, FRESHNESS)


def _column(name: str, kind: str, description: str, *, required: bool = True) -> Column:
    mode = "REQUIRED" if required else "NULLABLE"
    return {"name": name, "type": kind, "mode": mode, "description": description}


_FIRST: Final = (
    _column("measurement_id", "STRING", "The same whenever the same thing is measured again"),
    _column("measured_at", "TIMESTAMP", "When it was measured"),
    _column("model_version", "STRING", "Number in the Model Registry"),
    _column("window_start", "TIMESTAMP", "Start of the window, inclusive"),
    _column("window_end", "TIMESTAMP", "End of the window, exclusive"),
    _column("slice", "STRING", "`column=value`; empty for all rows"),
)
FEATURE_SCORES: Final = Table(
    name="feature_scores",
    description="How far each feature, and what the model answers, lie from a reference.",
    columns=(
        *_FIRST,
        _column("reference", "STRING", f"What it was held against: {', '.join(REFERENCES)}"),
        _column("feature", "STRING", "The feature, or `value` or `answer` of the predictions"),
        _column("statistic", "STRING", "Which distance or share"),
        _column("score", "FLOAT64", "Null where there was nothing to score", required=False),
        _column("threshold", "FLOAT64", "Above which it matters"),
        _column("p_value", "FLOAT64", "Adjusted for all tests of the window", required=False),
        _column("verdict", "STRING", "`quiet`, `drifted` or `unknown`"),
        _column("row_count", "INT64", "Rows of the window"),
        _column("reference_rows", "INT64", "Rows of the reference"),
        _column("reason", "STRING", "Why it is unknown; empty otherwise"),
    ),
    partition="window_end",
    cluster=("feature", "statistic"),
)
PERFORMANCE: Final = Table(
    name="performance",
    description="How good the answers of each window were, or are estimated to have been.",
    columns=(
        *_FIRST,
        _column("metric", "STRING", "Which score"),
        _column("estimated", "BOOL", "Whether it was estimated without labels"),
        _column("value", "FLOAT64", "Null while unknown", required=False),
        _column("low", "FLOAT64", "Lower bound of 95 % confidence", required=False),
        _column("high", "FLOAT64", "Upper bound of 95 % confidence", required=False),
        _column("row_count", "INT64", "Predictions of the window"),
        _column("labelled", "INT64", "Those that are mature and have a label"),
        _column("waiting", "INT64", "Those whose label may still come"),
        _column("never", "INT64", "Those whose maturity has passed without a label"),
        _column("future", "INT64", "Those asked about after they were measured"),
        _column("reason", "STRING", "Why it is unknown; empty otherwise"),
    ),
    partition="window_end",
    cluster=("metric",),
)
TABLES: Final = (FEATURE_SCORES, PERFORMANCE)


def dataset(product: Product) -> str:
    """The id of the dataset that holds them."""
    return f"{product.id}_monitoring"


def score_row(
    score: FeatureScore, *, model_version: str, reference: str, measured_at: datetime
) -> dict[str, Any]:
    """A row of `FEATURE_SCORES`, as BigQuery's API takes it."""
    parts = (reference, score.feature, score.statistic)
    return {
        **_first(score, model_version, measured_at, parts),
        "reference": reference,
        "feature": score.feature,
        "statistic": score.statistic,
        "score": score.score,
        "threshold": score.threshold,
        "p_value": score.p_value,
        "verdict": score.verdict.value,
        "row_count": score.rows,
        "reference_rows": score.reference_rows,
        "reason": score.reason,
    }


def performance_row(
    found: Performance, *, model_version: str, measured_at: datetime, estimated: bool = False
) -> dict[str, Any]:
    """A row of `PERFORMANCE`, as BigQuery's API takes it.

    Args:
        estimated: without labels. A score of labels may change while they come, under one id.
    """
    parts = (found.metric, "estimated" if estimated else "measured")
    return {
        **_first(found, model_version, measured_at, parts),
        "metric": found.metric,
        "estimated": estimated,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "row_count": found.rows,
        "labelled": found.labelled,
        "waiting": found.waiting,
        "never": found.never,
        "future": found.future,
        "reason": found.reason,
    }


def _first(
    found: FeatureScore | Performance,
    model_version: str,
    measured_at: datetime,
    parts: tuple[str, ...],
) -> dict[str, Any]:
    start, end = found.window.start.isoformat(), found.window.end.isoformat()
    # Instants in one zone, so that the id does not depend on who asks.
    instants = tuple(str(one.timestamp()) for one in (found.window.start, found.window.end))
    key = "\x1f".join((model_version, *instants, found.slice, *parts))
    return {
        "measurement_id": hashlib.sha256(key.encode()).hexdigest()[:32],
        "measured_at": measured_at.isoformat(),
        "model_version": model_version,
        "window_start": start,
        "window_end": end,
        "slice": found.slice,
    }
