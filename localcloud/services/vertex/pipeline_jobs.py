"""Pipeline jobs: each is run by `kfp.local` in a supervised process of its own.

A job that was running when the service died is started again from the beginning; steps are
expected to be idempotent, as they are on Vertex AI, where a task may be retried. Steps always run:
a cached result is never reused, whatever the pipeline's caching options allow. After the first
failed task no new one is started, which is Vertex's FAIL_FAST policy, whatever policy was asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, final

import msgspec

from localcloud.home import Home
from localcloud.processes import Supervisor
from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from localcloud.rest.listing import page, property_fields
from localcloud.rest.operations import Operations, now
from localcloud.rest.store import Documents
from localcloud.services.vertex import names, pipeline_events, pipeline_spec
from localcloud.services.vertex.pipeline_events import JOB_FILE, Job

log = logging.getLogger(__name__)

_JOB_ID: Final = re.compile(r"[a-z][-a-z0-9]{0,127}")
_PREFIX: Final = "PIPELINE_STATE_"
FINAL_STATES: Final = frozenset({f"{_PREFIX}SUCCEEDED", f"{_PREFIX}FAILED", f"{_PREFIX}CANCELLED"})
# Two cores run few pipelines well; the rest wait as PENDING.
_PARALLEL: Final = 3
# A job that was cut this often may be what kills the service.
_MAX_STARTS: Final = 4
_CANCEL_GRACE: Final = 3.0
_FIELDS: Final = {
    **property_fields(
        "display_name",
        "state",
        "create_time",
        "update_time",
        "end_time",
        "start_time",
        "labels.",
        "template_uri",
        "schedule_name",
    ),
    "pipeline_name": lambda item: item["pipelineSpec"]["pipelineInfo"]["name"],
    "pipeline_job_user_id": lambda item: item["name"].rpartition("/")[2],
    "template_metadata.version": lambda item: None,
}


@final
class PipelineJobs:
    """Pipeline jobs by name.

    Args:
        home: of the local cloud.
        documents: the store.
        operations: of the service.
        supervisor: runs the runners.
        service: whose jobs they are; runs lie below `pipelines` of its folder.
    """

    def __init__(
        self,
        home: Home,
        documents: Documents,
        operations: Operations,
        supervisor: Supervisor,
        service: str = "vertex",
    ) -> None:
        self._home = home
        self._service = service
        self._documents = documents
        self._operations = operations
        self._supervisor = supervisor
        self._places = asyncio.Semaphore(_PARALLEL)
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    def handlers(self) -> dict[str, Handler]:
        """Handlers by method id."""
        prefix = "aiplatform.projects.locations.pipelineJobs."
        return {
            f"{prefix}create": self.create,
            f"{prefix}get": self.get,
            f"{prefix}list": self.list,
            f"{prefix}cancel": self.cancel,
            f"{prefix}delete": self.delete,
        }

    def recover(self) -> None:
        """Start again what was cut; cancel what was being cancelled."""
        for stored in self._documents.list("pipelineJob:"):
            job = stored.value
            if job["state"] == f"{_PREFIX}CANCELLING":
                self._finish(job["name"], "CANCELLED")
            elif job["state"] not in FINAL_STATES:
                if job.get("_starts", 0) >= _MAX_STARTS:
                    message = f"The job was interrupted {job['_starts']} times and is given up."
                    self._finish(job["name"], "FAILED", message)
                else:
                    log.info("pipeline job %s was cut and starts again", job["name"])
                    self._launch(job["name"])

    async def stop(self) -> None:
        """Leave running jobs as they are, to be started again."""
        self._stopping = True
        for run in list(self._runs.values()):
            run.cancel()
        await asyncio.gather(*self._runs.values(), return_exceptions=True)

    async def create(self, request: Request) -> dict[str, Any]:
        """Check, record and start a job."""
        return self.submit(
            request.path["parent"], request.body, request.query.get("pipelineJobId", "")
        )

    def submit(
        self,
        parent: str,
        body: Mapping[str, Any],
        job_id: str = "",
        schedule: str | None = None,
        output: str | None = None,
    ) -> dict[str, Any]:
        """Start a job, for a caller or for a schedule.

        Args:
            output: the folder of this job's artifacts; by default as Vertex AI lays it out below
                the pipeline root.

        Raises:
            InvalidArgument: the id, the spec or a parameter is wrong.
            AlreadyExists: the id is taken.
            Unimplemented: the pipeline needs what the local cloud lacks.
        """
        if "pipelineSpec" not in body and body.get("templateUri"):
            raise Unimplemented(
                "The local cloud does not fetch templates: send the pipeline_spec itself."
            )
        spec: dict[str, Any] = body.get("pipelineSpec", {})
        config: dict[str, Any] = body.get("runtimeConfig", {})
        pipeline_spec.check(spec, config)
        names.check_labels(body.get("labels"))
        if body.get("displayName"):
            names.check_display_name(body["displayName"])
        if not job_id:
            base = re.sub(r"[^a-z0-9]+", "-", spec["pipelineInfo"]["name"].lower()).strip("-")
            job_id = f"{base[:100]}-{names.new_id()}"
        if not _JOB_ID.fullmatch(job_id):
            raise InvalidArgument(
                f"Invalid pipeline_job_id '{job_id}': at most 128 lower-case letters, digits and "
                "hyphens, a letter first."
            )
        time = now()
        labels = {
            **body.get("labels", {}),
            "vertex-ai-pipelines-run-billing-id": names.new_id(),
        }
        name = f"{parent}/pipelineJobs/{job_id}"
        job: dict[str, Any] = {
            **body,
            "name": name,
            "displayName": body.get("displayName") or job_id,
            "labels": labels,
            "createTime": time,
            "updateTime": time,
            "state": f"{_PREFIX}PENDING",
        }
        if schedule is not None:
            job["scheduleName"] = schedule
        if output is not None:
            job["_output"] = output
        with self._documents.transaction():
            if self._documents.get(_key(name)) is not None:
                raise AlreadyExists(f"The PipelineJob '{name}' already exists.")
            self._documents.put(_key(name), job)
        self._launch(name)
        return self._show(job)

    async def get(self, request: Request) -> dict[str, Any]:
        """One job with the details of its tasks as they are now."""
        return self.shown(request.path["name"])

    def shown(self, name: str) -> dict[str, Any]:
        """One job by its name.

        Raises:
            NotFound: there is none.
        """
        return self._show(self._find(name))

    async def list(self, request: Request) -> dict[str, Any]:
        """The jobs of a location, the newest first unless ordered otherwise."""
        found = [
            self._show(stored.value)
            for stored in self._documents.list(
                f"pipelineJob:{request.path['parent']}/pipelineJobs/"
            )
        ]
        return page(
            found, request.query, _FIELDS, key="pipelineJobs", default_order="create_time desc"
        )

    async def cancel(self, request: Request) -> dict[str, Any]:
        """End a job; its state becomes CANCELLING at once and CANCELLED soon."""
        self.end(request.path["name"])
        return {}

    def end(self, name: str) -> None:
        """Cancel a job.

        Raises:
            NotFound: there is none.
            FailedPrecondition: it has ended.
        """
        job = self._find(name)
        if job["state"] in FINAL_STATES:
            raise FailedPrecondition(
                f"The PipelineJob '{name}' is in the final state {job['state']} and cannot be "
                "cancelled."
            )

        def cancelling(one: dict[str, Any]) -> None:
            one["state"] = f"{_PREFIX}CANCELLING"
            one["updateTime"] = now()

        self._documents.change(_key(name), cancelling)
        run = self._runs.get(name)
        if run is not None:
            run.cancel()
        else:
            self._finish(name, "CANCELLED")

    async def delete(self, request: Request) -> dict[str, Any]:
        """Forget a finished job and its log of events."""
        name = request.path["name"]
        self.forget(name)
        time = now()
        return self._operations.finished(
            name.partition("/pipelineJobs/")[0],
            {"@type": "type.googleapis.com/google.protobuf.Empty"},
            {
                "@type": "type.googleapis.com/google.cloud.aiplatform.v1.DeleteOperationMetadata",
                "genericMetadata": {"createTime": time, "updateTime": time},
            },
        )

    def forget(self, name: str) -> None:
        """Delete a job and what it left on this machine.

        Raises:
            NotFound: there is none.
            FailedPrecondition: it has not ended.
        """
        job = self._find(name)
        if job["state"] not in FINAL_STATES:
            raise FailedPrecondition(
                f"The PipelineJob '{name}' is in the state {job['state']}; cancel it first."
            )
        self._documents.delete(_key(name))
        shutil.rmtree(self._folder(name), ignore_errors=True)

    async def wait(self, name: str) -> None:
        """Until a job has ended, if it runs."""
        run = self._runs.get(name)
        if run is not None:
            await asyncio.wait([run])

    def active(self, schedule: str) -> int:
        """How many jobs of a schedule have not ended."""
        return sum(
            stored.value.get("scheduleName") == schedule
            and stored.value["state"] not in FINAL_STATES
            for stored in self._documents.list("pipelineJob:")
        )

    def _find(self, name: str) -> dict[str, Any]:
        job = self._documents.get(_key(name))
        if job is None:
            raise NotFound(f"The PipelineJob '{name}' does not exist.")
        return job

    def _show(self, job: Mapping[str, Any]) -> dict[str, Any]:
        shown = {key: value for key, value in job.items() if not key.startswith("_")}
        if "jobDetail" not in shown:
            shown["jobDetail"] = {"taskDetails": self._details(job)}
        return shown

    def _details(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        events = pipeline_events.read(self._folder(job["name"]))
        return pipeline_events.task_details(
            job, pipeline_spec.leaf_tasks(job["pipelineSpec"]), events
        )

    def _folder(self, name: str) -> Path:
        digest = hashlib.sha256(name.encode()).hexdigest()[:12]
        return (
            self._home.folder(self._service) / "pipelines" / f"{name.rpartition('/')[2]}-{digest}"
        )

    def _launch(self, name: str) -> None:
        run = asyncio.create_task(self._run(name), name=name)
        self._runs[name] = run

        def forget(_: asyncio.Task[None]) -> None:
            self._runs.pop(name, None)

        run.add_done_callback(forget)

    async def _run(self, name: str) -> None:
        process = f"pipelines/{self._folder(name).name}"
        try:
            async with self._places:
                await self._execute(name, process)
        except asyncio.CancelledError:
            if self._stopping:
                raise
            await self._supervisor.stop(process, _CANCEL_GRACE)
            self._finish(name, "CANCELLED")
        except Exception as error:
            log.exception("pipeline job %s failed", name)
            self._finish(name, "FAILED", f"{type(error).__name__}: {error}")

    async def _execute(self, name: str, process: str) -> None:
        folder = self._folder(name)
        # What an earlier, cut run left would be taken for this one's.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

        def running(one: dict[str, Any]) -> None:
            one["state"] = f"{_PREFIX}RUNNING"
            one["startTime"] = one["updateTime"] = now()
            one["_starts"] = one.get("_starts", 0) + 1

        job = self._documents.change(_key(name), running).value
        resource = names.parse(name, "pipelineJobs")
        number = names.project_number(resource.project)
        config: Mapping[str, Any] = job["runtimeConfig"]
        output = config["gcsOutputDirectory"].rstrip("/")
        (folder / JOB_FILE).write_bytes(
            msgspec.json.encode(
                Job(
                    name=name,
                    project=resource.project,
                    location=resource.location,
                    spec=job["pipelineSpec"],
                    parameters=config.get("parameterValues", {}),
                    output=job.get("_output", f"{output}/{number}/{resource.id}"),
                    home=str(self._home.path),
                )
            )
        )
        workload = await self._supervisor.start(
            process,
            [sys.executable, "-m", "localcloud.services.vertex.pipeline_runner", str(folder)],
            env={
                "GOOGLE_CLOUD_PROJECT": resource.project,
                "GOOGLE_CLOUD_LOCATION": resource.location,
                "CLOUD_ML_PROJECT_ID": number,
                "CLOUD_ML_REGION": resource.location,
                "PYTHONPATH": str(Path(__file__).parents[3]),
            },
        )
        ended = await workload.wait()
        if ended.code == 0:
            self._finish(name, "SUCCEEDED")
            return
        failed = pipeline_events.failed_tasks(pipeline_events.read(folder))
        if failed:
            tasks = ", ".join(sorted({event.task for event in failed}))
            message = (
                "The DAG failed because some tasks failed. The failed tasks are: "
                f"[{tasks}].\n{failed[-1].error}"
            )
        else:
            tail = "\n".join(workload.tail(30))
            message = f"The pipeline's runner {ended.reason()}. Last lines of its log:\n{tail}"
        self._finish(name, "FAILED", message)

    def _finish(self, name: str, state: str, message: str = "") -> None:
        def ended(one: dict[str, Any]) -> None:
            one["state"] = f"{_PREFIX}{state}"
            one["endTime"] = one["updateTime"] = now()
            if message:
                one["error"] = FailedPrecondition(message).rpc_status()
            one["jobDetail"] = {"taskDetails": self._details(one)}

        if self._documents.get(_key(name)) is not None:
            self._documents.change(_key(name), ended)
            log.info("pipeline job %s: %s", name, state)


def _key(name: str) -> str:
    return f"pipelineJob:{name}"
