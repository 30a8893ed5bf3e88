"""What came of the predictions of an experiment: sufficient statistics from the prediction log.

One query in BigQuery joins the log with the truth, as the feature query tells it, and returns two
rows, however many predictions there were.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from workloads import gcp
from workloads.experiments.analysis import ArmTotals
from workloads.experiments.assignment import CHALLENGER, CHAMPION
from workloads.experiments.experiment import Experiment, Metric
from workloads.features import views
from workloads.features.query import FeatureQuery
from workloads.prediction_log.tables import NAME, dataset
from workloads.product import Product

if TYPE_CHECKING:
    from google.cloud import bigquery

_OUTCOMES: Final = {
    Metric.CORRECT: "CASE WHEN answer IS NULL THEN NULL WHEN answer = truth THEN 1.0 ELSE 0.0 END",
    Metric.BRIER: "POW(value - IF(truth, 1, 0), 2)",
    Metric.ABSOLUTE_ERROR: "LEAST(ABS(value - truth), @limit)",
    Metric.COVERED: "CASE WHEN lower IS NULL OR upper IS NULL THEN NULL "
    "WHEN truth BETWEEN lower AND upper THEN 1.0 ELSE 0.0 END",
}


class ArmResults(msgspec.Struct, frozen=True, kw_only=True):
    """One arm: its totals, and what became of the rows that are not in them."""

    version: str
    totals: ArmTotals
    predictions: int
    """Rows of the log, each prediction once."""
    awaited: int
    """Of these, younger than the label's maturity."""
    unlabelled: int
    """Mature, with no truth: it never came, or the row names no entity."""
    unanswered: int
    """Mature, with a truth and no prediction: the server failed, or refused."""
    deployed_models: tuple[str, ...]
    """Who answered, as the log says: `<revision>/<version>`, or Vertex AI's `deployedModelId`."""


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Both arms at one moment."""

    at: datetime
    champion: ArmResults
    challenger: ArmResults
    crossed: int
    """Keys that both arms have answered; none, where servers assign by key."""


def results(product: Product, experiment: Experiment, now: datetime | None = None) -> Results:
    """Read what is known at a moment.

    Args:
        product: The declaration.
        experiment: As it is defined.
        now: The moment; the present when not given. Predictions later than this, or younger than
            the label's maturity, are not judged: truths that come early may not be like the rest.
    """
    from google.cloud import bigquery

    at = (now or datetime.now(UTC)).astimezone(UTC)
    until = min(at, experiment.ended_at) if experiment.ended_at else at
    parameters = [
        bigquery.ScalarQueryParameter("since", "TIMESTAMP", experiment.counted_since),
        bigquery.ScalarQueryParameter("until", "TIMESTAMP", until),
        bigquery.ScalarQueryParameter("mature", "TIMESTAMP", at - product.label.maturity),
        bigquery.ScalarQueryParameter("product", "STRING", product.name),
        bigquery.ScalarQueryParameter("champion", "STRING", experiment.champion),
        bigquery.ScalarQueryParameter("challenger", "STRING", experiment.challenger),
        bigquery.ScalarQueryParameter("limit", "FLOAT64", experiment.limit),
    ]
    if experiment.labels_since is not None:
        parameters += [
            bigquery.ScalarQueryParameter("start", "TIMESTAMP", experiment.labels_since),
            bigquery.ScalarQueryParameter("end", "TIMESTAMP", at),
        ]
    rows = _run(product, query(product, experiment), parameters)
    arms = {
        variant: _arm(rows.get(variant), version)
        for variant, version in (
            (CHAMPION, experiment.champion),
            (CHALLENGER, experiment.challenger),
        )
    }
    crossed = max((int(row["crossed"]) for row in rows.values()), default=0)
    return Results(at=at, champion=arms[CHAMPION], challenger=arms[CHALLENGER], crossed=crossed)


def query(product: Product, experiment: Experiment, project: str | None = None) -> str:
    """The query, with the parameters `@since`, `@until`, `@mature`, `@product`, `@champion`,
    `@challenger`, `@limit`, and `@start` and `@end` where the experiment bounds its labels."""
    project = project or gcp.project()
    if experiment.labels_since is None:
        examples = views.examples(product, project)
    else:
        examples = FeatureQuery(product).text(project=project)
    # Names of our own declarations, checked when they were made; values go in as parameters.
    return f"""
WITH
predicted AS (
  SELECT variant, key, entity, value, lower, upper, answer, predicted_at, deployed_model_id
  FROM `{project}.{dataset(product)}.{NAME}`
  WHERE
    predicted_at >= @since AND predicted_at < @until
    AND product = @product
    AND key IS NOT NULL
    AND (
      (variant = '{CHAMPION}' AND model_version = @champion)
      OR (variant = '{CHALLENGER}' AND model_version = @challenger)
    )
  -- The log may hold a row twice.
  QUALIFY ROW_NUMBER() OVER (PARTITION BY prediction_id ORDER BY predicted_at) = 1
),

truths AS (
  SELECT CAST({product.features.entity} AS STRING) AS entity, {product.label.column} AS truth
  FROM (
{examples}
  )
  WHERE {product.label.column} IS NOT NULL
),

judged AS (
  SELECT
    variant,
    key,
    deployed_model_id,
    predicted_at >= @mature AS awaited,
    truth IS NULL AS unlabelled,
    -- Each row of the log once, whatever the feature query yields.
    IF(predicted_at >= @mature OR truth IS NULL, NULL, {_OUTCOMES[experiment.metric]}) AS outcome
  FROM predicted
  LEFT JOIN (SELECT entity, ANY_VALUE(truth) AS truth FROM truths GROUP BY entity) USING (entity)
),

keys AS (
  SELECT
    variant,
    key,
    COUNT(*) AS predictions,
    COUNTIF(awaited) AS awaited,
    COUNTIF(NOT awaited AND unlabelled) AS unlabelled,
    COUNTIF(NOT awaited AND NOT unlabelled AND outcome IS NULL) AS unanswered,
    COUNT(outcome) AS n,
    COALESCE(SUM(outcome), 0.0) AS s
  FROM judged
  GROUP BY variant, key
)

SELECT
  variant,
  COUNT(*) AS assigned,
  COUNTIF(n > 0) AS keys,
  SUM(n) AS row_count,
  SUM(s) AS total,
  SUM(s * s) AS squares,
  SUM(s * n) AS products,
  SUM(n * n) AS counts,
  SUM(predictions) AS predictions,
  SUM(awaited) AS awaited,
  SUM(unlabelled) AS unlabelled,
  SUM(unanswered) AS unanswered,
  (
    SELECT STRING_AGG(DISTINCT deployed_model_id, ',')
    FROM judged
    WHERE judged.variant = keys.variant AND deployed_model_id != ''
  ) AS deployed_models,
  (
    SELECT COUNT(*) FROM (SELECT key FROM keys GROUP BY key HAVING COUNT(*) > 1)
  ) AS crossed
FROM keys
GROUP BY variant
"""  # noqa: S608


def _run(
    product: Product, sql: str, parameters: list[bigquery.ScalarQueryParameter]
) -> dict[str, Any]:
    from google.cloud import bigquery

    job = gcp.bigquery_client().query(
        sql,
        job_config=bigquery.QueryJobConfig(
            query_parameters=parameters,
            labels={"product": product.name, "workload": "experiment"},
        ),
    )
    return {row["variant"]: row for row in job.result()}


def _arm(row: Any, version: str) -> ArmResults:
    if row is None:
        return ArmResults(
            version=version,
            totals=ArmTotals(),
            predictions=0,
            awaited=0,
            unlabelled=0,
            unanswered=0,
            deployed_models=(),
        )
    return ArmResults(
        version=version,
        totals=ArmTotals(
            assigned=int(row["assigned"]),
            keys=int(row["keys"]),
            rows=int(row["row_count"]),
            total=float(row["total"]),
            squares=float(row["squares"]),
            products=float(row["products"]),
            counts=float(row["counts"]),
        ),
        predictions=int(row["predictions"]),
        awaited=int(row["awaited"]),
        unlabelled=int(row["unlabelled"]),
        unanswered=int(row["unanswered"]),
        deployed_models=tuple(sorted(filter(None, (row["deployed_models"] or "").split(",")))),
    )
