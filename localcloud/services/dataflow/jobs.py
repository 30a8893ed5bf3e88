"""Dataflow jobs: pipelines that run as processes.

A streaming job runs until it is drained or cancelled: whatever ends its process starts it again. A
batch job whose process dies has failed; one that was cut because the local cloud itself was killed
is run again from its beginning, as Dataflow repeats the work of workers that it lost.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from localcloud.home import Home
from localcloud.processes import Exit, Supervisor, Workload
from localcloud.rest.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from localcloud.rest.operations import now
from localcloud.rest.store import Documents
from localcloud.services.dataflow.templates import Template
from localcloud.workload_logs import tail

log = logging.getLogger(__name__)

TERMINAL: Final = frozenset(
    f"JOB_STATE_{name}" for name in ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED")
)
STREAMING: Final = "JOB_TYPE_STREAMING"
BATCH: Final = "JOB_TYPE_BATCH"
# Beam's unnamed local runner may be fetched from the web when first used; these two are not.
_RUNNERS: Final = {STREAMING: "BundleBasedDirectRunner", BATCH: "FnApiRunner"}
DRAIN_GRACE: Final = 60.0
"""Seconds that a pipeline gets to finish what it has pulled."""
_CANCEL_GRACE: Final = 2.0
# A streaming job that fails sooner than this was launched wrongly, and is not started again.
_STARTUP: Final = 30.0
# As often as Dataflow repeats a batch work item.
_MAX_INTERRUPTIONS: Final = 3
_LOG_LINES: Final = 20


class Jobs:
    """Keeps the jobs of one home and runs their processes."""

    def __init__(self, home: Home, documents: Documents) -> None:
        self._home = home
        self._documents = documents
        self._supervisor = Supervisor(home)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def recover(self) -> None:
        """Bring back what ran when the local cloud was stopped or killed."""
        self._supervisor.end_stale()
        for stored in self._documents.list("job:"):
            state = stored.value["currentState"]
            if state in TERMINAL:
                continue
            if state in {"JOB_STATE_DRAINING", "JOB_STATE_CANCELLING"}:
                self._turn(stored.key, stored.value["requestedState"])
                continue
            if "replacedByJobId" in stored.value:
                self._turn(stored.key, "JOB_STATE_UPDATED")
                continue
            cut = stored.value.get("_interruptions", 0) + 1
            if stored.value["type"] == BATCH and cut > _MAX_INTERRUPTIONS:
                self._fail(stored.key, f"the local cloud was stopped {cut} times under it")
                continue
            job = self._documents.change(
                stored.key, lambda one, cut=cut: one.update(_interruptions=cut)
            ).value
            await self._begin(job)

    async def close(self) -> None:
        """End the processes; streaming jobs go on after the next start."""
        self._closing = True
        await self._supervisor.close(grace=1.5)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def get(self, project: str, location: str, job_id: str) -> dict[str, Any]:
        """The job as it is stored.

        Raises:
            NotFound: in Google's words.
        """
        job = self._documents.get(_key(project, location, job_id))
        if job is None:
            raise NotFound(
                f"({secrets.token_hex(8)}): Information about job {job_id} could not be found in "
                f"our system. Please double check the id is correct. If it is please contact "
                "customer support."
            )
        return job

    def list(self, project: str, location: str | None = None) -> list[dict[str, Any]]:
        """The jobs of a project, the newest first."""
        prefix = f"job:{project}/" + (f"{location}/" if location else "")
        jobs = [stored.value for stored in self._documents.list(prefix)]
        return sorted(jobs, key=lambda one: one["createTime"], reverse=True)

    def check_launch(
        self, project: str, location: str, name: str, kind: str, *, update: bool
    ) -> dict[str, Any] | None:
        """The active job that an update replaces; None for a new job.

        Raises:
            AlreadyExists: a job of the name is active, and this is no update.
            FailedPrecondition: this is an update, and there is nothing to update.
        """
        active = [
            job
            for job in self.list(project, location)
            if job["name"] == name and job["currentState"] not in TERMINAL
        ]
        if update:
            if kind != STREAMING:
                raise InvalidArgument(f"Job {name} is a batch job; only streaming jobs update.")
            if not active or active[0]["type"] != STREAMING:
                raise FailedPrecondition(
                    f"The workflow could not be updated: there is no active streaming job named "
                    f"{name} in {location}. Launch it without `update`."
                )
            return active[0]
        if active:
            raise AlreadyExists(
                f"The workflow could not be created. Causes: There is already an active job named "
                f"{name} ({active[0]['id']}). If you want to submit a second job, try again by "
                "setting a different name; to replace it, set `update`."
            )
        return None

    async def launch(
        self,
        project: str,
        location: str,
        launch: Mapping[str, Any],
        template: Template,
        replaced: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """Start a job whose launch was checked."""
        moment = datetime.now(UTC)
        environment = {**template.default_environment, **(launch.get("environment") or {})}
        kind = STREAMING if template.streaming else BATCH
        job_id = f"{moment:%Y-%m-%d_%H_%M_%S}-{secrets.randbelow(9 * 10**18) + 10**18}"
        job: dict[str, Any] = {
            "id": job_id,
            "projectId": project,
            "location": location,
            "name": launch["jobName"],
            "type": kind,
            "currentState": "JOB_STATE_PENDING",
            "currentStateTime": now(),
            "createTime": now(),
            "startTime": now(),
            "labels": environment.get("additionalUserLabels") or {},
            "environment": {
                "serviceAccountEmail": environment.get("serviceAccountEmail", ""),
                "tempStoragePrefix": environment.get("tempLocation", ""),
                "workerRegion": environment.get("workerRegion") or location,
                "sdkPipelineOptions": {"options": dict(launch.get("parameters") or {})},
            },
            "_command": self._command(project, location, launch, template, environment, job_id),
            "_env": template.image.environment(),
            "_cwd": str(template.image.cwd),
        }
        if replaced is not None:
            job["replaceJobId"] = replaced["id"]
            job["transformNameMapping"] = launch.get("transformNameMappings") or {}
        with self._documents.transaction():
            self._documents.put(_key(project, location, job_id), job)
            if replaced is not None:
                self._documents.change(
                    _key(project, location, replaced["id"]),
                    lambda one: one.update(replacedByJobId=job_id),
                )
        if replaced is not None:
            self._spawn(self._replace(dict(replaced), job))
        else:
            await self._begin(job)
        return self.get(project, location, job_id)

    def end(self, job: Mapping[str, Any], wanted: str) -> dict[str, Any]:
        """Cancel or drain a job.

        Raises:
            FailedPrecondition: it has ended in another way already.
            InvalidArgument: the state cannot be asked for.
        """
        state = job["currentState"]
        if wanted not in {"JOB_STATE_CANCELLED", "JOB_STATE_DRAINED"}:
            raise InvalidArgument(
                f"requested_state: {wanted} cannot be asked for; allowed are JOB_STATE_CANCELLED "
                "and JOB_STATE_DRAINED."
            )
        if wanted == "JOB_STATE_DRAINED" and job["type"] != STREAMING:
            raise InvalidArgument(
                f"Job {job['id']} is a batch job; drain is for streaming jobs. Cancel it instead."
            )
        if state in TERMINAL:
            if state == wanted:
                return dict(job)
            raise FailedPrecondition(
                f"Job {job['id']} is in the terminal state {state}; its state cannot be changed."
            )
        draining = wanted == "JOB_STATE_DRAINED"
        key = _key(job["projectId"], job["location"], job["id"])
        if state == "JOB_STATE_CANCELLING" or (draining and state == "JOB_STATE_DRAINING"):
            return dict(job)
        self._turn(key, "JOB_STATE_DRAINING" if draining else "JOB_STATE_CANCELLING", wanted)
        self._spawn(self._stop(key, DRAIN_GRACE if draining else _CANCEL_GRACE, wanted))
        return self._documents.get(key) or dict(job)

    def log_file(self, job: Mapping[str, Any]) -> Path:
        """Where the job's process writes."""
        return self._supervisor.log_file(_process(job))

    def metrics_file(self, job_id: str) -> Path:
        """Where the job's process may write its metrics."""
        return self._home.folder("dataflow/metrics") / f"{job_id}.json"

    def _command(
        self,
        project: str,
        location: str,
        launch: Mapping[str, Any],
        template: Template,
        environment: Mapping[str, Any],
        job_id: str,
    ) -> list[str]:
        """What Dataflow's launcher would run, with a local runner."""
        kind = STREAMING if template.streaming else BATCH
        options: dict[str, str | None] = {
            **(launch.get("parameters") or {}),
            "runner": _RUNNERS[kind],
            "project": project,
            "region": location,
            "job_name": launch["jobName"],
            "temp_location": environment.get("tempLocation"),
            "staging_location": environment.get("stagingLocation"),
            "service_account_email": environment.get("serviceAccountEmail"),
        }
        words = [f"--{name}={value}" for name, value in options.items() if value is not None]
        if template.streaming:
            words.append("--streaming")
        words += [f"--experiments={one}" for one in environment.get("additionalExperiments") or []]
        words += environment.get("additionalPipelineOptions") or []
        return [sys.executable, str(template.py_file), *words]

    async def _begin(self, job: Mapping[str, Any]) -> None:
        key = _key(job["projectId"], job["location"], job["id"])
        streaming = job["type"] == STREAMING
        try:
            workload = await self._supervisor.start(
                _process(job),
                job["_command"],
                cwd=job["_cwd"],
                env={
                    **job["_env"],
                    "GOOGLE_CLOUD_PROJECT": job["projectId"],
                    "GOOGLE_CLOUD_LOCATION": job["location"],
                    "DATAFLOW_JOB_ID": job["id"],
                    "DATAFLOW_METRICS_FILE": str(self.metrics_file(job["id"])),
                },
                restart="on-failure" if streaming else "never",
                on_exit=lambda ended: self._ended(key, ended),
            )
        except OSError as error:
            self._fail(key, f"the pipeline could not be started: {error}")
            return
        self._turn(key, "JOB_STATE_RUNNING")
        log.info("job %s (%s) runs as process %s", job["name"], job["id"], workload.pid)

    def _ended(self, key: str, ended: Exit) -> None:
        if ended.asked or self._closing:
            return
        job = self._documents.get(key)
        if job is None or job["currentState"] in TERMINAL:
            return
        workload = self._supervisor.get(_process(job))
        if ended.will_restart and workload is not None:
            ran = (ended.at - workload.started_at).total_seconds()
            fresh = not job.get("_interruptions") and not ended.restarts
            if fresh and ran < _STARTUP:
                # Not awaited: the workload reports its end before it can be stopped.
                self._spawn(self._give_up(key, workload, ended))
            else:
                log.warning("job %s %s; starting it again", job["name"], ended.reason())
        elif ended.code == 0:
            self._turn(key, "JOB_STATE_DONE")
        else:
            self._fail(key, f"the pipeline {ended.reason()}")

    async def _give_up(self, key: str, workload: Workload, ended: Exit) -> None:
        await workload.stop()
        self._fail(key, f"the pipeline {ended.reason()} at its start")

    async def _stop(self, key: str, grace: float, final: str) -> None:
        job = self._documents.get(key)
        if job is None:
            return
        await self._supervisor.stop(_process(job), grace)
        now_job = self._documents.get(key)
        # A cancel may have overtaken a drain.
        if now_job is not None and now_job["currentState"] not in TERMINAL:
            asked = now_job.get("requestedState")
            if asked == final or final == "JOB_STATE_UPDATED":
                self._turn(key, final)

    async def _replace(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """End the old process before the new one starts, so that no message is read by both."""
        key = _key(old["projectId"], old["location"], old["id"])
        await self._stop(key, DRAIN_GRACE, "JOB_STATE_UPDATED")
        await self._begin(new)

    def _fail(self, key: str, problem: str) -> None:
        def edit(job: dict[str, Any]) -> None:
            lines = tail(self.log_file(job), _LOG_LINES)
            job["_problem"] = "\n".join([f"Workflow failed: {problem}.", *lines])

        job = self._documents.change(key, edit).value
        self._turn(key, "JOB_STATE_FAILED")
        log.warning("job %s (%s) failed: %s", job["name"], job["id"], problem)

    def _turn(self, key: str, state: str, requested: str | None = None) -> None:
        def edit(job: dict[str, Any]) -> None:
            job["currentState"] = state
            job["currentStateTime"] = now()
            if requested is not None:
                job["requestedState"] = requested

        self._documents.change(key, edit)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def public(job: Mapping[str, Any]) -> dict[str, Any]:
    """A stored job as the API shows it."""
    return {key: value for key, value in job.items() if not key.startswith("_")}


def _key(project: str, location: str, job_id: str) -> str:
    return f"job:{project}/{location}/{job_id}"


def _process(job: Mapping[str, Any]) -> str:
    return f"dataflow.{job['name'][:60]}.{job['id']}"
