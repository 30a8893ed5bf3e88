"""Counts rows into the cells of a reference in BigQuery: one pass over the rows for all features.

What leaves BigQuery is one row a cell that is not empty, however many rows there are. The edges and
categories of features travel as parameters, so the text stays short for a thousand of them, and
nothing that was found in data becomes SQL. `counting.count` counts the same cells in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final

from workloads import contracts, gcp
from workloads.features.query import FeatureQuery
from workloads.monitoring.counting import MissingColumn
from workloads.monitoring.reference import Feature, Histogram, Reference
from workloads.monitoring.window import Window
from workloads.prediction_log import tables as log
from workloads.prediction_log.contract import SHADOW
from workloads.product import Product, Task

PREDICTED: Final = ("value", "answer", "lower", "upper")
"""What a profile of answers and the sources of answers share: `Reference.only(PREDICTED)`."""
_NULL: Final = -1
_TEXT: Final = -2


@dataclass(frozen=True, kw_only=True)
class RowSource:
    """Rows of a window that features can be read from."""

    relation: str
    """A query, or the name of a table in backticks."""
    where: str
    expressions: Mapping[str, str]
    """By feature, SQL over a row: FLOAT64 for a number, STRING for text, null for missing."""
    parameters: Mapping[str, tuple[str, Any]] = field(default_factory=dict[str, tuple[str, Any]])
    """By name: type and value."""


def raw(product: Product, window: Window) -> RowSource:
    """What the feature query says of a window: features as they would be asked about."""
    names = FeatureQuery(product)
    return RowSource(
        relation=f"(\n{names.text()}\n)",
        where="TRUE",
        expressions={
            one.name: f"CAST({one.name} AS STRING)"
            if one.kind in ("string", "boolean")
            else f"CAST({one.name} AS FLOAT64)"
            for one in contracts.fields(product.features.request)
        },
        parameters=_bounds(window),
    )


def logged(product: Product, window: Window, model_version: str | None = None) -> RowSource:
    """What the servers were asked about in a window, from the prediction log; shadows left out.

    Args:
        product: whose log.
        window: of `predicted_at`.
        model_version: only what this version answered.
    """
    expressions: dict[str, str] = {}
    for one in contracts.fields(product.features.request):
        value = f"JSON_VALUE(features, '$.{one.name}')"
        text = one.kind in ("string", "boolean")
        expressions[one.name] = value if text else f"SAFE_CAST({value} AS FLOAT64)"
    return _log(product, window, model_version, "features IS NOT NULL", expressions)


def answered(product: Product, window: Window, model_version: str | None = None) -> RowSource:
    """What the servers answered in a window: of `PREDICTED`, what the product's task has."""
    expressions = {"value": "value", "lower": "lower", "upper": "upper"}
    if product.task is Task.CLASSIFICATION:
        expressions = {"value": "value", "answer": "CAST(answer AS STRING)"}
    return _log(product, window, model_version, "value IS NOT NULL", expressions)


def _log(
    product: Product,
    window: Window,
    model_version: str | None,
    condition: str,
    expressions: Mapping[str, str],
) -> RowSource:
    where, parameters = _version(model_version)
    table = f"`{gcp.project()}.{log.dataset(product)}.{log.NAME}`"
    # Pub/Sub delivers at least once, so a prediction may be there twice.
    relation = (
        f"(\nSELECT * FROM {table}\n"
        f"WHERE predicted_at >= @start AND predicted_at < @end AND variant != '{SHADOW}'\n"
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY prediction_id ORDER BY predicted_at) = 1\n)"
    )
    return RowSource(
        relation=relation,
        where=condition + where,
        expressions=expressions,
        parameters={**_bounds(window), **parameters},
    )


def _bounds(window: Window) -> dict[str, tuple[str, Any]]:
    return {
        "start": ("TIMESTAMP", window.start.astimezone(UTC)),
        "end": ("TIMESTAMP", window.end.astimezone(UTC)),
    }


def _version(version: str | None) -> tuple[str, dict[str, tuple[str, Any]]]:
    if version is None:
        return "", {}
    return " AND model_version = @model_version", {"model_version": ("STRING", version)}


def histogram_sql(reference: Reference, source: RowSource, *, by: str | None = None) -> str:
    """The query: `part`, `feature` (its position), `cell`, `text`, `row_count`.

    `cell` is a position among a number's cells, -1 for null, or -2 for text, whose category is
    `text`, null for any that is not listed.

    Args:
        reference: the features and their cells.
        source: where rows come from.
        by: a feature of the source; each of its values is counted by itself.

    Raises:
        MissingColumn: the source does not have a feature.
    """
    absent = [
        one
        for one in (*(each.name for each in reference.features), *([by] if by else ()))
        if one not in source.expressions
    ]
    if absent:
        raise MissingColumn(
            f"no column {absent}; there are {sorted(source.expressions)}: train the model on the "
            "contract that the product has now"
        )
    columns = [
        f"{source.expressions[one.name]} AS f{index}"
        for index, one in enumerate(reference.features)
    ]
    part = f"CAST({source.expressions[by]} AS STRING)" if by else "''"
    cells = ",\n    ".join(_cell(index, one) for index, one in enumerate(reference.features))
    return f"""
WITH
named AS (
  SELECT {part} AS part, {", ".join(columns)}
  FROM {source.relation}
  WHERE {source.where}
),
counted AS (
  SELECT part, [
    {cells}
  ] AS cells
  FROM named
)
SELECT part, one.feature, one.cell, one.text, COUNT(*) AS row_count
FROM counted
CROSS JOIN UNNEST(counted.cells) AS one
GROUP BY part, one.feature, one.cell, one.text
"""  # noqa: S608  # names of our own; values are parameters


def _cell(index: int, feature: Feature) -> str:
    value = f"f{index}"
    if feature.kind == "text":
        cell = f"IF({value} IS NULL, {_NULL}, {_TEXT})"
        text = f"IF({value} IN UNNEST(@c{index}), {value}, NULL)" if feature.categories else "NULL"
    else:
        # The last edge belongs to the last bin.
        bucket = (
            f"RANGE_BUCKET({value}, @e{index}) - IF({value} = @l{index}, 1, 0)"
            if feature.edges
            else "0"
        )
        cell = f"IF({value} IS NULL OR IS_NAN({value}), {_NULL}, {bucket})"
        text = "NULL"
    return f"STRUCT({index} AS feature, {cell} AS cell, CAST({text} AS STRING) AS text)"


def parameters(reference: Reference, source: RowSource) -> list[Any]:
    """The query's parameters, as Google's client takes them."""
    from google.cloud import bigquery

    result: list[Any] = [
        bigquery.ScalarQueryParameter(name, kind, value)
        for name, (kind, value) in source.parameters.items()
    ]
    for index, one in enumerate(reference.features):
        if one.kind == "text" and one.categories:
            result.append(bigquery.ArrayQueryParameter(f"c{index}", "STRING", list(one.categories)))
        elif one.edges:
            result.append(bigquery.ArrayQueryParameter(f"e{index}", "FLOAT64", list(one.edges)))
            result.append(bigquery.ScalarQueryParameter(f"l{index}", "FLOAT64", one.edges[-1]))
    return result


def count(reference: Reference, source: RowSource) -> dict[str, Histogram]:
    """Run the query: how the rows fall into each feature's cells, zeros where there are none.

    Raises:
        MissingColumn: the table has no such column: it was renamed.
    """
    return _run(reference, source, None).get("", _empty(reference))


def count_by(reference: Reference, source: RowSource, by: str) -> dict[str, dict[str, Histogram]]:
    """The same for each value of one feature that occurs; rows without it are left out."""
    return {part: counts for part, counts in _run(reference, source, by).items() if part}


def count_parts(
    reference: Reference, source: RowSource, by: str
) -> tuple[dict[str, Histogram], dict[str, dict[str, Histogram]]]:
    """Both by one query: all rows, and those of each value of one feature that occurs."""
    parts = _run(reference, source, by)
    total = _empty(reference)
    for counts in parts.values():
        total = {name: total[name] + one for name, one in counts.items()}
    return total, {part: counts for part, counts in parts.items() if part}


def _run(
    reference: Reference, source: RowSource, by: str | None
) -> dict[str, dict[str, Histogram]]:
    from google.api_core.exceptions import BadRequest
    from google.cloud import bigquery

    config = bigquery.QueryJobConfig(
        query_parameters=parameters(reference, source), labels={"workload": "monitoring"}
    )
    sql = histogram_sql(reference, source, by=by)
    try:
        rows = list(gcp.bigquery_client().query(sql, job_config=config).result())
    except BadRequest as error:
        if not any(sign in str(error) for sign in ("Unrecognized name", "not found in FROM")):
            raise
        raise MissingColumn(
            f"the feature query has another column than the model's contract: {error.message}. If "
            "one was renamed, rename it back in the query, or train the model on the new name"
        ) from error
    cells: dict[str, list[list[int]]] = {}
    nulls: dict[str, list[int]] = {}
    places = [{name: at for at, name in enumerate(one.categories)} for one in reference.features]
    for row in rows:
        part = row["part"] or ""
        if part not in cells:
            cells[part] = [[0] * one.size for one in reference.features]
            nulls[part] = [0] * len(reference.features)
        index: int = row["feature"]
        if row["cell"] == _NULL:
            nulls[part][index] += row["row_count"]
        else:
            text = row["cell"] == _TEXT
            other = reference.features[index].size - 1
            place = places[index].get(row["text"], other) if text else row["cell"]
            cells[part][index][place] += row["row_count"]
    return {
        part: {
            one.name: Histogram(cells=tuple(cells[part][index]), nulls=nulls[part][index])
            for index, one in enumerate(reference.features)
        }
        for part in cells
    }


def _empty(reference: Reference) -> dict[str, Histogram]:
    return {one.name: Histogram(cells=(0,) * one.size) for one in reference.features}
