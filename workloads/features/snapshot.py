"""Frozen rows: a Parquet object named by the hash of its content, never written over.

The same rows give the same object, so a step that runs twice writes once, and a hash in a manifest
or a decision says exactly which rows were meant.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workloads.artifacts import Folder
from workloads.product import Product

if TYPE_CHECKING:
    import pyarrow as pa


class SnapshotAltered(Exception):
    """A snapshot whose content is not what its hash says."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Where frozen rows lie, and what they are."""

    uri: str
    sha256: str
    rows: int


def freeze(product: Product, rows: pa.Table) -> Snapshot:
    """Write rows under their hash in the product's bucket of models, unless they are there."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    # Plain timestamps and one row group: nothing in the file depends on when or where it is made.
    pq.write_table(rows.replace_schema_metadata(None), buffer, row_group_size=max(1, rows.num_rows))
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    folder = Folder.of(product, "snapshots")
    folder.write_once(f"{digest}.parquet", content, "application/vnd.apache.parquet")
    return Snapshot(uri=f"{folder.uri}/{digest}.parquet", sha256=digest, rows=rows.num_rows)


def thaw(uri: str, sha256: str) -> pa.Table:
    """The rows of a snapshot.

    Raises:
        SnapshotAltered: the content has another hash than was asked for.
    """
    import pyarrow.parquet as pq

    folder, _, name = uri.rpartition("/")
    content = Folder(folder).read(name)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise SnapshotAltered(
            f"{uri} has SHA-256 {found}; it was recorded with {sha256}: somebody has changed it. "
            "Train again from the raw tables"
        )
    return pq.read_table(io.BytesIO(content))
