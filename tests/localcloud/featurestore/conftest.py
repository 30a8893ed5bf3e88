"""A feature store with a PostgreSQL behind it, in this process; BigQuery is not needed for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from localcloud.home import Home
from localcloud.rest.app import build_app
from localcloud.services import vertex
from localcloud.services.postgres.client import await_end, await_ready
from localcloud.services.postgres.cluster import Cluster, Instance
from tests.tied import tied

CHECKOUT = Path(__file__).resolve().parents[3]
PLACE = "projects/p/locations/us-central1"
STORE = f"{PLACE}/featureOnlineStores/online"
VIEW = f"{STORE}/featureViews/flights"
BIGTABLE = {"bigtable": {"autoScaling": {"minNodeCount": 1, "maxNodeCount": 1}}}
SOURCE = {"bigQuerySource": {"uri": "bq://p.curated.latest", "entityIdColumns": ["flight"]}}

Call = Callable[..., httpx.Response]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    one = Home(tmp_path / "home")
    one.reserve(project="p")
    return one


@pytest.fixture
def call(home: Home) -> Iterator[Call]:
    """`call("POST", path, body, key=value)` on the REST API of the home."""
    with TestClient(build_app([vertex.service(home)])) as client:

        def ask(method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
            return client.request(method, f"/v1/{path}", json=body, params=query or None)

        yield ask


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose PostgreSQL runs."""
    home = Home(tmp_path_factory.mktemp("featurestore") / "home")
    home.reserve(project="p")
    home.logs.mkdir()
    Cluster(home).hold(Instance(project="p", name="esteira", region="us-central1"))
    with (home.logs / "postgres.log").open("ab") as log:
        process = subprocess.Popen(
            tied([sys.executable, "-m", "localcloud.services.postgres", "--home", str(home.path)]),
            cwd=CHECKOUT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        await_ready(home)
        yield home
    finally:
        process.terminate()
        process.wait(15)
        await_end(home)
