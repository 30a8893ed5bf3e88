"""The offline store: BigQuery, asked with the product's own feature query.

A point-in-time read answers what the features of an entity were at a moment: the entity's last row
whose event time is not later. The feature query lets nothing into a row that happened after its
event time (`leakage.py` guards that), so an event that comes later changes no earlier read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from workloads import gcp
from workloads.features import views
from workloads.features.query import FeatureQuery, InvalidFeatureQuery
from workloads.features.row import FeatureRow, row
from workloads.product import Product

MAX_PAIRS: Final = 50_000
"""In one query: BigQuery takes 10 MB of parameters. Each query reads the raw tables once."""

# Early enough for every event, and late enough for a query to look some days back from it.
EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PARAMETER: Final = re.compile(r"@(start|end)\b")
_INSTANT: Final = timedelta(microseconds=1)


def as_of(
    product: Product, pairs: Sequence[tuple[str, datetime]], *, since: datetime = EVER
) -> list[FeatureRow | None]:
    """The features of these entities as of these moments.

    Args:
        product: The declaration.
        pairs: entity and moment, with a time zone; the same entity may be asked of many moments.
        since: rows before it are not looked at, which spares reading the raw tables from their
            beginning.

    Returns:
        In the order of the pairs; None where there was no row yet.

    Raises:
        InvalidFeatureQuery: a moment has no time zone.
    """
    for entity, moment in pairs:
        if moment.tzinfo is None:
            raise InvalidFeatureQuery(
                f"the moment of {entity} is {moment.isoformat()}; allowed: an instant with a time "
                "zone"
            )
    found: list[FeatureRow | None] = []
    for first in range(0, len(pairs), MAX_PAIRS):
        found += _some(product, pairs[first : first + MAX_PAIRS], since)
    return found


def _some(
    product: Product, pairs: Sequence[tuple[str, datetime]], since: datetime
) -> list[FeatureRow | None]:
    from google.cloud import bigquery

    moments = [moment.astimezone(UTC) for _, moment in pairs]
    declared = product.features
    entity, time = f"known.{declared.entity}", f"known.{declared.event_time}"
    columns = ", ".join(f"known.{name}" for name in views.names(product))
    # One row is the last of all pairs that ask between it and the next, so pairs join by number.
    sql = f"""
WITH pairs AS (
  SELECT entity, moment, position
  FROM UNNEST(@entities) AS entity WITH OFFSET AS position
  INNER JOIN UNNEST(@moments) AS moment WITH OFFSET AS other ON other = position
),
known AS (
{_named(FeatureQuery(product).text())}
)
SELECT pairs.position, pairs.entity, {time} AS event_time, {columns}
FROM pairs
INNER JOIN known ON CAST({entity} AS STRING) = pairs.entity AND {time} <= pairs.moment
WHERE TRUE
QUALIFY ROW_NUMBER() OVER (PARTITION BY pairs.position ORDER BY {time} DESC) = 1
"""  # noqa: S608
    if not pairs or max(moments) < since:
        return [None] * len(pairs)
    parameters: list[Any] = [
        bigquery.ArrayQueryParameter("entities", "STRING", [entity for entity, _ in pairs]),
        bigquery.ArrayQueryParameter("moments", "TIMESTAMP", moments),
        bigquery.ScalarQueryParameter("range_start", "TIMESTAMP", since.astimezone(UTC)),
        bigquery.ScalarQueryParameter("range_end", "TIMESTAMP", max(moments) + _INSTANT),
    ]
    answers: list[FeatureRow | None] = [None] * len(pairs)
    for one in _rows(product, sql, parameters):
        answers[one["position"]] = row(product, one["entity"], one["event_time"], one)
    return answers


def sample(product: Product, moment: datetime, count: int, seed: int = 7) -> list[str]:
    """Some of the entities that had a row at a moment, drawn by a hash: the same again.

    Args:
        product: The declaration.
        moment: with a time zone.
        count: how many at most.
        seed: another one draws others.
    """
    from google.cloud import bigquery

    entity = f"CAST({product.features.entity} AS STRING)"
    sql = f"""
SELECT DISTINCT {entity} AS entity
FROM (
{_named(FeatureQuery(product).text())}
)
WHERE {product.features.entity} IS NOT NULL
ORDER BY FARM_FINGERPRINT(CONCAT(@seed, entity)), entity
LIMIT @count
"""  # noqa: S608
    parameters = [
        bigquery.ScalarQueryParameter("range_start", "TIMESTAMP", EVER),
        bigquery.ScalarQueryParameter("range_end", "TIMESTAMP", moment.astimezone(UTC) + _INSTANT),
        bigquery.ScalarQueryParameter("seed", "STRING", f"{seed}:"),
        bigquery.ScalarQueryParameter("count", "INT64", count),
    ]
    return [one["entity"] for one in _rows(product, sql, parameters)]


def _named(text: str) -> str:
    """The feature query with parameters of names that no outer query has."""
    return _PARAMETER.sub(r"@range_\1", text)


def _rows(product: Product, sql: str, parameters: Sequence[Any]) -> Iterable[dict[str, Any]]:
    from google.cloud import bigquery

    job = gcp.bigquery_client().query(
        sql,
        job_config=bigquery.QueryJobConfig(
            query_parameters=list(parameters),
            labels={"product": product.name, "workload": "features"},
        ),
    )
    return job.result().to_arrow(bqstorage_client=gcp.bigquery_read_client()).to_pylist()
