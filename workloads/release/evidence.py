"""What the prediction log says of two versions in a window of time.

The log's table in BigQuery has one row for each predicted row (workloads/prediction_log); a row may
be there twice, so rows count by their id. Answers of a shadow reached nobody, and do not count.

A refusal of what the caller sent (422 and the like) says nothing about a version, and counts
neither as an answer nor as an error; it is quick besides, and would make a version look fast. 429
is a version that cannot keep up, and an error; so is whatever the server itself failed at.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from workloads import gcp
from workloads.prediction_log import tables
from workloads.prediction_log.contract import SHADOW
from workloads.product import Product
from workloads.release.judgement import Side, Window

BINS: Final = 10
"""Of the champion's predicted values, equally full."""
SAMPLE: Final = 10_000
"""Predicted values of each version that are compared."""
LEAST_VALUES: Final = 50
"""With fewer values than this on a side, two distributions differ by chance: 10 bins and 50 values
give a divergence of 0.03 on average where there is none."""
_ANSWERED: Final = "status BETWEEN 200 AND 299"
_FAILED: Final = "(status = 429 OR status >= 500)"
_PERCENTILES: Final = (50, 95, 99)


class Evidence(Protocol):
    """Where a release's evidence comes from."""

    def window(
        self, challenger: str, champion: str | None, start: datetime, end: datetime
    ) -> Window:
        """What both versions did in [start, end)."""
        ...


class LoggedEvidence:
    """The product's prediction log in BigQuery."""

    def __init__(self, product: Product) -> None:
        self._product = product

    @property
    def table(self) -> str:
        """`project.dataset.table`."""
        return f"{gcp.project()}.{tables.dataset(self._product)}.{tables.NAME}"

    def window(
        self, challenger: str, champion: str | None, start: datetime, end: datetime
    ) -> Window:
        from google.api_core.exceptions import NotFound

        versions = [one for one in (challenger, champion) if one is not None]
        try:
            sides = self._sides(versions, start, end)
            values = self._values(versions, start, end)
        except NotFound:
            # Nothing has been logged yet, not even the table: no evidence.
            sides, values = {}, {}
        none = Side(version=challenger, requests=0, errors=0)
        return Window(
            start=start,
            end=end,
            challenger=sides.get(challenger, none),
            champion=None if champion is None else sides.get(champion),
            drift=None
            if champion is None
            else drift(values.get(champion, _EMPTY), values.get(challenger, _EMPTY)),
        )

    def _sides(self, versions: Sequence[str], start: datetime, end: datetime) -> dict[str, Side]:
        guard = self._product.release.guard
        figure = "CAST(NULL AS FLOAT64)" if guard is None else f"CAST({guard.sql} AS FLOAT64)"
        # The table and the guard are the product's own declaration; all else is a parameter.
        query = f"""
            WITH
              rows_once AS ({self._rows_once()}),
              guards AS (
                SELECT model_version, {figure} AS guard
                FROM rows_once WHERE {_ANSWERED} GROUP BY model_version
              )
            SELECT
              model_version,
              COUNT(*) AS requests,
              COUNTIF({_FAILED}) AS errors,
              APPROX_QUANTILES(IF({_ANSWERED}, latency_ms, NULL), 100) AS latencies,
              ANY_VALUE(guard) AS guard
            FROM rows_once LEFT JOIN guards USING (model_version)
            WHERE {_ANSWERED} OR {_FAILED}
            GROUP BY model_version
        """  # noqa: S608
        found: dict[str, Side] = {}
        for row in self._run(query, versions, start, end):
            latencies: list[float] = list(row["latencies"] or [])
            p50, p95, p99 = (
                (latencies[one] for one in _PERCENTILES)
                if len(latencies) == 101
                else (None, None, None)
            )
            found[row["model_version"]] = Side(
                version=row["model_version"],
                requests=row["requests"],
                errors=row["errors"],
                p50=p50,
                p95=p95,
                p99=p99,
                guard=row["guard"],
            )
        return found

    def _values(
        self, versions: Sequence[str], start: datetime, end: datetime
    ) -> dict[str, NDArray[np.float64]]:
        query = f"""
            WITH rows_once AS ({self._rows_once()})
            SELECT model_version, value
            FROM rows_once
            WHERE value IS NOT NULL
            QUALIFY ROW_NUMBER() OVER (
              PARTITION BY model_version ORDER BY FARM_FINGERPRINT(prediction_id)
            ) <= {SAMPLE}
        """  # noqa: S608
        found: dict[str, list[float]] = {}
        for row in self._run(query, versions, start, end):
            found.setdefault(row["model_version"], []).append(row["value"])
        return {version: np.asarray(values) for version, values in found.items()}

    def _rows_once(self) -> str:
        return f"""
            SELECT * FROM `{self.table}`
            WHERE predicted_at >= @start AND predicted_at < @end
              AND model_version IN UNNEST(@versions) AND variant <> '{SHADOW}'
            QUALIFY ROW_NUMBER() OVER (PARTITION BY prediction_id ORDER BY predicted_at) = 1
        """  # noqa: S608

    def _run(
        self, query: str, versions: Sequence[str], start: datetime, end: datetime
    ) -> Sequence[Any]:
        from google.cloud import bigquery

        parameters = [
            bigquery.ScalarQueryParameter("start", "TIMESTAMP", start),
            bigquery.ScalarQueryParameter("end", "TIMESTAMP", end),
            bigquery.ArrayQueryParameter("versions", "STRING", list(versions)),
        ]
        config = bigquery.QueryJobConfig(query_parameters=parameters)
        return list(gcp.bigquery_client().query(query, job_config=config).result())


_EMPTY: Final = np.empty(0)


def drift(reference: NDArray[np.float64], found: NDArray[np.float64]) -> float | None:
    """Jensen-Shannon divergence, base 2, of two samples over bins that the first fills equally.

    Args:
        reference: the champion's values.
        found: the challenger's.

    Returns:
        0 (the same shares) to 1 (no bin in common); None with fewer than `LEAST_VALUES` on a side.
    """
    if min(reference.size, found.size) < LEAST_VALUES:
        return None
    inner = np.unique(np.quantile(reference, np.linspace(0, 1, BINS + 1)[1:-1]))
    edges = np.array([-np.inf, *inner, np.inf])
    # Values equal to an edge fall to its left, so that a reference of one value has a bin.
    p, q = (_shares(edges, one) for one in (reference, found))
    middle = (p + q) / 2
    return float(max(0.0, (_divergence(p, middle) + _divergence(q, middle)) / 2))


def _shares(edges: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    places = np.searchsorted(edges[1:-1], values, side="left")
    return np.bincount(places, minlength=edges.size - 1) / values.size


def _divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    there = p > 0
    return float(np.sum(p[there] * np.log2(p[there] / q[there])))
