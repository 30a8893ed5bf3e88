"""What the service tells the process that copies, and what it hears from it."""

from __future__ import annotations

import msgspec


class Job(msgspec.Struct, kw_only=True):
    """One sync: what of BigQuery goes to which view."""

    view: str
    """Full name."""
    project: str
    """That queries."""
    uri: str
    """`bq://project.dataset.table`."""
    entity: list[str]
    """Columns that name the entity."""
    features: dict[str, str] | None = None
    """Columns by feature; None: every column, each entity has one row."""
    timestamp: str = "feature_timestamp"
    """With `features`: which rows are later."""
    dense: bool = False
    """With `features`: the latest row as it is; else for each feature the latest that is known."""


class Outcome(msgspec.Struct, kw_only=True):
    """How it ended."""

    code: str
    """Of `google.rpc.Code`."""
    message: str = ""
    rows: int = 0
