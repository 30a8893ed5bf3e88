"""An endpoint is asked about an entity by its id alone, and answers as if told its features."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.workloads.conftest import Trained, local
from workloads.features import offline, store
from workloads.features.query import FeatureQuery
from workloads.product import Product
from workloads.registry import Registry

ROOT = Path(__file__).parents[3]
START_SECONDS = 90.0


@pytest.fixture
def ask(trained: Trained, served: Product) -> Iterator[Any]:
    """`ask(instances)` of the model server, run as its container runs it; status and document."""
    version = Registry(served).get(trained.registration.version)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    container = {
        "PRODUCT": served.name,
        "HOST": "127.0.0.1",
        "AIP_HTTP_PORT": str(port),
        "AIP_STORAGE_URI": version.folder.uri,
        "MODEL_SHA256": version.manifest().model_sha256,
        "ONLINE_FEATURES": str(store.served(served)),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "workloads.serving"], cwd=ROOT, env={**os.environ, **container}
    )
    address = f"http://127.0.0.1:{port}"

    def post(instances: list[dict[str, Any]]) -> tuple[int, Any]:
        body = json.dumps({"instances": instances}, default=str).encode()
        kind = {"content-type": "application/json"}
        request = urllib.request.Request(f"{address}/predict", body, kind)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    deadline = time.monotonic() + START_SECONDS
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1)
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield post
    finally:
        process.kill()
        process.wait()


def test_an_entity_alone_is_answered_as_its_features_are(served: Product, ask: Any) -> None:
    entity = served.features.entity
    day = FeatureQuery(served).run(local(13), local(14))
    names = day.column(entity).to_pylist()[::200][:5]
    # Since that day: there is little after it to read, and much before it.
    rows = offline.as_of(served, [(one, datetime.now(UTC)) for one in names], since=local(13))

    status, by_entity = ask([{entity: one} for one in names])
    told = [row.values for row in rows if row is not None]
    _, by_features = ask(told)

    assert status == 200, by_entity
    assert len(told) == len(names)
    assert by_entity["predictions"] == by_features["predictions"]

    # Some by their id, some by their features.
    _, mixed = ask([{entity: names[0]}, told[1]])
    assert mixed["predictions"] == by_features["predictions"][:2]

    status, refused = ask([{entity: names[0]}, {entity: "nobody"}])
    assert status == 422
    assert "nobody" in json.dumps(refused)
