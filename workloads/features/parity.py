"""Whether the online store says what the offline store says: the features a model is asked with are
those that it was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from workloads.features import offline, syncing
from workloads.features.online import NotSynced, OnlineFeatures
from workloads.features.store import view_name
from workloads.product import Product

ENTITIES: Final = 200
# Sums in another order differ in the last bits, and BigQuery promises no order.
_TOLERANCE: Final = 1e-9
_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One feature of one entity of which the stores say different things.

    Attributes:
        feature: its name; `(row)` where one store has the entity and the other has not.
        online, offline: what each says.
    """

    entity: str
    feature: str
    online: Any
    offline: Any


@dataclass(frozen=True, kw_only=True)
class Parity:
    """What was compared: as of when the store was last synced."""

    as_of: datetime
    entities: int
    features: int
    differences: tuple[Difference, ...]


def compare(
    product: Product,
    *,
    count: int = ENTITIES,
    seed: int = 7,
    entities: Sequence[str] | None = None,
) -> Parity:
    """Compare every feature of a sample of entities, as of the start of the last sync.

    Rows that reached BigQuery since, for moments before it, are differences: the store will have
    them after the next sync.

    Args:
        product: The declaration.
        count: entities at most.
        seed: which; another one draws others.
        entities: these, and no sample.

    Raises:
        NoOnlineStore: the product has no view.
        NotSynced: there is nothing to compare.
        OnlineFeaturesError: the store does not answer.
    """
    sync = syncing.last(product)
    if sync is None or sync.started is None:
        raise NotSynced(
            f"{view_name(product)} was not synced yet: run `esteira features sync {product.name}`"
        )
    chosen = offline.sample(product, sync.started, count, seed) if entities is None else entities
    expected = offline.as_of(product, [(one, sync.started) for one in chosen])
    store = OnlineFeatures(product, timeout=_SECONDS)
    try:
        served = store.lookup(chosen)
    finally:
        store.close()
    differences: list[Difference] = []
    names: tuple[str, ...] = product.features.request.__struct_fields__
    for entity, here, there in zip(chosen, served, expected, strict=True):
        if here is None or there is None:
            if here is not there:
                differences.append(
                    Difference(
                        entity=entity,
                        feature="(row)",
                        online="missing" if here is None else "there",
                        offline="missing" if there is None else "there",
                    )
                )
            continue
        pairs = {name: (here.values[name], there.values[name]) for name in names}
        pairs = {product.features.event_time: (here.event_time, there.event_time), **pairs}
        differences += [
            Difference(entity=entity, feature=name, online=one, offline=other)
            for name, (one, other) in pairs.items()
            if not same(one, other)
        ]
    return Parity(
        as_of=sync.started,
        entities=len(chosen),
        features=len(names),
        differences=tuple(differences),
    )


def same(one: object, other: object) -> bool:
    """Whether two values are one: of one type, numbers up to their last bits, NaN as itself."""
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or math.isclose(
            one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE
        )
    return type(one) is type(other) and one == other
