"""The emulator's questions about what tables there are, in words that cost DuckDB little.

local-bigquery asks `duckdb_tables()` and its siblings some ten times a query. They list every
table of every project with its columns and its size, and results of past queries are tables too:
80 ms each in a project of 50 tables, of which no more than one is wanted. DuckLake knows a table
by its name, and says by a number whether anything was created, altered or dropped since.

A question that is not known here, word for word, is asked as the emulator puts it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import duckdb  # pyright: ignore[reportMissingImports]
from local_bigquery.engine import database  # pyright: ignore[reportMissingImports]
from local_bigquery.jobs import query  # pyright: ignore[reportMissingImports]

type Rows = list[tuple[Any, ...]]

RESULTS: Final = ("emulator", "_results")
"""Where the results of queries are: plain DuckDB tables, no views."""

OBJECTS: Final = (
    "SELECT table_name, 'TABLE', estimated_size FROM duckdb_tables() "
    "WHERE database_name = $1 AND schema_name = $2 "
    "AND table_name = coalesce($3, table_name) "
    "UNION ALL SELECT view_name, 'VIEW', 0 FROM duckdb_views() "
    "WHERE database_name = $1 AND schema_name = $2 "
    "AND view_name = coalesce($3, view_name) AND NOT internal ORDER BY 1"
)
SCHEMA: Final = "SELECT 1 FROM duckdb_schemas() WHERE database_name = ? AND schema_name = ?"
REQUIRED: Final = (
    "SELECT column_name FROM duckdb_columns() WHERE database_name = ? "
    "AND schema_name = ? AND table_name = ? AND NOT is_nullable"
)
COLUMN: Final = (
    "SELECT 1 FROM duckdb_columns() WHERE database_name = ? AND schema_name = ? "
    "AND table_name = ? AND column_name = ?"
)
TEMPORARY: Final = "SELECT table_name FROM duckdb_tables() WHERE temporary"

_ask: Callable[..., Rows] = database.fetch


@dataclass(frozen=True)
class _Lake:
    """What a project holds, as of one version of its schema."""

    version: int
    tables: dict[str, dict[str, int]] = field(default_factory=dict)
    """By dataset and name: the number of a table."""
    views: set[tuple[str, str]] = field(default_factory=set)
    columns: dict[int, dict[str, bool]] = field(default_factory=dict)
    """By the number of a table: its columns, and whether each takes NULL."""


_lakes: dict[str, _Lake] = {}
_here = threading.local()


def install() -> None:
    """Answer from here what the emulator asks DuckDB."""
    database.fetch = fetch
    execute = query.execute

    def without_temporary(
        cur: Any, *given: Any, session: Any = None, **named: Any
    ) -> tuple[Any, ...]:
        """A cursor outside of a session is a new one, without temporary tables to list."""
        own = cur if session else _NewCursor(cur)
        return execute(own, *given, session=session, **named)

    query.execute = without_temporary


def fetch(sql: str, params: list[Any] | None = None) -> Rows:
    """In place of `database.fetch`."""
    known = _KNOWN.get(sql)
    rows = known(*params) if known and params else None
    return _ask(sql, params) if rows is None else rows


def _objects(project: str, dataset: str, table: str | None) -> Rows | None:
    if (project, dataset) == RESULTS and table is not None:
        count = _count(database.quote(*RESULTS, table))
        return [] if count is None else [(table, "TABLE", count)]
    if (lake := _lake(project)) is None:
        return None
    known = lake.tables.get(dataset, {})
    numbers = {name: known[name] for name in known if table in (None, name)}
    sizes = _sizes(project, list(numbers.values()))
    found: Rows = [(name, "TABLE", sizes.get(number, 0)) for name, number in numbers.items()]
    found += [
        (name, "VIEW", 0) for at, name in lake.views if at == dataset and table in (None, name)
    ]
    return sorted(found, key=lambda row: row[0].encode())


def _sizes(project: str, numbers: list[int]) -> dict[int, int]:
    if not numbers:
        return {}
    metadata = database.quote(f"__ducklake_metadata_{project}")
    listed = ", ".join(map(str, numbers))
    return dict(
        _cursor()
        .execute(
            f"SELECT table_id, record_count FROM {metadata}.ducklake_table_stats "  # noqa: S608
            f"WHERE table_id IN ({listed})"
        )
        .fetchall()
    )


def _schema(project: str, dataset: str) -> Rows | None:
    lake = _lake(project)
    return None if lake is None else [(1,)] if dataset in lake.tables else []


def _required(project: str, dataset: str, table: str) -> Rows | None:
    if (project, dataset) == RESULTS:
        return []
    if (lake := _lake(project)) is None:
        return None
    columns = lake.columns.get(lake.tables.get(dataset, {}).get(table, -1), {})
    return [(name,) for name, takes_null in columns.items() if not takes_null]


def _column(project: str, dataset: str, table: str, column: str) -> Rows | None:
    if (project, dataset) == RESULTS:
        return None
    lake = _lake(project)
    if lake is None or (dataset, table) in lake.views:
        return None
    columns = lake.columns.get(lake.tables.get(dataset, {}).get(table, -1), {})
    return [(1,)] if column in columns else []


_KNOWN: Final[dict[str, Callable[..., Rows | None]]] = {
    OBJECTS: _objects,
    SCHEMA: _schema,
    REQUIRED: _required,
    COLUMN: _column,
}


def _lake(project: str) -> _Lake | None:
    """What a project holds now; None if it is no lake that is attached."""
    if project not in database._attached:
        return None
    metadata = database.quote(f"__ducklake_metadata_{project}")
    newest = f"SELECT max(schema_version) FROM {metadata}.ducklake_snapshot"  # noqa: S608
    cursor = _cursor()
    known = _lakes.get(project)
    if known is not None and known.version == cursor.execute(newest).fetchone()[0]:
        return known

    def current(columns: str, table: str) -> Rows:
        sql = f"SELECT {columns} FROM {metadata}.{table} WHERE end_snapshot IS NULL"  # noqa: S608
        return cursor.execute(sql).fetchall()

    # One transaction: what is read belongs to the version that is read.
    cursor.begin()
    try:
        lake = _Lake(cursor.execute(newest).fetchone()[0])
        datasets: dict[int, str] = dict(current("schema_id, schema_name", "ducklake_schema"))
        lake.tables.update({name: {} for name in datasets.values()})
        for dataset, table, number in current("schema_id, table_name, table_id", "ducklake_table"):
            lake.tables[datasets[dataset]][table] = number
        for dataset, view in current("schema_id, view_name", "ducklake_view"):
            lake.views.add((datasets[dataset], view))
        columns = "table_id, column_name, nulls_allowed, parent_column"
        for number, column, takes_null, parent in current(columns, "ducklake_column"):
            if parent is None:
                lake.columns.setdefault(number, {})[column] = takes_null
    finally:
        cursor.commit()
    _lakes[project] = lake
    return lake


def _count(table: str) -> int | None:
    """How many rows a result has; None if there is none of this name."""
    try:
        return _cursor().execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
    except duckdb.CatalogException:
        return None


def _cursor() -> Any:
    """The connection of this thread: to make one takes longer than most questions."""
    if not hasattr(_here, "cursor"):
        _here.cursor = database.connection().cursor()
    return _here.cursor


class _NewCursor:
    """A cursor of one job, that does not run a query in order to learn its columns.

    DuckDB runs a query with parameters at once, where one without is only looked at. The emulator
    asks twice for a query's columns before it writes the result: it ran three times.
    """

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._seen: tuple[str, Any, _Relation] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, *given: Any, **named: Any) -> Any:
        self._seen = None  # A statement may change what the same words mean.
        return self._cursor.execute(*given, **named)

    def sql(self, sql: str, *, params: Any = None) -> Any:
        if sql == TEMPORARY:
            return _Nothing()
        if self._seen is None or self._seen[0] != sql or self._seen[1] is not params:
            self._seen = (sql, params, _Relation(self._cursor, sql, params))
        return self._seen[2]


class _Relation:
    """What a query gives: its columns now, its rows when somebody wants them."""

    def __init__(self, cursor: Any, sql: str, params: Any) -> None:
        self._given = (cursor, sql, params)
        shape = f"SELECT * FROM ({sql}) LIMIT 0" if params else sql  # noqa: S608
        relation = cursor.sql(shape, params=params)
        self.columns: list[str] = relation.columns
        self.types: list[Any] = relation.types

    def __getattr__(self, name: str) -> Any:
        cursor, sql, params = self._given
        return getattr(cursor.sql(sql, params=params), name)


class _Nothing:
    """A relation without rows."""

    def fetchall(self) -> Rows:
        return []
