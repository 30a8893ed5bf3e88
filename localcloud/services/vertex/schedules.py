"""Schedules that start pipeline jobs by a cron expression."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadCronError, croniter

from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import (
    ApiError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from localcloud.rest.listing import mask_fields, page, property_fields
from localcloud.rest.operations import Operations, now
from localcloud.rest.store import Documents
from localcloud.services.vertex import names, pipeline_spec
from localcloud.services.vertex.pipeline_jobs import PipelineJobs

log = logging.getLogger(__name__)

_ZONE: Final = re.compile(r"(?:CRON_)?TZ=(?P<zone>\S+)\s+(?P<cron>.+)", re.S)
_MUTABLE: Final = (
    "displayName",
    "cron",
    "startTime",
    "endTime",
    "maxRunCount",
    "maxConcurrentRunCount",
    "allowQueueing",
    "createPipelineJobRequest",
)
_FIELDS: Final = property_fields(
    "display_name",
    "state",
    "create_time",
    "update_time",
    "next_run_time",
    "start_time",
    "end_time",
    "cron",
)
# Even without a schedule the loop looks now and then, in case the clock was set.
_LONGEST_SLEEP: Final = 30.0


@final
class Schedules:
    """Schedules by name, fired by one task.

    Args:
        documents: the store.
        operations: of the service.
        jobs: what is started.
        clock: tells the time; tests set it forward, then `wake` the loop.
    """

    def __init__(
        self,
        documents: Documents,
        operations: Operations,
        jobs: PipelineJobs,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock = clock
        self._documents = documents
        self._operations = operations
        self._jobs = jobs
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def handlers(self) -> dict[str, Handler]:
        """Handlers by method id."""
        prefix = "aiplatform.projects.locations.schedules."
        return {
            f"{prefix}create": self.create,
            f"{prefix}get": self.get,
            f"{prefix}list": self.list,
            f"{prefix}patch": self.patch,
            f"{prefix}pause": self.pause,
            f"{prefix}resume": self.resume,
            f"{prefix}delete": self.delete,
        }

    def start(self) -> None:
        """Begin to fire; runs missed while the service was down are skipped unless catching up."""
        for stored in self._documents.list("schedule:"):
            schedule = stored.value
            if schedule["state"] == "ACTIVE" and not schedule.get("catchUp"):
                due = _time(schedule["nextRunTime"])
                if due < self._clock():
                    schedule["nextRunTime"] = _text(_next(schedule, self._clock()))
                    self._documents.put(stored.key, schedule)
        self._task = asyncio.create_task(self._fire(), name="pipeline schedules")

    async def stop(self) -> None:
        """End the task that fires."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """Look at the clock again."""
        self._idle.clear()
        self._changed.set()

    async def idle(self) -> None:
        """Until everything that is due has been started."""
        await self._idle.wait()

    async def create(self, request: Request) -> dict[str, Any]:
        """An active schedule."""
        parent = request.path["parent"]
        schedule: dict[str, Any] = dict(request.body)
        _check(schedule, parent)
        time = now()
        schedule.update(
            name=f"{parent}/schedules/{names.new_id()}",
            createTime=time,
            updateTime=time,
            state="ACTIVE",
            startedRunCount="0",
            catchUp=False,
        )
        schedule.setdefault("startTime", time)
        after = max(self._clock(), _time(schedule["startTime"]))
        schedule["nextRunTime"] = _text(_next(schedule, after))
        self._documents.create(_key(schedule["name"]), schedule)
        self.wake()
        return schedule

    async def get(self, request: Request) -> dict[str, Any]:
        """One schedule."""
        return self._find(request.path["name"])

    async def list(self, request: Request) -> dict[str, Any]:
        """The schedules of a location."""
        prefix = f"schedule:{request.path['parent']}/schedules/"
        found = [stored.value for stored in self._documents.list(prefix)]
        return page(
            found, request.query, _FIELDS, key="schedules", default_order="create_time desc"
        )

    async def patch(self, request: Request) -> dict[str, Any]:
        """Change the named fields; the next run follows from the new ones."""
        name = request.path["name"]
        fields = mask_fields(request.query.get("updateMask", ""), _MUTABLE, what="Schedule")
        schedule = self._find(name)
        for field in fields:
            if field in request.body:
                schedule[field] = request.body[field]
            else:
                schedule.pop(field, None)
        _check(schedule, name.partition("/schedules/")[0])
        schedule["updateTime"] = now()
        if schedule["state"] == "ACTIVE":
            schedule["nextRunTime"] = _text(_next(schedule, self._clock()))
        self._documents.put(_key(name), schedule)
        self.wake()
        return schedule

    async def pause(self, request: Request) -> dict[str, Any]:
        """Fire no more until resumed."""
        schedule = self._find(request.path["name"])
        if schedule["state"] != "ACTIVE":
            raise FailedPrecondition(f"The Schedule is {schedule['state']}, not ACTIVE.")
        schedule.update(state="PAUSED", lastPauseTime=now(), updateTime=now())
        self._documents.put(_key(schedule["name"]), schedule)
        self.wake()
        return {}

    async def resume(self, request: Request) -> dict[str, Any]:
        """Fire again; with `catchUp` also what was missed."""
        schedule = self._find(request.path["name"])
        if schedule["state"] != "PAUSED":
            raise FailedPrecondition(f"The Schedule is {schedule['state']}, not PAUSED.")
        catch_up = bool(request.body.get("catchUp", False))
        schedule.update(state="ACTIVE", lastResumeTime=now(), updateTime=now(), catchUp=catch_up)
        if not catch_up:
            schedule["nextRunTime"] = _text(_next(schedule, self._clock()))
        self._documents.put(_key(schedule["name"]), schedule)
        self.wake()
        return {}

    async def delete(self, request: Request) -> dict[str, Any]:
        """Forget a schedule; its jobs stay."""
        schedule = self._find(request.path["name"])
        self._documents.delete(_key(schedule["name"]))
        time = now()
        return self._operations.finished(
            schedule["name"].partition("/schedules/")[0],
            {"@type": "type.googleapis.com/google.protobuf.Empty"},
            {
                "@type": "type.googleapis.com/google.cloud.aiplatform.v1.DeleteOperationMetadata",
                "genericMetadata": {"createTime": time, "updateTime": time},
            },
        )

    def _find(self, name: str) -> dict[str, Any]:
        schedule = self._documents.get(_key(name))
        if schedule is None:
            raise NotFound(f"The Schedule '{name}' does not exist.")
        return schedule

    async def _fire(self) -> None:
        while True:
            self._changed.clear()
            wait = _LONGEST_SLEEP
            for stored in self._documents.list("schedule:"):
                if stored.value["state"] == "ACTIVE":
                    wait = min(wait, self._try(stored.value))
            if wait <= 0:
                continue
            self._idle.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def _try(self, schedule: dict[str, Any]) -> float:
        try:
            return self._advance(schedule)
        except Exception:
            # One schedule that cannot fire must not keep the others from it.
            log.exception("schedule %s cannot fire", schedule["name"])
            return _LONGEST_SLEEP

    def _advance(self, schedule: dict[str, Any]) -> float:
        """Fire if it is time; seconds until it is."""
        due = _time(schedule["nextRunTime"])
        current = self._clock()
        if "endTime" in schedule and due > _time(schedule["endTime"]):
            self._complete(schedule)
            return _LONGEST_SLEEP
        if due > current:
            return (due - current).total_seconds()
        limit = int(schedule.get("maxConcurrentActiveRunCount", 0))
        if limit and self._jobs.active(schedule["name"]) >= limit and schedule.get("allowQueueing"):
            return 1.0
        if limit and self._jobs.active(schedule["name"]) >= limit:
            log.info("schedule %s skips %s: %d runs are active", schedule["name"], due, limit)
        else:
            self._start_run(schedule, due)
        after = due if schedule.get("catchUp") else current
        schedule["nextRunTime"] = _text(_next(schedule, after))
        if int(schedule["startedRunCount"]) >= int(schedule.get("maxRunCount", 0) or 2**62):
            self._complete(schedule)
        else:
            self._documents.put(_key(schedule["name"]), schedule)
        return 0.0

    def _start_run(self, schedule: dict[str, Any], due: datetime) -> None:
        wanted: Mapping[str, Any] = schedule["createPipelineJobRequest"]
        parent = schedule["name"].partition("/schedules/")[0]
        try:
            job = self._jobs.submit(parent, wanted["pipelineJob"], schedule=schedule["name"])
            outcome = job["name"]
        except ApiError as error:
            log.error("schedule %s could not start a job: %s", schedule["name"], error.message)
            outcome = error.message
        else:
            schedule["startedRunCount"] = str(int(schedule["startedRunCount"]) + 1)
        schedule["lastScheduledRunResponse"] = {
            "scheduledRunTime": _text(due),
            "runResponse": outcome,
        }

    def _complete(self, schedule: dict[str, Any]) -> None:
        schedule["state"] = "COMPLETED"
        schedule.pop("nextRunTime", None)
        schedule["updateTime"] = now()
        self._documents.put(_key(schedule["name"]), schedule)


def _check(schedule: Mapping[str, Any], parent: str) -> None:
    names.check_display_name(schedule.get("displayName"))
    if "createPipelineJobRequest" not in schedule:
        raise Unimplemented(
            "The local cloud schedules pipeline jobs only: set create_pipeline_job_request."
        )
    wanted: Mapping[str, Any] = schedule["createPipelineJobRequest"]
    if wanted.get("parent") != parent:
        raise InvalidArgument(
            f"create_pipeline_job_request.parent must be '{parent}', got "
            f"'{wanted.get('parent', '')}'."
        )
    job: Mapping[str, Any] = wanted.get("pipelineJob", {})
    pipeline_spec.check(job.get("pipelineSpec", {}), job.get("runtimeConfig", {}))
    if int(schedule.get("maxConcurrentRunCount", 0)) < 1:
        raise InvalidArgument("max_concurrent_run_count is required and must be at least 1.")
    if int(schedule.get("maxRunCount", 1)) < 1:
        raise InvalidArgument("max_run_count must be at least 1 when it is given.")
    _parse(schedule.get("cron", ""))


def _parse(text: str) -> tuple[str, ZoneInfo]:
    found = _ZONE.fullmatch(text.strip())
    cron = found["cron"] if found else text.strip()
    try:
        zone = ZoneInfo(found["zone"] if found else "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidArgument(
            f"Invalid cron '{text}': '{found['zone'] if found else ''}' is not an IANA time zone."
        ) from None
    try:
        valid = len(cron.split()) == 5 and croniter.is_valid(cron)
    except CroniterBadCronError:
        valid = False
    if not valid:
        raise InvalidArgument(
            f"Invalid cron '{text}': write five fields (minute, hour, day, month, weekday), "
            "optionally after TZ=<zone>."
        )
    return cron, zone


def _next(schedule: Mapping[str, Any], after: datetime) -> datetime:
    cron, zone = _parse(schedule["cron"])
    following: datetime = croniter(cron, after.astimezone(zone)).get_next(datetime)
    return following.astimezone(UTC)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _key(name: str) -> str:
    return f"schedule:{name}"
