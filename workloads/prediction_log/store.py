"""The prediction log in PostgreSQL: table `prediction_log`, of all products.

A row is there once, however often Pub/Sub delivers it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from workloads import contracts, database
from workloads.database import DatabaseSettings
from workloads.prediction_log.contract import PredictionLogged
from workloads.prediction_log.tables import POSTGRES

LOCK: Final = 0x707265646C6F67
"""`predlog` as a number: instances that start at once make the table one after the other."""
_TYPES: Final[dict[contracts.Kind, str]] = {
    "string": "text",
    "integer": "bigint",
    "number": "double precision",
    "boolean": "boolean",
    "timestamp": "timestamptz",
}


def definition() -> str:
    """The statements that make the table and its indexes."""
    columns = ",\n    ".join(
        f"{one.name} {_TYPES[one.kind]}{'' if one.nullable else ' NOT NULL'}"
        for one in contracts.fields(PredictionLogged)
    )
    return f"""CREATE TABLE IF NOT EXISTS {POSTGRES} (
    {columns},
    PRIMARY KEY ({PredictionLogged.IDENTITY})
);
CREATE INDEX IF NOT EXISTS {POSTGRES}_of_a_version
    ON {POSTGRES} (product, predicted_at, model_version);
"""


class Store:
    """Writes rows. Safe to use from several threads; a connection that broke is made anew."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._connection: Any = None
        self._lock = threading.Lock()
        names = PredictionLogged.__struct_fields__
        self._names = names
        # Names of columns come from the contract, never from data.
        self._insert = (
            f"INSERT INTO {POSTGRES} ({', '.join(names)}) "  # noqa: S608
            f"VALUES ({', '.join(['%s'] * len(names))}) "
            f"ON CONFLICT ({PredictionLogged.IDENTITY}) DO NOTHING"
        )

    def write(self, rows: Sequence[PredictionLogged]) -> None:
        """Write rows, all of them or none; those that are there stay as they are.

        Raises:
            psycopg.OperationalError: the database does not answer.
        """
        import psycopg

        values = [msgspec.structs.astuple(row) for row in rows]
        with self._lock:
            try:
                self._write(values)
            except psycopg.OperationalError:
                # A connection that Cloud SQL closed while nobody used it is found out by using it.
                self.close()
                self._write(values)

    def close(self) -> None:
        """Close the connection; the next write opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _write(self, values: Sequence[tuple[Any, ...]]) -> None:
        connection = self._connected()
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(self._insert, values)

    def _connected(self) -> Any:
        if self._connection is None:
            connection = database.connect(self._settings, "prediction-log")
            try:
                database.make_tables(connection, POSTGRES, definition(), LOCK)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection
