"""How good the answers turned out to be, once their labels have had time to come.

Predictions are joined with the labels that the feature query finds, by entity. A label counts only
when its maturity has passed since the question: those that come early are not like the others (a
flight that lands early is not late), so a score of them would be wrong and not merely uncertain.
While nothing can be said, the answer is "unknown", with the reason; never a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from workloads import gcp, metrics
from workloads.batch_prediction import tables as batch
from workloads.features.query import FeatureQuery
from workloads.metrics import Interval, NotScorable
from workloads.monitoring.window import Window
from workloads.prediction_log import tables as log
from workloads.prediction_log.contract import SHADOW
from workloads.product import Product, Task
from workloads.scoring import Answers

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_ROWS: Final = 200
"""Labelled rows; the ROC-AUC of fewer says little."""
LEAST_SHARE: Final = 0.5
"""Of mature rows that have a label. With fewer, who is missing decides the score."""
SAMPLES: Final = 200


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """The score of one window, or why there is none."""

    metric: str
    value: float | None
    """None: unknown."""
    low: float | None
    high: float | None
    """95 % by bootstrap."""
    window: Window
    rows: int
    """Predictions of the window."""
    labelled: int
    """Those that are mature and have a label, of which the score is."""
    waiting: int
    """Those whose label may still come."""
    never: int
    """Those whose maturity has passed without a label."""
    future: int
    """Those asked about after the moment of measuring: a clock is wrong. They count nowhere."""
    slice: str = ""
    reason: str = ""
    """Why the value is unknown."""


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions of a window beside what happened, oldest question first."""

    event_time: NDArray[Any]
    """`datetime64[us]` in UTC, of the question."""
    answers: Answers
    truth: NDArray[Any]
    """NaN where there is no label."""
    parts: Mapping[str, NDArray[Any]]
    """By feature, text, to slice by."""

    @property
    def rows(self) -> int:
        """How many predictions."""
        return self.truth.size

    def where(self, rows: NDArray[Any]) -> Outcomes:
        """Some of them, by a mask or by positions."""
        return Outcomes(
            event_time=self.event_time[rows],
            answers=self.answers.where(rows),
            truth=self.truth[rows],
            parts={name: values[rows] for name, values in self.parts.items()},
        )


def outcomes_sql(product: Product, *, online: bool) -> str:
    """The query that joins predictions with labels. Parameters: @start, @end, @model_version (null
    for all).

    The window is of the question's time. Of several predictions for one entity the last counts.

    Args:
        product: the declaration.
        online: the servers' prediction log, else the table of batch predictions.
    """
    features = product.features
    classes = product.task is Task.CLASSIFICATION
    bounds = "" if classes else ", predictions.lower, predictions.upper"
    project = gcp.project()
    if online:
        table = f"`{project}.{log.dataset(product)}.{log.NAME}`"
        columns = "entity, value, lower, upper, predicted_at, model_version"
        condition = f"variant != '{SHADOW}' AND value IS NOT NULL AND entity IS NOT NULL"
    else:
        table = f"`{project}.{batch.dataset(product)}.{batch.NAME}`"
        value = "probability AS value" if classes else "prediction AS value, lower, upper"
        columns = f"entity, {value}, predicted_at, model_version"
        condition = "event_time >= @start AND event_time < @end"
    slices = "".join(f", CAST(questions.{one} AS STRING) AS {one}" for one in product.gate.slices)
    entity = f"CAST(questions.{features.entity} AS STRING)"
    return f"""
WITH
questions AS (
{FeatureQuery(product).text()}
),
predictions AS (
  SELECT {columns}
  FROM {table}
  WHERE {condition} AND (@model_version IS NULL OR model_version = @model_version)
  QUALIFY ROW_NUMBER() OVER (PARTITION BY entity ORDER BY predicted_at DESC) = 1
)
SELECT
  {entity} AS entity,
  questions.{features.event_time} AS event_time,
  predictions.value{bounds},
  CAST({_number(product)} AS FLOAT64) AS truth{slices}
FROM questions
INNER JOIN predictions ON predictions.entity = {entity}
ORDER BY event_time, entity
"""  # noqa: S608  # names of our own


def _number(product: Product) -> str:
    column = f"questions.{product.label.column}"
    return f"CAST({column} AS INT64)" if product.task is Task.CLASSIFICATION else column


def outcomes(
    product: Product, window: Window, *, online: bool = True, model_version: str | None = None
) -> Outcomes:
    """Predictions about the questions of a window, beside their labels where there are any.

    Args:
        window: of the question's event time.
        online: from the prediction log, else from batch predictions.
        model_version: only this version's.
    """
    from google.cloud import bigquery

    parameters = [
        bigquery.ScalarQueryParameter("start", "TIMESTAMP", window.start.astimezone(UTC)),
        bigquery.ScalarQueryParameter("end", "TIMESTAMP", window.end.astimezone(UTC)),
        bigquery.ScalarQueryParameter("model_version", "STRING", model_version),
    ]
    job = gcp.bigquery_client().query(
        outcomes_sql(product, online=online),
        job_config=bigquery.QueryJobConfig(
            query_parameters=parameters,
            labels={"product": product.name, "workload": "monitoring"},
        ),
    )
    rows = job.result().to_arrow(bqstorage_client=gcp.bigquery_read_client())
    classes = product.task is Task.CLASSIFICATION
    return Outcomes(
        event_time=np.array(
            [one.astimezone(UTC).replace(tzinfo=None) for one in rows["event_time"].to_pylist()],
            dtype="datetime64[us]",
        ),
        answers=Answers(
            _numbers(rows, "value"),
            None if classes else _numbers(rows, "lower"),
            None if classes else _numbers(rows, "upper"),
            (0.1, 0.9) if classes else product.interval,
        ),
        truth=_numbers(rows, "truth"),
        parts={one: np.array(rows[one].to_pylist(), dtype=object) for one in product.gate.slices},
    )


def _numbers(rows: pa.Table, name: str) -> NDArray[np.float64]:
    return np.array(rows[name].to_pylist(), dtype=np.float64)


def measure(
    product: Product,
    found: Outcomes,
    window: Window,
    *,
    at: datetime,
    metric: str | None = None,
    part: str = "",
) -> Performance:
    """The score of a window at a moment, from what is mature by then.

    Args:
        product: says how long labels take, the task, and the metric.
        found: the window's outcomes.
        window: of the question's event time.
        at: the moment, with a time zone.
        metric: another than the gate's.
        part: the slice, `column=value`.
    """
    name = metric or product.gate.metric
    now = np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "us")
    future = found.event_time > now
    mature = ~future & (found.event_time + np.timedelta64(product.label.maturity) <= now)
    known = np.isfinite(found.truth)
    counted = mature & known
    score: Interval | None = None
    reason = _unknown(found.rows, int(counted.sum()), int(mature.sum()))
    if not reason:
        try:
            there = found.where(counted)
            score = interval(product.task, there.truth, there.answers, name)
        except NotScorable as error:
            reason = str(error)
    return Performance(
        metric=name,
        value=None if score is None else score.value,
        low=None if score is None else score.low,
        high=None if score is None else score.high,
        window=window,
        rows=found.rows,
        labelled=int(counted.sum()),
        waiting=int((~mature & ~future).sum()),
        never=int((mature & ~known).sum()),
        future=int(future.sum()),
        slice=part,
        reason=reason,
    )


def measure_slices(
    product: Product, found: Outcomes, window: Window, *, at: datetime
) -> list[Performance]:
    """The score of each group of the gate's slices that has rows."""
    return [
        measure(
            product,
            found.where(values == value),
            window,
            at=at,
            part=f"{column}={value}",
        )
        for column, values in found.parts.items()
        for value in sorted({one for one in values if one is not None})
    ]


def _unknown(rows: int, labelled: int, mature: int) -> str:
    if rows == 0:
        return "the window holds no predictions"
    if mature == 0:
        return "no label is mature yet"
    if labelled < LEAST_ROWS:
        return f"{labelled} rows are mature and labelled; at least {LEAST_ROWS} are needed"
    if labelled < LEAST_SHARE * mature:
        return (
            f"{labelled} of {mature} mature rows have a label; at least {LEAST_SHARE:.0%} are "
            "needed, or the missing ones decide"
        )
    return ""


def interval(task: Task, truth: NDArray[Any], answers: Answers, metric: str) -> Interval:
    """A score with its 95 % by bootstrap.

    Raises:
        NotScorable: nothing can be scored.
    """
    scored = metrics.scored(task, truth, answers)
    drawn = [
        scored.score(metric, weights) for weights in metrics.resamples(truth, SAMPLES, 0, task)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value=scored.score(metric), low=float(low), high=float(high))
