"""What the service tells a pipeline's runner, and what the runner reports: two files in a folder.

The runner is another process and may be killed at any moment, as may the service. Reports are
lines appended to a file, which survives both; a half-written last line is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

JOB_FILE: Final = "job.json"
EVENTS_FILE: Final = "events.jsonl"
_FINAL: Final = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED", "NOT_TRIGGERED"})


class Job(msgspec.Struct, kw_only=True):
    """What the service tells the runner.

    `output` is the `gs://` folder of this run; `home` the local cloud's folder.
    """

    name: str
    project: str
    location: str
    spec: dict[str, Any]
    parameters: dict[str, Any]
    output: str
    home: str


class Artifact(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An artifact that a task produced or read."""

    name: str
    uri: str
    schema_title: str = "system.Artifact"
    schema_version: str = "0.0.1"
    metadata: dict[str, Any] = {}

    def shown(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "displayName": self.name,
            "uri": self.uri,
            "schemaTitle": self.schema_title,
            "schemaVersion": self.schema_version,
            "metadata": self.metadata,
            "state": "LIVE",
        }


class Event(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A task began or ended.

    `execution` numbers the executions within a job: a task in a loop has several.
    """

    at: str
    task: str
    execution: int
    state: str
    error: str = ""
    input_parameters: dict[str, Any] = {}
    output_parameters: dict[str, Any] = {}
    input_artifacts: dict[str, list[Artifact]] = {}
    output_artifacts: dict[str, list[Artifact]] = {}


def write(folder: Path, event: Event) -> None:
    """Append one line; small appends are atomic between the runner's threads."""
    with (folder / EVENTS_FILE).open("ab") as out:
        out.write(msgspec.json.encode(event) + b"\n")


def read(folder: Path) -> list[Event]:
    """The events so far, the oldest first."""
    try:
        lines = (folder / EVENTS_FILE).read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    events: list[Event] = []
    for line in lines:
        try:
            events.append(msgspec.json.decode(line, type=Event))
        except msgspec.DecodeError:
            continue
    return events


def task_details(
    job: Mapping[str, Any], tasks: Iterable[str], events: Iterable[Event]
) -> list[dict[str, Any]]:
    """`jobDetail.taskDetails`: the pipeline itself first, then its tasks.

    Args:
        job: the stored job, for its state and times.
        tasks: the names of the leaf tasks.
        events: what happened.
    """
    created = job["createTime"]
    root = str(1)
    details: list[dict[str, Any]] = []
    for number, name in enumerate(tasks, start=2):
        details.append(
            {
                "taskId": str(number),
                "parentTaskId": root,
                "taskName": name,
                "createTime": created,
                "state": "PENDING",
                "pipelineTaskStatus": [{"updateTime": created, "state": "PENDING"}],
            }
        )
    by_execution: dict[int, dict[str, Any]] = {}
    for event in events:
        detail = by_execution.get(event.execution)
        if detail is None:
            detail = next(
                (
                    one
                    for one in details
                    if one["taskName"] == event.task and one["state"] == "PENDING"
                ),
                None,
            )
            if detail is None:
                detail = {
                    "taskId": str(len(details) + 2),
                    "parentTaskId": root,
                    "taskName": event.task,
                    "createTime": event.at,
                    "pipelineTaskStatus": [],
                }
                details.append(detail)
            by_execution[event.execution] = detail
        _apply(detail, event)
    _close(details, job)
    own: dict[str, Any] = {
        "taskId": root,
        "taskName": job["pipelineSpec"]["pipelineInfo"]["name"],
        "createTime": created,
        "state": job["state"].removeprefix("PIPELINE_STATE_"),
    }
    for field in ("startTime", "endTime", "error"):
        if field in job:
            own[field] = job[field]
    return [own, *details]


def failed_tasks(events: Iterable[Event]) -> list[Event]:
    """The last event of each task execution that failed."""
    return [event for event in events if event.state == "FAILED"]


def _apply(detail: dict[str, Any], event: Event) -> None:
    detail["state"] = event.state
    status: dict[str, Any] = {"updateTime": event.at, "state": event.state}
    if event.state == "RUNNING":
        detail.setdefault("startTime", event.at)
    elif event.state in _FINAL:
        detail["endTime"] = event.at
    if event.error:
        # 9 is FAILED_PRECONDITION, with which Vertex reports a task that exited non-zero.
        detail["error"] = status["error"] = {"code": 9, "message": event.error}
    detail["pipelineTaskStatus"].append(status)
    execution = detail.setdefault(
        "execution",
        {"displayName": event.task, "schemaTitle": "system.ContainerExecution", "metadata": {}},
    )
    execution["state"] = {"RUNNING": "RUNNING", "SUCCEEDED": "COMPLETE"}.get(event.state, "FAILED")
    for prefix, parameters in (
        ("input", event.input_parameters),
        ("output", event.output_parameters),
    ):
        for name, value in parameters.items():
            execution["metadata"][f"{prefix}:{name}"] = value
    for field, artifacts in (
        ("inputs", event.input_artifacts),
        ("outputs", event.output_artifacts),
    ):
        if artifacts:
            detail[field] = {
                name: {"artifacts": [one.shown() for one in many]}
                for name, many in artifacts.items()
            }


def _close(details: list[dict[str, Any]], job: Mapping[str, Any]) -> None:
    """Tasks that nothing was heard of again when the job ended."""
    state = job["state"]
    never, cut = {
        "PIPELINE_STATE_SUCCEEDED": ("SKIPPED", "SKIPPED"),
        "PIPELINE_STATE_FAILED": ("NOT_TRIGGERED", "FAILED"),
        "PIPELINE_STATE_CANCELLED": ("CANCELLED", "CANCELLED"),
    }.get(state, ("", ""))
    if not never:
        return
    for detail in details:
        if detail["state"] not in _FINAL:
            detail["state"] = never if detail["state"] == "PENDING" else cut
            detail["endTime"] = job["endTime"]
