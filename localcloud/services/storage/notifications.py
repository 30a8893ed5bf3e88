"""Notification configurations, and the outbox into which each change of an object puts its events.

An event is written in the transaction of the change that it tells of, so neither a kill nor a
Pub/Sub that is down loses one. The attributes are those of
https://cloud.google.com/storage/docs/pubsub-notifications#attributes.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from localcloud.services.storage.clock import Clock, rfc3339
from localcloud.services.storage.database import transaction
from localcloud.services.storage.errors import StorageError, invalid
from localcloud.services.storage.etag import short_etag

if TYPE_CHECKING:
    from localcloud.services.storage.buckets import Bucket
    from localcloud.services.storage.objects import StoredObject

EVENTS: Final = ("OBJECT_FINALIZE", "OBJECT_METADATA_UPDATE", "OBJECT_DELETE", "OBJECT_ARCHIVE")
_FORMATS: Final = ("JSON_API_V1", "NONE")
_TOPIC: Final = re.compile(r"(?://pubsub\.googleapis\.com/)?(projects/[^/]+/topics/[^/]+)")
_MAX_CONFIGURATIONS: Final = 100
_MAX_PER_EVENT: Final = 10
_MAX_ATTRIBUTES: Final = 5


class Notifications:
    """Notification configurations of all buckets, and the outbox.

    Args:
        connection: the database.
        clock: the present.
        base_url: where this service is, for the links in payloads.
        wake: called when the outbox has something new; it is not committed yet.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Clock,
        base_url: str,
        wake: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._base_url = base_url
        self._wake = wake

    def list(self, bucket: str) -> list[dict[str, Any]]:
        """The configurations of a bucket in the order of their making."""
        rows = self._connection.execute(
            "SELECT resource FROM notifications WHERE bucket = ? ORDER BY id", (bucket,)
        )
        return [msgspec.json.decode(row[0]) for row in rows]

    def get(self, bucket: str, key: str) -> dict[str, Any]:
        """One configuration.

        Raises:
            StorageError: 404.
        """
        row = self._connection.execute(
            "SELECT resource FROM notifications WHERE bucket = ? AND id = ?", (bucket, key)
        ).fetchone()
        if row is None:
            raise StorageError(404, "notFound", f"No such notification: {bucket}/{key}")
        return msgspec.json.decode(row[0])

    def insert(self, bucket: str, wanted: dict[str, Any]) -> dict[str, Any]:
        """Add a configuration, already checked by `check`.

        Raises:
            StorageError: 400 when there are too many.
        """
        with transaction(self._connection):
            existing = self.list(bucket)
            if len(existing) >= _MAX_CONFIGURATIONS:
                raise invalid(f"A bucket may have {_MAX_CONFIGURATIONS} notifications.")
            for event in wanted.get("event_types") or EVENTS:
                same = [one for one in existing if event in (one.get("event_types") or EVENTS)]
                if len(same) >= _MAX_PER_EVENT:
                    raise invalid(
                        f"A bucket may have {_MAX_PER_EVENT} notifications for {event}.",
                        "event_types",
                    )
            key = max((int(one["id"]) for one in existing), default=0) + 1
            resource = wanted | {
                "kind": "storage#notification",
                "id": str(key),
                "etag": short_etag(key).rstrip("="),
                "selfLink": f"{self._base_url}/storage/v1/b/{quote(bucket, safe='')}"
                f"/notificationConfigs/{key}",
            }
            self._connection.execute(
                "INSERT INTO notifications VALUES (?, ?, ?)",
                (bucket, key, msgspec.json.encode(resource).decode()),
            )
        return resource

    def delete(self, bucket: str, key: str) -> None:
        """Remove a configuration. What is in the outbox is still delivered.

        Raises:
            StorageError: 404.
        """
        with transaction(self._connection):
            self.get(bucket, key)
            self._connection.execute(
                "DELETE FROM notifications WHERE bucket = ? AND id = ?", (bucket, key)
            )

    def tell(
        self, event: str, bucket: Bucket, subject: StoredObject, extra: dict[str, str]
    ) -> None:
        """Put an event into the outbox, once for each configuration that wants it."""
        for configuration in self.list(bucket.name):
            if event not in (configuration.get("event_types") or EVENTS):
                continue
            if not subject.name.startswith(configuration.get("object_name_prefix", "")):
                continue
            now = self._clock()
            attributes = (
                configuration.get("custom_attributes", {})
                | extra
                | {
                    "notificationConfig": f"projects/_/buckets/{bucket.name}/notificationConfigs/"
                    f"{configuration['id']}",
                    "eventType": event,
                    "payloadFormat": configuration["payload_format"],
                    "bucketId": bucket.name,
                    "objectId": subject.name,
                    "objectGeneration": str(subject.generation),
                    "eventTime": rfc3339(now),
                }
            )
            data = b""
            if configuration["payload_format"] == "JSON_API_V1":
                data = msgspec.json.encode(subject.resource(self._base_url, bucket))
            self._connection.execute(
                "INSERT INTO outbox (topic, data, attributes, created) VALUES (?, ?, ?, ?)",
                (
                    topic_path(configuration["topic"]),
                    data,
                    msgspec.json.encode(attributes).decode(),
                    now,
                ),
            )
            self._wake()


def topic_path(topic: str) -> str:
    """`projects/P/topics/T` of a configuration's topic.

    Raises:
        StorageError: 400 when it names no topic.
    """
    found = _TOPIC.fullmatch(topic)
    if not found:
        raise invalid(
            f"Invalid Google Cloud Pub/Sub topic {topic!r}. It should be in the form "
            "//pubsub.googleapis.com/projects/PROJECT/topics/TOPIC.",
            "topic",
        )
    return found.group(1)


def check(wanted: dict[str, Any]) -> dict[str, Any]:
    """The configuration to keep, with its topic written in full.

    Raises:
        StorageError: 400 for wrong values.
    """
    path = topic_path(wanted.get("topic", ""))
    form = wanted.get("payload_format")
    if form not in _FORMATS:
        raise invalid(
            f"Invalid payload_format {form!r}. Allowed: {', '.join(_FORMATS)}.", "payload_format"
        )
    for event in wanted.get("event_types", []):
        if event not in EVENTS:
            raise invalid(
                f"Invalid event type {event!r}. Allowed: {', '.join(EVENTS)}.", "event_types"
            )
    if len(wanted.get("custom_attributes", {})) > _MAX_ATTRIBUTES:
        raise invalid(f"A notification may have {_MAX_ATTRIBUTES} custom attributes.")
    kept = {key: wanted[key] for key in _KEPT if wanted.get(key)}
    return kept | {"topic": f"//pubsub.googleapis.com/{path}"}


_KEPT: Final = ("custom_attributes", "event_types", "object_name_prefix", "payload_format")
