"""Cloud Run jobs: what an execution runs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from localcloud.images import Images
from localcloud.rest.app import Handler, Request
from localcloud.rest.discovery import Api
from localcloud.rest.errors import (
    AlreadyExists,
    ApiError,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from localcloud.rest.operations import Operations, now, seconds
from localcloud.rest.store import Documents
from localcloud.services.listing import children, page, page_answer
from localcloud.services.run import containers
from localcloud.services.run.conditions import condition, settle
from localcloud.services.run.executions import Executions
from localcloud.services.run.iam import Policies
from localcloud.services.run.names import (
    KIND,
    check_etag,
    check_id,
    location_parent,
    public,
    short,
)

SCHEMA: Final = "GoogleCloudRunV2Job"
_PREFIX: Final = "run.projects.locations.jobs"
# https://cloud.google.com/run/quotas: tasks of one execution.
MAX_TASKS: Final = 10_000
MAX_RETRIES: Final = 10


class Jobs:
    """The jobs of every project in one local cloud."""

    def __init__(
        self,
        api: Api,
        documents: Documents,
        operations: Operations,
        executions: Executions,
        images: Images,
    ) -> None:
        self._api = api
        self._documents = documents
        self._operations = operations
        self._executions = executions
        self._images = images
        self._policies = Policies(documents, self._existing)

    def handlers(self) -> dict[str, Handler]:
        """By method id."""
        return {
            f"{_PREFIX}.create": self._create,
            f"{_PREFIX}.get": self._get,
            f"{_PREFIX}.list": self._list,
            f"{_PREFIX}.patch": self._patch,
            f"{_PREFIX}.delete": self._delete,
            f"{_PREFIX}.run": self._run,
            f"{_PREFIX}.getIamPolicy": self._policies.get,
            f"{_PREFIX}.setIamPolicy": self._policies.set,
            f"{_PREFIX}.testIamPermissions": self._policies.test,
        }

    async def _create(self, request: Request) -> dict[str, Any]:
        parent = request.path["parent"]
        name = f"{parent}/jobs/{check_id('job_id', request.query.get('jobId'))}"
        return await self._insert(name, request.body, bool(request.query.get("validateOnly")))

    async def _insert(
        self, name: str, body: Mapping[str, Any], validate_only: bool
    ) -> dict[str, Any]:
        if body.get("name") not in (None, "", name):
            raise InvalidArgument(f"job.name: '{body['name']}' must be empty or '{name}'.")
        if self._documents.get(f"job:{name}") is not None:
            raise AlreadyExists(f"Resource '{short(name)}' already exists.")
        job = {
            **self._checked(name, body),
            "uid": str(uuid.uuid4()),
            "generation": "1",
            "createTime": now(),
            "executionCount": 0,
        }
        return self._save(job, validate_only)

    async def _patch(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        validate_only = bool(request.query.get("validateOnly"))
        old = self._documents.get(f"job:{name}")
        if old is None:
            if request.query.get("allowMissing"):
                check_id("job_id", short(name))
                return await self._insert(name, request.body, validate_only)
            raise self._missing(name)
        check_etag(old, request.body.get("etag"))
        given = self._api.validate_body(SCHEMA, public(old))
        kept = {key: value for key, value in old.items() if key not in given}
        job = {**kept, **self._checked(name, request.body)}
        job["generation"] = str(int(old["generation"]) + 1)
        return self._save(job, validate_only)

    def _save(self, job: dict[str, Any], validate_only: bool) -> dict[str, Any]:
        parent = location_parent(job["name"])
        container = job["template"]["template"]["containers"][0]
        job["etag"] = f'"{uuid.uuid4().hex}"'
        job["updateTime"] = now()
        failure: ApiError | None = None
        try:
            image = containers.resolve(self._images, container["image"])
            containers.check_runnable(image, container)
        except ApiError as error:
            failure = error
        if failure is None:
            settle(job, condition("Ready", "SUCCEEDED"))
        else:
            reason = "CONTAINER_MISSING" if isinstance(failure, NotFound) else ""
            settle(job, condition("Ready", "FAILED", failure.message, reason=reason))
        if not validate_only:
            self._documents.put(f"job:{job['name']}", job)
        operation = self._operations.finished(parent, _typed(job), _typed(job))
        if failure is None:
            return operation
        # As on Google: the job is there, and says what keeps it from running.
        del operation["response"]
        operation["error"] = failure.rpc_status()
        self._documents.put(f"operation:{operation['name']}", operation)
        return operation

    def _checked(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        for field in ("startExecutionToken", "runExecutionToken"):
            if body.get(field):
                raise Unimplemented(
                    f"job.{field} is not supported by the local cloud; call run after the change."
                )
        template = dict(body.get("template") or {})
        task = dict(template.get("template") or {})
        container = containers.check_template(task, "template.template", "job")
        count = template.get("taskCount", 1)
        if not 1 <= count <= MAX_TASKS:
            raise InvalidArgument(f"template.task_count: {count} is not between 1 and {MAX_TASKS}.")
        if template.get("parallelism", 0) < 0:
            raise InvalidArgument(
                f"template.parallelism: {template['parallelism']} must not be negative."
            )
        retries = task.get("maxRetries", 3)
        if not 0 <= retries <= MAX_RETRIES:
            raise InvalidArgument(
                f"template.template.max_retries: {retries} is not between 0 and {MAX_RETRIES}."
            )
        if template.get("delayExecution"):
            raise Unimplemented("template.delay_execution is not supported by the local cloud.")
        task = {"timeout": "600s", **task, "maxRetries": retries, "containers": [dict(container)]}
        return {
            "launchStage": "GA",
            **body,
            "name": name,
            "template": {**template, "taskCount": count, "template": task},
        }

    async def _get(self, request: Request) -> dict[str, Any]:
        return public(self._existing(request.path["name"]))

    async def _list(self, request: Request) -> dict[str, Any]:
        found = children(self._documents, "job", request.path["parent"], "jobs")
        items = [(name, public(one)) for name, one in found]
        return page_answer("jobs", page(items, request.query))

    async def _delete(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        job = self._existing(name)
        check_etag(job, request.query.get("etag"))
        answer = _typed({**job, "deleteTime": now()})
        parent = location_parent(name)
        if request.query.get("validateOnly"):
            return self._operations.finished(parent, answer)
        self._documents.delete(f"job:{name}")
        self._policies.forget(name)

        async def remove() -> dict[str, Any]:
            await self._executions.remove_all(name)
            return answer

        return await self._operations.start(parent, remove(), answer)

    async def _run(self, request: Request) -> dict[str, Any]:
        job = self._existing(request.path["name"])
        body: Mapping[str, Any] = request.body or {}
        check_etag(job, body.get("etag"))
        template = _overridden(job["template"], body.get("overrides") or {})
        image = containers.resolve(self._images, template["template"]["containers"][0]["image"])
        containers.check_runnable(image, template["template"]["containers"][0])
        return await self._executions.run(
            job, template, image.name, validate_only=bool(body.get("validateOnly"))
        )

    def _existing(self, name: str) -> dict[str, Any]:
        job = self._documents.get(f"job:{name}")
        if job is None:
            raise self._missing(name)
        return job

    def _missing(self, name: str) -> NotFound:
        parts = name.split("/")
        return NotFound(
            f"Resource '{short(name)}' of kind 'JOB' in region '{parts[3]}' in project "
            f"'{parts[1]}' does not exist."
        )


def _overridden(template: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The execution template with the overrides of one run.

    Raises:
        InvalidArgument: an override that fits no container, or a value out of range.
        Unimplemented: an override that the local cloud cannot honour.
    """
    if overrides.get("delayExecution"):
        raise Unimplemented("overrides.delay_execution is not supported by the local cloud.")
    result = dict(template)
    task = dict(template["template"])
    container = dict(task["containers"][0])
    if "taskCount" in overrides:
        if not 1 <= overrides["taskCount"] <= MAX_TASKS:
            raise InvalidArgument(
                f"overrides.task_count: {overrides['taskCount']} is not between 1 and {MAX_TASKS}."
            )
        result["taskCount"] = overrides["taskCount"]
    if "timeout" in overrides:
        if seconds(overrides["timeout"]) <= 0:
            raise InvalidArgument(f"overrides.timeout: {overrides['timeout']} is out of range.")
        task["timeout"] = overrides["timeout"]
    changes: list[Mapping[str, Any]] = overrides.get("containerOverrides") or []
    if len(changes) > 1:
        raise InvalidArgument("overrides.container_overrides: the job has only one container.")
    for change in changes:
        if change.get("name") not in (None, "", container.get("name", "")):
            raise InvalidArgument(
                f"overrides.container_overrides[0].name: the job has no container named "
                f"'{change['name']}'."
            )
        if change.get("args") and change.get("clearArgs"):
            raise InvalidArgument(
                "overrides.container_overrides[0]: args and clear_args exclude each other."
            )
        if change.get("args"):
            container["args"] = change["args"]
        if change.get("clearArgs"):
            container.pop("args", None)
        env = {one["name"]: one for one in container.get("env") or []}
        env.update({one.get("name", ""): one for one in change.get("env") or []})
        container["env"] = list(env.values())
    task["containers"] = [container]
    containers.check_template(task, "overrides", "job")
    result["template"] = task
    return result


def _typed(job: Mapping[str, Any]) -> dict[str, Any]:
    return {"@type": f"{KIND}Job", **public(job)}
