"""`gcp:dataflow:FlexTemplateJob` in the local Dataflow.

A batch job that ends is gone, as pulumi-gcp has it. A streaming job whose parameters change is
replaced by Dataflow's own update, which ends the old job once the new one takes over; the id of the
job is then another.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from localcloud.provider.clients import Clients
from localcloud.provider.diff import same
from localcloud.provider.errors import ServiceError
from localcloud.provider.realise.shapes import labels_seen, taken

_ENVIRONMENT: Final = (
    "additionalExperiments",
    "additionalPipelineOptions",
    "autoscalingAlgorithm",
    "enableStreamingEngine",
    "ipConfiguration",
    "kmsKeyName",
    "launcherMachineType",
    "machineType",
    "maxWorkers",
    "network",
    "numWorkers",
    "sdkContainerImage",
    "serviceAccountEmail",
    "stagingLocation",
    "subnetwork",
    "tempLocation",
)
_TERMINAL: Final = frozenset(
    f"JOB_STATE_{name}" for name in ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED")
)
_STARTING: Final = frozenset(f"JOB_STATE_{name}" for name in ("UNKNOWN", "PENDING", "QUEUED"))
_ENDINGS: Final = {"drain": "JOB_STATE_DRAINED", "cancel": "JOB_STATE_CANCELLED"}
START_SECONDS: Final = 180.0
END_SECONDS: Final = 300.0
PAUSE: Final = 0.25


class FlexTemplateJob:
    """A launched job.

    Its id is the number that Dataflow gave to the first launch; `jobId` is that of the present one.
    """

    changing: Final = ("jobId", "state")

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        listed = self._clients.rest.get(
            f"{_place(properties)}/jobs", filter="ACTIVE", name=str(properties["name"])
        )
        for job in listed.get("jobs", []):
            if job["name"] == properties["name"] and job.get("currentState") not in _TERMINAL:
                return str(job["id"])
        return None

    def create(self, properties: Mapping[str, Any]) -> str:
        return self._launched(properties, {})

    def _launched(self, properties: Mapping[str, Any], update: dict[str, Any]) -> str:
        launched = self._clients.rest.call(
            "POST",
            f"{_place(properties)}/flexTemplates:launch",
            None,
            {"launchParameter": _launch(properties) | update},
        )
        id = str(launched["job"]["id"])  # noqa: A001
        self._until(properties, id, _STARTING, START_SECONDS, inside=False)
        return id

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        seen = self.describe(str(state.get("jobId") or id), state)
        return None if seen is None or seen["state"] in _TERMINAL else seen

    def describe(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        """The job, whatever its state: what a launch answers even if the job is quick."""
        if not state:
            # pulumi-gcp: "This resource does not support import."
            return None
        job = self._clients.rest.find(f"{_place(state)}/jobs/{id}")
        if job is None:
            return None
        return {
            "jobId": id,
            "name": job["name"],
            "state": job.get("currentState", "JOB_STATE_UNKNOWN"),
            "type": job.get("type"),
            **(labels_seen(job["labels"], state) if job.get("labels") else {}),
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        if same(_launch(old), _launch(new)):
            return str(old.get("jobId") or id)
        update: dict[str, Any] = {"update": True}
        if new.get("transformNameMapping"):
            update["transformNameMappings"] = dict(new["transformNameMapping"])
        return self._launched(new, update)

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        self._end(id, state, str(state.get("onDelete") or "cancel"))

    def _end(self, id: str, state: Mapping[str, Any], how: str) -> None:  # noqa: A002
        id = str(state.get("jobId") or id)  # noqa: A001
        path = f"{_place(state)}/jobs/{id}"
        job = self._clients.rest.find(path)
        if job is None or job.get("currentState") in _TERMINAL:
            return
        wanted = _ENDINGS["drain" if how == "drain" and _streams(job) else "cancel"]
        self._clients.rest.call("PUT", path, None, {"requestedState": wanted})
        if not state.get("skipWaitOnJobTermination"):
            self._until(state, id, _TERMINAL, END_SECONDS, inside=True)

    def _until(
        self,
        properties: Mapping[str, Any],
        id: str,  # noqa: A002
        states: frozenset[str],
        seconds: float,
        *,
        inside: bool,
    ) -> None:
        """Wait until the job's state is one of these, or none of them."""
        deadline = time.monotonic() + seconds
        while True:
            job = self._clients.rest.get(f"{_place(properties)}/jobs/{id}")
            state = job.get("currentState", "JOB_STATE_UNKNOWN")
            if state == "JOB_STATE_FAILED" and not inside:
                raise ServiceError(f"job {id}", 400, "the job failed at its start; see its log")
            if (state in states) == inside:
                return
            if time.monotonic() > deadline:
                raise ServiceError(f"job {id}", 504, f"still {state} after {seconds:.0f} s")
            time.sleep(PAUSE)


def _streams(job: Mapping[str, Any]) -> bool:
    return job.get("type") == "JOB_TYPE_STREAMING"


def _place(properties: Mapping[str, Any]) -> str:
    return f"/v1b3/projects/{properties['project']}/locations/{properties['region']}"


def _launch(properties: Mapping[str, Any]) -> dict[str, Any]:
    environment = taken(properties, *_ENVIRONMENT)
    labels = properties.get("effectiveLabels")
    if labels:
        environment["additionalUserLabels"] = dict(labels)
    return {
        "jobName": properties["name"],
        "containerSpecGcsPath": properties["containerSpecGcsPath"],
        "parameters": dict(properties.get("parameters") or {}),
        "environment": environment,
    }
