"""`gcp:vertex:AiEndpoint` in the local Vertex AI.

What is deployed to it, and the traffic split, belong to whoever releases models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from localcloud.provider.clients import Clients
from localcloud.provider.diff import same
from localcloud.provider.errors import ServiceError
from localcloud.provider.realise.shapes import labels_seen, project_of, short, taken

_FIELDS: Final = (
    "description",
    "displayName",
    "encryptionSpec",
    "network",
    "predictRequestResponseLoggingConfig",
    "privateServiceConnectConfig",
)
_MUTABLE: Final = ("displayName", "description", "labels", "trafficSplit")
_COMPUTED: Final = ("createTime", "updateTime", "etag", "modelDeploymentMonitoringJob")
_DEPLOYED: Final = (
    "id",
    "model",
    "modelVersionId",
    "displayName",
    "createTime",
    "serviceAccount",
    "sharedResources",
    "enableAccessLogging",
    "enableContainerLogging",
)


class AiEndpoint:
    """An endpoint; its id is its full name."""

    changing: Final = ("updateTime", "etag")

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        name = _name(properties)
        return name if self._clients.rest.find(f"/v1/{name}") is not None else None

    def create(self, properties: Mapping[str, Any]) -> str:
        parent, _, number = _name(properties).partition("/endpoints/")
        body = {**_body(properties), **taken(properties, "dedicatedEndpointEnabled")}
        operation = self._clients.rest.call(
            "POST", f"/v1/{parent}/endpoints", {"endpointId": number}, body
        )
        self._clients.rest.finished(operation, "v1")
        return _name(properties)

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        endpoint = self._clients.rest.find(f"/v1/{id}")
        if endpoint is None:
            return None
        split = endpoint.get("trafficSplit")
        return {
            "name": short(id),
            "project": project_of(id),
            "location": id.split("/")[3],
            **{name: endpoint.get(name) for name in _FIELDS},
            **taken(endpoint, *_COMPUTED),
            "trafficSplit": json.dumps(split, sort_keys=True) if split else None,
            "deployedModels": [_deployed(one) for one in endpoint.get("deployedModels", [])],
            **labels_seen(endpoint.get("labels", {}), state),
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        body = _body(new)
        if new.get("trafficSplit"):
            body["trafficSplit"] = json.loads(new["trafficSplit"])
        changed = [name for name in _MUTABLE if not same(old.get(name), new.get(name))]
        mask = ",".join(dict.fromkeys([*changed, "labels"]))
        self._clients.rest.call("PATCH", f"/v1/{id}", {"updateMask": mask}, body)
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        try:
            operation = self._clients.rest.call("DELETE", f"/v1/{id}")
        except ServiceError as error:
            if error.code != 404:
                raise
        else:
            self._clients.rest.finished(operation, "v1")


def _name(properties: Mapping[str, Any]) -> str:
    place = f"projects/{properties['project']}/locations/{properties['location']}"
    return f"{place}/endpoints/{short(properties['name'])}"


def _body(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {**taken(properties, *_FIELDS), "labels": properties.get("effectiveLabels", {})}


def _deployed(model: Mapping[str, Any]) -> dict[str, Any]:
    seen = taken(model, *_DEPLOYED)
    for name in ("dedicatedResources", "automaticResources"):
        if name in model:
            # Outputs of pulumi-gcp hold a list where the API holds one object.
            seen[name] = [_listed(model[name])]
    return seen


def _listed(resources: Mapping[str, Any]) -> dict[str, Any]:
    seen = dict(resources)
    machine = seen.pop("machineSpec", None)
    if machine is not None:
        seen["machineSpecs"] = [machine]
    return seen
