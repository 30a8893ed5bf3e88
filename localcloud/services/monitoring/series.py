"""Series of points in one SQLite file, safe under kill -9 at any moment.

What is older than six weeks is dropped, as Google does with metrics of our own.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, final

import msgspec

from localcloud.services.monitoring.filters import Filter, Header

KEPT_SECONDS: Final = 42 * 86_400


class Point(NamedTuple):
    """One value, at the end of its interval."""

    end: float
    """Seconds since 1970."""
    value: float


class OutOfOrder(Exception):
    """The series has a point that is as new or newer. Carries the newest's end."""


@final
class SeriesStore:
    """The series of all projects. Safe to call from several threads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=NORMAL",
            "PRAGMA busy_timeout=10000",
            (
                "CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, project TEXT NOT NULL, "
                "metric TEXT NOT NULL, header BLOB NOT NULL, newest REAL NOT NULL, "
                "UNIQUE (project, header))"
            ),
            "CREATE INDEX IF NOT EXISTS series_of ON series (project, metric)",
            (
                "CREATE TABLE IF NOT EXISTS points (series INTEGER NOT NULL, moment REAL NOT NULL, "
                "value REAL NOT NULL, PRIMARY KEY (series, moment)) WITHOUT ROWID"
            ),
        ):
            self._database.execute(statement)

    def append(self, project: str, header: Header, point: Point) -> None:
        """Write one point behind the others of its series.

        Raises:
            OutOfOrder: it is not newer than the newest.
        """
        encoded = msgspec.json.encode(header, order="deterministic")
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                row = self._database.execute(
                    "SELECT id, newest FROM series WHERE project = ? AND header = ?",
                    (project, encoded),
                ).fetchone()
                if row is None:
                    (number,) = self._database.execute(
                        "INSERT INTO series (project, metric, header, newest) VALUES (?, ?, ?, ?) "
                        "RETURNING id",
                        (project, header.metric, encoded, point.end),
                    ).fetchone()
                elif row[1] >= point.end:
                    raise OutOfOrder(row[1])
                else:
                    number = row[0]
                    self._database.execute(
                        "UPDATE series SET newest = ? WHERE id = ?", (point.end, number)
                    )
                    self._database.execute(
                        "DELETE FROM points WHERE series = ? AND moment < ?",
                        (number, point.end - KEPT_SECONDS),
                    )
                self._database.execute("INSERT INTO points VALUES (?, ?, ?)", (number, *point))
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def select(
        self, project: str, wanted: Filter, after: float, until: float
    ) -> Iterator[tuple[Header, list[Point]]]:
        """The series that a filter selects, with their points in (after, until], oldest first.

        Series without a point in it come too, with none.
        """
        with self._lock:
            rows = self._database.execute(
                "SELECT id, header FROM series WHERE project = ? AND metric = ? ORDER BY id",
                (project, wanted.metric),
            ).fetchall()
        for number, encoded in rows:
            header = msgspec.json.decode(encoded, type=Header)
            if not wanted(header):
                continue
            with self._lock:
                found = self._database.execute(
                    "SELECT moment, value FROM points WHERE series = ? AND moment > ? AND "
                    "moment <= ? ORDER BY moment",
                    (number, after, until),
                ).fetchall()
            yield header, [Point(*one) for one in found]

    def newest(self, project: str, wanted: Filter) -> list[tuple[Header, float]]:
        """The series that a filter selects, with the end of the newest point of each."""
        with self._lock:
            rows = self._database.execute(
                "SELECT header, newest FROM series WHERE project = ? AND metric = ? ORDER BY id",
                (project, wanted.metric),
            ).fetchall()
        pairs = ((msgspec.json.decode(encoded, type=Header), end) for encoded, end in rows)
        return [(header, end) for header, end in pairs if wanted(header)]

    def forget(self, project: str, metric: str) -> None:
        """Drop the series of a metric whose descriptor is deleted."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            of = (project, metric)
            self._database.execute(
                "DELETE FROM points WHERE series IN "
                "(SELECT id FROM series WHERE project = ? AND metric = ?)",
                of,
            )
            self._database.execute("DELETE FROM series WHERE project = ? AND metric = ?", of)
            self._database.execute("COMMIT")

    def close(self) -> None:
        """Give the file back. Nothing is lost without it."""
        with self._lock:
            self._database.close()
