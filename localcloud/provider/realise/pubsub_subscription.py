"""`gcp:pubsub:Subscription` in the local Pub/Sub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.api_core.exceptions import NotFound
from google.protobuf import field_mask_pb2, json_format
from google.pubsub_v1.types import Subscription as Message

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

_FIELDS: Final = {
    "ackDeadlineSeconds": "ack_deadline_seconds",
    "bigqueryConfig": "bigquery_config",
    "cloudStorageConfig": "cloud_storage_config",
    "deadLetterPolicy": "dead_letter_policy",
    "enableExactlyOnceDelivery": "enable_exactly_once_delivery",
    "expirationPolicy": "expiration_policy",
    "messageRetentionDuration": "message_retention_duration",
    "messageTransforms": "message_transforms",
    "pushConfig": "push_config",
    "retainAckedMessages": "retain_acked_messages",
    "retryPolicy": "retry_policy",
}
_FIXED: Final = ("filter", "enableMessageOrdering")


class Subscription:
    """A subscription; its id is its full name."""

    # What the service fills in; cloud.google.com/pubsub/docs/subscription-properties
    usual: Final[dict[str, Any]] = {
        "ackDeadlineSeconds": 10,
        "messageRetentionDuration": "604800s",
        "expirationPolicy": {"ttl": "2678400s"},
    }

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        name = full("subscriptions", properties["name"], properties["project"])
        return name if self._get(name) is not None else None

    def create(self, properties: Mapping[str, Any]) -> str:
        made = self._clients.subscriber.create_subscription(
            request=_message(properties), retry=None, timeout=TIMEOUT
        )
        return made.name

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        subscription = self._get(id)
        if subscription is None:
            return None
        seen = json_format.MessageToDict(Message.pb(subscription))
        topic = subscription.topic
        known = state.get("topic")
        if known and full("topics", known, project_of(id)) == topic:
            topic = known
        return {
            "name": short(subscription.name),
            "project": project_of(subscription.name),
            "topic": topic,
            **{name: _written(name, seen.get(name)) for name in (*_FIELDS, *_FIXED)},
            **labels_seen(subscription.labels, state),
        }

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        paths = [field for name, field in _FIELDS.items() if not same(old.get(name), new.get(name))]
        self._clients.subscriber.update_subscription(
            subscription=_message({**self.usual, **new}),
            update_mask=field_mask_pb2.FieldMask(paths=[*paths, "labels"]),
            retry=None,
            timeout=TIMEOUT,
        )
        return id

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        try:
            self._clients.subscriber.delete_subscription(
                subscription=id, retry=None, timeout=TIMEOUT
            )
        except NotFound:
            return

    def _get(self, name: str) -> Message | None:
        try:
            return self._clients.subscriber.get_subscription(
                subscription=name, retry=None, timeout=TIMEOUT
            )
        except NotFound:
            return None


def _written(name: str, value: Any) -> Any:
    """A field of the message as pulumi-gcp writes it."""
    if name == "expirationPolicy" and value is not None:
        # No ttl means that it never expires, which pulumi-gcp writes as an empty string.
        return {"ttl": value.get("ttl", "")}
    if name == "pushConfig" and not (value or {}).get("pushEndpoint"):
        return None
    if name in ("bigqueryConfig", "cloudStorageConfig") and value is not None:
        return {key: item for key, item in value.items() if key != "state"}
    return value


def _message(properties: Mapping[str, Any]) -> Message:
    project = properties["project"]
    body = without_empty(taken(properties, *_FIELDS, *_FIXED, "tags"))
    dead = body.get("deadLetterPolicy", {})
    if "deadLetterTopic" in dead:
        dead["deadLetterTopic"] = full("topics", dead["deadLetterTopic"], project)
    body |= {
        "name": full("subscriptions", properties["name"], project),
        "topic": full("topics", properties["topic"], project),
        "labels": properties.get("effectiveLabels", {}),
    }
    return Message(json_format.ParseDict(body, Message.pb(Message())))
