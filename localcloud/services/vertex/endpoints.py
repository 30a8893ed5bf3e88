"""Endpoints and the models deployed to them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, final

from localcloud.rest.app import Handler, Request
from localcloud.rest.errors import (
    Aborted,
    AlreadyExists,
    ApiError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from localcloud.rest.listing import mask_fields, page, property_fields
from localcloud.rest.operations import Operations, now
from localcloud.rest.schema import camel_case
from localcloud.rest.store import Documents
from localcloud.services.vertex import names, traffic
from localcloud.services.vertex.containers import Containers, deployment_timeout
from localcloud.services.vertex.models import Models
from localcloud.services.vertex.request_log import check_config

log = logging.getLogger(__name__)

_ENDPOINT_ID: Final = re.compile(r"[1-9][0-9]{0,9}")
_DEPLOYED_ID: Final = re.compile(r"[1-9][0-9]{0,9}|[a-z0-9]([a-z0-9-]{0,126}[a-z0-9])?")
_MUTABLE: Final = ("displayName", "description", "labels", "trafficSplit")
_MUTABLE_DEPLOYED: Final = (
    "dedicatedResources",
    "autoscalingMetricSpecs",
    "disableContainerLogging",
    "enableAccessLogging",
    "minReplicaCount",
    "maxReplicaCount",
)
_RESOURCES: Final = ("dedicatedResources", "automaticResources", "sharedResources")
_TYPE: Final = "type.googleapis.com/google.cloud.aiplatform.v1."
_FIELDS: Final = {
    **property_fields("display_name", "create_time", "update_time", "labels."),
    "endpoint": lambda item: item["name"].rpartition("/")[2],
    "base_model_name": lambda item: None,
}


@final
class Endpoints:
    """Endpoints by name. What is deployed is kept in the store and started again after a crash.

    Args:
        documents: the store.
        operations: of the service.
        containers: run the model servers.
    """

    def __init__(
        self, documents: Documents, operations: Operations, containers: Containers
    ) -> None:
        self._documents = documents
        self._operations = operations
        self._containers = containers
        self._models: Models | None = None
        self._busy: dict[str, str] = {}

    def use_models(self, models: Models) -> None:
        """The registry; it and the endpoints know each other, so it is given afterwards."""
        self._models = models

    @property
    def models(self) -> Models:
        """The registry that deployed models come from."""
        if self._models is None:
            raise RuntimeError("use_models was not called")
        return self._models

    def handlers(self) -> dict[str, Handler]:
        """Handlers by method id."""
        prefix = "aiplatform.projects.locations.endpoints."
        return {
            f"{prefix}create": self.create,
            f"{prefix}get": self.get,
            f"{prefix}list": self.list,
            f"{prefix}patch": self.patch,
            f"{prefix}delete": self.delete,
            f"{prefix}deployModel": self.deploy_model,
            f"{prefix}undeployModel": self.undeploy_model,
            f"{prefix}mutateDeployedModel": self.mutate_deployed_model,
        }

    async def recover(self) -> None:
        """Start the servers of everything that is deployed."""
        for stored in self._documents.list("endpoint:"):
            for deployed in stored.value.get("deployedModels", []):
                try:
                    version = self.models.resolve(
                        f"{deployed['model']}@{deployed['modelVersionId']}"
                    )
                    container = await self._containers.start(
                        stored.value["name"], deployed, version
                    )
                except ApiError as error:
                    log.error("deployed model %s cannot be started: %s", deployed["id"], error)
                else:
                    self._containers.watch(container)

    def find(self, name: str) -> dict[str, Any]:
        """The stored endpoint.

        Raises:
            NotFound: there is none of this name.
        """
        endpoint = self._documents.get(f"endpoint:{name}")
        if endpoint is None:
            raise NotFound(f"The Endpoint '{name}' does not exist.")
        return endpoint

    def deployed_to(self, model: str, version: str | None) -> list[dict[str, str]]:
        """Where a model, or one version of it, is deployed."""
        parent = model.partition("/models/")[0]
        return [
            {"endpoint": stored.value["name"], "deployedModelId": deployed["id"]}
            for stored in self._documents.list(f"endpoint:{parent}/endpoints/")
            for deployed in stored.value.get("deployedModels", [])
            if deployed["model"] == model
            and (version is None or deployed["modelVersionId"] == version)
        ]

    def show(self, endpoint: Mapping[str, Any]) -> dict[str, Any]:
        """An endpoint as the API shows it."""
        shown = dict(endpoint)
        found = self._documents.find(f"endpoint:{endpoint['name']}")
        if found is not None:
            shown["etag"] = found.etag
        shown["deployedModels"] = [
            {**deployed, "status": {"availableReplicaCount": self._replicas(deployed["id"])}}
            for deployed in endpoint.get("deployedModels", [])
        ]
        return shown

    def _replicas(self, number: str) -> int:
        container = self._containers.get(number)
        running = container is not None and container.workload.state == "running"
        return 1 if container is not None and running and container.healthy.is_set() else 0

    async def create(self, request: Request) -> dict[str, Any]:
        """An endpoint without models; its id is a number of at most 10 digits."""
        body: dict[str, Any] = dict(request.body)
        number = request.query.get("endpointId") or names.new_id()
        if "endpointId" in request.query and not _ENDPOINT_ID.fullmatch(number):
            raise InvalidArgument(
                f"Invalid endpoint_id '{number}': write a number of at most 10 digits without "
                "leading zeros."
            )
        names.check_display_name(body.get("displayName"))
        names.check_labels(body.get("labels"))
        if body.get("trafficSplit"):
            raise InvalidArgument(
                "traffic_split cannot be set at creation: its keys are ids of deployed models, "
                "and there are none yet."
            )
        if body.get("dedicatedEndpointEnabled") or body.get("privateServiceConnectConfig"):
            raise Unimplemented(
                "The local cloud has no dedicated DNS names and no Private Service Connect: leave "
                "out dedicated_endpoint_enabled and private_service_connect_config here."
            )
        logging_config = body.get("predictRequestResponseLoggingConfig")
        if logging_config is not None:
            check_config(logging_config)
        parent = request.path["parent"]
        time = now()
        body.pop("etag", None)
        endpoint = {
            **body,
            "name": f"{parent}/endpoints/{number}",
            "createTime": time,
            "updateTime": time,
        }
        with self._documents.transaction():
            if self._documents.get(f"endpoint:{endpoint['name']}") is not None:
                raise AlreadyExists(f"The Endpoint '{endpoint['name']}' already exists.")
            self._documents.put(f"endpoint:{endpoint['name']}", endpoint)
        return self._operations.finished(
            endpoint["name"],
            {"@type": f"{_TYPE}Endpoint", **self.show(endpoint)},
            _metadata("CreateEndpointOperationMetadata"),
        )

    async def get(self, request: Request) -> dict[str, Any]:
        """One endpoint."""
        return self.show(self.find(request.path["name"]))

    async def list(self, request: Request) -> dict[str, Any]:
        """The endpoints of a location, the newest first unless ordered otherwise."""
        prefix = f"endpoint:{request.path['parent']}/endpoints/"
        found = [self.show(stored.value) for stored in self._documents.list(prefix)]
        return page(
            found, request.query, _FIELDS, key="endpoints", default_order="create_time desc"
        )

    async def patch(self, request: Request) -> dict[str, Any]:
        """Change the named fields."""
        mask: str = request.query.get("updateMask", "")
        if "predictRequestResponseLoggingConfig" in mask or "predict_request_response" in mask:
            raise InvalidArgument(
                "predict_request_response_logging_config can only be set when the Endpoint is "
                "created; create another Endpoint."
            )
        fields = mask_fields(mask, _MUTABLE, what="Endpoint")
        body: Mapping[str, Any] = request.body
        name = request.path["name"]
        names.check_labels(body.get("labels"))
        with self._documents.transaction():
            endpoint = self.find(name)
            self._compare_etag(name, body.get("etag"))
            if "trafficSplit" in fields:
                traffic.check(body.get("trafficSplit", {}), _ids(endpoint))
            for field in fields:
                if field in body:
                    endpoint[field] = body[field]
                else:
                    endpoint.pop(field, None)
            names.check_display_name(endpoint.get("displayName"))
            endpoint["updateTime"] = now()
            self._documents.put(f"endpoint:{name}", endpoint)
        return self.show(endpoint)

    async def delete(self, request: Request) -> dict[str, Any]:
        """Remove an endpoint from which everything was undeployed."""
        name = request.path["name"]
        with self._alone(name, "deletion"):
            endpoint = self.find(name)
            deployed = _ids(endpoint)
            if deployed:
                raise FailedPrecondition(
                    f"The Endpoint '{name}' has deployed or being-deployed DeployedModel(s): "
                    f"{', '.join(deployed)}. Undeploy them first."
                )
            self._documents.delete(f"endpoint:{name}")
        return self._operations.finished(
            name.partition("/endpoints/")[0],
            {"@type": "type.googleapis.com/google.protobuf.Empty"},
            _metadata("DeleteOperationMetadata"),
        )

    async def deploy_model(self, request: Request) -> dict[str, Any]:
        """Start a model's server and, once it is healthy, give it its share of the traffic."""
        name = request.path["endpoint"]
        endpoint = self.find(name)
        given: dict[str, Any] = dict(request.body.get("deployedModel") or {})
        if not given.get("model"):
            raise InvalidArgument("deployed_model.model is required.")
        version = self.models.resolve(given["model"])
        resource = names.parse(name, "endpoints")
        if not version["name"].startswith(f"{resource.parent}/"):
            raise InvalidArgument(
                f"The Model '{version['name']}' and the Endpoint '{name}' must be in the same "
                "location."
            )
        if "containerSpec" not in version:
            raise FailedPrecondition(
                f"The Model '{version['name']}' has no container_spec and cannot be deployed; "
                "upload a version with one."
            )
        _check_resources(given)
        number: str = given.get("id") or names.new_id()
        if not _DEPLOYED_ID.fullmatch(number):
            raise InvalidArgument(
                f"Invalid deployed_model.id '{number}': at most 10 digits, or letters, digits and "
                "hyphens."
            )
        if number in _ids(endpoint) or self._containers.get(number) is not None:
            raise AlreadyExists(f"A DeployedModel with the id '{number}' already exists.")
        split: dict[str, int] = request.body.get("trafficSplit", {})
        traffic.check(split, [traffic.NEW_MODEL, *_ids(endpoint)])
        self._refuse_busy(name)
        deployed = {
            **given,
            "id": number,
            "model": version["name"],
            "modelVersionId": version["versionId"],
            "displayName": given.get("displayName") or version["displayName"],
            "createTime": now(),
        }
        return await self._operations.start(
            name,
            self._deploy(name, deployed, version, split),
            _metadata("DeployModelOperationMetadata"),
        )

    async def _deploy(
        self,
        name: str,
        deployed: dict[str, Any],
        version: Mapping[str, Any],
        split: Mapping[str, int],
    ) -> dict[str, Any]:
        with self._alone(name, f"deployment of {deployed['id']}"):
            try:
                container = await self._containers.start(name, deployed, version)
                await self._containers.until_healthy(container, deployment_timeout(version))

                def add(endpoint: dict[str, Any]) -> None:
                    endpoint.setdefault("deployedModels", []).append(deployed)
                    _set_split(endpoint, _renamed(split, deployed["id"]), overwrite=bool(split))

                self._documents.change(f"endpoint:{name}", add)
            except BaseException:
                await asyncio.shield(self._containers.stop(deployed["id"]))
                raise
        return {
            "@type": f"{_TYPE}DeployModelResponse",
            "deployedModel": _shown_id(deployed),
        }

    async def undeploy_model(self, request: Request) -> dict[str, Any]:
        """Take a model off the endpoint and stop its server."""
        name = request.path["endpoint"]
        endpoint = self.find(name)
        number: str = request.body.get("deployedModelId", "")
        if number not in _ids(endpoint):
            known = ", ".join(_ids(endpoint)) or "none"
            raise NotFound(
                f"The Endpoint '{name}' has no DeployedModel '{number}'; deployed: {known}."
            )
        remaining = [one for one in _ids(endpoint) if one != number]
        split: dict[str, int] = request.body.get("trafficSplit", {})
        if split.get(number) == 0:
            split = {key: share for key, share in split.items() if key != number}
        traffic.check(split, remaining)
        if not split and remaining and endpoint.get("trafficSplit", {}).get(number, 0) > 0:
            raise FailedPrecondition(
                f"The DeployedModel '{number}' still gets "
                f"{endpoint['trafficSplit'][number]} % of the traffic; give a traffic_split that "
                "leaves it out."
            )
        self._refuse_busy(name)
        return await self._operations.start(
            name,
            self._undeploy(name, number, split),
            _metadata("UndeployModelOperationMetadata"),
        )

    async def _undeploy(self, name: str, number: str, split: Mapping[str, int]) -> dict[str, Any]:
        with self._alone(name, f"undeployment of {number}"):

            def remove(endpoint: dict[str, Any]) -> None:
                endpoint["deployedModels"] = [
                    one for one in endpoint["deployedModels"] if one["id"] != number
                ]
                _set_split(endpoint, split, overwrite=bool(split))

            # First out of the store, so that no request is routed to a server that is stopping.
            self._documents.change(f"endpoint:{name}", remove)
            await self._containers.stop(number)
        return {"@type": f"{_TYPE}UndeployModelResponse"}

    async def mutate_deployed_model(self, request: Request) -> dict[str, Any]:
        """Change replica counts and logging switches of a deployed model.

        The local cloud keeps the wish; one process serves all the same.
        """
        name = request.path["endpoint"]
        given: Mapping[str, Any] = request.body.get("deployedModel") or {}
        mask = request.body.get("updateMask", "")
        mask_fields(mask, _MUTABLE_DEPLOYED, what="DeployedModel")
        changed: dict[str, Any] = {}

        def edit(endpoint: dict[str, Any]) -> None:
            for deployed in endpoint.get("deployedModels", []):
                if deployed["id"] == given.get("id"):
                    for part in mask.split(","):
                        _copy_path(given, deployed, part.strip())
                    changed.update(deployed)
                    return
            raise NotFound(f"The Endpoint '{name}' has no DeployedModel '{given.get('id')}'.")

        self.find(name)
        self._refuse_busy(name)
        self._documents.change(f"endpoint:{name}", edit)
        return self._operations.finished(
            name,
            {"@type": f"{_TYPE}MutateDeployedModelResponse", "deployedModel": changed},
            _metadata("MutateDeployedModelOperationMetadata"),
        )

    def _compare_etag(self, name: str, etag: str | None) -> None:
        stored = self._documents.find(f"endpoint:{name}")
        if etag and stored is not None and stored.etag != etag:
            raise Aborted(
                f"The etag of the Endpoint '{name}' is out of date: read it again and retry."
            )

    def _refuse_busy(self, name: str) -> None:
        if name in self._busy:
            raise FailedPrecondition(
                f"There are other operations running on the Endpoint '{name}': "
                f"{self._busy[name]}. Wait for it to finish."
            )

    @contextmanager
    def _alone(self, name: str, what: str) -> Iterator[None]:
        self._refuse_busy(name)
        self._busy[name] = what
        try:
            yield
        finally:
            self._busy.pop(name, None)


def _ids(endpoint: Mapping[str, Any]) -> list[str]:
    return [one["id"] for one in endpoint.get("deployedModels", [])]


def _renamed(split: Mapping[str, int], number: str) -> dict[str, int]:
    return {number if key == traffic.NEW_MODEL else key: share for key, share in split.items()}


def _set_split(endpoint: dict[str, Any], split: Mapping[str, int], *, overwrite: bool) -> None:
    """Keys of models without traffic are dropped, as Google leaves them out."""
    chosen = split if overwrite else endpoint.get("trafficSplit", {})
    deployed = _ids(endpoint)
    kept = {key: share for key, share in chosen.items() if share > 0 and key in deployed}
    if kept:
        endpoint["trafficSplit"] = kept
    else:
        endpoint.pop("trafficSplit", None)
    endpoint["updateTime"] = now()


def _check_resources(given: Mapping[str, Any]) -> None:
    kinds = [one for one in _RESOURCES if one in given]
    if len(kinds) != 1:
        raise InvalidArgument(
            "deployed_model needs exactly one of dedicated_resources, automatic_resources and "
            f"shared_resources, got {', '.join(kinds) or 'none'}."
        )
    if kinds[0] == "dedicatedResources":
        resources: Mapping[str, Any] = given["dedicatedResources"]
        if not resources.get("machineSpec", {}).get("machineType"):
            raise InvalidArgument(
                "deployed_model.dedicated_resources.machine_spec.machine_type is required."
            )
        low = resources.get("minReplicaCount", 0)
        high = resources.get("maxReplicaCount") or low
        if low < 1 or high < low:
            raise InvalidArgument(
                "deployed_model.dedicated_resources needs 1 <= min_replica_count <= "
                f"max_replica_count, got {low} and {high}."
            )


def _copy_path(source: Mapping[str, Any], target: dict[str, Any], path: str) -> None:
    *parents, leaf = [camel_case(part) for part in path.split(".")]
    there: Any = source
    here: dict[str, Any] = target
    for parent in parents:
        there = there.get(parent, {})
        here = here.setdefault(parent, {})
    if leaf in there:
        here[leaf] = there[leaf]


def _shown_id(deployed: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": deployed["id"]}


def _metadata(kind: str) -> dict[str, Any]:
    time = now()
    return {
        "@type": f"{_TYPE}{kind}",
        "genericMetadata": {"createTime": time, "updateTime": time},
    }
