"""Buckets as they are kept: rows of the database, and their JSON."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import msgspec

from localcloud.services.storage import bucket_settings
from localcloud.services.storage.clock import Clock, rfc3339
from localcloud.services.storage.database import transaction
from localcloud.services.storage.errors import bucket_not_found, conflict
from localcloud.services.storage.etag import short_etag


def project_number(project: str) -> int:
    """The number that stands for a project: itself, or one made from its id (12 digits)."""
    if project.isdigit():
        return int(project)
    return 10**11 + int.from_bytes(hashlib.sha256(project.encode()).digest()[:8]) % (9 * 10**11)


def service_agent(project: str) -> str:
    """The e-mail of the service account by which Cloud Storage acts for a project."""
    return f"service-{project_number(project)}@gs-project-accounts.iam.gserviceaccount.com"


@dataclass(frozen=True)
class Bucket:
    """A bucket. Times are microseconds since the epoch."""

    name: str
    project: str
    generation: int
    metageneration: int
    created: int
    updated: int
    settings: dict[str, Any]
    policy: dict[str, Any]

    @property
    def etag(self) -> str:
        return short_etag(self.metageneration)

    @property
    def versioned(self) -> bool:
        """Whether an object that is deleted or overwritten stays as a noncurrent version."""
        return bool(self.settings.get("versioning", {}).get("enabled"))

    @property
    def retention(self) -> int:
        """Microseconds for which an object may be neither deleted nor overwritten."""
        return int(self.settings.get("retentionPolicy", {}).get("retentionPeriod", 0)) * 1_000_000

    @property
    def soft_delete(self) -> int:
        """Microseconds for which a deleted object can be restored; 0 for none."""
        policy = self.settings.get("softDeletePolicy", {})
        return int(policy.get("retentionDurationSeconds", 0)) * 1_000_000

    def resource(self, base_url: str) -> dict[str, Any]:
        """The bucket in the JSON API's shape."""
        return self.settings | {
            "kind": "storage#bucket",
            "id": self.name,
            "selfLink": f"{base_url}/storage/v1/b/{quote(self.name, safe='')}",
            "name": self.name,
            "projectNumber": str(project_number(self.project)),
            "generation": str(self.generation),
            "metageneration": str(self.metageneration),
            "etag": self.etag,
            "timeCreated": rfc3339(self.created),
            "updated": rfc3339(self.updated),
            "locationType": bucket_settings.location_type(self.settings["location"]),
        }


class Buckets:
    """All buckets of one home. Every method is one transaction or takes part in the caller's."""

    def __init__(self, connection: sqlite3.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    def find(self, name: str) -> Bucket | None:
        """The bucket of this name, if there is one."""
        row = self._connection.execute("SELECT * FROM buckets WHERE name = ?", (name,)).fetchone()
        return _bucket(row) if row else None

    def get(self, name: str) -> Bucket:
        """The bucket of this name.

        Raises:
            StorageError: 404.
        """
        bucket = self.find(name)
        if bucket is None:
            raise bucket_not_found(name)
        return bucket

    def list(self, project: str, prefix: str, after: str, limit: int) -> list[Bucket]:
        """Buckets of a project in the order of their names.

        Args:
            project: the project's id.
            prefix: what the names begin with.
            after: the last name of the page before.
            limit: how many at most.
        """
        rows = self._connection.execute(
            "SELECT * FROM buckets WHERE project = ? AND name > ? AND substr(name, 1, ?) = ? "
            "ORDER BY name LIMIT ?",
            (project, after, len(prefix), prefix, limit),
        )
        return [_bucket(row) for row in rows]

    def everything(self) -> list[Bucket]:
        """All buckets of all projects."""
        return [_bucket(row) for row in self._connection.execute("SELECT * FROM buckets")]

    def create(self, project: str, name: str, wanted: dict[str, Any]) -> Bucket:
        """A new bucket.

        Raises:
            StorageError: 400 for wrong values, 409 when the name is taken.
        """
        bucket_settings.check_name(name)
        now = self._clock()
        bucket = Bucket(
            name=name,
            project=project,
            generation=now,
            metageneration=1,
            created=now,
            updated=now,
            settings=bucket_settings.settle(wanted, None, now),
            policy=default_policy(project),
        )
        with transaction(self._connection):
            existing = self.find(name)
            if existing:
                raise conflict(
                    "Your previous request to create the named bucket succeeded and you already "
                    "own it."
                    if existing.project == project
                    else "The requested bucket name is not available. The bucket namespace is "
                    "shared by all users of the system. Please select a different name and try "
                    "again."
                )
            self._connection.execute(
                "INSERT INTO buckets VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _row(bucket)
            )
        return bucket

    def change(self, name: str, change: Callable[[Bucket], Bucket]) -> Bucket:
        """Replace a bucket by what `change` makes of it, with the next metageneration.

        `change` may raise: nothing is changed then. Returning the same object changes nothing.
        """
        with transaction(self._connection):
            before = self.get(name)
            after = change(before)
            if after is before:
                return before
            after = replace(after, metageneration=before.metageneration + 1, updated=self._clock())
            self._connection.execute(
                "REPLACE INTO buckets VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _row(after)
            )
        return after

    def settle(self, bucket: Bucket, wanted: dict[str, Any]) -> Bucket:
        """The bucket with other settings, checked."""
        settings = bucket_settings.settle(wanted, bucket.settings, self._clock())
        return bucket if settings == bucket.settings else replace(bucket, settings=settings)

    def delete(self, name: str, check: Callable[[Bucket], None]) -> list[str]:
        """Remove an empty bucket with its notifications and unfinished uploads.

        Returns:
            Content ids to release.

        Raises:
            StorageError: 404, or 409 when it holds objects, noncurrent ones included.
        """
        with transaction(self._connection):
            check(self.get(name))
            held = self._connection.execute(
                "SELECT max(state = 'live') FROM objects WHERE bucket = ? AND state != 'soft'",
                (name,),
            ).fetchone()[0]
            if held is not None:
                raise conflict(
                    "The bucket you tried to delete is not empty."
                    if held
                    else "The bucket you tried to delete is not empty. You must delete all "
                    "versions of its objects (list them with versions=true)."
                )
            rows = self._connection.execute(
                "SELECT content FROM objects WHERE bucket = ? UNION "
                "SELECT id FROM uploads WHERE bucket = ?",
                (name, name),
            ).fetchall()
            for table, column in (
                ("objects", "bucket"),
                ("uploads", "bucket"),
                ("notifications", "bucket"),
                ("buckets", "name"),
            ):
                self._connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))  # noqa: S608
        return [row[0] for row in rows]


def default_policy(project: str) -> dict[str, Any]:
    """The IAM policy that a new bucket gets: the project's basic roles."""
    return {
        "version": 1,
        "bindings": [
            {
                "role": "roles/storage.legacyBucketOwner",
                "members": [f"projectEditor:{project}", f"projectOwner:{project}"],
            },
            {
                "role": "roles/storage.legacyBucketReader",
                "members": [f"projectViewer:{project}"],
            },
        ],
    }


def _bucket(row: sqlite3.Row) -> Bucket:
    return Bucket(
        name=row["name"],
        project=row["project"],
        generation=row["generation"],
        metageneration=row["metageneration"],
        created=row["created"],
        updated=row["updated"],
        settings=msgspec.json.decode(row["settings"]),
        policy=msgspec.json.decode(row["policy"]),
    )


def _row(bucket: Bucket) -> tuple[Any, ...]:
    return (
        bucket.name,
        bucket.project,
        bucket.generation,
        bucket.metageneration,
        bucket.created,
        bucket.updated,
        msgspec.json.encode(bucket.settings).decode(),
        msgspec.json.encode(bucket.policy).decode(),
    )
