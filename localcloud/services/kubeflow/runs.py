"""Runs: one execution of a pipeline each."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final, final

from starlette.requests import Request
from starlette.routing import BaseRoute

from localcloud.home import DEFAULT_LOCATION, DEFAULT_PROJECT, Home, NotStarted
from localcloud.rest.errors import FailedPrecondition, InvalidArgument, NotFound
from localcloud.rest.operations import now
from localcloud.rest.store import Documents
from localcloud.services.kubeflow.answers import Document, body, route, text
from localcloud.services.kubeflow.experiments import Experiments
from localcloud.services.kubeflow.listing import page
from localcloud.services.kubeflow.pipelines import Pipelines, plain
from localcloud.services.vertex.pipeline_jobs import FINAL_STATES, PipelineJobs

_KEY: Final = "run:"
_STATES: Final = {
    "CANCELLING": "CANCELING",
    "CANCELLED": "CANCELED",
    "NOT_TRIGGERED": "SKIPPED",
}
"""What Kubeflow spells otherwise than Vertex AI."""


@final
class Runs:
    """Runs by id; what executes one is a pipeline job, which holds its state."""

    def __init__(
        self,
        home: Home,
        documents: Documents,
        jobs: PipelineJobs,
        pipelines: Pipelines,
        experiments: Experiments,
    ) -> None:
        self._home = home
        self._documents = documents
        self._jobs = jobs
        self._pipelines = pipelines
        self._experiments = experiments

    def routes(self) -> list[BaseRoute]:
        """For the application of all services."""
        one = "/runs/{id}"
        return [
            route("/runs", "GET", self._list),
            route("/runs", "POST", self._create),
            route(f"{one}:terminate", "POST", self._terminate),
            route(f"{one}:archive", "POST", self._archive),
            route(f"{one}:unarchive", "POST", self._unarchive),
            route(one, "GET", self._get),
            route(one, "DELETE", self._delete),
        ]

    async def _create(self, request: Request) -> Document:
        given = await body(request, "V2beta1Run")
        name = text(given, "display_name")
        if not name.strip():
            raise InvalidArgument("display_name of a run must not be empty")
        experiment = text(given, "experiment_id") or self._experiments.default()
        self._experiments.find(experiment)
        spec, reference = self._spec(given)
        config: Mapping[str, Any] = given.get("runtime_config") or {}
        root = _root(text(config, "pipeline_root"), spec)
        number = str(uuid.uuid4())
        run: dict[str, Any] = {
            "experiment_id": experiment,
            "run_id": number,
            "display_name": name,
            "storage_state": "AVAILABLE",
            "description": text(given, "description"),
            "created_at": now(),
            "scheduled_at": now(),
            "service_account": text(given, "service_account"),
            "runtime_config": {"parameters": config.get("parameters") or {}, "pipeline_root": root},
            # A version's spec is not repeated: its reference says which it is.
            **({"pipeline_version_reference": reference} if reference else {"pipeline_spec": spec}),
            "_job": f"{self._parent()}/pipelineJobs/run-{number}",
        }
        with self._documents.transaction():
            self._documents.put(f"{_KEY}{number}", run)
            self._experiments.used(experiment)
            self._jobs.submit(
                self._parent(),
                {
                    "pipelineSpec": spec,
                    "runtimeConfig": {
                        "gcsOutputDirectory": root,
                        "parameterValues": run["runtime_config"]["parameters"],
                    },
                },
                f"run-{number}",
                # Kubeflow's layout below the pipeline root.
                output=f"{root}/{spec['pipelineInfo']['name']}/{number}",
            )
        return self._shown(run)

    def _spec(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str] | None]:
        reference: Mapping[str, Any] | None = given.get("pipeline_version_reference")
        if (given.get("pipeline_spec") is None) == (reference is None):
            raise InvalidArgument(
                "a run needs either pipeline_spec or pipeline_version_reference, and not both"
            )
        if reference is None:
            return plain(given["pipeline_spec"]), None
        pipeline, version = text(reference, "pipeline_id"), text(reference, "pipeline_version_id")
        spec = self._pipelines.version(pipeline, version)["pipeline_spec"]
        return spec, {"pipeline_id": pipeline, "pipeline_version_id": version}

    async def _list(self, request: Request) -> Document:
        wanted = request.query_params.get("experiment_id")
        every = [
            self._shown(stored.value)
            for stored in self._documents.list(_KEY)
            if wanted in (None, "", stored.value["experiment_id"])
        ]
        return page(every, request.query_params, "runs")

    async def _get(self, request: Request) -> Document:
        return self._shown(self._find(request))

    async def _terminate(self, request: Request) -> Document:
        run = self._find(request)
        try:
            self._jobs.end(run["_job"])
        except FailedPrecondition:
            state = self._shown(run)["state"]
            raise FailedPrecondition(
                f"Failed to terminate run {run['run_id']}: it is {state} already"
            ) from None
        return {}

    async def _archive(self, request: Request) -> Document:
        return self._store(request, "ARCHIVED")

    async def _unarchive(self, request: Request) -> Document:
        return self._store(request, "AVAILABLE")

    async def _delete(self, request: Request) -> Document:
        run = self._find(request)
        try:
            self._jobs.forget(run["_job"])
        except FailedPrecondition:
            raise FailedPrecondition(
                f"Failed to delete run {run['run_id']}: it has not ended; terminate it first"
            ) from None
        self._documents.delete(f"{_KEY}{run['run_id']}")
        return {}

    def _store(self, request: Request, state: str) -> Document:
        run = self._find(request)

        def edit(one: dict[str, Any]) -> None:
            one["storage_state"] = state

        self._documents.change(f"{_KEY}{run['run_id']}", edit)
        return {}

    def _find(self, request: Request) -> dict[str, Any]:
        number = request.path_params["id"]
        found = self._documents.get(f"{_KEY}{number}")
        if found is None:
            raise NotFound(f"Run {number} not found")
        return found

    def _shown(self, run: Mapping[str, Any]) -> Document:
        job = self._jobs.shown(run["_job"])
        shown = {key: value for key, value in run.items() if not key.startswith("_")}
        shown["state"] = _state(job["state"].removeprefix("PIPELINE_STATE_"))
        if job["state"] in FINAL_STATES:
            shown["finished_at"] = job["endTime"]
        if "error" in job:
            shown["error"] = job["error"]
        shown["run_details"] = {
            "task_details": [_task(run["run_id"], one) for one in job["jobDetail"]["taskDetails"]]
        }
        return shown

    def _parent(self) -> str:
        try:
            endpoints = self._home.endpoints()
        except NotStarted:
            return f"projects/{DEFAULT_PROJECT}/locations/{DEFAULT_LOCATION}"
        return f"projects/{endpoints.project}/locations/{endpoints.location}"


def _root(given: str, spec: Mapping[str, Any]) -> str:
    root = given or spec.get("defaultPipelineRoot", "")
    if not root.startswith("gs://") or not root.removeprefix("gs://").strip("/"):
        raise InvalidArgument(
            f"pipeline_root is {root!r}; the local cloud has no MinIO: give a gs:// folder"
        )
    return root.rstrip("/")


def _state(state: str) -> str:
    return _STATES.get(state, state)


def _task(run: str, detail: Mapping[str, Any]) -> Document:
    """A task as Kubeflow shows it, from how Vertex AI does."""
    renamed = {"createTime": "create_time", "startTime": "start_time", "endTime": "end_time"}
    return {
        "run_id": run,
        "task_id": detail["taskId"],
        "display_name": detail["taskName"],
        "state": _state(detail["state"]),
        **{theirs: detail[ours] for ours, theirs in renamed.items() if ours in detail},
        **({"error": detail["error"]} if "error" in detail else {}),
        **({"parent_task_id": detail["parentTaskId"]} if "parentTaskId" in detail else {}),
        "state_history": [
            {"update_time": one["updateTime"], "state": _state(one["state"])}
            for one in detail.get("pipelineTaskStatus", [])
        ],
    }
