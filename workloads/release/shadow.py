"""The challenger is asked what the champion was asked, before any caller meets it.

The rows are the newest that the champion has answered, out of the prediction log; where too few are
logged, those of the challenger's frozen hold-out. A target on which a version without traffic has
an address is really asked, so failures and latency show too. Vertex AI answers with no model that
has no traffic, and mirrors nothing: there the same ONNX graph is run here, and only what it
predicts can be compared.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from workloads import gcp
from workloads.contracts import Contract
from workloads.features.snapshot import thaw
from workloads.prediction_log import tables
from workloads.product import Product
from workloads.registry import Version
from workloads.release.evidence import drift
from workloads.release.judgement import Side, Window
from workloads.release.targets import Asked, Target

LEAST_ROWS: Final = 50
"""With fewer logged rows, the hold-out says more."""


class Rehearsal(Protocol):
    """Compares a challenger with the champion before it has traffic."""

    def window(
        self, target: Target, challenger: Version, champion: Version, now: datetime
    ) -> Window:
        """What came of it."""
        ...


class Shadow:
    """Rows that the champion has answered, put to the challenger."""

    def __init__(self, product: Product) -> None:
        self._product = product

    def window(
        self, target: Target, challenger: Version, champion: Version, now: datetime
    ) -> Window:
        start = now - timedelta(days=self._product.release.shadow_days)
        requests, source = self._logged(champion.number, start, now), "logged requests"
        if len(requests) < LEAST_ROWS:
            requests, source = self._held_out(challenger), "hold-out"
        expected = champion.scorer(self._product).rows(requests).value
        if target.beside:
            asked = target.ask(challenger.number, msgspec.to_builtins(requests))
            found = _values(asked, next(iter(challenger.manifest().answered)))
            side = _side(challenger.number, asked, len(requests))
        else:
            found = challenger.scorer(self._product).rows(requests).value
            side = Side(version=challenger.number, requests=len(requests), errors=0)
        return Window(
            start=start,
            end=now,
            challenger=side,
            # It was not asked again: what it takes for an answer is not known.
            champion=Side(version=champion.number, requests=len(requests), errors=0),
            drift=drift(expected, found),
            source=source,
        )

    def _logged(self, champion: str, start: datetime, end: datetime) -> list[Contract]:
        from google.api_core.exceptions import NotFound
        from google.cloud import bigquery

        table = f"{gcp.project()}.{tables.dataset(self._product)}.{tables.NAME}"
        query = f"""
            SELECT DISTINCT features, predicted_at FROM `{table}`
            WHERE predicted_at >= @start AND predicted_at < @end AND model_version = @champion
              AND features IS NOT NULL AND status = 200
            ORDER BY predicted_at DESC LIMIT @rows
        """  # noqa: S608
        parameters = [
            bigquery.ScalarQueryParameter("start", "TIMESTAMP", start),
            bigquery.ScalarQueryParameter("end", "TIMESTAMP", end),
            bigquery.ScalarQueryParameter("champion", "STRING", champion),
            bigquery.ScalarQueryParameter("rows", "INT64", self._product.release.shadow_rows),
        ]
        config = bigquery.QueryJobConfig(query_parameters=parameters)
        try:
            found = gcp.bigquery_client().query(query, job_config=config).result()
        except NotFound:
            return []
        return self._requests(row["features"] for row in found)

    def _held_out(self, challenger: Version) -> list[Contract]:
        holdout = challenger.manifest().holdout
        names = self._product.features.request.__struct_fields__
        rows = thaw(holdout.uri, holdout.sha256).select(list(names))
        return self._requests(rows.slice(0, self._product.release.shadow_rows).to_pylist())

    def _requests(self, rows: Iterable[str | dict[str, Any]]) -> list[Contract]:
        """Those rows that are of the contract: a log may hold some of an older version."""
        found: list[Contract] = []
        for row in rows:
            with contextlib.suppress(ValueError, msgspec.ValidationError):
                given = json.loads(row) if isinstance(row, str) else row
                found.append(msgspec.convert(given, self._product.features.request))
        return found


def _values(asked: Asked, field: str) -> NDArray[np.float64]:
    return np.array([one[field] for one in asked.predictions if one is not None], dtype=np.float64)


def _side(version: str, asked: Asked, rows: int) -> Side:
    failed = sum(one is None for one in asked.predictions)
    latencies: Sequence[float] = asked.latencies
    p50, p95, p99 = np.percentile(latencies, (50, 95, 99)) if latencies else (None, None, None)
    return Side(
        version=version,
        requests=rows,
        errors=failed,
        p50=None if p50 is None else float(p50),
        p95=None if p95 is None else float(p95),
        p99=None if p99 is None else float(p99),
    )
