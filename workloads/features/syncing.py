"""Copies a product's features from BigQuery to the online store, and waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from workloads import gcp
from workloads.features.store import NoOnlineStore, OnlineFeaturesError, view_name
from workloads.product import Product

SECONDS: Final = 3600.0
"""How long a sync may take before waiting for it is given up; it itself goes on."""
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


class SyncFailed(OnlineFeaturesError):
    """A sync ended with an error, or not in time."""


@dataclass(frozen=True, kw_only=True)
class Sync:
    """One sync of a feature view.

    Attributes:
        name: full name.
        started, ended: when the copy was begun and done; None while it is not.
        rows: entities copied.
        error: why it failed; empty where it did not.
    """

    name: str
    started: datetime | None
    ended: datetime | None
    rows: int
    error: str


def sync(
    product: Product,
    *,
    on_progress: Callable[[str], None] = lambda _: None,
    seconds: float = SECONDS,
) -> Sync:
    """Have the product's view synced, and wait until it is. One that is under way is joined.

    Args:
        product: The declaration.
        on_progress: told what is happening.
        seconds: to wait at most.

    Raises:
        NoOnlineStore: the product has no view.
        SyncFailed: it ended with an error, or did not end in time.
    """
    from google.api_core import exceptions

    client = gcp.feature_store_admin_client()
    view = view_name(product)
    try:
        name = client.sync_feature_view(feature_view=view).feature_view_sync
        on_progress(f"syncing the features of {product.name}")
    except exceptions.NotFound as error:
        raise NoOnlineStore(product) from error
    except (exceptions.BadRequest, exceptions.Conflict) as error:
        # Over gRPC that a sync runs is FAILED_PRECONDITION, a kind of bad request.
        running = [one for one in syncs(product) if one.ended is None]
        if not running:
            raise SyncFailed(f"{view}: {error.message}") from error
        name = running[0].name
        on_progress(f"joining the sync of {product.name} that is under way")
    return _ended(name, on_progress, seconds)


def syncs(product: Product) -> list[Sync]:
    """The syncs of the product's view, the newest first.

    Raises:
        NoOnlineStore: the product has no view.
    """
    from google.api_core import exceptions

    client = gcp.feature_store_admin_client()
    try:
        found = list(client.list_feature_view_syncs(parent=view_name(product)))
    except exceptions.NotFound as error:
        raise NoOnlineStore(product) from error
    return sorted(
        (_sync(one) for one in found),
        key=lambda one: one.started or _NEVER,
        reverse=True,
    )


def last(product: Product) -> Sync | None:
    """The newest sync that was done: what the store holds is of its start. None: none was.

    Raises:
        NoOnlineStore: the product has no view.
    """
    return next((one for one in syncs(product) if one.ended and not one.error), None)


def _ended(name: str, on_progress: Callable[[str], None], seconds: float) -> Sync:
    client = gcp.feature_store_admin_client()
    began, pause = time.monotonic(), _FIRST_PAUSE
    while True:
        found = _sync(client.get_feature_view_sync(name=name))
        waited = time.monotonic() - began
        if found.error:
            raise SyncFailed(f"{name} failed: {found.error}")
        if found.ended:
            return found
        if waited > seconds:
            raise SyncFailed(f"{name} is not done after {seconds:.0f} s; it goes on")
        on_progress(f"syncing for {waited:.0f} s")
        time.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE)


def _sync(found: Any) -> Sync:
    status = found.final_status
    return Sync(
        name=found.name,
        started=_moment(found.run_time, "start_time"),
        ended=_moment(found.run_time, "end_time"),
        rows=int(found.sync_summary.row_synced),
        error=(status.message or f"code {status.code}") if status.code else "",
    )


def _moment(interval: Any, field: str) -> datetime | None:
    """One end of a `google.type.Interval`, which is a plain message: what is unset is true too."""
    return getattr(interval, field).ToDatetime(tzinfo=UTC) if interval.HasField(field) else None
