"""Values of feature views as the service reads them, one entity at a time."""

from __future__ import annotations

import asyncio
import importlib
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, final

from localcloud.home import LOOPBACK, Home
from localcloud.rest.errors import FailedPrecondition, Unavailable
from localcloud.services.featurestore.tables import DATABASE, TIMESTAMP, place
from localcloud.services.postgres.cluster import SUPERUSER, Cluster

if TYPE_CHECKING:
    import psycopg

_NO_DATABASE: Final = (
    "The local feature store keeps its values in the PostgreSQL of the home, and there is none: "
    "have the stack make a database (`esteira:database` with `enabled: true`), or leave the online "
    "store out (`esteira:features` with `online: false`)."
)


@final
class Values:
    """A connection to PostgreSQL, made when first needed and again when it broke.

    Args:
        home: has the PostgreSQL.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._alone = asyncio.Lock()

    def check_there(self) -> None:
        """
        Raises:
            FailedPrecondition: the home has no database instance.
        """
        if Cluster(self._home).instance is None:
            raise FailedPrecondition(_NO_DATABASE)

    async def row(self, view: str, key: Mapping[str, str]) -> dict[str, Any] | None:
        """The columns of one entity but its own; None for one that is not there.

        Args:
            view: full name.
            key: by column of the entity.

        Raises:
            FailedPrecondition: nothing was ever synced, or there is no PostgreSQL.
            Unavailable: PostgreSQL does not answer.
        """
        from psycopg import sql

        schema, table = place(view)
        query = sql.SQL("SELECT * FROM {} WHERE {}").format(
            sql.Identifier(schema, table),
            sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(one)) for one in key),
        )
        found = await self._run(query, list(key.values()))
        if found is None:
            raise FailedPrecondition(
                f"The FeatureView '{view}' was not synced yet: sync it, and fetch once that ended."
            )
        names, rows = found
        if not rows:
            return None
        return {one: it for one, it in zip(names, rows[0], strict=True) if one not in key}

    async def drop(self, view: str) -> None:
        """Forget the values of a view; without PostgreSQL there are none."""
        if Cluster(self._home).instance is None:
            return
        await asyncio.to_thread(importlib.import_module, "psycopg")
        from psycopg import sql

        schema, table = place(view)
        await self._run(
            sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(schema, table)), []
        )

    async def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _run(
        self, query: Any, parameters: Sequence[str]
    ) -> tuple[list[str], list[tuple[Any, ...]]] | None:
        """Names and rows of the result; None where the table is not there."""
        import psycopg

        async with self._alone:
            for again in (True, False):
                try:
                    connection = await self._connected()
                    # A sync replaces the table, and with it what was prepared on the old one.
                    cursor = await connection.execute(query, parameters, prepare=False)
                    if cursor.description is None:
                        return [], []
                    return [one.name for one in cursor.description], await cursor.fetchall()
                except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                    return None
                except psycopg.OperationalError as error:
                    await self.close()
                    if "does not exist" in str(error):
                        return None  # the database, which the first sync makes
                    if not again:
                        raise Unavailable(
                            f"PostgreSQL does not answer ({error}); see "
                            f"{self._home.logs / 'postgres.log'}"
                        ) from error
        return None

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        import psycopg

        self.check_there()
        if self._connection is None:
            cluster = Cluster(self._home)
            try:
                password = cluster.password
            except FileNotFoundError as error:
                raise Unavailable("PostgreSQL is still being made; try again.") from error
            self._connection = await psycopg.AsyncConnection.connect(
                host=LOOPBACK,
                port=cluster.port,
                user=SUPERUSER,
                password=password,
                dbname=DATABASE,
                connect_timeout=5,
                autocommit=True,
            )
        return self._connection


def key_values(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The features of a row as the API answers them; a null has no value."""
    moment = row.get(TIMESTAMP)
    metadata = {} if moment is None else {"metadata": {"generateTime": _time(moment)}}
    return [
        {"name": name} if value is None else {"name": name, "value": {**_typed(value), **metadata}}
        for name, value in row.items()
        if name != TIMESTAMP
    ]


def struct(row: Mapping[str, Any]) -> dict[str, Any]:
    """The features of a row as `google.protobuf.Struct`, which has no whole numbers."""
    return {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in row.items()
        if name != TIMESTAMP
    }


def _typed(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"int64Value": str(value)}
    if isinstance(value, float):
        # JSON has no such numbers; protobuf writes them as text.
        if math.isnan(value):
            return {"doubleValue": "NaN"}
        if math.isinf(value):
            return {"doubleValue": "Infinity" if value > 0 else "-Infinity"}
        return {"doubleValue": value}
    return {"stringValue": value}


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
