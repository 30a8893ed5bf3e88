"""What the provider remembers: recorded resources, and creations that are under way.

One SQLite file (mode 0600: inputs may be secrets), safe under kill -9; or memory when the provider
only validates. A creation is written down before it is acted on and struck out once the engine
shows that it knows the resource's id. A resource that exists although the engine asks for its
creation is adopted only when such a line is found: it was cut short.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from localcloud.provider.values import restored, storable

_TABLES = """
CREATE TABLE IF NOT EXISTS resources (
    token TEXT NOT NULL, id TEXT NOT NULL, urn TEXT NOT NULL, inputs BLOB NOT NULL,
    outputs BLOB NOT NULL, PRIMARY KEY (token, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS creations (
    urn TEXT PRIMARY KEY, identity TEXT, id TEXT) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Record:
    """A resource that exists only here."""

    token: str
    id: str
    urn: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]


@dataclass(frozen=True)
class Creation:
    """A creation that the engine has not been seen to know of: `id` is None until it succeeded."""

    urn: str
    identity: str | None
    id: str | None


class Store:
    """Thread-safe; several processes may open the same file."""

    def __init__(self, path: Path | None) -> None:
        """Open or make the file; None keeps everything in memory."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._lock = threading.RLock()
        self._database = sqlite3.connect(
            path or ":memory:", check_same_thread=False, isolation_level=None, timeout=30
        )
        self._database.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + _TABLES
        )

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    def record(self, record: Record) -> None:
        """Write a resource, replacing what was there."""
        self._run(
            "INSERT OR REPLACE INTO resources VALUES (?, ?, ?, ?, ?)",
            (record.token, record.id, record.urn, _dump(record.inputs), _dump(record.outputs)),
        )

    def find(self, token: str, id: str) -> Record | None:  # noqa: A002 - Pulumi's own word
        """The resource of this id, or the only one whose id ends in `/id`."""
        with self._rows("SELECT * FROM resources WHERE token = ? AND id = ?", (token, id)) as rows:
            found = rows.fetchall()
        if not found:
            ending = "%/" + id.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            with self._rows(
                "SELECT * FROM resources WHERE token = ? AND id LIKE ? ESCAPE '\\'", (token, ending)
            ) as rows:
                found = rows.fetchall()
        return _record(found[0]) if len(found) == 1 else None

    def all(self, token: str | None = None) -> list[Record]:
        """Every recorded resource, or those of one type."""
        where, arguments = ("WHERE token = ?", (token,)) if token else ("", ())
        query = f"SELECT * FROM resources {where} ORDER BY token, id"  # noqa: S608 - no input in it
        with self._rows(query, arguments) as rows:
            return [_record(row) for row in rows.fetchall()]

    def forget(self, token: str, id: str) -> None:  # noqa: A002
        """Remove a resource; one that is not there is fine."""
        self._run("DELETE FROM resources WHERE token = ? AND id = ?", (token, id))

    def begin(self, urn: str, identity: str | None) -> None:
        """Write down that a creation is about to be acted on."""
        self._run("INSERT OR REPLACE INTO creations VALUES (?, ?, NULL)", (urn, identity))

    def made(self, urn: str, id: str) -> None:  # noqa: A002
        """Write down that a creation succeeded; the engine may not have heard of it yet."""
        self._run("UPDATE creations SET id = ? WHERE urn = ?", (id, urn))

    def abandon(self, urn: str) -> None:
        """Strike out a creation that made nothing."""
        self._run("DELETE FROM creations WHERE urn = ?", (urn,))

    def acknowledge(self, urn: str, id: str) -> None:  # noqa: A002
        """The engine named this id, so it knows of the creation."""
        self._run("DELETE FROM creations WHERE urn = ? AND id = ?", (urn, id))

    def creation(self, urn: str) -> Creation | None:
        """The creation of this URN that the engine has not been seen to know of."""
        with self._rows("SELECT * FROM creations WHERE urn = ?", (urn,)) as rows:
            found = rows.fetchone()
        return Creation(*found) if found else None

    def _run(self, statement: str, arguments: tuple[Any, ...]) -> None:
        with self._lock:
            self._database.execute(statement, arguments)

    @contextlib.contextmanager
    def _rows(self, query: str, arguments: tuple[Any, ...]) -> Iterator[sqlite3.Cursor]:
        with self._lock:
            yield self._database.execute(query, arguments)


def _dump(values: dict[str, Any]) -> bytes:
    return msgspec.json.encode(storable(values))


def _record(row: tuple[Any, ...]) -> Record:
    token, id, urn, inputs, outputs = row  # noqa: A001
    return Record(
        token,
        id,
        urn,
        restored(msgspec.json.decode(inputs)),
        restored(msgspec.json.decode(outputs)),
    )
