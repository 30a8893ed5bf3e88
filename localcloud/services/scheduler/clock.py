"""Fires Cloud Scheduler jobs when they are due, and retries those that fail."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from localcloud.rest.errors import NotFound
from localcloud.rest.store import Documents
from localcloud.services.scheduler.schedule import backoff, following, latest, retries_left
from localcloud.services.scheduler.targets import Targets

log = logging.getLogger(__name__)

# A time that passed while the local cloud was down is made up for if it is no older than this.
CATCH_UP: Final = timedelta(minutes=10)
# A laptop that slept: the wall clock is looked at again at least this often.
_LONGEST_WAIT: Final = 30.0


class Clock:
    """One loop a job. What has been done is written before it is done again.

    A job keeps, beside what the API shows: `_due`, the next time of its schedule; `_execution`,
    while one is under way: the time it was due, when it began, how many retries were made, and
    whether an attempt is out. After a restart a pending retry goes on; an attempt that was out is
    not made again, because its target may have acted on it.
    """

    def __init__(self, documents: Documents, targets: Targets) -> None:
        self._documents = documents
        self._targets = targets
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._forced: set[asyncio.Task[None]] = set()

    def recover(self) -> None:
        """Take up every job of the store."""
        for stored in self._documents.list("job:"):
            name = stored.key.removeprefix("job:")
            self._documents.change(stored.key, _take_up)
            self.watch(name)

    def watch(self, name: str) -> None:
        """Look at a job that is new or was changed; a deleted one is let go."""
        event = self._changed.setdefault(name, asyncio.Event())
        event.set()
        loop = self._loops.get(name)
        if loop is None or loop.done():
            self._loops[name] = asyncio.create_task(self._run(name), name=name)

    def fire(self, name: str) -> None:
        """Run a job now, whatever its schedule or state."""
        task = asyncio.create_task(self._forced_run(name), name=f"{name}:run")
        self._forced.add(task)
        task.add_done_callback(self._forced.discard)

    async def close(self) -> None:
        """Stop; attempts that are out are cut."""
        tasks = [*self._loops.values(), *self._forced]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, name: str) -> None:
        changed = self._changed[name]
        while True:
            changed.clear()
            job = self._documents.get(f"job:{name}")
            if job is None:
                self._loops.pop(name, None)
                self._changed.pop(name, None)
                return
            if job["state"] != "ENABLED":
                await changed.wait()
                continue
            try:
                await self._step(name, job, changed)
            except NotFound:
                continue  # deleted meanwhile
            except Exception:
                log.exception("job %s failed inside the local cloud", name)
                with contextlib.suppress(NotFound):
                    self._documents.change(f"job:{name}", _broke)
                await asyncio.sleep(1)

    async def _step(self, name: str, job: dict[str, Any], changed: asyncio.Event) -> None:
        execution = job.get("_execution")
        due = _time(execution["next"] if execution else job["_due"])
        wait = (due - datetime.now(UTC)).total_seconds()
        if wait > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(wait, _LONGEST_WAIT))
            return
        job = self._documents.change(f"job:{name}", _begin).value
        status = await self._targets.call(job, job["_execution"]["scheduled"])
        self._documents.change(f"job:{name}", lambda one: _end(one, status))
        _say(name, status)

    async def _forced_run(self, name: str) -> None:
        """An execution apart from the schedule; not taken up after a restart."""
        scheduled = datetime.now(UTC)
        retries = 0
        try:
            while True:
                job = self._documents.change(f"job:{name}", _attempted).value
                status = await self._targets.call(job, _text(scheduled))
                self._documents.change(f"job:{name}", lambda one, now=status: _show(one, now))
                _say(name, status)
                since = (datetime.now(UTC) - scheduled).total_seconds()
                if not status or not retries_left(job["retryConfig"], retries, since):
                    return
                retries += 1
                await asyncio.sleep(backoff(job["retryConfig"], retries))
        except NotFound:
            return


def next_due(job: dict[str, Any], after: datetime) -> None:
    """Plan the job's next time and show it."""
    job["_due"] = _text(following(job["schedule"], job["timeZone"], after))
    job["scheduleTime"] = job["_due"]


def _take_up(job: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    execution = job.get("_execution")
    if execution and execution["out"]:
        del job["_execution"]
        job["status"] = {
            "code": 10,
            "message": "The attempt was interrupted by a restart of the local cloud.",
        }
    due = _time(job["_due"])
    if due <= now:
        last = max(due, latest(job["schedule"], job["timeZone"], now))
        if now - last > CATCH_UP or job["state"] != "ENABLED":
            log.info("%s: the times from %s to %s were missed", job["name"], due, last)
            next_due(job, now)
        else:
            job["_due"] = _text(last)


def _begin(job: dict[str, Any]) -> None:
    """Write down that an attempt goes out, before it does: it is never made twice."""
    now = datetime.now(UTC)
    execution = job.get("_execution")
    if execution is None:
        execution = {"scheduled": job["_due"], "began": _text(now), "retries": 0}
        next_due(job, now)
    else:
        execution["retries"] += 1
    execution["out"] = True
    job["_execution"] = execution
    _attempted(job)


def _end(job: dict[str, Any], status: dict[str, Any]) -> None:
    _show(job, status)
    execution = job.get("_execution")
    if execution is None:
        return
    now = datetime.now(UTC)
    since = (now - _time(execution["began"])).total_seconds()
    if status and retries_left(job["retryConfig"], execution["retries"], since):
        wait = backoff(job["retryConfig"], execution["retries"] + 1)
        execution["out"] = False
        execution["next"] = _text(now + timedelta(seconds=wait))
        job["scheduleTime"] = execution["next"]
        return
    del job["_execution"]
    if _time(job["_due"]) <= now:
        # Times that passed during the execution are left out: there is never a second one beside.
        next_due(job, now)
    job["scheduleTime"] = job["_due"]


def _broke(job: dict[str, Any]) -> None:
    _end(job, {"code": 13, "message": "The attempt failed inside the local cloud; see its log."})


def _attempted(job: dict[str, Any]) -> None:
    job["lastAttemptTime"] = _text(datetime.now(UTC))


def _show(job: dict[str, Any], status: dict[str, Any]) -> None:
    job["status"] = status


def _say(name: str, status: dict[str, Any]) -> None:
    if status:
        log.warning("job %s failed: %s", name, status["message"])
    else:
        log.info("job %s ran", name)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
