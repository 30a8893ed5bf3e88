"""Dataflow v1b3: flex templates launched as Beam processes on this machine.

A pipeline is the Python file that the image's `FLEX_TEMPLATE_PYTHON_PY_FILE` names, run with the
template's parameters and a local runner. It stops by itself on SIGTERM; it may write its metrics to
the file that `DATAFLOW_METRICS_FILE` names (see `reports.Metrics`).

Not here, and refused: classic templates, jobs made from a graph, snapshots, Java and Go. Recorded
without effect: machine types, worker counts, networks, keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from localcloud.home import DEFAULT_LOCATION, Home
from localcloud.images import Images
from localcloud.rest.app import Handler, Request, Service
from localcloud.rest.discovery import Api
from localcloud.rest.errors import InvalidArgument, Unimplemented
from localcloud.rest.store import Documents
from localcloud.services.dataflow.jobs import BATCH, STREAMING, TERMINAL, Jobs, public
from localcloud.services.dataflow.reports import read_messages, read_metrics, select
from localcloud.services.dataflow.templates import (
    Templates,
    check_environment,
    check_job_name,
    check_parameters,
)
from localcloud.services.listing import page, page_answer
from localcloud.workload_logs import tail

_LOCATED: Final = "dataflow.projects.locations"
_PLAIN: Final = "dataflow.projects"
_LOG_LINES: Final = 20_000
_FILTERS: Final[Mapping[str, Callable[[str], bool]]] = {
    "ACTIVE": lambda state: state not in TERMINAL,
    "TERMINATED": lambda state: state in TERMINAL,
}


class Dataflow:
    """The service that answers for `dataflow.googleapis.com`, v1b3."""

    def __init__(self, home: Home) -> None:
        self._api = Api.load("dataflow", "v1b3")
        self._documents = Documents(home.folder("dataflow") / "state.sqlite")
        self._templates = Templates(home, self._api, Images(home))
        self._jobs = Jobs(home, self._documents)
        self._handlers: dict[str, Handler] = {
            f"{_LOCATED}.flexTemplates.launch": self._launch,
            f"{_PLAIN}.jobs.aggregated": self._aggregated,
        }
        # The older methods take the location as a query parameter.
        for prefix in (_LOCATED, _PLAIN):
            self._handlers |= {
                f"{prefix}.jobs.get": self._get,
                f"{prefix}.jobs.list": self._list,
                f"{prefix}.jobs.update": self._update,
                f"{prefix}.jobs.getMetrics": self._metrics,
                f"{prefix}.jobs.messages.list": self._messages,
            }

    @property
    def apis(self) -> Sequence[Api]:
        """Dataflow's document."""
        return [self._api]

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By method id."""
        return self._handlers

    async def start(self) -> None:
        """Bring back the jobs that ran."""
        await self._jobs.recover()

    async def stop(self) -> None:
        """End the processes; the state stays."""
        await self._jobs.close()
        self._documents.close()

    async def _launch(self, request: Request) -> dict[str, Any]:
        project, location = request.path["projectId"], request.path["location"]
        launch: Mapping[str, Any] = request.body.get("launchParameter") or {}
        if not launch:
            raise InvalidArgument("launch_parameter: is required.")
        name = check_job_name(launch.get("jobName"))
        template = await self._templates.load(launch)
        check_parameters(template.parameters, launch.get("parameters") or {})
        check_environment({**template.default_environment, **(launch.get("environment") or {})})
        kind = STREAMING if template.streaming else BATCH
        replaced = self._jobs.check_launch(
            project, location, name, kind, update=bool(launch.get("update"))
        )
        if request.body.get("validateOnly"):
            return {}
        job = await self._jobs.launch(project, location, launch, template, replaced)
        return {"job": public(job)}

    async def _get(self, request: Request) -> dict[str, Any]:
        return public(self._job(request))

    async def _list(self, request: Request) -> dict[str, Any]:
        return self._listed(self._jobs.list(request.path["projectId"], _location(request)), request)

    async def _aggregated(self, request: Request) -> dict[str, Any]:
        return self._listed(self._jobs.list(request.path["projectId"]), request)

    def _listed(self, jobs: list[dict[str, Any]], request: Request) -> dict[str, Any]:
        for field in ("createTimeRange", "terminationTimeRange"):
            if any(key.startswith(field) for key in request.query):
                raise Unimplemented(f"{field} is not supported by the local cloud; filter by name.")
        wanted = _FILTERS.get(request.query.get("filter", ""), lambda _: True)
        name = request.query.get("name")
        chosen = [
            (f"{index:09d}", public(job))
            for index, job in enumerate(jobs)
            if wanted(job["currentState"]) and name in (None, job["name"])
        ]
        return page_answer("jobs", page(chosen, request.query))

    async def _update(self, request: Request) -> dict[str, Any]:
        job = self._job(request)
        if request.query.get("updateMask"):
            raise Unimplemented("updateMask is not supported by the local cloud: set the state.")
        wanted = (request.body or {}).get("requestedState")
        if not wanted:
            raise InvalidArgument("job.requested_state: is required.")
        return public(self._jobs.end(job, wanted))

    async def _metrics(self, request: Request) -> dict[str, Any]:
        return read_metrics(self._jobs.metrics_file(self._job(request)["id"]))

    async def _messages(self, request: Request) -> dict[str, Any]:
        job = self._job(request)
        lines = tail(self._jobs.log_file(job), _LOG_LINES)
        messages = read_messages(lines, job["createTime"])
        if problem := job.get("_problem"):
            messages.append(
                {
                    "id": f"{len(lines) + 1:09d}",
                    "time": job["currentStateTime"],
                    "messageText": problem,
                    "messageImportance": "JOB_MESSAGE_ERROR",
                }
            )
        chosen = [(one["id"], one) for one in select(messages, request.query)]
        return page_answer("jobMessages", page(chosen, request.query))

    def _job(self, request: Request) -> dict[str, Any]:
        return self._jobs.get(request.path["projectId"], _location(request), request.path["jobId"])


def _location(request: Request) -> str:
    return request.path.get("location") or request.query.get("location") or DEFAULT_LOCATION


def service(home: Home) -> Service:
    """Dataflow for one home."""
    return Dataflow(home)
