"""The local cloud's services, started once, and a project of its own for each test."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from localcloud.home import Endpoints, Home
from localcloud.services import bigquery as emulator
from tests.tied import tied
from workloads import contracts, gcp, product
from workloads.ingestion import tables
from workloads.product import Product

ROOT = Path(__file__).resolve().parents[3]
_numbers = itertools.count(1)


def eventually[T](ask: Callable[[], T], wanted: Callable[[T], bool], seconds: float = 90) -> T:
    """Ask until the answer is the wanted one."""
    deadline = time.monotonic() + seconds
    pause = 0.1
    while not wanted(answer := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s the answer is still {answer}")
        # What is asked takes as much of the machine as what is waited for.
        time.sleep(pause)
        pause = min(2.0, 1.5 * pause)
    return answer


@pytest.fixture(scope="session")
def until() -> Any:
    """`until(ask, wanted, seconds=90)`: ask until the answer is the wanted one."""
    return eventually


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Endpoints]]:
    """Pub/Sub, Cloud Storage, BigQuery and the REST APIs of the local cloud."""
    home = Home(tmp_path_factory.mktemp("cloud"))
    endpoints = home.reserve()
    warehouse = emulator.command(home, endpoints)
    own: dict[str, str] = {}
    commands = {"bigquery": (warehouse.words, warehouse.env)}
    for name, module in (
        ("pubsub", "localcloud.services.pubsub"),
        ("storage", "localcloud.services.storage"),
        ("rest", "localcloud.rest"),
    ):
        commands[name] = ([sys.executable, "-m", module, "--home", str(home.path)], own)
    home.logs.mkdir(parents=True, exist_ok=True)
    running: list[subprocess.Popen[bytes]] = []
    try:
        for name, (words, env) in commands.items():
            with (home.logs / f"{name}.log").open("wb") as log:
                running.append(
                    subprocess.Popen(
                        tied(words), env={**os.environ, **env}, cwd=ROOT, stdout=log, stderr=log
                    )
                )
        for name in commands:
            try:
                eventually(lambda port=endpoints.ports[name]: _listens(port), bool)
            except AssertionError:
                log = (home.logs / f"{name}.log").read_text()[-2000:]
                raise AssertionError(f"{name} did not start:\n{log}") from None
        yield home, endpoints
    finally:
        for one in running:
            one.terminate()
        for one in running:
            try:
                one.wait(10)
            except subprocess.TimeoutExpired:
                one.kill()


@dataclass
class Project:
    """A project in the local cloud, empty at first."""

    project: str
    environment: dict[str, str]
    home: Home
    """Of the services."""
    datasets: list[str] = field(default_factory=list)

    def lay_tables(self, declared: Product) -> str:
        """The raw tables and their views; returns the dataset."""
        from google.cloud import bigquery

        client = gcp.bigquery_client()
        dataset = tables.dataset(declared)
        client.create_dataset(dataset)
        self.datasets.append(dataset)
        for one in tables.tables(declared):
            columns = [bigquery.SchemaField.from_api_repr(column) for column in one.columns]
            table = bigquery.Table(f"{self.project}.{dataset}.{one.name}", columns)
            table.time_partitioning = bigquery.TimePartitioning(field=one.partition)
            table.clustering_fields = list(one.cluster)
            client.create_table(table)
        for source in declared.sources:
            plural = source.contract.PLURAL
            view = bigquery.Table(f"{self.project}.{dataset}.{tables.current_name(plural)}")
            view.view_query = tables.current_view(source.contract, dataset)
            client.create_table(view)
        return dataset

    def lay_topics(self, declared: Product) -> None:
        """A topic with the contract's schema, and its subscription, for each stream."""
        from google.cloud import pubsub_v1
        from google.pubsub_v1 import types

        root = f"projects/{self.project}"
        for source in declared.streams:
            name = f"{declared.name}-{source.contract.PLURAL}"
            definition = json.dumps(contracts.avro_schema(source.contract))
            pubsub_v1.SchemaServiceClient().create_schema(
                parent=root,
                schema=types.Schema(type_=types.Schema.Type.AVRO, definition=definition),
                schema_id=name,
            )
            gcp.publisher().create_topic(
                request={
                    "name": f"{root}/topics/{name}",
                    "schema_settings": {"schema": f"{root}/schemas/{name}", "encoding": "JSON"},
                }
            )
            gcp.subscriber().create_subscription(
                request={
                    "name": f"{root}/subscriptions/{name}-ingestion",
                    "topic": f"{root}/topics/{name}",
                    "ack_deadline_seconds": 10,
                }
            )

    def drop_tables(self) -> None:
        """Remove what was laid: each table there makes whatever the emulator does slower."""
        for dataset in self.datasets:
            gcp.bigquery_client().delete_dataset(dataset, delete_contents=True, not_found_ok=True)
        self.datasets.clear()

    def bucket(self, name: str) -> Any:
        """A new bucket of the project."""
        return gcp.storage_client().create_bucket(f"{self.project}-{name}-{next(_numbers)}")

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What a query gives."""
        return [dict(row.items()) for row in gcp.bigquery_client().query(query).result()]


@contextmanager
def _inside(project: Project) -> Iterator[Project]:
    """With an environment that points clients at the project."""
    cached = (gcp.bigquery_client, gcp.bigquery_read_client, gcp.storage_client)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in project.environment.items():
            patch.setenv(name, value)
        for one in cached:
            one.cache_clear()
        yield project
    for one in cached:
        one.cache_clear()


def _new(services: tuple[Home, Endpoints]) -> Project:
    home, endpoints = services
    project = f"test-project-{os.getpid()}-{next(_numbers)}"
    environment = {**endpoints.environment(), "GOOGLE_CLOUD_PROJECT": project}
    return Project(project, environment, home)


@pytest.fixture
def cloud(services: tuple[Home, Endpoints]) -> Iterator[Project]:
    """A project that no other test uses, and the environment that points clients at it."""
    with _inside(_new(services)) as project:
        yield project
        project.drop_tables()


@pytest.fixture(scope="session")
def _laid(services: tuple[Home, Endpoints]) -> Project:
    with _inside(_new(services)) as project:
        project.lay_tables(product.load("flight-delay"))
    return project


@pytest.fixture
def laid(_laid: Project) -> Iterator[Project]:
    """A project with the tables of flight-delay, in which other tests leave rows as well. Tables
    are dear. Tests tell their own rows by the source, which names a bucket of their own."""
    with _inside(_laid) as project:
        yield project
