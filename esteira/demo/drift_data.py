"""April to December reach the tables as January to March did: as files, through batch ingestion."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from esteira.demo.data import PATIENCE, NothingArrives, Say
from esteira.paths import STATE
from workloads import gcp
from workloads.ingestion.accounting import Account, account
from workloads.ingestion.files import LandedObject
from workloads.ingestion.starter import job_name
from workloads.product import Product
from workloads.replay import history
from workloads.replay.history import HistoryFile

_POLL: Final = 0.5
_DONE: Final = "JOB_STATE_DONE"
_FAILED: Final = "JOB_STATE_FAILED"


@dataclass(frozen=True)
class Part:
    """The files of some months, and the Dataflow jobs that take them in."""

    end: datetime
    files: tuple[HistoryFile, ...]
    jobs: tuple[str, ...]


class Landing:
    """Puts the files into the landing bucket, and knows which of them have been taken in.

    Args:
        product: whose data set it is.
        bucket: the product's landing bucket.
    """

    def __init__(self, product: Product, bucket: str) -> None:
        self._product = product
        self._bucket = bucket
        self._parts: list[Part] = []
        self._arrived = 0

    def land(self, start: datetime, end: datetime) -> int:
        """Land the rows of [start, end); how many. Files that are there already stay as they are.

        Raises:
            NoDataset: the product brings none.
        """
        files = history.write(self._product, STATE / "demo" / "history", start, end)
        landed = history.upload(files, self._bucket)
        jobs = tuple(
            job_name(self._product, file.contract, LandedObject.parse(one))
            for file, one in zip(files, landed, strict=True)
        )
        self._parts.append(Part(end, tuple(files), jobs))
        return sum(file.rows for file in files)

    def await_rows(self, until: datetime, doing: Say) -> None:
        """Wait until everything that was landed of before `until` is in the tables.

        Raises:
            NothingArrives: a job failed, or none made progress, or it was never landed.
        """
        while self._arrived < len(self._parts):
            _await_jobs(self._parts[self._arrived].jobs, doing)
            self._arrived += 1
            if self._parts[self._arrived - 1].end >= until:
                return
        if not self._parts or self._parts[-1].end < until:
            raise NothingArrives(f"what happened before {until.isoformat()} has not landed")

    def accounts(self) -> list[tuple[HistoryFile, Account]]:
        """Where the lines of each file ended.

        Raises:
            NothingArrives: of some file, lines are nowhere.
        """
        found: list[tuple[HistoryFile, Account]] = []
        for file in [file for part in self._parts for file in part.files]:
            source = f"gs://{self._bucket}/{file.name}"
            one = account(self._product.name, source=source).of(file.contract)
            if not one.balances(file.rows):
                raise NothingArrives(f"{source} has {file.rows} lines; they ended as {one}")
            found.append((file, one))
        return found


def _await_jobs(names: tuple[str, ...], doing: Say) -> None:
    moved, before = time.monotonic(), -1
    while True:
        states = _states()
        done = sum(states.get(name) == _DONE for name in names)
        if done == len(names):
            return
        if done > before:
            moved, before = time.monotonic(), done
        failed = [name for name in names if states.get(name) == _FAILED]
        if failed or time.monotonic() - moved > PATIENCE:
            what = f"Dataflow jobs failed: {', '.join(failed)}" if failed else "no job ended"
            raise NothingArrives(f"{what} for {PATIENCE:.0f} s; see `esteira local logs`")
        doing(f"{done} of {len(names)} Dataflow jobs have ended")
        time.sleep(_POLL)


def _states() -> dict[str, str]:
    """The state of each job by name; of several with one name, the best."""
    jobs = gcp.dataflow().projects().locations().jobs()
    request = jobs.list(projectId=gcp.project(), location=gcp.location())
    states: dict[str, str] = {}
    while request is not None:
        page: dict[str, Any] = request.execute()
        for job in page.get("jobs", []):
            if states.get(job["name"]) != _DONE:
                states[job["name"]] = job.get("currentState", "")
        request = jobs.list_next(request, page)
    return states
