"""The command line where nothing has been started yet."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ESTEIRA = Path(sys.executable).with_name("esteira")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def esteira(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ESTEIRA, *words],
        env={**os.environ, "ESTEIRA_STATE": str(state), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def exports(text: str) -> dict[str, str]:
    return dict(re.findall(r"^export ([A-Z_]+)=(.*)$", text, re.MULTILINE))


def test_the_status_of_a_cloud_that_never_ran_is_not_running(state: Path) -> None:
    ended = esteira(state, "local", "status", "--json")
    assert ended.returncode == 1
    assert json.loads(ended.stdout)["running"] is False


def test_stopping_what_does_not_run_is_no_error(state: Path) -> None:
    for _ in range(2):
        ended = esteira(state, "local", "stop", "--json")
        assert ended.returncode == 0
        assert json.loads(ended.stdout) == {"stopped": False}


def test_the_environment_points_every_client_at_loopback_and_stays_the_same(state: Path) -> None:
    first = esteira(state, "local", "env")
    variables = exports(first.stdout)
    assert {
        "STORAGE_EMULATOR_HOST",
        "PUBSUB_EMULATOR_HOST",
        "BIGQUERY_EMULATOR_HOST",
        "BIGQUERY_STORAGE_EMULATOR_HOST",
        "VERTEX_API_ENDPOINT",
        "GOOGLE_CLOUD_PROJECT",
        "PULUMI_DEBUG_PROVIDERS",
    } <= set(variables)
    addresses = [value for name, value in variables.items() if name.endswith("_HOST")]
    assert all("127.0.0.1:" in value for value in addresses)
    assert "nothing listens there yet" in first.stderr
    assert esteira(state, "local", "env").stdout == first.stdout


def test_two_clouds_on_one_machine_share_no_port(tmp_path: Path) -> None:
    one, other = (
        set(re.findall(r"127\.0\.0\.1:(\d+)", esteira(tmp_path / name, "local", "env").stdout))
        for name in ("one", "other")
    )
    assert one
    assert not one & other


def test_the_doctor_says_what_was_found_and_how_to_mend_what_is_missing(state: Path) -> None:
    findings = {
        one["subject"]: one for one in json.loads(esteira(state, "doctor", "--json").stdout)
    }
    assert findings["Python"]["good"]
    assert findings["BigQuery emulator"]["good"]
    assert not findings["Local cloud"]["good"]
    assert "esteira local start" in findings["Local cloud"]["mend"]
    assert all(one["good"] or one["mend"] for one in findings.values())
    printed = esteira(state, "doctor").stdout
    assert all(f"{subject}: {one['found']}" in printed for subject, one in findings.items())
    assert all(one["mend"] in printed for one in findings.values())


def test_logs_before_anything_ran_say_that_there_are_none(state: Path) -> None:
    ended = esteira(state, "local", "logs", "pubsub")
    assert ended.returncode == 1
    assert "none yet" in ended.stderr
