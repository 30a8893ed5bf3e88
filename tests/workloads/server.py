"""The model server of a registered version, as its container runs it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.tied import tied
from workloads.product import Product
from workloads.registry import Version

CHECKOUT = Path(__file__).resolve().parents[2]
START_SECONDS = 90.0

type Ask = Callable[[list[dict[str, Any]]], tuple[int, Any]]
"""Asks about rows over HTTP; gives the status and the document."""


@contextmanager
def serving(product: Product, version: Version, **settings: str) -> Iterator[Ask]:
    """Start the server, wait until it has its model, and end it.

    Args:
        product: the declaration.
        version: of the model.
        settings: of the server, by their variables, beside those that say which model it is.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    container = {
        "PRODUCT": product.name,
        "HOST": "127.0.0.1",
        "AIP_HTTP_PORT": str(port),
        "AIP_STORAGE_URI": version.folder.uri,
        "MODEL_SHA256": version.manifest().model_sha256,
        **settings,
    }
    words = tied([sys.executable, "-m", "workloads.serving"])
    process = subprocess.Popen(words, cwd=CHECKOUT, env={**os.environ, **container})
    address = f"http://127.0.0.1:{port}"

    def ask(instances: list[dict[str, Any]]) -> tuple[int, Any]:
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
        yield ask
    finally:
        process.kill()
        process.wait()
