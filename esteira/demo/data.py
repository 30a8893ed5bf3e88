"""The first half of the demonstration: flights reach the tables, as files and as a stream."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from esteira.demo import scenario
from esteira.paths import STATE
from workloads import gcp
from workloads.ingestion import tables
from workloads.ingestion.accounting import Account, Accounts, account
from workloads.product import Product
from workloads.replay import history
from workloads.replay.history import HistoryFile
from workloads.replay.replayer import Published, replay

PATIENCE: Final = 240.0
"""Seconds without a single new row after which something is wrong, not slow."""
_STREAM: Final = "pubsub"

Say = Callable[[str], None]


class NothingArrives(RuntimeError):
    """Rows that were sent do not reach the tables. Says where to look."""


def land_history(product: Product, bucket: str) -> list[HistoryFile]:
    """Write the history as files and put them into the landing bucket.

    Streamed contracts end where the stream begins; the others reach to the present. Files that are
    there already stay, so a second run starts no second ingestion.
    """
    folder = STATE / "demo" / "history"
    streamed = [source.contract.PLURAL for source in product.streams]
    others = [one.contract.PLURAL for one in product.sources if one.contract.PLURAL not in streamed]
    files = history.write(
        product, folder, scenario.BEGIN, scenario.STREAMED_FROM, only=streamed
    ) + history.write(
        # Half a day earlier: the register of aircraft is dated with the year's first instant.
        product,
        folder,
        scenario.BEGIN.replace(year=2012, month=12),
        scenario.PRESENT,
        only=others,
    )
    history.upload(files, bucket)
    return files


def await_files(
    product: Product, bucket: str, files: list[HistoryFile], doing: Say
) -> dict[str, Account]:
    """Wait until every line of the files has ended somewhere; where, by contract."""
    wanted = {file.contract: file.rows for file in files}

    def missing(found: Accounts) -> int:
        return sum(max(0, rows - found.of(name).received) for name, rows in wanted.items())

    found = _await(product, f"gs://{bucket}/", missing, sum(wanted.values()), doing)
    return {name: found.of(name) for name in wanted}


def stream(product: Product, doing: Say) -> Published:
    """Publish the scenario's messages; a run that was cut off goes on where it was.

    What has been published is remembered beside the state of the local cloud. Where the tables know
    nothing of it, they were made anew, and the replay begins anew too.
    """
    checkpoint = STATE / "demo" / "replay.json"
    if checkpoint.exists() and account(product.name, source=_STREAM).total.received == 0:
        checkpoint.unlink()
    return replay(
        scenario.REPLAY,
        checkpoint,
        progress=lambda published, total: doing(f"{published.total:,} of {total:,} published"),
    )


def await_stream(product: Product, published: Published, doing: Say) -> Account:
    """Wait until every published message has ended somewhere; the account of them all."""
    found = _await(
        product,
        _STREAM,
        lambda found: published.total - found.total.received,
        published.total,
        doing,
    )
    return found.total


def await_rows(product: Product, least: int, doing: Say) -> None:
    """Wait until the tables have as many rows as were sent, without asking which.

    A message has at least one row, so before that nothing can be accounted for. How many rows a
    table has is known without a query, and a query competes with the inserts it waits for.
    """
    client = gcp.bigquery_client()
    where = tables.dataset(product)
    names = [*(one.contract.PLURAL for one in product.own), tables.DISCARDED, tables.DEAD_LETTERS]

    def missing() -> int:
        rows = (client.get_table(f"{where}.{name}").num_rows for name in names)
        return least - sum(one or 0 for one in rows)

    _until_none(missing, product, "files and stream", least, doing)


def _await(
    product: Product, source: str, missing: Callable[[Accounts], int], total: int, doing: Say
) -> Accounts:
    found: list[Accounts] = []

    def left() -> int:
        found[:] = [account(product.name, source=source)]
        return missing(found[0])

    _until_none(left, product, source, total, doing)
    return found[0]


def _until_none(
    left_now: Callable[[], int], product: Product, source: str, total: int, doing: Say
) -> None:
    """Look once a second until no row is left to come.

    Raises:
        NothingArrives: for a long time there was not a single new one.
    """
    moved = time.monotonic()
    before = total + 1
    while (left := left_now()) > 0:
        doing(f"{total - left:,} of {total:,} rows in the tables")
        if left < before:
            moved, before = time.monotonic(), left
        elif time.monotonic() - moved > PATIENCE:
            raise NothingArrives(
                f"{left:,} of {total:,} rows from {source} do not arrive: none for "
                f"{PATIENCE:.0f} s; {_why(product)}"
            )
        time.sleep(1)


def _why(product: Product) -> str:
    """What Dataflow says of jobs that failed, or where to read on."""
    jobs: list[dict[str, Any]] = (
        gcp.dataflow()
        .projects()
        .locations()
        .jobs()
        .list(projectId=gcp.project(), location=gcp.location(), filter="TERMINATED")
        .execute()
        .get("jobs", [])
    )
    failed = [
        job["name"]
        for job in jobs
        if job["currentState"] == "JOB_STATE_FAILED" and job["name"].startswith(product.name)
    ]
    if failed:
        return f"Dataflow jobs failed: {', '.join(failed)}; see `esteira local logs`"
    return f"no Dataflow job failed; see `esteira local logs` for those of {product.name}"
