"""A product's data set as the files that would have landed in its bucket.

A product brings its data in `workloads/products/<id>/dataset.py`, with one function
`frame(contract) -> pandas.DataFrame`: all rows of a contract in order of event time, a column for
each field, instants with a time zone.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads import contracts
from workloads.contracts import Contract
from workloads.product import Product

if TYPE_CHECKING:
    import pandas as pd


class NoDataset(LookupError):
    """The product brings no data set."""


@dataclass(frozen=True, kw_only=True)
class HistoryFile:
    """One file of history, as it belongs into the landing bucket."""

    contract: str
    """Plural."""
    name: str
    """Of the object: the contract's folder and the dates."""
    path: Path
    rows: int
    sha256: str


def frame(product: Product, contract: type[Contract]) -> pd.DataFrame:
    """All rows that the product's data set holds for a contract, in order of event time.

    Raises:
        NoDataset: the product brings none.
    """
    module = f"workloads.products.{product.id}.dataset"
    try:
        dataset = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        raise NoDataset(
            f"{product.name} brings no data set; add {module.replace('.', '/')}.py with "
            "`frame(contract) -> pandas.DataFrame`"
        ) from None
    return dataset.frame(contract)


def between(
    rows: pd.DataFrame, contract: type[Contract], start: datetime, end: datetime
) -> pd.DataFrame:
    """The rows whose event time is at `start` or later and before `end`."""
    _check(start, end)
    when: Any = rows[contract.EVENT_TIME]
    return rows.loc[(when >= start) & (when < end)]


def _check(start: datetime, end: datetime) -> None:
    for name, value in (("start", start), ("end", end)):
        if value.tzinfo is None:
            raise ValueError(f"{name} is {value}; give it a time zone")
    if start >= end:
        raise ValueError(f"start is {start}, end is {end}; the start must be before the end")


def lines(rows: pd.DataFrame, contract: type[Contract]) -> bytes:
    """Rows as newline-delimited plain JSON, whole columns at a time."""
    if rows.empty:
        return b""
    document = rows.copy(deep=False)
    for field in contracts.fields(contract):
        if field.kind == "timestamp":
            document[field.name] = _rfc3339(document[field.name])
    text: str = document.to_json(  # pyright: ignore[reportAssignmentType]
        orient="records", lines=True, double_precision=15
    )
    return text.encode()


def _rfc3339(instants: Any) -> Any:
    """A column of instants as text. Many of them are the same, and each is spelled once."""
    import pandas as pd

    codes, unique = pd.factorize(instants.dt.tz_convert("UTC"))
    different: Any = unique
    texts: Any = pd.array(different.strftime("%Y-%m-%dT%H:%M:%SZ"), dtype="str")
    return pd.Series(texts.take(codes, allow_fill=True), index=instants.index)


def write(
    product: Product,
    folder: Path,
    start: datetime,
    end: datetime,
    only: Sequence[str] = (),
) -> list[HistoryFile]:
    """Write one gzipped file for each contract that has rows between `start` and `end`.

    The same arguments give the same bytes. Files are `<folder>/<plural>/<start>_<end>.jsonl.gz`.

    Args:
        only: plurals of the contracts to write; empty means all.

    Raises:
        NoDataset: the product brings none.
        ValueError: `start` is not before `end`, or one has no time zone.
    """
    written = list[HistoryFile]()
    for source in product.own:
        contract = source.contract
        if only and contract.PLURAL not in only:
            continue
        rows = between(frame(product, contract), contract, start, end)
        if rows.empty:
            continue
        dates = "_".join(one.astimezone(UTC).strftime("%Y-%m-%dT%H%MZ") for one in (start, end))
        name = f"{contract.PLURAL}/{dates}.jsonl.gz"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without a time in its header, so that the same rows are the same bytes.
        data = gzip.compress(lines(rows, contract), compresslevel=4, mtime=0)
        path.write_bytes(data)
        written.append(
            HistoryFile(
                contract=contract.PLURAL,
                name=name,
                path=path,
                rows=len(rows),
                sha256=hashlib.sha256(data).hexdigest(),
            )
        )
    return written


def upload(files: Sequence[HistoryFile], bucket: str) -> list[str]:
    """Put files into a landing bucket.

    An object that is there already with the same content stays as it is: no second notification.

    Returns:
        `gs://bucket/name#generation` of each, in order.
    """
    from workloads import gcp

    landing = gcp.storage_client().bucket(bucket)
    landed = list[str]()
    for file in files:
        blob = landing.get_blob(file.name)
        if blob is None or (blob.metadata or {}).get("sha256") != file.sha256:
            blob = landing.blob(file.name)
            blob.metadata = {"sha256": file.sha256}
            blob.upload_from_filename(str(file.path), content_type="application/x-ndjson+gzip")
        landed.append(f"gs://{bucket}/{file.name}#{blob.generation}")
    return landed
