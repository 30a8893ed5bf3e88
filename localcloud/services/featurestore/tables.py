"""The table of a feature view in the home's PostgreSQL: a schema a store, a table a view.

Anybody may read it there: `SELECT * FROM esteira.flight_delay` in the database `featurestore`.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any, Final, LiteralString, final

from localcloud.home import Home
from localcloud.services.postgres.client import connected

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from psycopg import sql

DATABASE: Final = "featurestore"
TIMESTAMP: Final = "feature_timestamp"
_CHUNK: Final = 1 << 20


class Unsupported(ValueError):
    """A column of a type that is not served here."""


@final
class Table:
    """One view's.

    Args:
        home: has the PostgreSQL.
        view: full name.
    """

    def __init__(self, home: Home, view: str) -> None:
        self._home = home
        self.view = view
        self.schema, self.name = place(view)

    def replace(self, rows: pa.Table, entity: list[str]) -> None:
        """Have the table hold these rows, and nothing else, from one moment to the next.

        Args:
            rows: the columns of the entity as text, perhaps the time, the features.
            entity: the columns that tell one row from every other.

        Raises:
            Unsupported: a column cannot be served.
            psycopg.errors.UniqueViolation: two rows are of one entity.
            psycopg.errors.NotNullViolation: a row is of none.
            NotReady: PostgreSQL does not answer.
        """
        from psycopg import sql

        columns: list[tuple[str, LiteralString]] = [
            (field.name, _type(field)) for field in rows.schema
        ]
        self._create_database()
        # Of its own for each view, so that two syncs do not meet.
        draft = f"sync_{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"
        next_ = sql.Identifier(self.schema, draft)
        with connected(self._home, DATABASE) as connection, connection.transaction():
            run = connection.execute
            # Two stores may be made at once, and PostgreSQL's IF NOT EXISTS is no lock.
            run("SELECT pg_advisory_xact_lock(hashtext(%s))", [self.schema])
            run(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self.schema)))
            run(
                sql.SQL("CREATE TABLE {} ({})").format(
                    next_,
                    sql.SQL(", ").join(
                        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind))
                        for name, kind in columns
                    ),
                )
            )
            _fill(connection, next_, rows)
            keys = sql.SQL(", ").join(sql.Identifier(one) for one in entity)
            run(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(next_, keys))
            old = sql.Identifier(self.schema, self.name)
            run(sql.SQL("DROP TABLE IF EXISTS {}").format(old))
            run(sql.SQL("ALTER TABLE {} RENAME TO {}").format(next_, sql.Identifier(self.name)))
            run(sql.SQL("COMMENT ON TABLE {} IS {}").format(old, sql.Literal(self.view)))

    def _create_database(self) -> None:
        import psycopg
        from psycopg import sql

        with connected(self._home) as connection:
            known = connection.execute(
                "SELECT FROM pg_database WHERE datname = %s", [DATABASE]
            ).fetchone()
            if known is None:
                try:
                    connection.execute(
                        sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE))
                    )
                except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                    return  # another sync was quicker


def place(view: str) -> tuple[str, str]:
    """The schema and the table of a view: the ids of its store and its own."""
    parts = view.split("/")
    return parts[5], parts[7]


def _fill(connection: psycopg.Connection[Any], table: sql.Identifier, rows: pa.Table) -> None:
    import pyarrow.csv
    from psycopg import sql

    # Arrow writes the text itself: a value at a time in Python takes twenty times as long.
    # Strings are quoted and nulls are not, by which PostgreSQL tells an empty string from none.
    content = io.BytesIO()
    pyarrow.csv.write_csv(rows, content, pyarrow.csv.WriteOptions(include_header=False))
    content.seek(0)
    with connection.cursor().copy(
        sql.SQL("COPY {} FROM STDIN (FORMAT csv)").format(table)
    ) as target:
        while chunk := content.read(_CHUNK):
            target.write(chunk)


def _type(field: pa.Field[Any]) -> LiteralString:
    import pyarrow.types as kinds

    if kinds.is_int64(field.type):
        return "bigint"
    if kinds.is_float64(field.type):
        return "double precision"
    if kinds.is_boolean(field.type):
        return "boolean"
    if kinds.is_string(field.type) or kinds.is_large_string(field.type):
        return "text"
    if kinds.is_timestamp(field.type) and field.name == TIMESTAMP:
        return "timestamptz"
    raise Unsupported(
        f"column {field.name} is of type {field.type}; the local cloud serves INT64, FLOAT64, BOOL "
        f"and STRING, and a TIMESTAMP named {TIMESTAMP} as the time of the features"
    )
