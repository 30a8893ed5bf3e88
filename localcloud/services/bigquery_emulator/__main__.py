"""local-bigquery, made several times cheaper without another answer.

Runs in the environment of the emulator: `python -m localcloud.services.bigquery_emulator`, with
local-bigquery's own arguments.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

# DuckDB looks for pandas on every value that it hands to a function written in Python, and where
# there is none, searches every folder anew: nine tenths of a FARM_FINGERPRINT.
sys.modules.setdefault("pandas", None)  # pyright: ignore[reportArgumentType]

import duckdb  # noqa: E402 # pyright: ignore[reportMissingImports]
from local_bigquery import cli  # noqa: E402 # pyright: ignore[reportMissingImports]

from localcloud.services.bigquery_emulator import catalog  # noqa: E402


def _connect_lightly() -> None:
    """Open databases without what pays only for large ones.

    Extensions are not hashed (120 MB) on every start and every project: they come out of wheels
    whose hashes the lock names. A query is run by the thread that asks, not handed to others: that
    takes longer than most queries do.
    """
    connect = duckdb.connect

    def lightly(*given: Any, config: dict[str, str] | None = None, **named: Any) -> Any:
        ours = {"allow_unsigned_extensions": "true", "threads": "1"}
        return connect(*given, config={**ours, **(config or {})}, **named)

    duckdb.connect = lightly


if __name__ == "__main__":
    _connect_lightly()
    catalog.install()
    gc.freeze()  # What has been imported stays: not to be gone through again and again.
    cli.main()
