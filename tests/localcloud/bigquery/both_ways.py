"""Runs in the emulator's environment: what it is told of its tables, by us and by DuckDB.

Writes JSON with what differs, what was asked in other words than are known, and how
often a query with parameters ran.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

from local_bigquery.catalog import datasets, tables  # pyright: ignore[reportMissingImports]
from local_bigquery.engine import database, results  # pyright: ignore[reportMissingImports]
from local_bigquery.jobs import query  # pyright: ignore[reportMissingImports]
from local_bigquery.settings import settings  # pyright: ignore[reportMissingImports]
from local_bigquery.sql.rules import partitions  # pyright: ignore[reportMissingImports]
from sqlglot import exp  # pyright: ignore[reportMissingImports]

from localcloud.services.bigquery_emulator import catalog

CHANGES = (
    "CREATE SCHEMA lake.one",
    "CREATE SCHEMA lake.two",
    "CREATE TABLE lake.one.t (a BIGINT NOT NULL, b VARCHAR, s STRUCT(x BIGINT, y BIGINT))",
    'CREATE TABLE lake.one."T2" (a BIGINT, "_PARTITIONTIME" TIMESTAMPTZ)',
    "INSERT INTO lake.one.t SELECT i, 'x', NULL FROM range(100) r(i)",
    "DELETE FROM lake.one.t WHERE a < 40",
    "INSERT INTO lake.one.t VALUES (1, 'y', NULL), (2, 'z', NULL)",
    "CREATE VIEW lake.one.v AS SELECT a, b FROM lake.one.t",
    'CREATE VIEW lake.one.w AS SELECT a, "_PARTITIONTIME" FROM lake.one."T2"',
    "ALTER TABLE lake.one.t ALTER COLUMN a DROP NOT NULL",
    "ALTER TABLE lake.one.t ADD COLUMN c DOUBLE",
    "ALTER TABLE lake.one.t DROP COLUMN b CASCADE",
    "CREATE OR REPLACE TABLE lake.one.t AS SELECT 1 AS a, 2 AS d",
    "ALTER TABLE lake.one.t RENAME TO u",
    "CREATE TABLE lake.two.u AS SELECT 1 AS other",
    'CREATE OR REPLACE TABLE emulator._results."lake:job" AS SELECT * FROM range(7)',
    "DROP VIEW lake.one.v",
    "DROP TABLE lake.one.u",
    "DROP SCHEMA lake.one CASCADE",
    "CREATE SCHEMA lake.one",
)
# Each takes DuckDB some 10 ms.
QUESTIONS: tuple[tuple[str, list[Any]], ...] = (
    (catalog.SCHEMA, ["lake", "one"]),
    (catalog.SCHEMA, ["no", "one"]),
    (catalog.OBJECTS, ["lake", "one", None]),
    (catalog.OBJECTS, ["lake", "one", "t"]),
    (catalog.OBJECTS, ["lake", "one", "T"]),
    (catalog.OBJECTS, ["lake", "one", "v"]),
    (catalog.OBJECTS, ["lake", "two", "u"]),
    (catalog.OBJECTS, [*catalog.RESULTS, "lake:job"]),
    (catalog.REQUIRED, ["lake", "one", "t"]),
    (catalog.REQUIRED, ["lake", "one", "v"]),
    (catalog.REQUIRED, [*catalog.RESULTS, "lake:job"]),
    (catalog.COLUMN, ["lake", "one", "t", "c"]),
    (catalog.COLUMN, ["lake", "one", "t", "x"]),
    (catalog.COLUMN, ["lake", "one", "T2", "_PARTITIONTIME"]),
    (catalog.COLUMN, ["lake", "one", "w", "_PARTITIONTIME"]),
)


def differing() -> list[str]:
    """What we answer otherwise than DuckDB does, after each change."""
    found: list[str] = []
    for change in CHANGES:
        database.execute(change)
        for sql, params in QUESTIONS:
            ours, theirs = catalog.fetch(sql, params), catalog._ask(sql, params)
            if ours != theirs:
                found.append(f"after {change}: {params}: {ours} instead of {theirs}")
    return found


def unknown() -> list[str]:
    """What the emulator asks DuckDB about one table, though it could ask us."""
    database.execute("CREATE TABLE lake.one.t AS SELECT 1 AS a")
    asked: list[str] = []
    theirs = catalog._ask

    def listening(sql: str, params: list[Any] | None = None) -> catalog.Rows:
        asked.append(sql)
        return theirs(sql, params)

    catalog._ask = listening
    assert datasets.exists("lake", "one")
    assert database.objects("lake", "one", "t") == [("t", "TABLE", 1)]
    assert [column.name for column in tables.columns("lake", "one", "t")] == ["a"]
    assert not partitions._hidden(exp.table_("t", "one", "lake"))
    catalog._ask = theirs
    if catalog.TEMPORARY not in inspect.getsource(query):
        asked.append("which tables are temporary")
    return asked


def times_run() -> int:
    """How often a query with parameters runs whose result is written."""
    runs: list[int] = []

    def tick(value: int) -> int:
        runs.append(value)
        return value

    database.connection().create_function("tick", tick, ["BIGINT"], "BIGINT")
    with database.cursor() as cursor:
        job = catalog._NewCursor(cursor)
        asked, given = "SELECT tick(i + $more) AS n FROM range(3) r(i)", {"more": 5}
        assert job.sql(asked, params=given).columns == ["n"]
        results.materialise(job, asked, 'emulator._results."lake:ticks"', given)
    rows = database.fetch('SELECT n FROM emulator._results."lake:ticks" ORDER BY n')
    assert rows == [(5,), (6,), (7,)]
    return len(runs)


def main() -> None:
    settings.data_dir = Path(sys.argv[1])
    catalog.install()
    database.attach("lake")
    told = {"differing": differing(), "unknown": unknown(), "runs": times_run()}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
