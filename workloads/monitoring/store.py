"""The monitoring dataset: what is measured goes in, what was measured before comes out.

Rows are written by `measurement_id`: the next attempt writes over what one before it has written.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from workloads import gcp
from workloads.ingestion.tables import Table
from workloads.monitoring import tables
from workloads.monitoring.measuring import Measured
from workloads.monitoring.window import Window
from workloads.product import Product

REVISITED: Final = timedelta(days=92)
"""How long after a window's labels were due they are still looked for."""
MOST_REVISITED: Final = 6
"""Earlier windows that one run looks at again."""


class StoreRefused(Exception):
    """BigQuery did not take the measurements: nothing of them is stored."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """What was found of one subject in an earlier window."""

    window: Window
    breach: bool | None
    """None: unknown."""


type Subject = tuple[str, str, str]
"""What it was held against, the feature, and the slice."""


@dataclass(frozen=True, kw_only=True)
class PastScore:
    """The gate's metric in an earlier window."""

    window: Window
    estimated: bool
    value: float | None
    low: float | None
    high: float | None
    slice: str = ""
    """`column=value`; empty for all rows."""


@dataclass(frozen=True, kw_only=True)
class PastFeature:
    """One score of a feature in an earlier window, all rows."""

    window: Window
    reference: str
    feature: str
    statistic: str
    score: float
    threshold: float
    """As it was then."""


@dataclass(frozen=True)
class Store:
    """The monitoring dataset of one product."""

    product: Product

    def write(self, measured: Measured) -> int:
        """Write every measurement; those that are there already are replaced.

        Returns:
            How many measurements there are.

        Raises:
            StoreRefused: BigQuery did not take them.
        """
        scores = [
            tables.score_row(
                one,
                model_version=measured.version,
                reference=reference,
                measured_at=measured.at,
            )
            for reference, one in measured.all
        ]
        rated = [
            tables.performance_row(
                one.performance,
                model_version=one.version,
                measured_at=measured.at,
                estimated=one.estimated,
            )
            for one in measured.rated
        ]
        self._merge(tables.FEATURE_SCORES, scores)
        self._merge(tables.PERFORMANCE, rated)
        return len(scores) + len(rated)

    def _merge(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """All rows in one statement, which BigQuery carries out whole or not at all."""
        if not rows:
            return
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.cloud import bigquery

        ends = [datetime.fromisoformat(str(one["window_end"])) for one in rows]
        config = bigquery.QueryJobConfig(
            query_parameters=[
                bigquery.ScalarQueryParameter("rows", "STRING", json.dumps(list(rows))),
                # So that only partitions of these windows are looked through.
                bigquery.ScalarQueryParameter("first", "TIMESTAMP", min(ends)),
                bigquery.ScalarQueryParameter("last", "TIMESTAMP", max(ends)),
            ],
            labels={"product": self.product.name, "workload": "monitoring"},
        )
        try:
            # The client itself tries again while BigQuery says that it is busy.
            gcp.bigquery_client().query(merge_sql(self.product, table), job_config=config).result()
        except (GoogleAPICallError, RetryError) as error:
            raise StoreRefused(
                f"{tables.dataset(self.product)}.{table.name} did not take {len(rows)} "
                f"measurements: {error}. Run the monitor again; nothing of them is stored"
            ) from error

    def history(self, version: str, window: Window, count: int) -> dict[Subject, list[Past]]:
        """What was found in the windows before, oldest first, by subject.

        Args:
            version: of the model: a new one has a history of its own.
            window: the newest, which is left out.
            count: how many windows before it.
        """
        rows = self._ask(
            f"""
SELECT
  window_start, window_end, reference, feature, slice,
  LOGICAL_OR(verdict = 'drifted') AS drifted,
  LOGICAL_AND(verdict = 'unknown') AS nothing
FROM `{self._name(tables.FEATURE_SCORES)}`
WHERE {_BEFORE}
GROUP BY window_start, window_end, reference, feature, slice
ORDER BY window_end
""",  # noqa: S608  # names of our own
            version,
            window,
            count,
        )
        found: dict[Subject, list[Past]] = {}
        for row in rows:
            past = Past(window=_window(row), breach=None if row["nothing"] else row["drifted"])
            subject = (row["reference"], row["feature"], row["slice"])
            found.setdefault(subject, []).append(past)
        kept = _newest({one.window for all_ in found.values() for one in all_}, count)
        return {
            subject: [one for one in all_ if one.window in kept] for subject, all_ in found.items()
        }

    def trend(
        self, version: str, window: Window, count: int, features: Collection[str]
    ) -> list[PastFeature]:
        """Every score of a few features in the windows before, oldest first.

        Args:
            version: of the model.
            window: the newest, which is left out.
            count: how many windows before it.
            features: their names; of a thousand, a report shows a handful.
        """
        if not features:
            return []
        rows = self._ask(
            f"""
SELECT window_start, window_end, reference, feature, statistic, score, threshold
FROM `{self._name(tables.FEATURE_SCORES)}`
WHERE {_BEFORE} AND slice = '' AND score IS NOT NULL AND feature IN UNNEST(@features)
ORDER BY window_end, reference, feature, statistic
""",  # noqa: S608  # names of our own
            version,
            window,
            count,
            features,
        )
        found = [
            PastFeature(
                window=_window(row),
                reference=row["reference"],
                feature=row["feature"],
                statistic=row["statistic"],
                score=row["score"],
                threshold=row["threshold"],
            )
            for row in rows
        ]
        kept = _newest({one.window for one in found}, count)
        return [one for one in found if one.window in kept]

    def scores(self, version: str, window: Window, count: int) -> list[PastScore]:
        """The gate's metric of the windows before, measured and estimated, oldest first; of all
        rows, and of each slice."""
        rows = self._ask(
            f"""
SELECT window_start, window_end, slice, estimated, value, low, high
FROM `{self._name(tables.PERFORMANCE)}`
WHERE {_BEFORE} AND metric = @metric
ORDER BY window_end, slice, estimated
""",  # noqa: S608  # names of our own
            version,
            window,
            count,
        )
        found = [
            PastScore(
                window=_window(row),
                estimated=row["estimated"],
                value=row["value"],
                low=row["low"],
                high=row["high"],
                slice=row["slice"],
            )
            for row in rows
        ]
        kept = _newest({one.window for one in found}, count)
        return [one for one in found if one.window in kept]

    def unfinished(self, window: Window, at: datetime) -> list[tuple[str, Window]]:
        """Earlier windows to look at again, and the version that answered: their labels were not
        all there, and some may have matured since.

        A few in one run. Those with labels that have matured come first, of which there are never
        many; then those whose labels are late, the one that was looked at longest ago first, so
        that each has its turn however many wait.

        Args:
            window: the newest; what ends after it began is left out.
            at: the moment, by which labels are mature.
        """
        rows = self._ask(
            f"""
SELECT model_version, window_start, window_end
FROM `{self._name(tables.PERFORMANCE)}`
WHERE window_end <= @start AND window_end > @sought AND NOT estimated AND slice = ''
  AND (waiting > 0 OR future > 0 OR (value IS NULL AND never > 0))
  AND window_start <= @mature
GROUP BY model_version, window_start, window_end
ORDER BY LOGICAL_OR(waiting > 0) DESC, MIN(measured_at), window_end
LIMIT {MOST_REVISITED}
""",  # noqa: S608  # names of our own
            "",
            window,
            0,
            at=at,
        )
        return [(row["model_version"], _window(row)) for row in rows]

    def newest(self, limit: int = 1000) -> list[Mapping[str, Any]]:
        """The scores of the newest window, worst verdict first, for people."""
        rows = self._ask(
            f"""
SELECT * FROM `{self._name(tables.FEATURE_SCORES)}`
QUALIFY RANK() OVER (ORDER BY window_end DESC, window_start DESC) = 1
ORDER BY verdict, reference, feature, statistic
LIMIT {limit}
""",  # noqa: S608  # names of our own
            "",
            None,
            0,
        )
        return [dict(row.items()) for row in rows]

    def _name(self, table: Table) -> str:
        return f"{gcp.project()}.{tables.dataset(self.product)}.{table.name}"

    def _ask(
        self,
        sql: str,
        version: str,
        window: Window | None,
        count: int,
        features: Collection[str] = (),
        at: datetime | None = None,
    ) -> list[Any]:
        from google.cloud import bigquery

        parameters: list[Any] = []
        if window is not None:
            length = window.end - window.start
            maturity = self.product.label.maturity
            now = window.end if at is None else at
            values = {
                "start": ("TIMESTAMP", window.start.astimezone(UTC)),
                "since": (
                    "TIMESTAMP",
                    window.start.astimezone(UTC) - max(REVISITED, 2 * count * length),
                ),
                "sought": ("TIMESTAMP", window.start.astimezone(UTC) - maturity - REVISITED),
                "mature": ("TIMESTAMP", now.astimezone(UTC) - maturity),
                "version": ("STRING", version),
                "metric": ("STRING", self.product.gate.metric),
                # Months differ in length; a window looked at by hand for an hour is none of them.
                "shortest": ("FLOAT64", 0.8 * length.total_seconds()),
                "longest": ("FLOAT64", 1.25 * length.total_seconds()),
            }
            parameters = [
                bigquery.ScalarQueryParameter(name, kind, value)
                for name, (kind, value) in values.items()
                if f"@{name}" in sql
            ]
        if features:
            parameters.append(bigquery.ArrayQueryParameter("features", "STRING", sorted(features)))
        config = bigquery.QueryJobConfig(
            query_parameters=parameters, labels={"workload": "monitoring"}
        )
        return list(gcp.bigquery_client().query(sql, job_config=config).result())


_BEFORE: Final = (
    "model_version = @version AND window_end <= @start AND window_end > @since\n"
    "  AND TIMESTAMP_DIFF(window_end, window_start, SECOND) BETWEEN @shortest AND @longest"
)


def _window(row: Any) -> Window:
    return Window(start=row["window_start"], end=row["window_end"])


def _newest(windows: set[Window], count: int) -> set[Window]:
    """The last few that do not overlap: the same rows are not to count twice."""
    kept: list[Window] = []
    for one in sorted(windows, key=lambda each: (each.end, each.start), reverse=True):
        if len(kept) < count and (not kept or one.end <= kept[-1].start):
            kept.append(one)
    return set(kept)


def merge_sql(product: Product, table: Table) -> str:
    """The statement that takes `@rows`, a JSON list of rows, into a table by `measurement_id`."""
    names = [one["name"] for one in table.columns]
    values = ",\n    ".join(
        f"CAST(JSON_VALUE(one, '$.{column['name']}') AS {column['type']}) AS {column['name']}"
        for column in table.columns
    )
    changes = ", ".join(f"{one} = source.{one}" for one in names if one != "measurement_id")
    return f"""
MERGE `{gcp.project()}.{tables.dataset(product)}.{table.name}` AS target
USING (
  SELECT
    {values}
  FROM UNNEST(JSON_QUERY_ARRAY(@rows)) AS one
) AS source
ON target.measurement_id = source.measurement_id
  AND target.window_end BETWEEN @first AND @last
WHEN MATCHED THEN UPDATE SET {changes}
WHEN NOT MATCHED THEN
  INSERT ({", ".join(names)}) VALUES ({", ".join(f"source.{one}" for one in names)})
"""  # noqa: S608  # names of our own
