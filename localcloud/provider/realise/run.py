"""`gcp:cloudrunv2:Service` and `:Job` in the local Cloud Run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from localcloud.provider.clients import Clients
from localcloud.provider.errors import ServiceError
from localcloud.provider.realise.shapes import labels_seen, project_of, short, taken, without_empty

# Pulumi's plural to the API's name, wherever it occurs outside maps of the user's own.
_NAMES: Final = {"envs": "env", "commands": "command", "traffics": "traffic"}
_BACK: Final = {theirs: ours for ours, theirs in _NAMES.items()}
_OWN: Final = frozenset({"labels", "annotations", "limits", "environmentVariables", "parameters"})
_COMPUTED: Final = (
    "uid",
    "generation",
    "createTime",
    "updateTime",
    "deleteTime",
    "expireTime",
    "creator",
    "lastModifier",
    "observedGeneration",
    "conditions",
    "reconciling",
    "etag",
)


class _Workload:
    collection: ClassVar[str]
    query: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    outputs: ClassVar[tuple[str, ...]]
    usual: ClassVar[dict[str, Any]] = {"launchStage": "GA", "deletionProtection": True}
    changing: ClassVar[tuple[str, ...]] = (
        "generation",
        "observedGeneration",
        "updateTime",
        "etag",
        "conditions",
    )

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        name = self._name(properties)
        return name if self._clients.rest.find(f"/v2/{name}") is not None else None

    def create(self, properties: Mapping[str, Any]) -> str:
        name = self._name(properties)
        parent = name.partition(f"/{self.collection}/")[0]
        operation = self._clients.rest.call(
            "POST",
            f"/v2/{parent}/{self.collection}",
            {self.query: short(name)},
            self._body(properties),
        )
        self._clients.rest.finished(operation, "v2")
        return name

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        held = self._clients.rest.find(f"/v2/{id}")
        if held is None:
            return None
        seen = _renamed(held, _BACK)
        annotations = seen.get("annotations") or {}
        return {
            "name": short(id),
            "project": project_of(id),
            "location": id.split("/")[3],
            **{name: self.shown(name, seen.get(name)) for name in self.inputs},
            **taken(seen, *_COMPUTED, *self.outputs),
            "terminalConditions": [seen[name] for name in ("terminalCondition",) if name in seen],
            "annotations": {
                key: annotations[key]
                for key in state.get("annotations") or {}
                if key in annotations
            }
            or None,
            "effectiveAnnotations": annotations,
            **labels_seen(held.get("labels", {}), state),
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        # Without a mask the API takes the whole resource, and jobs know no mask at all.
        operation = self._clients.rest.call("PATCH", f"/v2/{id}", None, self._body(new))
        self._clients.rest.finished(operation, "v2")
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        try:
            operation = self._clients.rest.call("DELETE", f"/v2/{id}")
        except ServiceError as error:
            if error.code != 404:
                raise
        else:
            self._clients.rest.finished(operation, "v2")

    def shown(self, name: str, value: Any) -> Any:
        """A field in Pulumi's shape."""
        return value

    def _name(self, properties: Mapping[str, Any]) -> str:
        place = f"projects/{properties['project']}/locations/{properties['location']}"
        return f"{place}/{self.collection}/{short(properties['name'])}"

    def _body(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        body = _renamed(without_empty(taken(properties, *self.inputs, "annotations")), _NAMES)
        return {**body, "labels": dict(properties.get("effectiveLabels", {}))}


class Service(_Workload):
    """A service; its `uri` is where it answers on this machine."""

    collection = "services"
    query = "serviceId"
    inputs = (
        "template",
        "binaryAuthorization",
        "client",
        "clientVersion",
        "customAudiences",
        "defaultUriDisabled",
        "description",
        "iapEnabled",
        "ingress",
        "invokerIamDisabled",
        "launchStage",
        "multiRegionSettings",
        "scaling",
        "traffics",
    )
    outputs = ("uri", "urls", "latestReadyRevision", "latestCreatedRevision", "trafficStatuses")
    changing = (*_Workload.changing, "latestReadyRevision", "latestCreatedRevision")

    def shown(self, name: str, value: Any) -> Any:
        """Containers of a service have one port in Pulumi and a list of them in the API."""
        if name == "template" and value is not None:
            return {**value, "containers": [_one_port(one) for one in value.get("containers", [])]}
        return value

    def _body(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        body = super()._body(properties)
        template = dict(body.get("template") or {})
        template["containers"] = [_port_list(one) for one in template.get("containers", [])]
        return {**body, "template": template}


class Job(_Workload):
    """A job; each execution runs its tasks as processes."""

    collection = "jobs"
    query = "jobId"
    inputs = (
        "template",
        "binaryAuthorization",
        "client",
        "clientVersion",
        "launchStage",
        "runExecutionToken",
        "startExecutionToken",
    )
    outputs = ("executionCount",)

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        """Also its latest execution, a list in Pulumi's outputs."""
        seen = super().read(id, state)
        if seen is not None:
            held = self._clients.rest.find(f"/v2/{id}") or {}
            latest = held.get("latestCreatedExecution")
            seen["latestCreatedExecutions"] = [latest] if latest else []
        return seen


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """The value with keys renamed, except inside maps that hold the user's own keys."""
    if isinstance(value, Mapping):
        return {
            names.get(key, key): item if key in _OWN else _renamed(item, names)
            for key, item in value.items()
        }
    return [_renamed(item, names) for item in value] if isinstance(value, list) else value


def _port_list(container: Mapping[str, Any]) -> dict[str, Any]:
    port = container.get("ports")
    return {**container, "ports": [port]} if isinstance(port, Mapping) else dict(container)


def _one_port(container: Mapping[str, Any]) -> dict[str, Any]:
    ports = container.get("ports")
    return {**container, "ports": ports[0]} if isinstance(ports, list) and ports else {**container}
