"""`gcp:storage:Notification`: a bucket tells a topic about its objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from localcloud.provider.clients import Clients, Rest
from localcloud.provider.errors import ServiceError

_SERVICE: Final = "//pubsub.googleapis.com/"
_FIELDS: Final = {
    "payloadFormat": "payload_format",
    "eventTypes": "event_types",
    "objectNamePrefix": "object_name_prefix",
    "customAttributes": "custom_attributes",
}


class Notification:
    """A notification; its id is `bucket/notificationConfigs/number`."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    @property
    def _rest(self) -> Rest:
        return self._clients.storage_rest

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        # Google allows several equal ones, so an equal one is this one only after a cut creation,
        # which the caller knows.
        return None

    def resume(self, properties: Mapping[str, Any]) -> str | None:
        """An equal notification, to be taken for the one that a cut creation made."""
        bucket = properties["bucket"]
        wanted = _body(properties)
        listed = self._rest.get(f"/storage/v1/b/{bucket}/notificationConfigs").get("items", [])
        for one in listed:
            if all(one.get(name) == value for name, value in wanted.items()):
                return f"{bucket}/notificationConfigs/{one['id']}"
        return None

    def create(self, properties: Mapping[str, Any]) -> str:
        bucket = properties["bucket"]
        made = self._rest.call(
            "POST", f"/storage/v1/b/{bucket}/notificationConfigs", None, _body(properties)
        )
        return f"{bucket}/notificationConfigs/{made['id']}"

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        one = self._rest.find(f"/storage/v1/b/{id}")
        if one is None:
            return None
        return {
            "bucket": id.partition("/")[0],
            "notificationId": str(one["id"]),
            "topic": one["topic"].removeprefix(_SERVICE),
            **{name: one.get(field) for name, field in _FIELDS.items()},
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        # Every property needs a new notification; nothing is left to change.
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        try:
            self._rest.call("DELETE", f"/storage/v1/b/{id}")
        except ServiceError as error:
            if error.code != 404:
                raise


def _body(properties: Mapping[str, Any]) -> dict[str, Any]:
    topic = str(properties["topic"])
    body = {field: properties[name] for name, field in _FIELDS.items() if properties.get(name)}
    return {**body, "topic": topic if topic.startswith("//") else _SERVICE + topic}
