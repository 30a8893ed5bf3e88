"""The guard that no row knows more than was known at its event time.

The feature query is run again for some rows with every source row that happened after their event
time removed. A feature that comes out different has looked into the future. Nothing is assumed
about the query: joins, windows and aggregates are all judged by what they do.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from workloads.features.query import FeatureQuery

if TYPE_CHECKING:
    import pyarrow as pa

# Sums in another order differ in the last bits; a leak differs in the first.
_TOLERANCE: Final = 1e-9


class LeakFound(Exception):
    """A feature depends on what happened after the event time of its row.

    Attributes:
        column: the feature; `entity` and `event_time`: the row; `seen` and `known`: the value with
            and without the later rows.
    """

    def __init__(
        self, column: str, entity: str, event_time: datetime, seen: object, known: object
    ) -> None:
        self.column = column
        self.entity = entity
        self.event_time = event_time
        self.seen = seen
        self.known = known
        super().__init__(
            f"feature `{column}` of {entity} is {seen!r}, but from what was known at its event "
            f"time, {event_time.isoformat()}, it is {known!r}: the query reads rows later than "
            "that; compare their time with the event time in its joins and windows"
        )


@dataclass(frozen=True, kw_only=True)
class LeakCheck:
    """What was looked at without finding a leak."""

    moments: int
    rows: int
    columns: int


def check(query: FeatureQuery, rows: pa.Table, *, moments: int = 4, seed: int = 7) -> LeakCheck:
    """Recompute rows of a snapshot from what was known at their event times, and compare.

    Args:
        query: the query that made `rows`.
        rows: a result of `query.run`.
        moments: how many event times to look at, one query each. Rows are drawn at random, so
            that busy moments are likelier, and all rows of a drawn moment are compared.
        seed: the draw is repeatable.

    Raises:
        LeakFound: the first difference.
        ValueError: there are no rows.
    """
    features = query.product.features
    if rows.num_rows == 0:
        raise ValueError("no rows to check for leaks; the feature query yielded none")
    times = rows.column(features.event_time)
    drawn = random.Random(seed).sample(range(len(times)), min(len(times), 8 * moments))
    at: list[datetime] = [times[one].as_py() for one in drawn]
    chosen = sorted(list(dict.fromkeys(at))[:moments])
    columns = [one for one in query.columns if one != query.product.label.column]
    compared = 0
    for moment in chosen:
        seen = _of(rows, moment, features.event_time, features.entity, columns)
        known = _of(
            query.run(moment, moment + timedelta(microseconds=1), known_at=moment),
            moment,
            features.event_time,
            features.entity,
            columns,
        )
        for entity, row in seen.items():
            for column in columns:
                before = known.get(entity, {}).get(column)
                if not _same(row[column], before):
                    raise LeakFound(column, entity, moment, row[column], before)
        compared += len(seen)
    return LeakCheck(moments=len(chosen), rows=compared, columns=len(columns))


def _of(
    rows: pa.Table, moment: datetime, event_time: str, entity: str, columns: list[str]
) -> dict[str, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as compute

    times: Any = rows.column(event_time)
    here: Any = compute.equal(times, pa.scalar(moment, type=times.type))  # pyright: ignore
    return {row[entity]: row for row in rows.filter(here).select(columns).to_pylist()}


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return one == other
