"""What tables say of themselves: when each was last written, and how servers answered."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from workloads import contracts, gcp
from workloads.batch_prediction import tables as batch
from workloads.features.query import FeatureQuery
from workloads.monitoring.histogram_query import RowSource
from workloads.monitoring.window import Window
from workloads.prediction_log import tables as log
from workloads.prediction_log.contract import SHADOW
from workloads.product import Product

SHOWN: Final = "shown:"
"""Before the name of a feature: as the servers were shown it."""
PREDICTION_LOG: Final = "prediction log"
BATCHES: Final = "batch predictions"


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """How servers answered in a window, and how fresh each table is."""

    rows: int = 0
    """Rows that servers were asked about in the window; shadows left out."""
    errors: int = 0
    """Of those, with a status from 500."""
    latency_ms: tuple[float | None, float | None] = (None, None)
    """Median, and what 99 of 100 stay below."""
    joinable: int = 0
    """Predictions in the log that name their entity, whenever they were made."""
    batches: int = 0
    """Batch predictions about the window's questions."""
    written: Mapping[str, datetime | None] = msgspec.field(
        default_factory=dict[str, datetime | None]
    )
    """When each table was last written to, by its name; None: never, or of predictions, not since
    the window began."""


def service(product: Product, window: Window, *, at: datetime) -> Service:
    """Ask the raw tables, the log and the batch predictions.

    Args:
        product: whose tables.
        window: of the log's `predicted_at` and of the batch predictions' event time.
        at: the moment; what was written after it is left out, its clock being wrong.
    """
    written = _newest(product, at)
    logged = f"{log.dataset(product)}.{log.NAME}"
    answered = f"{batch.dataset(product)}.{batch.NAME}"
    facts = _first(
        f"""
SELECT
  COUNTIF(inside) AS served,
  COUNTIF(inside AND status >= 500) AS errors,
  APPROX_QUANTILES(IF(inside, latency_ms, NULL), 100) AS latency,
  COUNTIF(entity IS NOT NULL AND value IS NOT NULL) AS joinable,
  MAX(IF(predicted_at <= @at, predicted_at, NULL)) AS newest
FROM (
  SELECT *, predicted_at >= @start AND predicted_at < @end AS inside
  FROM `{gcp.project()}.{logged}`
  -- Of a window that is replayed, predictions may be made long after it, and never before.
  WHERE predicted_at >= @start AND variant != '{SHADOW}'
)
""",  # noqa: S608  # names of our own
        window,
        at,
    )
    batches = _first(
        f"""
SELECT
  COUNTIF(event_time >= @start AND event_time < @end) AS rows_there,
  MAX(IF(predicted_at <= @at, predicted_at, NULL)) AS newest
FROM `{gcp.project()}.{answered}`
WHERE event_time >= @start
""",  # noqa: S608  # names of our own
        window,
        at,
    )
    written[PREDICTION_LOG] = facts.get("newest")
    written[BATCHES] = batches.get("newest")
    latency = facts.get("latency") or []
    return Service(
        rows=facts.get("served") or 0,
        errors=facts.get("errors") or 0,
        latency_ms=(latency[50], latency[99]) if len(latency) == 101 else (None, None),
        joinable=facts.get("joinable") or 0,
        batches=batches.get("rows_there") or 0,
        written=written,
    )


def _newest(product: Product, at: datetime) -> dict[str, datetime | None]:
    """When each raw table was last written to."""
    names = [source.contract.PLURAL for source in product.sources]
    columns = ",\n  ".join(
        f"(SELECT MAX(ingested_at) FROM `{gcp.project()}.{product.raw(one)}.{one.contract.PLURAL}` "  # noqa: S608  # names of our own
        f"WHERE ingested_at <= @at) AS {one.contract.PLURAL}"
        for one in product.sources
    )
    found = _first(f"SELECT\n  {columns}", None, at)
    return {name: found.get(name) for name in names}


def _first(sql: str, window: Window | None, at: datetime) -> Mapping[str, Any]:
    """The one row of a query; empty where a table is not there."""
    from google.api_core.exceptions import NotFound
    from google.cloud import bigquery

    moments = {"at": at}
    if window is not None:
        moments |= {"start": window.start, "end": window.end}
    config = bigquery.QueryJobConfig(
        query_parameters=[
            bigquery.ScalarQueryParameter(name, "TIMESTAMP", one.astimezone(UTC))
            for name, one in moments.items()
        ],
        labels={"workload": "monitoring"},
    )
    try:
        rows = list(gcp.bigquery_client().query(sql, job_config=config).result())
    except NotFound:
        return {}
    return dict(rows[0].items()) if rows else {}


def both(product: Product, window: Window, model_version: str) -> RowSource:
    """The same entities twice in a row: as the feature query says now, and as servers were shown.

    So what differs is skew between training and serving, and never who was asked about.

    Args:
        product: whose.
        window: of the questions' event time, whenever they were asked.
        model_version: only what this version was shown.
    """
    query = FeatureQuery(product)
    expressions: dict[str, str] = {}
    for one in contracts.fields(product.features.request):
        shown = f"JSON_VALUE(shown_features, '$.{one.name}')"
        text = one.kind in ("string", "boolean")
        expressions[one.name] = f"CAST({one.name} AS {'STRING' if text else 'FLOAT64'})"
        expressions[SHOWN + one.name] = shown if text else f"SAFE_CAST({shown} AS FLOAT64)"
    relation = f"""(
SELECT questions.*, shown.features AS shown_features
FROM (
{query.text()}
) AS questions
INNER JOIN (
  SELECT entity, features
  FROM `{gcp.project()}.{log.dataset(product)}.{log.NAME}`
  WHERE variant != '{SHADOW}' AND features IS NOT NULL AND entity IS NOT NULL
    AND predicted_at >= @start AND model_version = @model_version
  QUALIFY ROW_NUMBER() OVER (PARTITION BY entity ORDER BY predicted_at DESC) = 1
) AS shown
ON shown.entity = CAST(questions.{product.features.entity} AS STRING)
)"""  # noqa: S608  # names of our own
    return RowSource(
        relation=relation,
        where="TRUE",
        expressions=expressions,
        parameters={
            "start": ("TIMESTAMP", window.start.astimezone(UTC)),
            "end": ("TIMESTAMP", window.end.astimezone(UTC)),
            "model_version": ("STRING", model_version),
        },
    )
