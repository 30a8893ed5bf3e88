"""How a workload reaches the platform's PostgreSQL: over TLS, as itself, with no password.

In place of a password it shows an access token of IAM, which lives an hour: a new connection needs
a fresh one, an open connection stays open. `workloads/gcp.py` says where an emulator answers.
"""

from __future__ import annotations

import tempfile
from functools import cache
from typing import Annotated, Any, Final

from pydantic import Field
from pydantic_settings import BaseSettings

from workloads import gcp

OWNER: Final = "cloudsqlsuperuser"
"""Owns shared tables where the login is a member of it, so that the workloads of all products share
them; see docs/decisions/0006-doors.md."""
_CONNECT_SECONDS: Final = 10
PORT = 5432
"""The only one that Cloud SQL for PostgreSQL listens on."""


class NoCertificates(ValueError):
    """The database is no emulator's, and nothing is known to check its certificate against."""


class DatabaseSettings(BaseSettings):
    """Environment of a workload that uses a database."""

    database_host: Annotated[str, Field(min_length=1, description="Private address")]
    database_name: Annotated[
        str, Field(pattern="^[a-z][a-z0-9_]{0,62}$", description="Name of the database")
    ]
    database_user: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9-]+@[a-z0-9.:-]+\.iam$",
            description="The workload's service account, without `.gserviceaccount.com`",
        ),
    ]
    database_certificates: Annotated[
        str,
        Field(
            pattern=r"^(-----BEGIN CERTIFICATE-----[\s\S]+)?$",
            description="Of the authority that signs the server's certificate, PEM",
        ),
    ] = ""


def parameters(settings: DatabaseSettings) -> dict[str, Any]:
    """What libpq needs to connect, all but the password.

    Raises:
        NoCertificates: the server could be anybody.
    """
    emulator = gcp.sql_emulator()
    common = {"user": settings.database_user, "dbname": settings.database_name}
    if emulator is not None:
        host, port = emulator
        return {"host": host, "port": port, **common}
    if not settings.database_certificates:
        raise NoCertificates(
            "DATABASE_CERTIFICATES is empty; allowed: the PEM certificates that the stack's "
            "database shows as its authority"
        )
    return {
        "host": settings.database_host,
        "port": PORT,
        **common,
        # The authority signs for this one instance alone, so that it signed is enough; the name in
        # the certificate is the instance's and not its address.
        "sslmode": "verify-ca",
        "sslrootcert": _file(settings.database_certificates),
    }


def password() -> str | None:
    """What to show in place of a password now; nothing to an emulator, which takes anybody."""
    return None if gcp.sql_emulator() is not None else gcp.sql_token()


def connect(settings: DatabaseSettings, actor: str) -> Any:
    """A connection of its own, with autocommit, under the name of whoever acts.

    Raises:
        NoCertificates: as `parameters`.
        psycopg.OperationalError: PostgreSQL does not answer.
    """
    import psycopg

    return psycopg.connect(
        **parameters(settings),
        password=password(),
        application_name=actor[:63],
        connect_timeout=_CONNECT_SECONDS,
        autocommit=True,
        # Who hangs must not hold a lock for ever.
        keepalives=1,
        keepalives_idle=30,
    )


def make_tables(connection: Any, last: str, tables: str, lock: int) -> None:
    """Make tables that products share, unless the last of them is there.

    Killed midway, PostgreSQL undoes what was begun.

    Args:
        connection: psycopg's, with autocommit.
        last: the table that `tables` makes last, with its schema.
        tables: SQL that makes them.
        lock: instances that start at once make them one after the other.
    """
    found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [last]).fetchone()
    if found == (True,):
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [lock])
        (known,) = connection.execute(
            "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)"
            " AND NOT current_setting('is_superuser')::boolean",
            [OWNER],
        ).fetchone()
        if known:
            (member,) = connection.execute(
                "SELECT pg_has_role(current_user, %s, 'MEMBER')", [OWNER]
            ).fetchone()
            if member:
                connection.execute(f"SET LOCAL ROLE {OWNER}")
        connection.execute(tables)


@cache
def _file(certificates: str) -> str:
    """The certificates as a file, which is how libpq takes them."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as file:
        file.write(certificates)
    return file.name
