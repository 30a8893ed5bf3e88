"""`gcp:monitoring`: alert policies, notification channels and metric descriptors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from localcloud.provider.clients import Clients
from localcloud.provider.errors import ServiceError
from localcloud.provider.realise.shapes import project_of, taken

_PAGE: Final = 1000


class _Numbered:
    """What the service numbers: equal ones may exist side by side, so none is found by its name."""

    collection: str
    fields: tuple[str, ...]

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        return None

    def resume(self, properties: Mapping[str, Any]) -> str | None:
        """An equal one, to be taken for the one that a cut creation made."""
        wanted = self.body(properties)
        return next(
            (
                str(one["name"])
                for one in self._listed(properties["project"])
                if all(_bare(one.get(name)) == value for name, value in wanted.items())
            ),
            None,
        )

    def create(self, properties: Mapping[str, Any]) -> str:
        path = f"/v3/projects/{properties['project']}/{self.collection}"
        return str(self._clients.rest.call("POST", path, None, self.body(properties))["name"])

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        try:
            self._clients.rest.call("DELETE", f"/v3/{id}")
        except ServiceError as error:
            if error.code != 404:
                raise

    def body(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        """The message of the API."""
        return _given(taken(properties, *self.fields))

    def _listed(self, project: Any) -> Iterator[Mapping[str, Any]]:
        token = ""
        while True:
            query = {"pageSize": _PAGE, **({"pageToken": token} if token else {})}
            path = f"/v3/projects/{project}/{self.collection}"
            answer = self._clients.rest.get(path, **query)
            yield from answer.get(self.collection, ())
            token = answer.get("nextPageToken", "")
            if not token:
                return


class AlertPolicy(_Numbered):
    """An alert policy, which the local Cloud Monitoring evaluates; its id is its full name."""

    usual: Final[dict[str, Any]] = {"enabled": True}
    collection = "alertPolicies"
    fields = (
        "alertStrategy",
        "combiner",
        "conditions",
        "displayName",
        "documentation",
        "enabled",
        "notificationChannels",
        "severity",
        "userLabels",
    )

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        policy = self._clients.rest.find(f"/v3/{id}")
        if policy is None:
            return None
        return {
            "name": id,
            "project": project_of(id),
            **{name: policy.get(name) for name in self.fields},
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        body = self.body(new)
        before = (self._clients.rest.find(f"/v3/{id}") or {}).get("conditions", ())
        # A condition that stays keeps its name, and with it what is known of its incidents.
        for one, earlier in zip(body.get("conditions", ()), before, strict=False):
            if one.get("displayName") == earlier.get("displayName"):
                one["name"] = earlier["name"]
        self._clients.rest.call("PATCH", f"/v3/{id}", None, body)
        return id

    def body(self, properties: Mapping[str, Any]) -> dict[str, Any]:
        body = super().body(properties)
        for one in body.get("conditions", ()):
            one.pop("name", None)
        strategy = body.get("alertStrategy", {})
        if "notificationChannelStrategies" in strategy:
            strategy["notificationChannelStrategy"] = strategy.pop("notificationChannelStrategies")
        return body


class NotificationChannel(_Numbered):
    """A channel; its id is its full name. What is secret of it goes nowhere: none is needed."""

    usual: Final[dict[str, Any]] = {"enabled": True}
    collection = "notificationChannels"
    fields = ("description", "displayName", "enabled", "labels", "type", "userLabels")

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        channel = self._clients.rest.find(f"/v3/{id}")
        if channel is None:
            return None
        return {
            "name": id,
            "project": project_of(id),
            **{name: channel.get(name) for name in self.fields},
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        self._clients.rest.call("PATCH", f"/v3/{id}", None, self.body(new))
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        super().delete(f"{id}?force=true" if state.get("forceDelete") else id, state)


class MetricDescriptor(_Numbered):
    """A metric of our own; its id is `projects/P/metricDescriptors/TYPE`."""

    collection = "metricDescriptors"
    fields = (
        "description",
        "displayName",
        "labels",
        "launchStage",
        "metadata",
        "metricKind",
        "type",
        "unit",
        "valueType",
    )

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        found = self._clients.rest.find(f"/v3/{id}")
        if found is None:
            return None
        return {
            "name": id,
            "project": project_of(id),
            **{name: found.get(name) for name in self.fields},
        }

    def resume(self, properties: Mapping[str, Any]) -> str | None:
        # The API replaces one that is there, and so does what made it first by writing to it.
        return None

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        return self.create(new)


def _given(value: Any) -> Any:
    """The value without what is not set."""
    if isinstance(value, Mapping):
        return {key: _given(item) for key, item in value.items() if item not in (None, "")}
    return [_given(item) for item in value] if isinstance(value, list) else value


def _bare(value: Any) -> Any:
    """Conditions without the names that the service gave them."""
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if isinstance(value, Mapping):
        return {key: item for key, item in value.items() if key != "name"}
    return value
