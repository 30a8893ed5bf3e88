"""Commands for features: copy them to the online store, read them, compare the stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from esteira.data_commands import OnStack, ProductName
from esteira.printing import AsJson, console, fail, result

if TYPE_CHECKING:
    from workloads.features.row import FeatureRow

features_app = typer.Typer(help="What models are told.", no_args_is_help=True)

_SHOWN: Final = 20
"""Differences that a person is shown; JSON has them all."""


@features_app.command("sync")
def sync(product: ProductName, stack: OnStack = "local", as_json: AsJson = False) -> None:
    """Copy the last features of each entity from BigQuery to the online store."""
    from workloads.features import syncing
    from workloads.product import load

    declared = load(product)
    with console.status("connecting") as status, _refused(stack):
        _connect(stack, status.update)
        done = syncing.sync(declared, on_progress=status.update)
    seconds = (done.ended - done.started).total_seconds() if done.ended and done.started else 0.0
    text = f"{done.rows} entities of {product} are online, copied in {seconds:.1f} s"
    result({**msgspec.to_builtins(done), "product": product}, as_json, text)


@features_app.command("get")
def get(
    product: ProductName,
    entities: Annotated[list[str], typer.Argument(metavar="ENTITY...", help="Ids of entities.")],
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", help="Ask the offline store how they were then, UTC."),
    ] = None,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Show features as the endpoint would be told them, or as they were. Exits 1 for an entity
    that is not known, or is stale."""
    from workloads.features import offline
    from workloads.features.online import OnlineFeatures
    from workloads.product import load

    declared = load(product)
    now = datetime.now(UTC)
    with console.status("connecting") as status, _refused(stack):
        _connect(stack, status.update)
        status.update("asking")
        if as_of is None:
            store = OnlineFeatures(declared, timeout=30.0)
            try:
                found = store.lookup(entities)
            finally:
                store.close()
        else:
            moment = as_of.replace(tzinfo=UTC)
            found = offline.as_of(declared, [(one, moment) for one in entities])
    stale = [as_of is None and one is not None and one.stale(declared, now) for one in found]
    documents = [
        _document(entity, row, old) for entity, row, old in zip(entities, found, stale, strict=True)
    ]
    lines = [line for one in documents for line in _lines(one)]
    result({"product": product, "rows": documents}, as_json, "\n".join(lines))
    if None in found or any(stale):
        raise typer.Exit(1)


@features_app.command("parity")
def parity(
    product: ProductName,
    sample: Annotated[int, typer.Option(min=1, max=10_000, help="Entities to compare.")] = 200,
    seed: Annotated[int, typer.Option(help="Another one draws others.")] = 7,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Compare the online with the offline store. Exits 1 if they differ anywhere."""
    from workloads.features import parity as comparison
    from workloads.product import load

    declared = load(product)
    with console.status("connecting") as status, _refused(stack):
        _connect(stack, status.update)
        status.update(f"comparing {sample} entities")
        found = comparison.compare(declared, count=sample, seed=seed)
    text = (
        f"{found.features} features of {found.entities} entities, as of the sync of "
        f"{found.as_of.isoformat(timespec='seconds')}: {len(found.differences)} differences"
    )
    lines = [
        f"  {one.entity}: {one.feature} is {one.online!r} online, {one.offline!r} offline"
        for one in found.differences[:_SHOWN]
    ]
    document = {"product": product, **msgspec.to_builtins(found)}
    result(document, as_json, "\n".join([text, *lines]))
    if found.differences:
        raise typer.Exit(1)


def _document(entity: str, row: FeatureRow | None, stale: bool) -> dict[str, Any]:
    if row is None:
        return {"entity": entity, "event_time": None, "stale": False, "features": None}
    return {
        "entity": entity,
        "event_time": row.event_time.isoformat(),
        "stale": stale,
        "features": row.values,
    }


def _lines(document: dict[str, Any]) -> Iterator[str]:
    if document["features"] is None:
        yield f"{document['entity']}: not known"
        return
    stale = ", stale" if document["stale"] else ""
    yield f"{document['entity']}, of {document['event_time']}{stale}"
    for name, value in document["features"].items():
        yield f"  {name}: {'none' if value is None else value}"


def _connect(stack: str, progress: Any) -> None:
    from esteira.session import connect

    connect(stack, progress)


@contextmanager
def _refused(stack: str) -> Iterator[None]:
    """Say in a line what a store answered."""
    from google.api_core.exceptions import GoogleAPICallError

    from workloads.features.store import OnlineFeaturesError

    try:
        yield
    except OnlineFeaturesError as error:
        fail(str(error))
    except GoogleAPICallError as error:
        fail(f"{stack}: {error.message}")


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(features_app, name="features")
