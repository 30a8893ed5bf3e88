"""PostgreSQL for the prediction log."""

from __future__ import annotations

import pytest

from localcloud.home import Home
from localcloud.services.postgres.client import connected


@pytest.fixture
def empty(_records: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database without the table."""
    monkeypatch.setenv("CLOUD_SQL_EMULATOR_HOST", _records.endpoints().address("postgres"))
    with connected(_records, "esteira") as connection:
        connection.execute("DROP TABLE IF EXISTS prediction_log")
