"""The Model Registry: models, their versions and aliases."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, final

from localcloud.images import ImageNotFound, Images
from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from localcloud.rest.listing import mask_fields, page, property_fields
from localcloud.rest.operations import Operations, now
from localcloud.rest.store import Documents
from localcloud.services.vertex import names

DEFAULT_ALIAS: Final = "default"
_ALIAS: Final = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9-]")
_MODEL_ID: Final = re.compile(r"[a-z0-9_][a-z0-9_-]{0,62}")
_MUTABLE: Final = ("displayName", "description", "versionDescription", "labels", "metadata")
_TYPE: Final = "type.googleapis.com/google.cloud.aiplatform.v1."
_FIELDS: Final = {
    **property_fields(
        "display_name",
        "create_time",
        "update_time",
        "labels.",
        "version_create_time",
        "version_update_time",
        "version_id",
    ),
    "model": lambda item: item["name"].rpartition("/")[2],
    "version_aliases": lambda item: item.get("versionAliases", []),
    "base_model_name": lambda item: None,
}
# Our own keys within a stored version; never shown.
RESOLVED_IMAGE: Final = "_image"

DeployedTo = Callable[[str, str | None], list[dict[str, str]]]


@final
class Models:
    """Models by name, each with versions numbered from 1.

    Args:
        documents: the store.
        operations: of the service.
        images: where serving images are found.
        deployed_to: the endpoints that serve a model, or one version of it.
    """

    def __init__(
        self,
        documents: Documents,
        operations: Operations,
        images: Images,
        deployed_to: DeployedTo,
    ) -> None:
        self._documents = documents
        self._operations = operations
        self._images = images
        self._deployed_to = deployed_to

    def handlers(self) -> dict[str, Handler]:
        """Handlers by method id."""
        prefix = "aiplatform.projects.locations.models."
        return {
            f"{prefix}upload": self.upload,
            f"{prefix}get": self.get,
            f"{prefix}list": self.list,
            f"{prefix}listVersions": self.list_versions,
            f"{prefix}mergeVersionAliases": self.merge_version_aliases,
            f"{prefix}patch": self.patch,
            f"{prefix}delete": self.delete,
            f"{prefix}deleteVersion": self.delete_version,
        }

    def resolve(self, name: str) -> dict[str, Any]:
        """The stored version that a name means: `models/M`, `models/M@2` or `models/M@alias`.

        Raises:
            NotFound: no such model, version or alias.
        """
        resource = names.parse(name, "models")
        wanted = resource.version or DEFAULT_ALIAS
        stored = (
            self._documents.get(_version_key(resource.name, wanted))
            if (wanted.isdigit())
            else next(
                (one for one in self._versions(resource.name) if wanted in one["versionAliases"]),
                None,
            )
        )
        if stored is None:
            raise NotFound(f"The Model '{name}' does not exist.")
        return stored

    def show(self, version: Mapping[str, Any]) -> dict[str, Any]:
        """A version as the API shows it."""
        shown = {key: value for key, value in version.items() if not key.startswith("_")}
        found = self._documents.find(_version_key(version["name"], version["versionId"]))
        if found is not None:
            shown["etag"] = found.etag
        deployed = self._deployed_to(version["name"], version["versionId"])
        if deployed:
            shown["deployedModels"] = deployed
        return shown

    async def upload(self, request: Request) -> dict[str, Any]:
        """Register a model, or with `parentModel` a new version of one."""
        parent = request.path["parent"]
        model: dict[str, Any] = request.body.get("model") or {}
        names.check_labels(model.get("labels"))
        aliases: list[str] = model.get("versionAliases", [])
        for alias in aliases:
            _check_alias(alias)
        container = model.get("containerSpec")
        image: str | None = None
        if container is not None:
            image = self._image(container)
        uri = model.get("artifactUri", "")
        if uri and not uri.startswith("gs://"):
            raise InvalidArgument(
                f"Invalid model.artifact_uri '{uri}': it must be a Cloud Storage folder, gs://..."
            )
        parent_model: str = request.body.get("parentModel", "")
        with self._documents.transaction():
            if parent_model:
                version = self._next_version(parent, parent_model, request.body, model)
            else:
                version = self._first_version(parent, request.body, model)
            if image is not None:
                version[RESOLVED_IMAGE] = image
            name = version["name"]
            key = _version_key(name, version["versionId"])
            self._documents.create(key, version)
            wanted = aliases if parent_model else [*aliases, DEFAULT_ALIAS]
            self._move_aliases(version, set(wanted), set())
        return self._operations.finished(
            parent,
            {
                "@type": f"{_TYPE}UploadModelResponse",
                "model": name,
                "modelVersionId": version["versionId"],
            },
            _metadata("UploadModelOperationMetadata"),
        )

    def _image(self, container: Mapping[str, Any]) -> str:
        uri = container.get("imageUri")
        if not uri:
            raise InvalidArgument("model.container_spec.image_uri is required.")
        for field in ("predictRoute", "healthRoute"):
            route = container.get(field)
            if route is not None and not route.startswith("/"):
                raise InvalidArgument(
                    f"model.container_spec.{field} '{route}' must begin with a slash."
                )
        if container.get("grpcPorts"):
            raise InvalidArgument(
                "model.container_spec.grpc_ports is not supported by the local cloud: "
                "containers are called over HTTP."
            )
        try:
            # Vertex keeps its own copy of the image at upload; the digest is the same promise.
            return self._images.resolve(uri).name
        except ImageNotFound as error:
            raise FailedPrecondition(
                f"{error} Build and push it before uploading the model."
            ) from None

    def _first_version(
        self, parent: str, body: Mapping[str, Any], model: dict[str, Any]
    ) -> dict[str, Any]:
        names.check_display_name(model.get("displayName"))
        chosen: str = body.get("modelId", "")
        if chosen and not _MODEL_ID.fullmatch(chosen):
            raise InvalidArgument(
                f"Invalid model_id '{chosen}': at most 63 characters of [a-z0-9_-], the first not "
                "a hyphen."
            )
        name = f"{parent}/models/{chosen or names.new_id()}"
        if self._documents.get(_model_key(name)) is not None:
            raise AlreadyExists(f"The Model '{name}' already exists.")
        time = now()
        self._documents.put(_model_key(name), {"name": name, "createTime": time, "versions": 1})
        return _new_version(name, "1", model, created=time, time=time)

    def _next_version(
        self, parent: str, parent_model: str, body: Mapping[str, Any], model: dict[str, Any]
    ) -> dict[str, Any]:
        resource = names.parse(parent_model, "models")
        if resource.parent != parent:
            raise InvalidArgument(
                f"parent_model '{parent_model}' must be in the location '{parent}'."
            )
        if body.get("modelId"):
            raise InvalidArgument("model_id cannot be set together with parent_model.")
        record = self._documents.get(_model_key(resource.name))
        if record is None:
            raise NotFound(f"The Model '{resource.name}' does not exist.")
        record["versions"] += 1
        self._documents.put(_model_key(resource.name), record)
        before = self.resolve(resource.name)
        model = {"displayName": before["displayName"], **model}
        names.check_display_name(model["displayName"])
        return _new_version(
            resource.name, str(record["versions"]), model, created=record["createTime"], time=now()
        )

    async def get(self, request: Request) -> dict[str, Any]:
        """The default version, or the one after `@`."""
        return self.show(self.resolve(request.path["name"]))

    async def list(self, request: Request) -> dict[str, Any]:
        """The default version of each model, the newest model first unless ordered otherwise."""
        found = [
            self.show(version)
            for stored in self._documents.list(f"version:{request.path['parent']}/models/")
            for version in (stored.value,)
            if DEFAULT_ALIAS in version["versionAliases"]
        ]
        return page(found, request.query, _FIELDS, key="models", default_order="create_time desc")

    async def list_versions(self, request: Request) -> dict[str, Any]:
        """All versions of a model, the oldest first unless ordered otherwise."""
        resource = names.parse(request.path["name"], "models")
        found = [self.show(version) for version in self._versions(resource.name)]
        if not found:
            raise NotFound(f"The Model '{resource.name}' does not exist.")
        return page(found, request.query, _FIELDS, key="models")

    async def merge_version_aliases(self, request: Request) -> dict[str, Any]:
        """Add aliases to a version, moving them from others; `-alias` removes one."""
        name = request.path["name"]
        given: list[str] = request.body.get("versionAliases", [])
        if not given:
            raise InvalidArgument("version_aliases is required.")
        removed = {alias[1:] for alias in given if alias.startswith("-")}
        added = {alias for alias in given if not alias.startswith("-")}
        for alias in added | removed:
            _check_alias(alias)
        if DEFAULT_ALIAS in removed:
            raise InvalidArgument(
                "The alias 'default' cannot be removed, only moved: merge it into another version."
            )
        with self._documents.transaction():
            version = self.resolve(name)
            self._move_aliases(version, added, removed)
        return self.show(self.resolve(f"{version['name']}@{version['versionId']}"))

    async def patch(self, request: Request) -> dict[str, Any]:
        """Change the named fields of a version."""
        fields = mask_fields(request.query.get("updateMask", ""), _MUTABLE, what="Model")
        body: Mapping[str, Any] = request.body
        names.check_labels(body.get("labels"))
        with self._documents.transaction():
            version = self.resolve(request.path["name"])
            key = _version_key(version["name"], version["versionId"])
            stored = self._documents.find(key)
            etag = body.get("etag")
            if etag and stored is not None and stored.etag != etag:
                raise Aborted(
                    f"The etag of the Model '{request.path['name']}' is out of date: read it "
                    "again and retry."
                )
            for field in fields:
                if field in body:
                    version[field] = body[field]
                else:
                    version.pop(field, None)
            names.check_display_name(version.get("displayName"))
            version["updateTime"] = version["versionUpdateTime"] = now()
            self._documents.put(key, version)
        return self.show(version)

    async def delete(self, request: Request) -> dict[str, Any]:
        """Remove a model with all its versions and evaluations."""
        resource = names.parse(request.path["name"], "models")
        versions = self._versions(resource.name)
        if not versions:
            raise NotFound(f"The Model '{resource.name}' does not exist.")
        self._refuse_deployed(resource.name, None)
        with self._documents.transaction():
            self._documents.delete(_model_key(resource.name))
            for version in versions:
                self._forget(version)
        return self._deleted(resource.parent)

    async def delete_version(self, request: Request) -> dict[str, Any]:
        """Remove one version, which must be neither the only one nor the default."""
        resource = names.parse(request.path["name"], "models")
        if not resource.version:
            raise InvalidArgument(
                f"'{request.path['name']}' names no version: write models/ID@VERSION."
            )
        version = self.resolve(request.path["name"])
        if len(self._versions(resource.name)) == 1:
            raise FailedPrecondition(
                f"'{request.path['name']}' is the only version of the Model; delete the Model."
            )
        if DEFAULT_ALIAS in version["versionAliases"]:
            raise FailedPrecondition(
                f"'{request.path['name']}' is the default version; move the alias 'default' to "
                "another version first."
            )
        self._refuse_deployed(resource.name, version["versionId"])
        with self._documents.transaction():
            self._forget(version)
        return self._deleted(resource.parent)

    def _forget(self, version: Mapping[str, Any]) -> None:
        self._documents.delete(_version_key(version["name"], version["versionId"]))
        prefix = f"evaluation:{version['name']}@{version['versionId']}/"
        for evaluation in self._documents.list(prefix):
            self._documents.delete(evaluation.key)

    def _deleted(self, parent: str) -> dict[str, Any]:
        return self._operations.finished(
            parent,
            {"@type": "type.googleapis.com/google.protobuf.Empty"},
            _metadata("DeleteOperationMetadata"),
        )

    def _refuse_deployed(self, name: str, version: str | None) -> None:
        deployed = self._deployed_to(name, version)
        if deployed:
            endpoints = ", ".join(sorted({one["endpoint"] for one in deployed}))
            shown = name if version is None else f"{name}@{version}"
            raise FailedPrecondition(
                f"The Model '{shown}' is deployed or being deployed at the following Endpoint(s): "
                f"{endpoints}. Undeploy it first."
            )

    def _versions(self, name: str) -> list[dict[str, Any]]:
        found = [stored.value for stored in self._documents.list(f"version:{name}@")]
        found.sort(key=lambda one: int(one["versionId"]))
        return found

    def _move_aliases(self, target: Mapping[str, Any], added: set[str], removed: set[str]) -> None:
        for version in self._versions(target["name"]):
            aliases = set(version["versionAliases"])
            if version["versionId"] == target["versionId"]:
                changed = (aliases | added) - removed
            else:
                changed = aliases - added
            if changed != aliases:
                version["versionAliases"] = sorted(changed)
                self._documents.put(_version_key(version["name"], version["versionId"]), version)


def _new_version(
    name: str, number: str, model: Mapping[str, Any], *, created: str, time: str
) -> dict[str, Any]:
    return {
        **{key: value for key, value in model.items() if key != "etag"},
        "name": name,
        "versionId": number,
        "versionAliases": [],
        "createTime": created,
        "updateTime": time,
        "versionCreateTime": time,
        "versionUpdateTime": time,
        "supportedDeploymentResourcesTypes": (
            ["DEDICATED_RESOURCES"] if "containerSpec" in model else []
        ),
        "modelSourceInfo": {"sourceType": "CUSTOM"},
    }


def _check_alias(alias: str) -> None:
    if not _ALIAS.fullmatch(alias):
        raise InvalidArgument(
            f"Invalid version alias '{alias}': 2 to 128 characters, a lower-case letter first, "
            "then letters, digits and hyphens, the last not an upper-case letter. A number would "
            "be taken for a version id."
        )


def _metadata(kind: str) -> dict[str, Any]:
    time = now()
    return {
        "@type": f"{_TYPE}{kind}",
        "genericMetadata": {"createTime": time, "updateTime": time},
    }


def _model_key(name: str) -> str:
    return f"model:{name}"


def _version_key(name: str, version: str) -> str:
    return f"version:{name}@{version}"
