"""The verdict of the feature query's own guard, on rows of the hold-out's time.

It is kept beside the frozen hold-out: the same rows and the same query are looked at once, however
often they judge.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from workloads.artifacts import ArtifactNotFound, Folder
from workloads.features import leakage
from workloads.features.query import FeatureQuery
from workloads.manifest import Data
from workloads.product import Product

if TYPE_CHECKING:
    import pyarrow as pa

_MOMENTS: Final = 2
_INSTANT: Final = timedelta(microseconds=1)


class GuardVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the feature query reads what came later."""

    told: str
    """What was found, in words."""
    leaking: str | None = None
    """The feature that does."""


def guard(product: Product, holdout: Data, rows: pa.Table) -> GuardVerdict:
    """Run the feature query for moments of the hold-out with and without what came later.

    Both sides are read now: rows that reached the warehouse after the hold-out was frozen are no
    leak.

    Args:
        product: the declaration.
        holdout: what is frozen.
        rows: its rows.
    """
    query = FeatureQuery(product)
    text = hashlib.sha256(query.text().encode()).hexdigest()
    folder, name = holdout.uri.rpartition("/")[0], f"{holdout.sha256}-{text[:16]}-guard.json"
    beside = Folder(folder)
    try:
        return beside.read_json(name, GuardVerdict)
    except ArtifactNotFound:
        found = _look(query, rows)
    if found is None:
        # Not kept: the tables may be filled again.
        return GuardVerdict(
            told="not looked at: the raw tables hold none of the hold-out's rows any more"
        )
    beside.write_json(name, found)
    return found


def _look(query: FeatureQuery, rows: pa.Table) -> GuardVerdict | None:
    import pyarrow as pa

    times: list[datetime] = sorted(set(rows.column(query.product.features.event_time).to_pylist()))
    chosen = sorted({times[len(times) * part // (_MOMENTS + 1)] for part in range(1, _MOMENTS + 1)})
    now = pa.concat_tables([query.run(one, one + _INSTANT) for one in chosen])
    if now.num_rows == 0:
        return None
    try:
        checked = leakage.check(query, now, moments=_MOMENTS)
    except leakage.LeakFound as leak:
        return GuardVerdict(told=str(leak), leaking=leak.column)
    return GuardVerdict(
        told=f"{checked.columns} columns of {checked.rows} rows at {checked.moments} moments come "
        "out the same without what happened later"
    )
