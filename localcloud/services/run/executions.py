"""Executions of Cloud Run jobs, and their tasks: processes that end.

An execution outlives the service that runs it: after a restart, tasks that were cut are run again
as another attempt, and the operation that the caller polls goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from localcloud.images import ImageNotFound, ImageNotRunnable, Images
from localcloud.processes import Supervisor
from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import FailedPrecondition, NotFound
from localcloud.rest.operations import Operations, now, seconds
from localcloud.rest.store import Documents
from localcloud.services.listing import children, page, page_answer
from localcloud.services.run import containers
from localcloud.services.run.conditions import condition
from localcloud.services.run.names import (
    KIND,
    check_etag,
    location_parent,
    process_name,
    project_of,
    public,
    short,
    suffix,
)
from localcloud.services.run.tasks import began, cancelled, ended, interrupted, new_task

log = logging.getLogger(__name__)

_PREFIX: Final = "run.projects.locations.jobs.executions"
# Cloud Run sends SIGTERM and gives a task this long.
_GRACE: Final = 10.0
# A job may ask for thousands of tasks at once; this is one machine.
MAX_PARALLEL: Final = max(2, os.cpu_count() or 2)
_LOG_LINES: Final = 10
_MANY_TASKS: Final = 100


class Executions:
    """Runs and keeps the executions of every job."""

    def __init__(
        self,
        documents: Documents,
        operations: Operations,
        supervisor: Supervisor,
        images: Images,
    ) -> None:
        self._documents = documents
        self._operations = operations
        self._supervisor = supervisor
        self._images = images
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._next_count: dict[str, float] = {}

    def handlers(self) -> dict[str, Handler]:
        """By method id."""
        return {
            f"{_PREFIX}.get": self._get,
            f"{_PREFIX}.list": self._list,
            f"{_PREFIX}.cancel": self._cancel,
            f"{_PREFIX}.delete": self._delete,
            f"{_PREFIX}.tasks.get": self._get_task,
            f"{_PREFIX}.tasks.list": self._list_tasks,
        }

    def recover(self) -> None:
        """Go on with the executions that a restart cut, their operations included.

        Called after `Operations.recover`, which has closed every operation that was open.
        """
        for stored in self._documents.list("execution:"):
            if "completionTime" in stored.value:
                continue
            name = stored.key.removeprefix("execution:")
            operation = stored.value["_operation"]
            with contextlib.suppress(NotFound):
                self._documents.change(f"operation:{operation}", _reopened)
            for key, task in children(self._documents, "task", name, "tasks"):
                if "startTime" in task and "completionTime" not in task:
                    self._documents.change(f"task:{key}", interrupted)
            self._begin(name)

    async def close(self) -> None:
        """Stop attending; the supervisor ends the processes. It goes on after the next start."""
        for run in self._runs.values():
            run.cancel()
        await asyncio.gather(*self._runs.values(), return_exceptions=True)

    async def run(
        self,
        job: Mapping[str, Any],
        template: Mapping[str, Any],
        image: str,
        *,
        validate_only: bool,
    ) -> dict[str, Any]:
        """Start an execution; its operation is done when the execution is."""
        parent = location_parent(job["name"])
        name = f"{job['name']}/executions/{short(job['name'])}-{suffix()}"
        count: int = template["taskCount"]
        execution: dict[str, Any] = {
            "name": name,
            "uid": str(uuid.uuid4()),
            "job": short(job["name"]),
            "generation": "1",
            "labels": template.get("labels") or {},
            "annotations": template.get("annotations") or {},
            "createTime": now(),
            "updateTime": now(),
            "launchStage": job.get("launchStage", "GA"),
            "parallelism": template.get("parallelism") or count,
            "taskCount": count,
            "template": template["template"],
            "reconciling": True,
            "conditions": [condition("Completed", "RECONCILING")],
            "etag": f'"{uuid.uuid4().hex}"',
            "_image": image,
        }
        metadata = _typed(execution)
        if validate_only:
            return self._operations.finished(parent, metadata, metadata)
        operation = self._operations.finished(parent, metadata, metadata)
        del operation["done"], operation["response"]
        execution["_operation"] = operation["name"]
        with self._documents.transaction():
            self._documents.put(f"operation:{operation['name']}", operation)
            self._documents.put(f"execution:{name}", execution)
            for index in range(count):
                task = new_task(execution, index)
                self._documents.put(f"task:{task['name']}", task)
            self._tell_job(execution, "EXECUTION_RUNNING", added=1)
        self._begin(name)
        return operation

    async def remove_all(self, job: str) -> None:
        """Cancel and delete every execution of a job."""
        for name, _ in children(self._documents, "execution", job, "executions"):
            await self._remove(name)

    def _begin(self, name: str) -> None:
        run = asyncio.create_task(self._execute(name), name=name)
        self._runs[name] = run
        run.add_done_callback(lambda _: self._runs.pop(name, None))

    async def _execute(self, name: str) -> None:
        execution = self._existing(name)
        self._change(name, lambda one: one.setdefault("startTime", now()))
        places = asyncio.Semaphore(min(execution["parallelism"], MAX_PARALLEL))
        tasks = children(self._documents, "task", name, "tasks")
        try:
            async with asyncio.TaskGroup() as group:
                for key, task in tasks:
                    if "completionTime" not in task:
                        group.create_task(self._attend(execution, key, places))
            self._complete(name)
        except Exception:
            log.exception("execution %s failed", name)
            self._complete(name, "The execution failed inside the local cloud; see its log.")

    async def _attend(
        self, execution: Mapping[str, Any], key: str, places: asyncio.Semaphore
    ) -> None:
        """Run one task, attempt after attempt, until it succeeds or has no retries left."""
        async with places:
            while True:
                stored = self._documents.change(f"task:{key}", began).value
                self._count(execution["name"])
                outcome = await self._attempt(execution, stored)
                done = self._documents.change(f"task:{key}", partial(ended, *outcome)).value
                self._count(execution["name"])
                if "completionTime" in done:
                    return

    async def _attempt(
        self, execution: Mapping[str, Any], task: Mapping[str, Any]
    ) -> tuple[int | None, str]:
        """One process of a task: its exit code (None after a timeout), and what went wrong."""
        container = execution["template"]["containers"][0]
        process = process_name(task["name"])
        env = {
            "GOOGLE_CLOUD_PROJECT": project_of(task["name"]),
            "GOOGLE_CLOUD_LOCATION": short(location_parent(task["name"])),
            **containers.literal_environment(container),
            "CLOUD_RUN_JOB": execution["job"],
            "CLOUD_RUN_EXECUTION": short(execution["name"]),
            "CLOUD_RUN_TASK_INDEX": str(task.get("index", 0)),
            "CLOUD_RUN_TASK_ATTEMPT": str(task.get("retried", 0)),
            "CLOUD_RUN_TASK_COUNT": str(execution["taskCount"]),
        }
        try:
            image = self._images.resolve(execution["_image"])
            workload = await self._supervisor.start(
                process,
                image,
                args=container.get("args"),
                override=container.get("command"),
                cwd=image.locate(container["workingDir"]) if "workingDir" in container else None,
                env=env,
            )
        except (ImageNotFound, ImageNotRunnable, OSError) as error:
            return 127, str(error)
        limit = task.get("timeout", "600s")
        try:
            last = await asyncio.wait_for(workload.wait(), seconds(limit))
        except TimeoutError:
            await workload.stop(_GRACE)
            return None, f"The configured timeout of {limit} was reached."
        finally:
            if workload.state == "exited":
                await self._supervisor.stop(process)
        if last.code == 0:
            return 0, ""
        lines = "\n".join(f"  {line}" for line in workload.tail(_LOG_LINES))
        what = "The container exited with an error."
        return last.code, f"{what} Its log ({workload.log_file}) ends:\n{lines}" if lines else what

    def _count(self, name: str, *, final: bool = False) -> None:
        """Bring an execution's counters up to date; those of a large one at most once a second."""
        loop_time = asyncio.get_running_loop().time()
        if not final and loop_time < self._next_count.get(name, 0.0):
            return
        tasks = [one for _, one in children(self._documents, "task", name, "tasks")]
        self._next_count[name] = loop_time + (1.0 if len(tasks) > _MANY_TASKS else 0.0)
        states = [one.get("_state") for one in tasks]
        counts = {
            "runningCount": states.count("running"),
            "succeededCount": states.count("succeeded"),
            "failedCount": states.count("failed"),
            "cancelledCount": states.count("cancelled"),
            "retriedCount": sum(one.get("retried", 0) for one in tasks),
        }

        def edit(execution: dict[str, Any]) -> None:
            for field, value in counts.items():
                execution.pop(field, None)
                if value:
                    execution[field] = value

        self._change(name, edit)

    def _complete(self, name: str, problem: str = "", *, on_request: bool = False) -> None:
        """Close an execution, its operation and its job's reference."""
        with contextlib.suppress(NotFound), self._documents.transaction():
            self._count(name, final=True)
            self._next_count.pop(name, None)
            execution = self._existing(name)
            if "completionTime" in execution:
                return
            failed = [
                one
                for _, one in children(self._documents, "task", name, "tasks")
                if one.get("_state") == "failed"
            ]
            if failed and not problem:
                said = failed[0]["lastAttemptResult"]
                code = said.get("exitCode")
                problem = (
                    f"Task {short(failed[0]['name'])} failed with "
                    + (f"exit code: {code} and " if code is not None else "")
                    + f"message: {said['status']['message']}"
                )
            terminal = condition("Completed", "SUCCEEDED")
            status = "EXECUTION_SUCCEEDED"
            if on_request:
                terminal = condition(
                    "Completed", "FAILED", "Execution cancelled.", execution_reason="CANCELLED"
                )
                status = "EXECUTION_CANCELLED"
            elif problem:
                terminal = condition(
                    "Completed", "FAILED", problem, execution_reason="NON_ZERO_EXIT_CODE"
                )
                status = "EXECUTION_FAILED"

            def edit(one: dict[str, Any]) -> None:
                one["completionTime"] = one["updateTime"] = now()
                one["conditions"] = [terminal]
                one["observedGeneration"] = one["generation"]
                one.pop("reconciling", None)

            execution = self._change(name, edit)
            outcome: dict[str, Any] = {"response": _typed(execution)}
            if on_request or problem:
                # google.rpc.Code CANCELLED and UNKNOWN.
                outcome = {
                    "error": {"code": 1 if on_request else 2, "message": terminal["message"]}
                }
            self._documents.change(
                f"operation:{execution['_operation']}",
                lambda one: one.update(done=True, metadata=_typed(execution), **outcome),
            )
            self._tell_job(execution, status)

    def _tell_job(self, execution: Mapping[str, Any], status: str, added: int = 0) -> None:
        job = execution["name"].rpartition("/executions/")[0]

        def edit(one: dict[str, Any]) -> None:
            one["executionCount"] = one.get("executionCount", 0) + added
            latest = one.get("latestCreatedExecution", {})
            if added or latest.get("name") == short(execution["name"]):
                reference = {
                    "name": short(execution["name"]),
                    "createTime": execution["createTime"],
                    "completionStatus": status,
                }
                if "completionTime" in execution:
                    reference["completionTime"] = execution["completionTime"]
                one["latestCreatedExecution"] = reference

        with contextlib.suppress(NotFound):
            self._documents.change(f"job:{job}", edit)

    async def _end(self, name: str) -> None:
        """Cancel an execution that runs: its tasks are stopped."""
        run = self._runs.get(name)
        if run is not None:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
        await self._stop_processes(name)
        for key, task in children(self._documents, "task", name, "tasks"):
            if "completionTime" not in task:
                self._documents.change(f"task:{key}", cancelled)
        self._complete(name, on_request=True)

    async def _stop_processes(self, name: str) -> None:
        tasks = children(self._documents, "task", name, "tasks")
        names = [process_name(key) for key, _ in tasks]
        await asyncio.gather(*(self._supervisor.stop(one, _GRACE) for one in names))

    async def _remove(self, name: str) -> None:
        if "completionTime" not in (self._documents.get(f"execution:{name}") or {}):
            await self._end(name)
        with self._documents.transaction():
            for key, _ in children(self._documents, "task", name, "tasks"):
                self._documents.delete(f"task:{key}")
            self._documents.delete(f"execution:{name}")

    async def _get(self, request: Request) -> dict[str, Any]:
        return public(self._existing(request.path["name"]))

    async def _list(self, request: Request) -> dict[str, Any]:
        found = children(self._documents, "execution", request.path["parent"], "executions")
        found.sort(key=lambda pair: pair[1]["createTime"], reverse=True)
        items = [(f"{index:09d}", public(one)) for index, (_, one) in enumerate(found)]
        return page_answer("executions", page(items, request.query))

    async def _cancel(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        execution = self._existing(name)
        body: Mapping[str, Any] = request.body or {}
        check_etag(execution, body.get("etag"))
        parent = location_parent(name)
        if "completionTime" in execution:
            raise FailedPrecondition(
                f"Execution '{short(name)}' has completed and cannot be cancelled."
            )
        if body.get("validateOnly"):
            return self._operations.finished(parent, _typed(execution))

        async def cancel() -> dict[str, Any]:
            await self._end(name)
            return _typed(self._existing(name))

        return await self._operations.start(parent, cancel(), _typed(execution))

    async def _delete(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        execution = self._existing(name)
        check_etag(execution, request.query.get("etag"))
        answer = _typed({**execution, "deleteTime": now()})
        parent = location_parent(name)
        if request.query.get("validateOnly"):
            return self._operations.finished(parent, answer)

        async def remove() -> dict[str, Any]:
            await self._remove(name)
            return answer

        return await self._operations.start(parent, remove(), answer)

    async def _get_task(self, request: Request) -> dict[str, Any]:
        task = self._documents.get(f"task:{request.path['name']}")
        if task is None:
            raise NotFound(
                f"Resource '{short(request.path['name'])}' of kind 'TASK' does not exist."
            )
        return public(task)

    async def _list_tasks(self, request: Request) -> dict[str, Any]:
        found = children(self._documents, "task", request.path["parent"], "tasks")
        found.sort(key=lambda pair: (pair[1]["execution"], pair[1].get("index", 0)))
        items = [(f"{index:09d}", public(one)) for index, (_, one) in enumerate(found)]
        return page_answer("tasks", page(items, request.query))

    def _existing(self, name: str) -> dict[str, Any]:
        execution = self._documents.get(f"execution:{name}")
        if execution is None:
            raise NotFound(f"Resource '{short(name)}' of kind 'EXECUTION' does not exist.")
        return execution

    def _change(self, name: str, edit: Any) -> dict[str, Any]:
        return self._documents.change(f"execution:{name}", edit).value


def _reopened(operation: dict[str, Any]) -> None:
    operation.pop("error", None)
    operation.pop("done", None)


def _typed(execution: Mapping[str, Any]) -> dict[str, Any]:
    return {"@type": f"{KIND}Execution", **public(execution)}
