"""One Cloud Storage for each test, and Google's own client for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from localcloud.services.storage.server import InProcess

PROJECT = "esteira-test"


class Time:
    """A clock that tests set forward."""

    def __init__(self) -> None:
        self._ahead = 0

    def __call__(self) -> int:
        return time.time_ns() // 1000 + self._ahead

    def forward(self, *, days: float = 0, seconds: float = 0) -> None:
        self._ahead += round((days * 86_400 + seconds) * 1_000_000)


def client_of(url: str, project: str = PROJECT) -> storage.Client:
    """Google's client, pointed at a local Cloud Storage."""
    return storage.Client(
        project=project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": url},
    )


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def server(tmp_path: Path, clock: Time) -> Iterator[InProcess]:
    with InProcess(tmp_path / "storage", clock=clock) as running:
        yield running


@pytest.fixture
def client(server: InProcess) -> storage.Client:
    return client_of(server.url)


@pytest.fixture
def bucket(client: storage.Client) -> storage.Bucket:
    return client.create_bucket("landing-zone", location="us-central1")
