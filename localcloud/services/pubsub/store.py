"""The one SQLite file in which everything lives.

All writes go through one thread that commits whatever has gathered while the previous commit ran:
under load a commit carries many requests, and alone a request waits for its own. A request is
answered after its commit. In WAL mode with `synchronous=NORMAL` what was committed survives a
kill -9 at any moment.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from localcloud.services.pubsub.errors import unavailable

log = logging.getLogger(__name__)

type Row = tuple[Any, ...]
type Statement = tuple[str, Sequence[Row]]

FORMAT: Final = 1
PAGE_MESSAGES: Final = 1_000
PAGE_BYTES: Final = 16 * 1024 * 1024

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS topics (uid INTEGER PRIMARY KEY, name TEXT UNIQUE, body BLOB NOT NULL);
-- Everything up to `floor`, and what `acked` names above it, is acknowledged. `birth` is the floor
-- at creation: only the topic's own retention reaches behind it.
CREATE TABLE IF NOT EXISTS subscriptions (
    uid INTEGER PRIMARY KEY, name TEXT UNIQUE, topic INTEGER NOT NULL, birth INTEGER NOT NULL,
    floor INTEGER NOT NULL, active_at INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS messages_by_topic ON messages (topic, id);
CREATE TABLE IF NOT EXISTS acked (
    subscription INTEGER NOT NULL, message INTEGER NOT NULL,
    PRIMARY KEY (subscription, message)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts (
    subscription INTEGER NOT NULL, message INTEGER NOT NULL, failures INTEGER NOT NULL,
    PRIMARY KEY (subscription, message)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS snapshots (
    uid INTEGER PRIMARY KEY, name TEXT UNIQUE, topic INTEGER NOT NULL, floor INTEGER NOT NULL,
    body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS snapshot_acked (
    snapshot INTEGER NOT NULL, message INTEGER NOT NULL,
    PRIMARY KEY (snapshot, message)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS schemas (
    name TEXT NOT NULL, revision TEXT NOT NULL, number INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (name, revision));
CREATE TABLE IF NOT EXISTS policies (resource TEXT PRIMARY KEY, body BLOB NOT NULL);
"""
_PAGE: Final = """
SELECT m.id, m.at, m.body, COALESCE(t.failures, 0) FROM messages m
LEFT JOIN attempts t ON t.subscription = :subscription AND t.message = m.id
WHERE m.topic = :topic AND m.id > :after
AND NOT EXISTS (SELECT 1 FROM acked a WHERE a.subscription = :subscription AND a.message = m.id)
ORDER BY m.id LIMIT :limit
"""


class Store:
    """Durable state. Start it on the event loop that will use it.

    Args:
        path: the database file; its folder must exist.

    Raises:
        ValueError: the file was written by a newer format.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = self._connect()
        self._writer.executescript(_TABLES)
        found = self._meta("format", FORMAT)
        if found > FORMAT:
            raise ValueError(f"{path} has format {found}, this server knows up to {FORMAT}")
        self.run: Final = self._meta("run", 0) + 1
        self._writer.execute("REPLACE INTO meta VALUES ('format', ?)", (FORMAT,))
        self._writer.execute("REPLACE INTO meta VALUES ('run', ?)", (self.run,))
        self._reader = self._connect()
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="pubsub-read")
        self._gathered = threading.Condition()
        self._queue: list[_Job] = []
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._write, name="pubsub-write", daemon=True)

    def start(self) -> None:
        """Take writes from now on. Call on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Commit what is queued and close the file. Blocks for one commit."""
        with self._gathered:
            self._closing = True
            self._gathered.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._reading.shutdown(cancel_futures=True)
        self._reader.close()
        self._writer.close()

    def write(
        self, *statements: Statement, then: Callable[[], None] | None = None
    ) -> asyncio.Future[None]:
        """Commit statements in one transaction, in the order of the calls.

        Args:
            statements: SQL with the rows to run it for.
            then: called on the event loop after the commit, before anyone who awaits resumes,
                in the order of the calls.

        Returns:
            Done once committed; raises UNAVAILABLE when the file cannot be written.
        """
        assert self._loop is not None
        job = _Job(statements, then, self._loop.create_future())
        with self._gathered:
            self._queue.append(job)
            self._gathered.notify()
        return job.done

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Read at once; for the start, before anything is served."""
        return self._reader.execute(query, parameters).fetchall()

    async def read(self, query: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Read what is committed, without holding up the event loop."""
        return await asyncio.get_running_loop().run_in_executor(
            self._reading, lambda: self._reader.execute(query, parameters).fetchall()
        )

    async def page(self, subscription: int, topic: int, after: int) -> tuple[list[Row], bool]:
        """Unacknowledged messages behind an id, in order, with their failures so far.

        Returns:
            Rows (id, at, body, failures), and whether these were the last ones.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._reading, self._read_page, subscription, topic, after
        )

    def _read_page(self, subscription: int, topic: int, after: int) -> tuple[list[Row], bool]:
        cursor = self._reader.execute(
            _PAGE,
            {
                "subscription": subscription,
                "topic": topic,
                "after": after,
                "limit": PAGE_MESSAGES,
            },
        )
        rows: list[Row] = []
        size = 0
        for row in cursor:
            rows.append(row)
            size += len(row[2])
            if size >= PAGE_BYTES:
                cursor.close()
                return rows, False
        return rows, len(rows) < PAGE_MESSAGES

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA busy_timeout=10000")
        return connection

    def _meta(self, key: str, default: int) -> int:
        row = self._writer.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else row[0]

    def _write(self) -> None:
        while True:
            with self._gathered:
                while not self._queue and not self._closing:
                    self._gathered.wait()
                jobs, self._queue = self._queue, []
            if not jobs:
                return
            try:
                self._commit(jobs)
            except sqlite3.Error:
                # One bad job must not fail its neighbours: each gets a transaction of its own.
                for job in jobs:
                    try:
                        self._commit([job])
                    except sqlite3.Error as error:
                        log.exception("could not write")
                        job.error = error
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(_settle, jobs)
            except RuntimeError:
                return  # The loop is gone, and with it everyone who waited.

    def _commit(self, jobs: Iterable[_Job]) -> None:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            for job in jobs:
                for sql, rows in job.statements:
                    self._writer.executemany(sql, rows)
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise


class _Job:
    __slots__ = ("done", "error", "statements", "then")

    def __init__(
        self,
        statements: tuple[Statement, ...],
        then: Callable[[], None] | None,
        done: asyncio.Future[None],
    ) -> None:
        self.statements = statements
        self.then = then
        self.done = done
        self.error: sqlite3.Error | None = None


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.error is not None:
            if not job.done.done():
                job.done.set_exception(unavailable(f"the state cannot be written: {job.error}"))
                job.done.exception()  # Not everyone waits; an unread failure was logged already.
            continue
        if job.then is not None:
            try:
                job.then()
            except Exception:  # What follows one commit must not stop those behind it.
                log.exception("could not follow up a commit")
        if not job.done.done():
            job.done.set_result(None)
