"""PostgreSQL for the records of retraining, and fakes at the edge of everything else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localcloud.home import Home
from localcloud.services.postgres.client import connected
from tests.workloads.release.conftest import USERS, settings_of
from workloads.database import DatabaseSettings
from workloads.retraining.store import Store, opened


@pytest.fixture
def database(_records: Home, monkeypatch: pytest.MonkeyPatch) -> DatabaseSettings:
    """An empty database, as the workload of one product reaches it."""
    monkeypatch.setenv("CLOUD_SQL_EMULATOR_HOST", _records.endpoints().address("postgres"))
    with connected(_records, "esteira") as connection:
        connection.execute("DROP SCHEMA IF EXISTS retraining CASCADE")
        connection.execute("DROP SCHEMA IF EXISTS release CASCADE")
    return settings_of(USERS[0])


@pytest.fixture
def store(database: DatabaseSettings) -> Iterator[Store]:
    with opened(database, "test") as one:
        # No test here kills PostgreSQL, and waiting for a disk is most of what they would do.
        one._connection.execute("SET synchronous_commit = off")
        yield one
