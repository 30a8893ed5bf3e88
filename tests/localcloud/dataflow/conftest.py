"""A Cloud Storage for the specifications of templates."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.tied import tied

_CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture
def rest(rest_process: Callable[[str], Any]) -> Any:
    return rest_process("dataflow")


@pytest.fixture
def bucket(rest: Any, until: Callable[..., Any]) -> Iterator[Any]:
    process = subprocess.Popen(
        tied([sys.executable, "-m", "localcloud.services.storage", "--home", str(rest.home.path)]),
        cwd=_CHECKOUT,
    )
    try:
        url = rest.home.endpoints().url("storage")
        client = storage.Client(
            project="p",
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": url},
        )

        def made() -> Any:
            try:
                return client.create_bucket("p-work")
            except OSError:
                return None

        yield until(made)
    finally:
        process.terminate()
        process.wait(10)
