"""The process that serves Vertex AI, Cloud Run, Cloud Scheduler and Dataflow on one port."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from localcloud.home import Home

ROOT = Path(__file__).parents[3]
LOCATION = "projects/p/locations/us-central1"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    home = Home(tmp_path)
    url = home.reserve().url("rest")
    with subprocess.Popen(
        [sys.executable, "-m", "localcloud.rest", "--home", str(tmp_path)], cwd=ROOT
    ) as running:
        with httpx.Client(base_url=url, trust_env=False) as client:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                assert running.poll() is None
                try:
                    client.get("/healthz").raise_for_status()
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield running, client
        running.kill()


def test_four_apis_answer_under_their_own_paths(
    process: tuple[subprocess.Popen[bytes], httpx.Client],
) -> None:
    _, client = process
    for path in (
        f"/v1/{LOCATION}/models",
        f"/v1/{LOCATION}/endpoints",
        f"/v1/{LOCATION}/pipelineJobs",
        f"/v2/{LOCATION}/jobs",
        f"/v2/{LOCATION}/services",
        f"/v1/{LOCATION}/jobs",
        "/v1b3/projects/p/locations/us-central1/jobs",
    ):
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.text)


def test_it_ends_in_time_and_with_code_0_when_told_to(
    process: tuple[subprocess.Popen[bytes], httpx.Client],
) -> None:
    running, _ = process
    running.terminate()
    assert running.wait(timeout=3) == 0
