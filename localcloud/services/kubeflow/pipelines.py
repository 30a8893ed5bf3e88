"""Pipelines and their versions, uploaded as the YAML that kfp's compiler writes."""

from __future__ import annotations

import uuid
from typing import Any, Final, final

import yaml
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.routing import BaseRoute

from localcloud.rest.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from localcloud.rest.operations import now
from localcloud.rest.store import Documents
from localcloud.services.kubeflow.answers import MAX_BODY_BYTES, Document, route
from localcloud.services.kubeflow.listing import page
from localcloud.services.vertex import pipeline_spec

_PIPELINE: Final = "pipeline:"
_VERSION: Final = "version:"


@final
class Pipelines:
    """Pipelines by id, versions by the pipeline's id and their own."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def routes(self) -> list[BaseRoute]:
        """For the application of all services."""
        one = "/pipelines/{id}"
        version = f"{one}/versions/{{version}}"
        return [
            route("/pipelines/upload", "POST", self._upload),
            route("/pipelines/upload_version", "POST", self._upload_version),
            route("/pipelines/names/{name}", "GET", self._get_by_name),
            route("/pipelines", "GET", self._list),
            route(f"{one}/versions", "GET", self._list_versions),
            route(version, "GET", self._get_version),
            route(version, "DELETE", self._delete_version),
            route(one, "GET", self._get),
            route(one, "DELETE", self._delete),
        ]

    def version(self, pipeline: str, version: str) -> dict[str, Any]:
        """One version of a pipeline, with its spec.

        Raises:
            NotFound: there is none.
        """
        found = self._documents.get(f"{_VERSION}{pipeline}:{version}")
        if found is None:
            raise NotFound(f"PipelineVersion {version} of pipeline {pipeline} not found")
        return found

    async def _upload(self, request: Request) -> Document:
        spec = await _uploaded(request)
        query = request.query_params
        name = query.get("name") or query.get("display_name") or spec["pipelineInfo"]["name"]
        if self._named(name) is not None:
            raise AlreadyExists(
                f"Failed to create a new pipeline. The name {name} already exists. Please specify "
                "a new name"
            )
        made = {
            "pipeline_id": str(uuid.uuid4()),
            "display_name": query.get("display_name") or name,
            "name": name,
            "description": query.get("description", ""),
            "created_at": now(),
        }
        with self._documents.transaction():
            self._documents.put(f"{_PIPELINE}{made['pipeline_id']}", made)
            # The first version has the pipeline's name.
            self._add(made["pipeline_id"], name, made["description"], spec)
        return made

    async def _upload_version(self, request: Request) -> Document:
        spec = await _uploaded(request)
        query = request.query_params
        pipeline = self._find(query.get("pipelineid", ""))["pipeline_id"]
        name = query.get("name") or query.get("display_name") or ""
        if not name:
            raise InvalidArgument("name of a pipeline version must not be empty")
        if any(one["name"] == name for one in self._versions(pipeline)):
            raise AlreadyExists(
                f"Failed to create a new pipeline version. The name {name} already exists for "
                f"pipeline {pipeline}. Please specify a new name"
            )
        return self._add(pipeline, name, query.get("description", ""), spec)

    def _add(
        self, pipeline: str, name: str, description: str, spec: dict[str, Any]
    ) -> dict[str, Any]:
        made = {
            "pipeline_id": pipeline,
            "pipeline_version_id": str(uuid.uuid4()),
            "display_name": name,
            "name": name,
            "description": description,
            "created_at": now(),
            "pipeline_spec": spec,
        }
        self._documents.put(f"{_VERSION}{pipeline}:{made['pipeline_version_id']}", made)
        return made

    async def _list(self, request: Request) -> Document:
        every = [stored.value for stored in self._documents.list(_PIPELINE)]
        return page(every, request.query_params, "pipelines")

    async def _list_versions(self, request: Request) -> Document:
        pipeline = self._find(request.path_params["id"])["pipeline_id"]
        return page(self._versions(pipeline), request.query_params, "pipeline_versions")

    async def _get(self, request: Request) -> Document:
        return self._find(request.path_params["id"])

    async def _get_by_name(self, request: Request) -> Document:
        name = request.path_params["name"]
        found = self._named(name)
        if found is None:
            raise NotFound(f"Pipeline {name} not found")
        return found

    async def _get_version(self, request: Request) -> Document:
        return self.version(request.path_params["id"], request.path_params["version"])

    async def _delete(self, request: Request) -> Document:
        pipeline = self._find(request.path_params["id"])["pipeline_id"]
        versions = self._versions(pipeline)
        if versions and request.query_params.get("cascade") != "true":
            raise FailedPrecondition(
                f"Failed to delete pipeline {pipeline}: it has {len(versions)} versions; delete "
                "them first"
            )
        with self._documents.transaction():
            for one in versions:
                self._documents.delete(f"{_VERSION}{pipeline}:{one['pipeline_version_id']}")
            self._documents.delete(f"{_PIPELINE}{pipeline}")
        return {}

    async def _delete_version(self, request: Request) -> Document:
        found = self.version(request.path_params["id"], request.path_params["version"])
        self._documents.delete(f"{_VERSION}{found['pipeline_id']}:{found['pipeline_version_id']}")
        return {}

    def _find(self, number: str) -> dict[str, Any]:
        found = self._documents.get(f"{_PIPELINE}{number}")
        if found is None:
            raise NotFound(f"Pipeline {number} not found")
        return found

    def _named(self, name: str) -> dict[str, Any] | None:
        every = (stored.value for stored in self._documents.list(_PIPELINE))
        return next((one for one in every if one["name"] == name), None)

    def _versions(self, pipeline: str) -> list[dict[str, Any]]:
        return [stored.value for stored in self._documents.list(f"{_VERSION}{pipeline}:")]


async def _uploaded(request: Request) -> dict[str, Any]:
    async with request.form(max_part_size=MAX_BODY_BYTES) as form:
        file = form.get("uploadfile")
        if not isinstance(file, UploadFile):
            raise InvalidArgument("the pipeline must be uploaded as the form's file `uploadfile`")
        content = await file.read(MAX_BODY_BYTES + 1)
        name = file.filename or ""
    if len(content) > MAX_BODY_BYTES:
        raise InvalidArgument(f"{name} has more than {MAX_BODY_BYTES} bytes")
    if not name.endswith((".yaml", ".yml")):
        raise Unimplemented(f"The local cloud takes pipelines as .yaml, got {name!r}.")
    try:
        documents = list(yaml.safe_load_all(content))
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{name} is no YAML: {error}") from None
    return plain(documents[0]) if len(documents) == 1 else with_platform(documents)


def plain(spec: Any) -> dict[str, Any]:
    """A compiled pipeline as a request or a file holds it; only what can be run here.

    Raises:
        InvalidArgument: it is none.
        Unimplemented: it needs what the local cloud lacks.
    """
    if isinstance(spec, dict) and "pipeline_spec" in spec:
        return with_platform([spec["pipeline_spec"], spec.get("platform_spec")])
    if not isinstance(spec, dict):
        raise InvalidArgument("pipeline_spec must be a compiled pipeline, compiled by kfp 2")
    pipeline_spec.check_spec(spec)
    return spec


def with_platform(documents: list[Any]) -> dict[str, Any]:
    """A pipeline beside its platform configuration, which must be empty."""
    if any(documents[1:]):
        raise Unimplemented(
            "The pipeline has a platform_spec (kfp-kubernetes); the local cloud runs steps as "
            "processes, which have no pod to be configured."
        )
    return plain(documents[0] if documents else None)
