"""Lifecycle rules: a periodic sweep that deletes objects and moves them to colder classes.

https://cloud.google.com/storage/docs/lifecycle. Where several rules hold for an object, Delete
wins, then the coldest class. Soft-deleted objects and old uploads are purged on the way.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from dataclasses import replace
from typing import Any, Final

from localcloud.services.storage.buckets import Bucket, Buckets
from localcloud.services.storage.clock import DAY, Clock, midnight, parse_rfc3339
from localcloud.services.storage.content import Contents
from localcloud.services.storage.database import transaction
from localcloud.services.storage.errors import StorageError
from localcloud.services.storage.objects import COLUMNS, Objects, StoredObject, from_row
from localcloud.services.storage.uploads import Uploads

log = logging.getLogger(__name__)

_BATCH: Final = 200
# From a class an object moves to a colder one only.
_COLDNESS: Final = {
    "STANDARD": 0,
    "MULTI_REGIONAL": 0,
    "REGIONAL": 0,
    "DURABLE_REDUCED_AVAILABILITY": 0,
    "NEARLINE": 1,
    "COLDLINE": 2,
    "ARCHIVE": 3,
}


class Lifecycle:
    """Applies the rules of all buckets."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: Clock,
        buckets: Buckets,
        objects: Objects,
        uploads: Uploads,
        contents: Contents,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._buckets = buckets
        self._objects = objects
        self._uploads = uploads
        self._contents = contents

    async def sweep(self) -> None:
        """One round over all buckets. Gives way to requests after every few hundred objects."""
        self._uploads.purge()
        self._connection.execute(
            "DELETE FROM rewrites WHERE created < ?", (self._clock() - 7 * DAY,)
        )
        for bucket in self._buckets.everything():
            self._purge_soft_deleted(bucket)
            rules = bucket.settings.get("lifecycle", {}).get("rule", [])
            if not rules:
                continue
            self._abort_uploads(bucket, rules)
            if any(rule["action"]["type"] != "AbortIncompleteMultipartUpload" for rule in rules):
                await self._apply(bucket, rules)

    async def _apply(self, bucket: Bucket, rules: list[dict[str, Any]]) -> None:
        deleted = moved = 0
        # From the newest generation of each object, to count how many are newer.
        place, newer = ("", 2**63 - 1), 0
        while True:
            rows = self._connection.execute(
                f"SELECT {COLUMNS} FROM objects WHERE bucket = ? AND state != 'soft' "  # noqa: S608
                "AND (name > ? OR (name = ? AND generation < ?)) "
                "ORDER BY name, generation DESC LIMIT ?",
                (bucket.name, place[0], *place, _BATCH),
            ).fetchall()
            if not rows:
                break
            released: list[str] = []
            for row in rows:
                target = from_row(row)
                newer = newer + 1 if target.name == place[0] else 0
                place = (target.name, target.generation)
                action = choose(rules, target, newer, self._clock())
                if action is None:
                    continue
                try:
                    with transaction(self._connection):
                        if action == "Delete":
                            released += self._objects.delete(
                                bucket, target, permanently=target.state != "live"
                            )
                            deleted += 1
                        else:
                            self._move(bucket, target, action)
                            moved += 1
                except StorageError as error:
                    # Holds and retention go before lifecycle rules.
                    log.debug("lifecycle leaves %s: %s", target.name, error)
            self._contents.release(self._connection, released)
            await asyncio.sleep(0)
        if deleted or moved:
            log.info("lifecycle of %s: %d deleted, %d moved", bucket.name, deleted, moved)

    def _move(self, bucket: Bucket, target: StoredObject, storage_class: str) -> None:
        now = self._clock()
        after = replace(
            target,
            storage_class=storage_class,
            class_updated=now,
            updated=now,
            metageneration=target.metageneration + 1,
        )
        self._objects.rewrite_row(bucket, after)

    def _abort_uploads(self, bucket: Bucket, rules: list[dict[str, Any]]) -> None:
        now = self._clock()
        for rule in rules:
            if rule["action"]["type"] != "AbortIncompleteMultipartUpload":
                continue
            condition = rule["condition"]
            for key, name, created in self._uploads.unfinished(bucket.name):
                if now - created >= condition.get("age", 0) * DAY and _named(condition, name):
                    self._uploads.cancel(key)

    def _purge_soft_deleted(self, bucket: Bucket) -> None:
        rows = self._connection.execute(
            f"SELECT {COLUMNS} FROM objects WHERE bucket = ? AND state = 'soft' AND removed <= ?",  # noqa: S608
            (bucket.name, self._clock() - bucket.soft_delete),
        ).fetchall()
        for row in rows:
            with transaction(self._connection):
                released = self._objects.purge(from_row(row))
            self._contents.release(self._connection, released)


def choose(rules: list[dict[str, Any]], target: StoredObject, newer: int, now: int) -> str | None:
    """What the rules say of an object: `Delete`, a storage class, or None.

    Args:
        rules: of the bucket.
        target: the object.
        newer: how many generations of it are newer.
        now: microseconds since the epoch.
    """
    chosen: str | None = None
    for rule in rules:
        action = rule["action"]
        if action["type"] == "AbortIncompleteMultipartUpload":
            continue
        if not holds(rule["condition"], target, newer, now):
            continue
        if action["type"] == "Delete":
            return "Delete"
        colder = _COLDNESS[action["storageClass"]]
        if colder > _COLDNESS[chosen or target.storage_class]:
            chosen = action["storageClass"]
    return chosen


def holds(condition: dict[str, Any], target: StoredObject, newer: int, now: int) -> bool:
    """Whether every condition of a rule holds for an object."""
    live = target.state == "live"
    custom = target.fields.get("customTime")
    custom_time = parse_rfc3339(custom) if custom else None
    checks = {
        "age": lambda days: now - target.created >= days * DAY,
        "createdBefore": lambda date: target.created < midnight(date),
        "isLive": lambda wanted: live == wanted,
        "numNewerVersions": lambda count: newer >= count,
        "matchesStorageClass": lambda classes: target.storage_class in classes,
        "matchesPrefix": lambda _: _named(condition, target.name),
        "matchesSuffix": lambda _: _named(condition, target.name),
        "daysSinceCustomTime": lambda days: (
            custom_time is not None and now - custom_time >= days * DAY
        ),
        "customTimeBefore": lambda date: custom_time is not None and custom_time < midnight(date),
        "daysSinceNoncurrentTime": lambda days: (
            target.deleted is not None and now - target.deleted >= days * DAY
        ),
        "noncurrentTimeBefore": lambda date: (
            target.deleted is not None and target.deleted < midnight(date)
        ),
        "sizeAboveBytes": lambda size: target.size > int(size),
        "sizeBelowBytes": lambda size: target.size < int(size),
    }
    return all(checks[key](value) for key, value in condition.items())


def _named(condition: dict[str, Any], name: str) -> bool:
    prefixes, suffixes = condition.get("matchesPrefix"), condition.get("matchesSuffix")
    return (not prefixes or name.startswith(tuple(prefixes))) and (
        not suffixes or name.endswith(tuple(suffixes))
    )
