"""Uploads: how bytes that arrive become a content, in one request or in many.

A resumable upload lives in the database, and its bytes in a content file of the same id, so it
outlives the process. What it holds is told in whole quanta of 256 KiB, as Cloud Storage does.
"""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from localcloud.services.storage.clock import DAY, Clock
from localcloud.services.storage.content import BLOCK, Contents, Draft, Stored
from localcloud.services.storage.errors import StorageError, invalid

QUANTUM: Final = 256 * 1024
LIFETIME: Final = 7 * DAY
# Below this a hop to another thread costs more than the work.
_INLINE: Final = 128 * 1024


async def receive(draft: Draft, chunks: AsyncIterator[bytes], limit: int | None = None) -> None:
    """Append what arrives to a draft, holding at most a few blocks in memory.

    Args:
        draft: where it goes.
        chunks: what arrives.
        limit: drop what goes beyond this size of the draft.
    """
    pending: list[bytes] = []
    size = 0
    try:
        async for chunk in chunks:
            pending.append(chunk)
            size += len(chunk)
            if size >= BLOCK:
                block, pending, size = pending, [], 0
                await _append(draft, block, limit)
    finally:
        # What came before a client went away counts: a resumable upload goes on from there.
        await _append(draft, pending, limit)


async def _append(draft: Draft, pending: list[bytes], limit: int | None) -> None:
    data = b"".join(pending)
    if limit is not None:
        data = data[: max(0, limit - draft.size)]
    if len(data) > _INLINE:
        await asyncio.to_thread(draft.write, data)
    elif data:
        draft.write(data)


def expected_checksums(fields: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, str]:
    """What the client says the checksums are: `crc32c` and `md5Hash`, in base64.

    Args:
        fields: the object's JSON.
        headers: the request's, of which `x-goog-hash` and `content-md5` count.
    """
    wanted = {key: fields[key] for key in ("crc32c", "md5Hash") if fields.get(key)}
    for part in headers.get("x-goog-hash", "").split(","):
        kind, _, value = part.strip().partition("=")
        if value and kind in _HASHES:
            wanted[_HASHES[kind]] = value
    if headers.get("content-md5"):
        wanted["md5Hash"] = headers["content-md5"]
    return wanted


def verify(stored: Stored, wanted: Mapping[str, str]) -> None:
    """Compare checksums.

    Raises:
        StorageError: 400 when one differs.
    """
    for key, label, actual in (
        ("crc32c", "CRC32C", stored.crc32c),
        ("md5Hash", "MD5 hash", stored.md5),
    ):
        told = wanted.get(key)
        if told is not None and told != actual:
            raise invalid(
                f'Provided {label} "{told}" doesn\'t match calculated {label} "{actual}".', key
            )


_HASHES: Final = {"crc32c": "crc32c", "md5": "md5Hash"}


@dataclass(frozen=True)
class Upload:
    """A resumable upload."""

    id: str
    bucket: str
    name: str
    conditions: dict[str, str]
    """The request's preconditions."""
    fields: dict[str, Any]
    total: int | None
    """How many bytes there will be, when the client has said so."""
    finished: dict[str, Any] | None
    """The object's JSON, once there is one."""


class Uploads:
    """All resumable uploads of one home."""

    def __init__(self, connection: sqlite3.Connection, contents: Contents, clock: Clock) -> None:
        self._connection = connection
        self._contents = contents
        self._clock = clock
        self._drafts: dict[str, Draft] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def begin(
        self,
        bucket: str,
        name: str,
        conditions: dict[str, str],
        fields: dict[str, Any],
        total: int | None,
    ) -> str:
        """A new upload.

        Returns:
            Its id.
        """
        key = uuid.uuid4().hex
        self._connection.execute(
            "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                key,
                bucket,
                name,
                msgspec.json.encode(conditions).decode(),
                msgspec.json.encode(fields).decode(),
                total,
                self._clock(),
            ),
        )
        return key

    def get(self, key: str) -> Upload:
        """An upload.

        Raises:
            StorageError: 404 when it never was, was cancelled, or is over a week old.
        """
        row = self._connection.execute("SELECT * FROM uploads WHERE id = ?", (key,)).fetchone()
        if row is None or row["created"] < self._clock() - LIFETIME:
            raise StorageError(
                404,
                "notFound",
                f"No such upload: {key}. It may have been cancelled or have ended more than seven "
                "days ago; start a new one.",
            )
        return Upload(
            id=row["id"],
            bucket=row["bucket"],
            name=row["name"],
            conditions=msgspec.json.decode(row["conditions"]),
            fields=msgspec.json.decode(row["fields"]),
            total=row["total"],
            finished=msgspec.json.decode(row["finished"]) if row["finished"] else None,
        )

    def lock(self, key: str) -> asyncio.Lock:
        """Held while a request adds to an upload: a retry may overtake the request it repeats."""
        return self._locks.setdefault(key, asyncio.Lock())

    def persisted(self, key: str) -> int:
        """How many bytes of an upload are kept, in whole quanta."""
        return self._contents.size(key) // QUANTUM * QUANTUM

    async def draft(self, key: str, size: int) -> Draft:
        """The content of an upload, cut to its first `size` bytes, ready to grow.

        After a restart it has to be read again for its checksums.
        """
        draft = self._drafts.pop(key, None)
        if draft is not None and draft.size == size:
            return draft
        if draft is not None:
            draft.close()
        return await asyncio.to_thread(self._contents.resume, key, size)

    def keep(self, draft: Draft) -> None:
        """Hold a draft for the upload's next request, so that nothing is hashed twice."""
        self._drafts[draft.id] = draft

    def finish(self, key: str, result: dict[str, Any]) -> None:
        """Note the object that the upload became. Takes part in the caller's transaction."""
        self._connection.execute(
            "UPDATE uploads SET finished = ? WHERE id = ?",
            (msgspec.json.encode(result).decode(), key),
        )

    def forget(self, key: str) -> None:
        """Release what is held in memory for an upload that is over."""
        self._locks.pop(key, None)
        draft = self._drafts.pop(key, None)
        if draft is not None:
            draft.close()

    def cancel(self, key: str) -> None:
        """Drop an upload with its bytes."""
        self._connection.execute("DELETE FROM uploads WHERE id = ?", (key,))
        self.forget(key)
        self._contents.path(key).unlink(missing_ok=True)

    def purge(self) -> None:
        """Drop uploads that are over a week old."""
        rows = self._connection.execute(
            "SELECT id, finished FROM uploads WHERE created < ?", (self._clock() - LIFETIME,)
        ).fetchall()
        for row in rows:
            if row["finished"]:
                self._connection.execute("DELETE FROM uploads WHERE id = ?", (row["id"],))
            else:
                self.cancel(row["id"])

    def unfinished(self, bucket: str) -> list[tuple[str, str, int]]:
        """Id, object name and birth of the uploads under way in a bucket."""
        rows = self._connection.execute(
            "SELECT id, name, created FROM uploads WHERE bucket = ? AND finished IS NULL",
            (bucket,),
        )
        return [(row["id"], row["name"], row["created"]) for row in rows]
