"""BigQuery: local-bigquery in an environment of its own.

local-bigquery answers the REST API and the Storage read and write APIs on DuckDB. It needs a newer
numpy than Apache Beam allows, so it lives in `.esteira/venvs/bigquery`, filled from
`requirements/bigquery-emulator.txt`, and runs as a child process, with `bigquery_emulator` beside
it: that makes it several times cheaper.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localcloud.home import Endpoints, Home

_CHECKOUT: Final = Path(__file__).resolve().parents[2]
ENVIRONMENT: Final = _CHECKOUT / ".esteira" / "venvs" / "bigquery"

_INSTALL: Final = """\
import duckdb, pathlib, importlib.metadata
connection = duckdb.connect()
for name in ("icu", "ducklake", "spatial"):
    files = importlib.metadata.files(f"duckdb-extension-{name}") or []
    (wheel,) = [f.locate() for f in files if str(f).endswith(".duckdb_extension")]
    connection.execute(f"INSTALL '{wheel}'")
"""


class BigQueryNotInstalled(RuntimeError):
    """The emulator's environment is missing."""


@dataclass(frozen=True)
class Command:
    """What to start, and with which additions to the environment."""

    words: list[str]
    env: dict[str, str]


def command(home: Home, endpoints: Endpoints) -> Command:
    """The process that serves BigQuery for this home.

    DuckDB keeps extensions in the user's home folder; the child gets a home of its own, so that
    nothing outside the checkout is written. The extensions come out of wheels: no download.

    Raises:
        BigQueryNotInstalled: its environment is missing; says what makes it.
    """
    if not (ENVIRONMENT / "bin" / "local-bigquery").exists():
        raise BigQueryNotInstalled(
            f"the BigQuery emulator is not installed at {ENVIRONMENT}; run `make setup`"
        )
    folder = home.folder("bigquery")
    own_home = ENVIRONMENT / "home"
    own_home.mkdir(exist_ok=True)
    python = str(ENVIRONMENT / "bin" / "python")
    env = {"HOME": str(own_home), "PYTHONPATH": str(_CHECKOUT)}
    if not list((own_home / ".duckdb").rglob("ducklake.duckdb_extension")):
        subprocess.run(
            [python, "-c", _INSTALL],
            check=True,
            env={**os.environ, **env},
            stdout=sys.stderr,
        )
    # -P: no module of the folder where this is started may stand in for one of the emulator's.
    words = [python, "-P", "-m", "localcloud.services.bigquery_emulator"]
    words += ["--host", endpoints.host]
    words += ["--port", str(endpoints.ports["bigquery"])]
    words += ["--grpc-port", str(endpoints.ports["bigquery_storage"])]
    words += ["--data-dir", str(folder)]
    return Command(words=words, env=env)
