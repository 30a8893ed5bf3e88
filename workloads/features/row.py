"""What is known of one entity, as of one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from workloads import contracts
from workloads.contracts import Contract, Kind
from workloads.product import Product


@dataclass(frozen=True)
class FeatureRow:
    """The features of an entity. Offline and online ones are equal if they say the same.

    Attributes:
        entity: its id.
        event_time: since when they are so; nothing in them is later.
        values: by field of the product's request: int, float, str, bool, datetime or None.
    """

    entity: str
    event_time: datetime
    values: dict[str, Any]

    def stale(self, product: Product, now: datetime) -> bool:
        """Whether they are older than the product allows."""
        limit = product.features.fresh_for
        return limit is not None and self.age(now) > limit

    def age(self, now: datetime) -> timedelta:
        """How long ago they came to be so."""
        return now - self.event_time


def row(product: Product, entity: str, event_time: datetime, found: dict[str, Any]) -> FeatureRow:
    """A row from what a store holds.

    Args:
        product: The declaration.
        entity: its id.
        event_time: of the row.
        found: features by name, as the store types them.

    Returns:
        Every field of the request, of the contract's type: stores have one kind of whole number,
        and some of them no times.
    """
    features = product.features
    known = {**found, features.entity: entity, features.event_time: event_time}
    kinds = _kinds(features.request)
    values = {name: converted(kind, known.get(name)) for name, kind in kinds.items()}
    return FeatureRow(entity, event_time.astimezone(UTC), values)


def converted(kind: Kind, value: Any) -> Any:
    """A value of a store as the contract types it; None stays None."""
    match kind:
        case _ if value is None:
            return None
        case "integer":
            return int(value)
        case "number":
            return float(value)
        case "boolean":
            return bool(value)
        case "timestamp":
            # A whole number is of microseconds: the online store has no type for an instant.
            moment = instant(value) if isinstance(value, int) else value
            return moment.astimezone(UTC)
        case "string":
            return str(value)


def instant(microseconds: int) -> datetime:
    """The instant so long after 1970; exact, which a float of seconds is not."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


@cache
def _kinds(contract: type[Contract]) -> dict[str, Kind]:
    return {field.name: field.kind for field in contracts.fields(contract)}
