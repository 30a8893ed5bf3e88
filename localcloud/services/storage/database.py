"""The SQLite database that holds all metadata.

One connection writes, in the server's event loop; the publisher of notifications has its own. In
WAL mode with `synchronous=NORMAL` a killed process loses no committed transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE buckets (
    name TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    generation INTEGER NOT NULL,
    metageneration INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    settings TEXT NOT NULL,
    policy TEXT NOT NULL
) WITHOUT ROWID;

-- state: live, noncurrent (versioning) or soft (soft deleted). Times are microseconds.
CREATE TABLE objects (
    bucket TEXT NOT NULL,
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    metageneration INTEGER NOT NULL,
    state TEXT NOT NULL,
    size INTEGER NOT NULL,
    crc32c TEXT NOT NULL,
    md5 TEXT,
    content TEXT NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    deleted INTEGER,
    removed INTEGER,
    storage_class TEXT NOT NULL,
    class_updated INTEGER NOT NULL,
    retention_from INTEGER NOT NULL,
    components INTEGER,
    fields TEXT NOT NULL,
    PRIMARY KEY (bucket, name, generation)
) WITHOUT ROWID;
CREATE UNIQUE INDEX objects_live ON objects (bucket, name) WHERE state = 'live';
CREATE INDEX objects_content ON objects (content);

-- A resumable upload. Its bytes so far are the content file of the same id.
CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    bucket TEXT NOT NULL,
    name TEXT NOT NULL,
    conditions TEXT NOT NULL,
    fields TEXT NOT NULL,
    total INTEGER,
    created INTEGER NOT NULL,
    finished TEXT
) WITHOUT ROWID;

CREATE TABLE rewrites (
    token TEXT PRIMARY KEY,
    request TEXT NOT NULL,
    generation INTEGER NOT NULL,
    rewritten INTEGER NOT NULL,
    created INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE notifications (
    bucket TEXT NOT NULL,
    id INTEGER NOT NULL,
    resource TEXT NOT NULL,
    PRIMARY KEY (bucket, id)
) WITHOUT ROWID;

-- Notifications not yet accepted by Pub/Sub, written with the change that they tell of.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    data BLOB NOT NULL,
    attributes TEXT NOT NULL,
    created INTEGER NOT NULL
);
CREATE INDEX outbox_topic ON outbox (topic, id);
"""


class WrongVersion(Exception):
    """The state was written by another version of this service."""


def connect(file: Path) -> sqlite3.Connection:
    """The database, made when it is not there yet.

    Raises:
        WrongVersion: the file was written by another version of this service.
    """
    connection = sqlite3.connect(file, autocommit=True, timeout=10, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    with transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            # executescript would commit the transaction that guards against a second maker.
            for statement in _SCHEMA.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version={_VERSION}")
        elif version != _VERSION:
            raise WrongVersion(
                f"{file} has layout {version}, this service reads {_VERSION}; "
                "remove the folder to start afresh"
            )
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing: commits at the end, rolls back when an exception passes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
