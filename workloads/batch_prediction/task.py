"""One task of batch prediction: its share of a day's questions, answered by the champion.

A task may run twice, and two attempts may overlap: each loads its rows into a table of its own, and
merges them from there by entity, moment and model version.
"""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from workloads import gcp
from workloads.batch_prediction.tables import BATCH, dataset
from workloads.features.query import FeatureQuery
from workloads.product import Product
from workloads.registry import CHAMPION, Registry
from workloads.scoring import ModelRefused

if TYPE_CHECKING:
    import pyarrow as pa

_STAGING_LIFE: Final = timedelta(days=1)
_CONFLICT_PATIENCE_SECONDS: Final = 60.0


class NoTable(LookupError):
    """The table of predictions has not been made."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a task has done."""

    day: date
    rows: int
    model_version: str


def today(product: Product) -> date:
    """The present day where the product's days begin."""
    return datetime.now(ZoneInfo(product.batch.time_zone)).date()


def predict_day(product: Product, day: date, *, index: int = 0, count: int = 1) -> Outcome:
    """Predict this task's share of a day and merge it into the table of batch predictions.

    Args:
        day: in the product's time zone.
        index, count: which share; entities are spread by a fingerprint of their name.

    Raises:
        NoSuchVersion: there is no champion.
        NoTable: the stack has not made the table.
        ModelRefused: the champion's artefacts are not what was registered.
    """
    champion = Registry(product).get(CHAMPION)
    manifest = champion.manifest()
    zone = ZoneInfo(product.batch.time_zone)
    start = datetime.combine(day, time(), zone)
    end = datetime.combine(day + timedelta(days=1), time(), zone)
    rows = FeatureQuery(product).run(start, end, shard=(index, count))
    probabilities = champion.scorer(product).table(rows).value.tolist()
    if manifest.threshold is None:
        raise ModelRefused(
            f"version {champion.number} of {product.name} has no threshold; batch prediction "
            "writes the answers of classifications"
        )
    if probabilities:
        table = _table(
            product, rows, day, probabilities, manifest.threshold, champion.number, manifest.run
        )
        # Of the attempt and not of the task: attempts that overlap would replace each other's.
        staging = f"{BATCH.name}_{day:%Y%m%d}_{index}_of_{count}_{uuid.uuid4().hex[:12]}"
        _merge(product, table, staging, start, end)
    return Outcome(day=day, rows=len(probabilities), model_version=champion.number)


def _table(
    product: Product,
    rows: pa.Table,
    day: date,
    probabilities: list[float],
    threshold: float,
    version: str,
    run: str,
) -> pa.Table:
    import pyarrow as pa

    size = len(probabilities)
    instant = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "entity": rows.column(product.features.entity).cast(pa.string()),
            "event_time": rows.column(product.features.event_time).cast(instant),
            "prediction_date": pa.array([day] * size, pa.date32()),
            "probability": pa.array(probabilities, pa.float64()),
            "answer": pa.array([one >= threshold for one in probabilities], pa.bool_()),
            "model_version": pa.array([version] * size, pa.string()),
            "model_run": pa.array([run] * size, pa.string()),
            "predicted_at": pa.array([datetime.now(UTC)] * size, instant),
        }
    )


def _merge(product: Product, rows: pa.Table, staging: str, start: datetime, end: datetime) -> None:
    import pyarrow.parquet as pq
    from google.api_core.exceptions import NotFound
    from google.cloud import bigquery

    client = gcp.bigquery_client()
    target = f"{gcp.project()}.{dataset(product)}.{BATCH.name}"
    source = f"{gcp.project()}.{dataset(product)}.{staging}"
    try:
        client.get_table(target)
    except NotFound:
        raise NoTable(f"table {target} does not exist; `esteira up STACK` makes it") from None
    content = io.BytesIO()
    pq.write_table(rows, content)
    content.seek(0)
    client.load_table_from_file(
        content,
        source,
        job_config=bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            schema=[bigquery.SchemaField.from_api_repr(one) for one in BATCH.columns],
        ),
    ).result()
    # It is deleted below; this is for an attempt that is killed before.
    table = client.get_table(source)
    table.expires = datetime.now(UTC) + _STAGING_LIFE
    client.update_table(table, ["expires"])
    _run_merge(target, source, start, end)
    client.delete_table(source, not_found_ok=True)


def _run_merge(target: str, source: str, start: datetime, end: datetime) -> None:
    from google.api_core import exceptions, retry
    from google.cloud import bigquery

    names = [one["name"] for one in BATCH.columns]
    # A clause for rows that match makes BigQuery serialise overlapping attempts: two MERGEs that
    # only insert could both insert.
    sql = f"""
MERGE `{target}` AS target
USING `{source}` AS source
ON target.event_time >= @start AND target.event_time < @end
  AND target.entity = source.entity
  AND target.event_time = source.event_time
  AND target.model_version = source.model_version
WHEN MATCHED THEN
  UPDATE SET probability = source.probability, answer = source.answer,
    predicted_at = source.predicted_at
WHEN NOT MATCHED THEN
  INSERT ({", ".join(names)}) VALUES ({", ".join(f"source.{name}" for name in names)})
"""  # noqa: S608  # names of our own
    config = bigquery.QueryJobConfig(
        query_parameters=[
            bigquery.ScalarQueryParameter("start", "TIMESTAMP", start.astimezone(UTC)),
            bigquery.ScalarQueryParameter("end", "TIMESTAMP", end.astimezone(UTC)),
        ]
    )
    # Tasks merge into one table side by side; whoever is told of a conflict tries again.
    again = retry.Retry(
        predicate=lambda error: (
            isinstance(error, exceptions.GoogleAPICallError)
            and any(word in str(error).lower() for word in ("concurrent", "conflict", "serialize"))
        ),
        timeout=_CONFLICT_PATIENCE_SECONDS,
    )
    again(lambda: gcp.bigquery_client().query(sql, job_config=config).result())()
