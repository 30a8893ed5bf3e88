"""A task of an execution, as a document: what each event of its life makes of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from localcloud.rest.operations import now
from localcloud.services.run.conditions import condition
from localcloud.services.run.names import short


def new_task(execution: Mapping[str, Any], index: int) -> dict[str, Any]:
    """A task that waits for its turn."""
    template = execution["template"]
    return {
        "name": f"{execution['name']}/tasks/{short(execution['name'])}-task{index}",
        "uid": str(uuid.uuid4()),
        "generation": "1",
        "job": execution["job"],
        "execution": short(execution["name"]),
        "createTime": execution["createTime"],
        "scheduledTime": execution["createTime"],
        "updateTime": execution["createTime"],
        "index": index,
        "containers": template["containers"],
        "maxRetries": template["maxRetries"],
        "timeout": template["timeout"],
        "retried": 0,
        "reconciling": True,
        "conditions": [condition("Completed", "PENDING")],
        "etag": f'"{uuid.uuid4().hex}"',
        "_interruptions": 0,
    }


def began(task: dict[str, Any]) -> None:
    """An attempt starts."""
    task.setdefault("startTime", now())
    task["updateTime"] = now()
    task["_state"] = "running"
    task["conditions"] = [condition("Completed", "RECONCILING"), condition("Started", "SUCCEEDED")]


def interrupted(task: dict[str, Any]) -> None:
    """The local cloud was cut, not the task at fault: another attempt that costs no retry."""
    task["retried"] = task.get("retried", 0) + 1
    task["_interruptions"] = task.get("_interruptions", 0) + 1
    task["_state"] = "pending"


def ended(code: int | None, message: str, task: dict[str, Any]) -> None:
    """An attempt is over: the task has succeeded, is tried again, or has failed."""
    task["updateTime"] = now()
    result: dict[str, Any] = {"status": {}}
    if code is not None:
        result["termSignal" if code < 0 else "exitCode"] = abs(code)
    if message:
        result["status"] = {"code": 2, "message": message}
    task["lastAttemptResult"] = result
    if code == 0:
        _close(task, "succeeded", condition("Completed", "SUCCEEDED"))
    elif task["retried"] - task["_interruptions"] < task["maxRetries"]:
        task["retried"] += 1
        task["conditions"] = [condition("Completed", "RECONCILING", message)]
    else:
        reason = "NON_ZERO_EXIT_CODE"
        _close(task, "failed", condition("Completed", "FAILED", message, execution_reason=reason))


def cancelled(task: dict[str, Any]) -> None:
    """The execution was cancelled before the task was done."""
    said = condition("Completed", "FAILED", "Task cancelled.", execution_reason="CANCELLED")
    _close(task, "cancelled", said)


def _close(task: dict[str, Any], state: str, terminal: dict[str, Any]) -> None:
    task["_state"] = state
    task["completionTime"] = task["updateTime"] = now()
    task["conditions"] = [terminal]
    task["observedGeneration"] = task["generation"]
    task.pop("reconciling", None)
