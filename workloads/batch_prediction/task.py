"""One task of batch prediction: its share of a day's questions, answered by the champion.

A task may be killed anywhere, may run twice, and two attempts may overlap. Which questions are its
share follows from their names alone, and each attempt brings its rows into BigQuery by itself and
all at once (`staging`), then, where the product asks for it, into PostgreSQL (`publication`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from workloads.batch_prediction import progress
from workloads.batch_prediction.answering import Answering
from workloads.batch_prediction.flow import flow
from workloads.batch_prediction.publication import publish
from workloads.batch_prediction.reading import StoredRows
from workloads.batch_prediction.staging import Staging
from workloads.database import DatabaseSettings
from workloads.features.query import FeatureQuery, InvalidFeatureQuery
from workloads.product import Product
from workloads.registry import CHAMPION, Registry


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a task has done."""

    day: date
    rows: int
    model_version: str
    published: int
    """Rows that PostgreSQL has now too."""


def today(product: Product) -> date:
    """The present day where the product's days begin."""
    return datetime.now(ZoneInfo(product.batch.time_zone)).date()


def predict_day(
    product: Product,
    day: date,
    *,
    index: int = 0,
    count: int = 1,
    database: DatabaseSettings | None = None,
) -> Outcome:
    """Predict this task's share of a day and bring it into the table of batch predictions.

    Args:
        day: in the product's time zone.
        index, count: which share; entities are spread by a fingerprint of their name.
        database: where rows go too, if the product asks for it.

    Raises:
        NoSuchVersion: there is no champion.
        NoTable: the stack has not made the table.
        ModelRefused: the champion's artefacts are not what was registered.
        WriteRefused: BigQuery did not take the rows.
        psycopg.Error: PostgreSQL did not; BigQuery has them, and another attempt writes both again.
    """
    champion = Registry(product).get(CHAMPION)
    manifest = champion.manifest()
    answering = Answering(
        product=product,
        scorer=champion.scorer(product),
        threshold=manifest.threshold,
        version=champion.number,
        run=manifest.run,
        day=day,
        predicted_at=datetime.now(UTC),
    )
    zone = ZoneInfo(product.batch.time_zone)
    start = datetime.combine(day, time(), zone)
    end = datetime.combine(day + timedelta(days=1), time(), zone)
    staging = Staging(product, day, (index, count), start, end)
    questions = _questions(product, start, end, (index, count))
    try:
        with progress.shown(questions.rows, f"predicting {day}") as done:
            rows = flow(questions, answering, staging, progress=done)
        predicted = staging.commit()
    finally:
        staging.close()
    published = 0
    if predicted is not None and database is not None and product.batch.publish_to_database:
        with progress.shown(predicted.rows, f"publishing {day}") as done:
            published = publish(product, predicted, database, progress=done)
    staging.remove()
    return Outcome(day=day, rows=rows, model_version=champion.number, published=published)


def _questions(
    product: Product, start: datetime, end: datetime, share: tuple[int, int]
) -> StoredRows:
    """The rows of the feature query, left in BigQuery until they are read."""
    query = FeatureQuery(product)
    job = query.ask(start, end, shard=share, ordered=False)
    count = job.result().total_rows
    if job.destination is None:
        raise InvalidFeatureQuery(
            f"{product.features.sql} is a script, which leaves no one result; allowed: one SELECT"
        )
    features = product.features
    wanted = (features.entity, features.event_time, *features.request.__struct_fields__)
    return StoredRows(job.destination, int(count or 0), tuple(dict.fromkeys(wanted)))
