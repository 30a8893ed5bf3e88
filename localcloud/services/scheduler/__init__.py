"""Cloud Scheduler v1: HTTP requests and Pub/Sub messages at the times of a crontab.

Requests to Google's addresses of Cloud Run, Vertex AI and Dataflow go to the local cloud, which
answers for these APIs; no request leaves for Google. Tokens (`oidcToken`, `oauthToken`) are checked
and kept, but none is attached: there is nobody who would issue it. App Engine targets and the
English-like schedules are refused.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from localcloud.home import Home
from localcloud.rest.app import Handler, Request, Service
from localcloud.rest.discovery import Api
from localcloud.rest.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from localcloud.rest.operations import now, seconds
from localcloud.rest.store import Documents
from localcloud.services.listing import apply_mask, children, mask_paths, page, page_answer
from localcloud.services.scheduler.clock import Clock, next_due
from localcloud.services.scheduler.schedule import check_retries, check_schedule
from localcloud.services.scheduler.targets import Targets, check_target

_PREFIX: Final = "cloudscheduler.projects.locations.jobs"
_NAME: Final = re.compile(r"projects/[^/]+/locations/[^/]+/jobs/[A-Za-z0-9_-]{1,500}")
_DEFAULT_DEADLINE: Final = "180s"
# For HTTP targets; Pub/Sub ignores the deadline.
_DEADLINES: Final = (15.0, 1800.0)


class CloudScheduler:
    """The service that answers for `cloudscheduler.googleapis.com`, v1."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._api = Api.load("cloudscheduler", "v1")
        self._documents = Documents(home.folder("scheduler") / "state.sqlite")
        self._targets: Targets | None = None
        self._clock: Clock | None = None
        self._handlers: dict[str, Handler] = {
            f"{_PREFIX}.create": self._create,
            f"{_PREFIX}.get": self._get,
            f"{_PREFIX}.list": self._list,
            f"{_PREFIX}.patch": self._patch,
            f"{_PREFIX}.delete": self._delete,
            f"{_PREFIX}.pause": self._pause,
            f"{_PREFIX}.resume": self._resume,
            f"{_PREFIX}.run": self._run,
        }

    @property
    def apis(self) -> Sequence[Api]:
        """Cloud Scheduler's document."""
        return [self._api]

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By method id."""
        return self._handlers

    async def start(self) -> None:
        """Take up the jobs of the store."""
        self._targets = Targets(self._home)
        self._clock = Clock(self._documents, self._targets)
        self._clock.recover()

    async def stop(self) -> None:
        """Fire no more; the state stays."""
        if self._clock is not None:
            await self._clock.close()
        if self._targets is not None:
            await self._targets.close()
        self._documents.close()

    async def _create(self, request: Request) -> dict[str, Any]:
        parent = request.path["parent"]
        body: Mapping[str, Any] = request.body
        name = body.get("name") or f"{parent}/jobs/{secrets.randbelow(10**19):019d}"
        if not _NAME.fullmatch(name) or not name.startswith(f"{parent}/jobs/"):
            raise InvalidArgument(
                f"Job.name: '{name}' must be {parent}/jobs/JOB_ID, where the id has at most 500 "
                "letters, digits, hyphens and underscores."
            )
        if self._documents.get(f"job:{name}") is not None:
            raise AlreadyExists(f"Job '{name}' already exists.")
        job = {**_checked({**body, "name": name}), "state": "ENABLED", "userUpdateTime": now()}
        next_due(job, datetime.now(UTC))
        return self._save(job)

    async def _patch(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        old = self._existing(name)
        given = self._api.validate_body("Job", _public(old))
        mask = request.query.get("updateMask")
        paths = mask_paths(self._api, "Job", mask) if mask else [["*"]]
        wanted = apply_mask(given, request.body, paths)
        for kind in ("httpTarget", "pubsubTarget"):
            # A target of one kind replaces one of the other, as fields of a oneof do.
            if kind in request.body and any(path[0] in (kind, "*") for path in paths):
                for other in {"httpTarget", "pubsubTarget"} - {kind}:
                    wanted.pop(other, None)
        kept = {key: value for key, value in old.items() if key not in given}
        job = {**kept, **_checked({**wanted, "name": name}), "userUpdateTime": now()}
        next_due(job, datetime.now(UTC))
        return self._save(job)

    async def _get(self, request: Request) -> dict[str, Any]:
        return _public(self._existing(request.path["name"]))

    async def _list(self, request: Request) -> dict[str, Any]:
        found = children(self._documents, "job", request.path["parent"], "jobs")
        items = [(name, _public(one)) for name, one in found]
        return page_answer("jobs", page(items, request.query, default=500))

    async def _delete(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        self._existing(name)
        self._documents.delete(f"job:{name}")
        self._ticking.watch(name)
        return {}

    async def _pause(self, request: Request) -> dict[str, Any]:
        return self._switch(request.path["name"], "ENABLED", "PAUSED")

    async def _resume(self, request: Request) -> dict[str, Any]:
        return self._switch(request.path["name"], "PAUSED", "ENABLED")

    async def _run(self, request: Request) -> dict[str, Any]:
        job = self._existing(request.path["name"])
        self._ticking.fire(job["name"])
        return _public(job)

    def _switch(self, name: str, before: str, after: str) -> dict[str, Any]:
        job = self._existing(name)
        if job["state"] != before:
            verb = "paused" if after == "PAUSED" else "resumed"
            raise FailedPrecondition(
                f"Job '{name}' is {job['state']}; only a job that is {before} can be {verb}."
            )
        job["state"] = after
        job.pop("_execution", None)
        next_due(job, datetime.now(UTC))
        return self._save(job)

    def _save(self, job: dict[str, Any]) -> dict[str, Any]:
        self._documents.put(f"job:{job['name']}", job)
        self._ticking.watch(job["name"])
        return _public(job)

    def _existing(self, name: str) -> dict[str, Any]:
        job = self._documents.get(f"job:{name}")
        if job is None:
            raise NotFound(f"Job not found: '{name}'.")
        return job

    @property
    def _ticking(self) -> Clock:
        if self._clock is None:
            raise RuntimeError("the service was not started")
        return self._clock


def service(home: Home) -> Service:
    """Cloud Scheduler for one home."""
    return CloudScheduler(home)


def _checked(body: Mapping[str, Any]) -> dict[str, Any]:
    """A job as the caller wants it, checked, with Google's defaults."""
    zone = body.get("timeZone") or "Etc/UTC"
    check_schedule(body.get("schedule"), zone)
    deadline = body.get("attemptDeadline") or _DEFAULT_DEADLINE
    low, high = _DEADLINES
    if "httpTarget" in body and not low <= seconds(deadline) <= high:
        raise InvalidArgument(
            f"Job.attempt_deadline: {deadline} is not between {low:g}s and {high:g}s."
        )
    if len(body.get("description", "")) > 500:
        raise InvalidArgument("Job.description: has more than 500 characters.")
    return {
        **body,
        **check_target(body),
        "timeZone": zone,
        "attemptDeadline": deadline,
        "retryConfig": check_retries(body.get("retryConfig")),
    }


def _public(job: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in job.items() if not key.startswith("_")}
