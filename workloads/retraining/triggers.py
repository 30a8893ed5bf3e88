"""What the controller finds out by itself: that the schedule is due, that rows or files have come.

Monitors, people and commits ask on their own account.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from workloads import gcp
from workloads.features.query import FeatureQuery
from workloads.product import Arrival, Product
from workloads.registry import CHAMPION, Registry, Version
from workloads.retraining.cron import latest
from workloads.retraining.policy import rows
from workloads.retraining.requests import Reason
from workloads.retraining.store import Store

BY: Final = "the retraining controller"
_MISSED: Final = timedelta(days=1)
"""A schedule that was due longer ago than this, and was slept through, is left to the next."""


def scheduled(product: Product, store: Store, now: datetime) -> None:
    """Ask for the run that the product's schedule was due for last, once."""
    plan = product.retraining
    if plan is None:
        return
    due = latest(plan.schedule, plan.time_zone, now)
    if due is not None and now - due < _MISSED:
        evidence = {"key": due.isoformat(), "schedule": plan.schedule, "zone": plan.time_zone}
        store.ask(product.name, Reason.SCHEDULE, evidence, by=BY, at=now)


def look(product: Product, store: Store, now: datetime) -> None:
    """Ask for a run where enough rows, or rows of a file, have come since the champion.

    A product without a champion has nothing that they would be new to.
    """
    plan = product.retraining
    if plan is None or not (plan.minimum_new_rows or plan.on_new_file):
        return
    registry = Registry(product)
    champion = registry.find(CHAMPION)
    if champion is None:
        return
    if plan.minimum_new_rows:
        _rows(product, store, champion, plan.minimum_new_rows, now)
    if plan.on_new_file:
        _files(product, store, champion, registry.record(champion.number).created, now)


def _rows(product: Product, store: Store, champion: Version, minimum: int, now: datetime) -> None:
    assert product.retraining is not None
    since = champion.manifest().training.end
    until = rows(product, product.retraining, now).end
    if since >= until:
        return
    found = labelled(product, since, until)
    if found < minimum:
        return
    evidence = {
        "key": f"version {champion.number}, {found // minimum}",
        "rows": found,
        "minimum": minimum,
        "since": since,
        "why": f"{found} rows with a label since {since:%Y-%m-%d}",
    }
    store.ask(product.name, Reason.ROWS, evidence, by=BY, at=now)


def labelled(product: Product, since: datetime, until: datetime) -> int:
    """Rows of the feature query in [since, until) whose label has come, counted in BigQuery."""
    from google.cloud import bigquery

    # A column of the product's own declaration.
    sql = (
        f"SELECT COUNTIF({product.label.column} IS NOT NULL) FROM ({FeatureQuery(product).text()})"  # noqa: S608
    )
    instants = [
        bigquery.ScalarQueryParameter(name, "TIMESTAMP", value)
        for name, value in (("start", since), ("end", until))
    ]
    config = bigquery.QueryJobConfig(query_parameters=instants)
    (row,) = gcp.bigquery_client().query(sql, job_config=config).result()
    return int(row[0])


def _files(
    product: Product, store: Store, champion: Version, since: datetime, now: datetime
) -> None:
    found: dict[str, Any] = {}
    for source in product.sources:
        if source.arrival is not Arrival.FILES:
            continue
        rows, newest = landed(product, source.contract.PLURAL, product.raw(source), since)
        if rows and newest is not None:
            found[source.contract.PLURAL] = {"rows": rows, "until": newest}
    if not found:
        return
    newest = max(one["until"] for one in found.values())
    evidence = {
        "key": f"version {champion.number}, {newest.isoformat()}",
        "landed": found,
        "why": "; ".join(f"{one['rows']} rows of {name}" for name, one in found.items()),
    }
    store.ask(product.name, Reason.FILE, evidence, by=BY, at=now)


def landed(
    product: Product, table: str, dataset: str, since: datetime
) -> tuple[int, datetime | None]:
    """Rows of files that ingestion has taken into a raw table after an instant, and the newest."""
    from google.cloud import bigquery

    # Names of the product's own declaration.
    sql = (
        f"SELECT COUNT(*), MAX(ingested_at) FROM `{gcp.project()}.{dataset}.{table}`"  # noqa: S608
        " WHERE ingested_at > @since AND STARTS_WITH(source, 'gs://')"
    )
    instant = bigquery.ScalarQueryParameter("since", "TIMESTAMP", since)
    config = bigquery.QueryJobConfig(query_parameters=[instant])
    (row,) = gcp.bigquery_client().query(sql, job_config=config).result()
    return int(row[0]), row[1]
