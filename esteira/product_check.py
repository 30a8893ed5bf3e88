"""What can be known to be wrong with a product before anything of it is deployed."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from workloads import contracts, schemas
from workloads.features.query import BASE, FeatureQuery, InvalidFeatureQuery
from workloads.ingestion.tables import PROVENANCE
from workloads.product import Product, Source, Task, base_of

_MOMENT: Final = datetime(2020, 1, 1, tzinfo=UTC)
_PROJECT: Final = "project"
_TYPES: Final = {
    "string": ("STRING",),
    "integer": ("INTEGER", "INT64"),
    "number": ("FLOAT", "FLOAT64", "INTEGER", "INT64", "NUMERIC"),
    "boolean": ("BOOLEAN", "BOOL"),
    "timestamp": ("TIMESTAMP",),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    passed: bool | None
    """None: it could not be looked at here."""
    found: str

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


type Ask = Callable[[str, dict[str, datetime]], list[tuple[str, str]]]
"""Runs a query with its parameters; gives the names and the types of its columns."""


def check(product: Product, ask: Ask | None) -> Iterator[Finding]:
    """Look at a product's contracts, its feature query, its leak guard and its training.

    Args:
        ask: BigQuery; none where it does not answer, and then the query is not run.
    """
    taken = ", ".join(one.contract.PLURAL for one in product.own) or "nothing of its own"
    read = "".join(f"; reads what {one} takes in" for one in product.owners)
    base = product.features.base
    built = "" if base is None else f"; builds on the features of {base}"
    yield Finding(what="declaration", passed=True, found=f"takes in {taken}{read}{built}")
    wrong = schemas.faults(product)
    yield Finding(
        what="contracts",
        passed=not wrong,
        found="; ".join(wrong) or f"fit what is deployed, by {schemas.NAME}",
    )
    yield from _query(product, ask)
    yield _training(product)
    yield _sample(product)


def _query(product: Product, ask: Ask | None) -> Iterator[Finding]:
    query = FeatureQuery(product)
    try:
        text = query.text(project=_PROJECT)
        cut = query.text(known_at=_MOMENT, project=_PROJECT)
    except InvalidFeatureQuery as error:
        yield Finding(what="features", passed=False, found=str(error))
        return
    unread = [one.contract.PLURAL for one in product.sources if _table(product, one) not in text]
    base = base_of(product)
    if base is not None and FeatureQuery(base).relation(project=_PROJECT) not in text:
        unread.append(BASE)
    if unread:
        names = ", ".join(f"{{{one}}}" for one in unread)
        yield Finding(
            what="features",
            passed=False,
            found=f"{product.features.sql.name} reads no {names}; read them, or take them out of "
            "the declaration",
        )
    if ask is None:
        yield Finding(
            what="features",
            passed=None,
            found="were not run: the local BigQuery does not answer; `esteira local start`",
        )
        return
    for what, sql in (("features", text), ("leak guard", cut)):
        wrong = _wrong(product, query, sql, ask)
        good = {
            "features": f"give {len(query.columns)} columns, as declared",
            "leak guard": "can cut every source off at a moment",
        }[what]
        yield Finding(what=what, passed=not wrong, found="; ".join(wrong) or good)


def _wrong(product: Product, query: FeatureQuery, sql: str, ask: Ask) -> list[str]:
    """What is wrong with a query, run over raw tables that have their columns and no row."""
    for source in product.sources:
        sql = sql.replace(_table(product, source), _empty(source))
    names = ", ".join(query.columns)
    try:
        columns = dict(
            ask(f"SELECT {names} FROM (\n{sql}\n)", {"start": _MOMENT, "end": datetime.now(UTC)})  # noqa: S608  # a file of this checkout
        )
    except Exception as error:  # noqa: BLE001  # whatever BigQuery says of the text
        return [f"BigQuery refuses {product.features.sql.name}: {error}"]
    wrong = [
        f"`{field.name}` is {columns[field.name]}; {product.features.request.NAME} wants "
        f"{_TYPES[field.kind][0]}"
        for field in contracts.fields(product.features.request)
        if columns[field.name] not in _TYPES[field.kind]
    ]
    allowed = _TYPES["boolean" if product.task is Task.CLASSIFICATION else "number"]
    label = product.label.column
    if columns[label] not in allowed:
        wrong.append(f"`{label}` is {columns[label]}; {product.task.value} wants {allowed[0]}")
    if columns[product.features.event_time] != "TIMESTAMP":
        wrong.append(f"`{product.features.event_time}` is no TIMESTAMP")
    return wrong


def _table(product: Product, source: Source) -> str:
    return f"`{_PROJECT}.{product.raw(source)}.{source.contract.PLURAL}`"


def _empty(source: Source) -> str:
    columns = [*contracts.bigquery_schema(source.contract), *PROVENANCE]
    casts = ", ".join(f"CAST(NULL AS {one['type']}) AS {one['name']}" for one in columns)
    return f"(SELECT * FROM (SELECT {casts}) WHERE FALSE)"  # noqa: S608  # names of our own


def _training(product: Product) -> Finding:
    module, _, name = product.train.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        return Finding(
            what="training", passed=False, found=f"{product.train} cannot be imported: {error}"
        )
    wanted = "rows, labels" if product.task is Task.CLASSIFICATION else "rows, labels, interval"
    # Who is to be trained again with other seeds has to take one.
    seeds = {"seed": 1} if product.gate.reruns else {}
    try:
        inspect.signature(function).bind(*wanted.split(", "), **seeds)
    except TypeError as error:
        wanted += ", seed=" if seeds else ""
        return Finding(
            what="training",
            passed=False,
            found=f"{product.train} does not take ({wanted}), as a {product.task.value} must: "
            f"{error}",
        )
    return Finding(what="training", passed=True, found=f"{product.train} takes ({wanted})")


def _sample(product: Product) -> Finding:
    from workloads.replay import history

    try:
        rows = {
            one.contract.PLURAL: len(history.frame(product, one.contract)) for one in product.own
        }
    except history.NoDataset as error:
        return Finding(what="sample", passed=None, found=str(error))
    except Exception as error:  # noqa: BLE001  # the product's own code
        return Finding(what="sample", passed=False, found=f"cannot be made: {error!r}")
    told = ", ".join(f"{count:,} {plural}" for plural, count in rows.items())
    return Finding(what="sample", passed=True, found=told or "none: its sources are another's")
