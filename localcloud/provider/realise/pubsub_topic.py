"""`gcp:pubsub:Topic` in the local Pub/Sub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.api_core.exceptions import NotFound
from google.protobuf import field_mask_pb2, json_format
from google.pubsub_v1.types import Topic as Message

from localcloud.provider.clients import TIMEOUT, Clients
from localcloud.provider.diff import same
from localcloud.provider.realise.shapes import (
    full,
    labels_seen,
    project_of,
    short,
    taken,
    without_empty,
)

# Pulumi's property is the message's own field, in JSON's spelling.
_FIELDS: Final = {
    "kmsKeyName": "kms_key_name",
    "messageRetentionDuration": "message_retention_duration",
    "messageStoragePolicy": "message_storage_policy",
    "schemaSettings": "schema_settings",
    "ingestionDataSourceSettings": "ingestion_data_source_settings",
    "messageTransforms": "message_transforms",
}


class Topic:
    """A topic; its id is its full name."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        name = full("topics", properties["name"], properties["project"])
        return name if self._get(name) is not None else None

    def create(self, properties: Mapping[str, Any]) -> str:
        made = self._clients.publisher.create_topic(
            request=_message(properties), retry=None, timeout=TIMEOUT
        )
        return made.name

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        topic = self._get(id)
        if topic is None:
            return None
        seen = json_format.MessageToDict(Message.pb(topic))
        return {
            "name": short(topic.name),
            "project": project_of(topic.name),
            **{name: seen.get(name) for name in _FIELDS},
            **labels_seen(topic.labels, state),
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        paths = [field for name, field in _FIELDS.items() if not same(old.get(name), new.get(name))]
        self._clients.publisher.update_topic(
            topic=_message(new),
            update_mask=field_mask_pb2.FieldMask(paths=[*paths, "labels"]),
            retry=None,
            timeout=TIMEOUT,
        )
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        try:
            self._clients.publisher.delete_topic(topic=id, retry=None, timeout=TIMEOUT)
        except NotFound:
            return

    def _get(self, name: str) -> Message | None:
        try:
            return self._clients.publisher.get_topic(topic=name, retry=None, timeout=TIMEOUT)
        except NotFound:
            return None


def _message(properties: Mapping[str, Any]) -> Message:
    body = without_empty(taken(properties, *_FIELDS, "tags"))
    body |= {
        "name": full("topics", properties["name"], properties["project"]),
        "labels": properties.get("effectiveLabels", {}),
    }
    return Message(json_format.ParseDict(body, Message.pb(Message())))
