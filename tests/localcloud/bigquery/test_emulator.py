"""What makes the emulator cheaper gives the answers that it gives by itself."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from localcloud.home import SERVICES, Endpoints, Home, free_ports
from localcloud.services import bigquery


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("emulator")
    try:
        launch = bigquery.command(
            Home(folder), Endpoints(ports=free_ports(SERVICES), project="lake")
        )
    except bigquery.BigQueryNotInstalled as missing:
        pytest.skip(str(missing))
    asked = subprocess.run(
        [launch.words[0], "-P", Path(__file__).with_name("both_ways.py"), folder / "data"],
        env={**os.environ, **launch.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    return json.loads(asked.stdout)


def test_tells_of_tables_what_duckdb_tells(told: dict[str, Any]) -> None:
    assert told["differing"] == []


def test_knows_the_words_in_which_the_emulator_asks(told: dict[str, Any]) -> None:
    # A newer local-bigquery may ask otherwise: right answers, only slow again.
    assert told["unknown"] == []


def test_a_query_runs_once(told: dict[str, Any]) -> None:
    assert told["runs"] == 3, "rows that a function saw, of three"
