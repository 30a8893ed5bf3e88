"""Has the product's monitoring job run as its schedule does: Scheduler calls Cloud Run.

The schedule's own entry always means the last whole window of the wall clock. For a window of a
replay there is an entry beside it, with the same target and caller and a body that overrides the
window; Cloud Scheduler runs it, and it is gone when the execution has ended.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from workloads import gcp
from workloads.monitoring import outcomes
from workloads.monitoring.job import Outcome
from workloads.monitoring.window import Window
from workloads.product import Product

PATIENCE: Final = 300.0
"""Seconds that a monitor may take; one takes a few."""
STARTED_WITHIN: Final = 60.0
_POLL: Final = 0.25
_ENTRY: Final = "-replay"
"""What the entry's name has beyond the schedule's."""

Say = Callable[[str], None]


class MonitorFailed(RuntimeError):
    """The monitoring job was not started, or did not get to its end. Says where to look."""


def run_monitor(
    product: Product,
    own: dict[str, Any],
    window: Window,
    at: datetime,
    doing: Say = lambda _: None,
) -> Outcome:
    """Run the Cloud Run job `<product>-monitor` over one window, through Cloud Scheduler.

    Args:
        product: the declaration.
        own: the stack's outputs of the product.
        window: of the questions' event time.
        at: the replay's present, by which labels are mature and retraining is asked for.
        doing: told of each step.

    Raises:
        MonitorFailed: it was not started, or failed.
    """
    job: str = own["monitoring"]["job"]
    executions = gcp.run().projects().locations().jobs().executions()
    entries = gcp.scheduler().projects().locations().jobs()
    before = _names(executions, job)
    entry = _entry(entries, job, own["monitoring"]["schedule"], window, at)
    try:
        entries.run(name=entry, body={}).execute()
        doing("Cloud Scheduler calls the monitoring job")
        execution = _started(executions, entries, job, entry, before)
        short = execution.rpartition("/")[2]
        doing(f"execution {short} measures {window.start:%Y-%m-%d} to {window.end:%Y-%m-%d}")
        _ended(executions, execution)
    finally:
        entries.delete(name=entry).execute()
    outcome = outcomes.read(product, short)
    if outcome is None:
        raise MonitorFailed(f"{execution} has ended and left no outcome; see `esteira local logs`")
    return outcome


def body(window: Window, at: datetime) -> dict[str, Any]:
    """What Cloud Run is asked for: the job with another window than its own."""
    given = {
        "WINDOW_START": window.start,
        "WINDOW_END": window.end,
        "MEASURED_AT": at,
    }
    env = [{"name": name, "value": value.isoformat()} for name, value in given.items()]
    return {"overrides": {"containerOverrides": [{"env": env}]}}


def _entry(entries: Any, job: str, schedule: str, window: Window, at: datetime) -> str:
    """An entry like the schedule's own, paused, with the window in its body; its name."""
    from googleapiclient.errors import HttpError

    parent = job.rpartition("/jobs/")[0]
    name = f"{parent}/jobs/{schedule.rpartition('/')[2]}"
    own = entries.get(name=name).execute()
    content = base64.b64encode(json.dumps(body(window, at)).encode()).decode()
    entry = {
        **{part: own[part] for part in ("schedule", "timeZone", "attemptDeadline") if part in own},
        "name": name + _ENTRY,
        "description": f"Starts {job.rpartition('/')[2]} for a window that is replayed",
        "httpTarget": {
            **own["httpTarget"],
            "headers": {"Content-Type": "application/json"},
            "body": content,
        },
    }
    try:
        entries.create(parent=parent, body=entry).execute()
    except HttpError as error:
        if error.resp.status != 409:
            raise
        # Of a replay that was killed.
        entries.patch(name=entry["name"], body=entry).execute()
        return entry["name"]
    # It runs when it is told to, and never by its crontab.
    entries.pause(name=entry["name"], body={}).execute()
    return entry["name"]


def _names(executions: Any, job: str) -> set[str]:
    found = executions.list(parent=job).execute()
    return {one["name"] for one in found.get("executions", [])}


def _started(executions: Any, entries: Any, job: str, entry: str, before: set[str]) -> str:
    deadline = time.monotonic() + STARTED_WITHIN
    while not (new := _names(executions, job) - before):
        status = entries.get(name=entry).execute().get("status", {})
        if status.get("code") or time.monotonic() > deadline:
            raise MonitorFailed(
                f"Cloud Scheduler did not start {job}: "
                f"{status.get('message') or f'no execution within {STARTED_WITHIN:.0f} s'}"
            )
        time.sleep(_POLL)
    return max(new)


def _ended(executions: Any, execution: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (found := executions.get(name=execution).execute()).get("completionTime"):
        if time.monotonic() > deadline:
            raise MonitorFailed(f"{execution} did not end within {PATIENCE:.0f} s")
        time.sleep(_POLL)
    if found.get("failedCount") or not found.get("succeededCount"):
        raise MonitorFailed(f"{execution} failed; see `esteira local logs`")
