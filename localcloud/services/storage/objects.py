"""Objects as they are kept: generations, versions, holds, retention, and the events they cause."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Final
from urllib.parse import quote

import msgspec

from localcloud.services.storage import preconditions
from localcloud.services.storage.buckets import Bucket
from localcloud.services.storage.clock import Clock, rfc3339
from localcloud.services.storage.content import Stored
from localcloud.services.storage.errors import object_not_found
from localcloud.services.storage.etag import etag
from localcloud.services.storage.notifications import Notifications
from localcloud.services.storage.object_rules import (
    check_fields,
    check_retention_change,
    guard,
    guard_holds,
)

COLUMNS: Final = (
    "bucket, name, generation, metageneration, state, size, crc32c, md5, content, created, "
    "updated, deleted, removed, storage_class, class_updated, retention_from, components, fields"
)
FIELDS: Final = frozenset(
    {
        "cacheControl",
        "contentDisposition",
        "contentEncoding",
        "contentLanguage",
        "contentType",
        "contexts",
        "customTime",
        "eventBasedHold",
        "metadata",
        "retention",
        "temporaryHold",
    }
)
"""What a caller may set, at any time. The storage class and the key are set at creation."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One generation of an object. Times are microseconds since the epoch."""

    bucket: str
    name: str
    generation: int
    metageneration: int
    state: str
    size: int
    crc32c: str
    md5: str | None
    content: str
    created: int
    updated: int
    deleted: int | None
    """When it became noncurrent."""
    removed: int | None
    """When it was soft deleted."""
    storage_class: str
    class_updated: int
    retention_from: int
    components: int | None
    fields: dict[str, Any]

    @property
    def etag(self) -> str:
        return etag(self.generation, self.metageneration)

    def resource(self, base_url: str, bucket: Bucket | None = None) -> dict[str, Any]:
        """The object in the JSON API's shape.

        Args:
            base_url: where this service is.
            bucket: its bucket, for the times that follow from the bucket's settings.
        """
        path = f"{self.bucket}/o/{quote(self.name, safe='')}"
        result: dict[str, Any] = {
            "kind": "storage#object",
            "id": f"{self.bucket}/{self.name}/{self.generation}",
            "selfLink": f"{base_url}/storage/v1/b/{path}",
            "mediaLink": f"{base_url}/download/storage/v1/b/{path}"
            f"?generation={self.generation}&alt=media",
            "name": self.name,
            "bucket": self.bucket,
            "generation": str(self.generation),
            "metageneration": str(self.metageneration),
            "storageClass": self.storage_class,
            "size": str(self.size),
            "crc32c": self.crc32c,
            "etag": self.etag,
            "timeCreated": rfc3339(self.created),
            "updated": rfc3339(self.updated),
            "timeFinalized": rfc3339(self.created),
            "timeStorageClassUpdated": rfc3339(self.class_updated),
        }
        if self.md5:
            result["md5Hash"] = self.md5
        if self.components:
            result["componentCount"] = self.components
        if self.deleted:
            result["timeDeleted"] = rfc3339(self.deleted)
        if self.removed and bucket:
            result["softDeleteTime"] = rfc3339(self.removed)
            result["hardDeleteTime"] = rfc3339(self.removed + bucket.soft_delete)
        if bucket and bucket.retention and not self.fields.get("eventBasedHold"):
            result["retentionExpirationTime"] = rfc3339(self.retention_from + bucket.retention)
        return result | self.fields


class Objects:
    """All objects of one home.

    Methods take part in the caller's transaction, and those that drop a generation return the ids
    of contents to release after the commit.
    """

    def __init__(
        self, connection: sqlite3.Connection, clock: Clock, notifications: Notifications
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._notifications = notifications
        newest = connection.execute("SELECT max(generation) FROM objects").fetchone()[0]
        self._newest: int = newest or 0

    def find(self, bucket: str, name: str, generation: int | None = None) -> StoredObject | None:
        """The live object, or one generation of it; soft-deleted ones are not found."""
        if generation is None:
            condition, values = "state = 'live'", (bucket, name)
        else:
            condition, values = "generation = ? AND state != 'soft'", (bucket, name, generation)
        row = self._connection.execute(
            f"SELECT {COLUMNS} FROM objects WHERE bucket = ? AND name = ? AND {condition}",  # noqa: S608
            values,
        ).fetchone()
        return from_row(row) if row else None

    def get(self, bucket: str, name: str, generation: int | None = None) -> StoredObject:
        """As `find`.

        Raises:
            StorageError: 404.
        """
        found = self.find(bucket, name, generation)
        if found is None:
            raise object_not_found(bucket, name)
        return found

    def soft_deleted(self, bucket: str, name: str, generation: int) -> StoredObject:
        """A soft-deleted generation.

        Raises:
            StorageError: 404.
        """
        row = self._connection.execute(
            f"SELECT {COLUMNS} FROM objects WHERE bucket = ? AND name = ? AND generation = ? "  # noqa: S608
            "AND state = 'soft'",
            (bucket, name, generation),
        ).fetchone()
        if row is None:
            raise object_not_found(bucket, f"{name} (soft deleted, generation {generation})")
        return from_row(row)

    def create(
        self,
        bucket: Bucket,
        name: str,
        stored: Stored,
        fields: Mapping[str, Any],
        conditions: Mapping[str, Any],
        *,
        components: int | None = None,
    ) -> tuple[StoredObject, list[str]]:
        """Make a content the live generation of an object.

        Args:
            bucket: where.
            name: the object's name.
            stored: the finished content.
            fields: the caller's fields; `storageClass` and `kmsKeyName` among them.
            conditions: the request's preconditions.
            components: of how many objects it was composed.

        Raises:
            StorageError: 412 for preconditions, 403 for holds and retention, 400 for wrong fields.
        """
        current = self.find(bucket.name, name)
        preconditions.check(conditions, current)
        now = self._clock()
        self._newest = generation = max(now, self._newest + 1)
        released: list[str] = []
        if current:
            released = self._replace(bucket, current, generation, now)
        kept = check_fields({key: fields[key] for key in FIELDS if key in fields}, bucket)
        if bucket.settings.get("defaultEventBasedHold"):
            kept.setdefault("eventBasedHold", True)
        key = fields.get("kmsKeyName") or bucket.settings.get("encryption", {}).get(
            "defaultKmsKeyName"
        )
        if key:
            kept["kmsKeyName"] = key if "/cryptoKeyVersions/" in key else key + _KEY_VERSION
        created = StoredObject(
            bucket=bucket.name,
            name=name,
            generation=generation,
            metageneration=1,
            state="live",
            size=stored.size,
            crc32c=stored.crc32c,
            md5=stored.md5,
            content=stored.id,
            created=now,
            updated=now,
            deleted=None,
            removed=None,
            storage_class=fields.get("storageClass") or bucket.settings["storageClass"],
            class_updated=now,
            retention_from=now,
            components=components,
            fields=kept,
        )
        self._write(created)
        self._notifications.tell(
            "OBJECT_FINALIZE",
            bucket,
            created,
            {"overwroteGeneration": str(current.generation)} if current else {},
        )
        return created, released

    def change(self, bucket: Bucket, before: StoredObject, fields: dict[str, Any]) -> StoredObject:
        """Give a generation other fields, and with them the next metageneration.

        Raises:
            StorageError: 400 for wrong fields, 403 for a retention that may not be shortened.
        """
        now = self._clock()
        kept = check_fields({key: fields[key] for key in FIELDS if key in fields}, bucket, before)
        if "kmsKeyName" in before.fields:
            kept["kmsKeyName"] = before.fields["kmsKeyName"]
        check_retention_change(before, kept, now)
        held, holds = before.fields.get("eventBasedHold"), kept.get("eventBasedHold")
        after = replace(
            before,
            fields=kept,
            metageneration=before.metageneration + 1,
            updated=now,
            # The clock of the retention policy starts when the event has happened.
            retention_from=now if held and not holds else before.retention_from,
        )
        return self.rewrite_row(bucket, after)

    def rewrite_row(self, bucket: Bucket, after: StoredObject) -> StoredObject:
        """Keep a changed row and tell of the change."""
        self._write(after)
        self._notifications.tell("OBJECT_METADATA_UPDATE", bucket, after, {})
        return after

    def delete(self, bucket: Bucket, target: StoredObject, *, permanently: bool) -> list[str]:
        """Delete a generation; in a versioned bucket the live one becomes noncurrent.

        Args:
            bucket: its bucket.
            target: the generation.
            permanently: the caller named the generation.

        Raises:
            StorageError: 403 for holds and retention.
        """
        now = self._clock()
        if bucket.versioned and not permanently and target.state == "live":
            self._archive(bucket, target, now, {})
            return []
        return self.remove(bucket, target, now, {})

    def remove(
        self, bucket: Bucket, target: StoredObject, now: int, attributes: dict[str, str]
    ) -> list[str]:
        """Delete a generation for good, or softly when the bucket says so."""
        guard(bucket, target, now, "deleted or overwritten")
        released = self._drop(bucket, target, now)
        self._notifications.tell("OBJECT_DELETE", bucket, target, attributes)
        return released

    def purge(self, target: StoredObject) -> list[str]:
        """Drop a soft-deleted generation whose time is over."""
        self._connection.execute(
            "DELETE FROM objects WHERE bucket = ? AND name = ? AND generation = ?",
            (target.bucket, target.name, target.generation),
        )
        return [target.content]

    def _replace(
        self, bucket: Bucket, current: StoredObject, generation: int, now: int
    ) -> list[str]:
        attributes = {"overwrittenByGeneration": str(generation)}
        if bucket.versioned:
            self._archive(bucket, current, now, attributes)
            return []
        return self.remove(bucket, current, now, attributes)

    def _archive(
        self, bucket: Bucket, target: StoredObject, now: int, attributes: dict[str, str]
    ) -> None:
        guard_holds(target, "deleted, overwritten or archived")
        archived = replace(target, state="noncurrent", deleted=now)
        self._write(archived)
        self._notifications.tell("OBJECT_ARCHIVE", bucket, archived, attributes)

    def _drop(self, bucket: Bucket, target: StoredObject, now: int) -> list[str]:
        if bucket.soft_delete:
            self._write(replace(target, state="soft", deleted=target.deleted or now, removed=now))
            return []
        return self.purge(target)

    def _write(self, row: StoredObject) -> None:
        *values, fields = _VALUES(row)
        self._connection.execute(
            f"REPLACE INTO objects ({COLUMNS}) VALUES ({', '.join('?' * (len(values) + 1))})",  # noqa: S608
            (*values, msgspec.json.encode(fields).decode()),
        )


_KEY_VERSION: Final = "/cryptoKeyVersions/1"
_VALUES: Final = attrgetter(*COLUMNS.split(", "))


def from_row(row: sqlite3.Row) -> StoredObject:
    """The object that a row of `COLUMNS` holds."""
    values: list[Any] = list(row)
    values[-1] = msgspec.json.decode(values[-1])
    return StoredObject(*values)
