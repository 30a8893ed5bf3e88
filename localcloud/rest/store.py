"""A small store of JSON documents in one SQLite file, safe under kill -9 at any moment.

WAL with `synchronous=NORMAL`: a killed process loses nothing that was committed. One write costs
some 50 us, so handlers call it straight from the event loop.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, final

import msgspec

from localcloud.rest.errors import Aborted, AlreadyExists, NotFound


class Stored(NamedTuple):
    """A document as it lies in the store."""

    key: str
    value: dict[str, Any]
    etag: str


@final
class Documents:
    """Documents by key; keys sort as text and are usually Google's resource names.

    Args:
        path: the SQLite file, made when missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._depth = 0
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute("PRAGMA busy_timeout=10000")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS documents "
            "(key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID"
        )
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS revisions (one INTEGER PRIMARY KEY, last INTEGER NOT NULL)"
        )
        self._database.execute("INSERT OR IGNORE INTO revisions VALUES (1, 0)")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen together or not at all; may be nested."""
        with self._lock:
            if self._depth == 0:
                self._database.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._database.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._database.execute("COMMIT")

    def find(self, key: str) -> Stored | None:
        """The document with its etag, or None."""
        with self._lock:
            row = self._database.execute(
                "SELECT value, revision FROM documents WHERE key = ?", (key,)
            ).fetchone()
        return Stored(key, msgspec.json.decode(row[0]), _etag(row[1])) if row else None

    def get(self, key: str) -> dict[str, Any] | None:
        """The document, or None."""
        stored = self.find(key)
        return stored.value if stored else None

    def create(self, key: str, value: dict[str, Any]) -> str:
        """Write a document that is not there yet; returns its etag.

        Raises:
            AlreadyExists: it is there.
        """
        with self.transaction():
            if self.find(key) is not None:
                raise AlreadyExists(f"Resource '{key}' already exists.")
            return self.put(key, value)

    def put(self, key: str, value: dict[str, Any], if_etag: str | None = None) -> str:
        """Write a document, new or not; returns its new etag.

        Args:
            if_etag: write only when the stored document still has this etag.

        Raises:
            Aborted: it has another etag, or is gone.
        """
        with self.transaction():
            if if_etag is not None:
                self._compare(key, if_etag)
            (revision,) = self._database.execute(
                "UPDATE revisions SET last = last + 1 WHERE one = 1 RETURNING last"
            ).fetchone()
            self._database.execute(
                "INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "
                "SET value = excluded.value, revision = excluded.revision",
                (key, msgspec.json.encode(value), revision),
            )
        return _etag(revision)

    def change(self, key: str, edit: Callable[[dict[str, Any]], None]) -> Stored:
        """Read, edit in place and write in one transaction.

        Raises:
            NotFound: there is no such document.
        """
        with self.transaction():
            value = self.get(key)
            if value is None:
                raise NotFound(f"Resource '{key}' not found.")
            edit(value)
            return Stored(key, value, self.put(key, value))

    def delete(self, key: str, if_etag: str | None = None) -> bool:
        """Remove a document; False when it was not there.

        Raises:
            Aborted: `if_etag` was given and the document has another.
        """
        with self.transaction():
            if if_etag is not None:
                self._compare(key, if_etag)
            return (
                self._database.execute("DELETE FROM documents WHERE key = ?", (key,)).rowcount > 0
            )

    def list(self, prefix: str = "") -> list[Stored]:
        """All documents whose key starts with the prefix, sorted by key."""
        with self._lock:
            rows = self._database.execute(
                "SELECT key, value, revision FROM documents WHERE key >= ? AND key < ? "
                "ORDER BY key",
                (prefix, prefix + "\U0010ffff"),
            ).fetchall()
        return [Stored(key, msgspec.json.decode(value), _etag(rev)) for key, value, rev in rows]

    def next_number(self) -> int:
        """A number that this store never gave before, also after a restart."""
        with self.transaction():
            (number,) = self._database.execute(
                "UPDATE revisions SET last = last + 1 WHERE one = 1 RETURNING last"
            ).fetchone()
        return number

    def close(self) -> None:
        """Give the file back. Nothing is lost without it."""
        with self._lock:
            self._database.close()

    def _compare(self, key: str, etag: str) -> None:
        stored = self.find(key)
        if stored is None or stored.etag != etag:
            raise Aborted(
                f"The etag '{etag}' of '{key}' is out of date: the resource was changed or deleted "
                "meanwhile. Read it again and retry."
            )


def _etag(revision: int) -> str:
    return f"AMEw9y{revision:010x}"
