"""PostgreSQL as the provider reaches it: as its superuser, over loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from localcloud.home import LOOPBACK, Home
from localcloud.services.postgres.cluster import ROLES, SUPERUSER, Cluster

if TYPE_CHECKING:
    import psycopg

READY_SECONDS: Final = 30.0
"""How long PostgreSQL may take to answer; making its files and starting takes about one."""


class NotReady(RuntimeError):
    """PostgreSQL does not answer, or does not end."""


@contextmanager
def connected(home: Home, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
    """A connection that commits each statement, closed at the end.

    Raises:
        NotReady: nobody answers.
    """
    import psycopg

    cluster = Cluster(home)
    try:
        connection = psycopg.connect(
            host=LOOPBACK,
            port=cluster.port,
            user=SUPERUSER,
            password=cluster.password,
            dbname=database,
            connect_timeout=5,
            autocommit=True,
        )
    except (FileNotFoundError, psycopg.OperationalError) as error:
        raise NotReady(
            f"PostgreSQL does not answer on port {cluster.port} ({error}); see "
            f"{home.logs / 'postgres.log'}"
        ) from error
    with connection:
        yield connection


def await_ready(home: Home) -> None:
    """Wait until PostgreSQL answers, then see to it that Cloud SQL's own roles are there.

    Raises:
        NotReady: it does not within `READY_SECONDS`.
    """
    from psycopg import sql

    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            with connected(home) as connection:
                known = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
                for role in ROLES:
                    if role not in known:
                        connection.execute(
                            sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role))
                        )
                # Cloud SQL lets who is a member of its superuser make roles and databases.
                may = connection.execute(
                    "SELECT rolcreaterole FROM pg_roles WHERE rolname = %s", [ROLES[0]]
                )
                if may.fetchone() == (False,):
                    connection.execute(f"ALTER ROLE {ROLES[0]} CREATEDB CREATEROLE".encode())
                return
        except NotReady:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def await_end(home: Home) -> None:
    """Wait until PostgreSQL has ended and its files can go.

    Raises:
        NotReady: it still runs after `READY_SECONDS`.
    """
    cluster = Cluster(home)
    deadline = time.monotonic() + READY_SECONDS
    while (cluster.data / "postmaster.pid").exists():
        if time.monotonic() > deadline:
            raise NotReady(f"PostgreSQL does not end; see {home.logs / 'postgres.log'}")
        time.sleep(0.05)
