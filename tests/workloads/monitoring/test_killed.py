"""The job itself, killed by SIGKILL between its steps: what is told in the end is told once."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Route

from localcloud.home import Home
from localcloud.rest.app import build_app as build_rest
from localcloud.services.monitoring import service
from localcloud.services.pubsub.server import PubSubServer
from tests.localcloud.forking import Forked, ForkServer
from tests.workloads.local_cloud import LocalCloud
from tests.workloads.notifications import test_whole_path as path
from tests.workloads.notifications.test_whole_path import Ledger, served, until
from workloads import gcp
from workloads.database import DatabaseSettings
from workloads.monitoring import tables
from workloads.monitoring.job import monitor
from workloads.monitoring.publishing import Metrics, Point, reports
from workloads.notifications.relay import build_app as build_relay
from workloads.notifications.settings import RelaySecrets, RelaySettings
from workloads.product import Product
from workloads.telemetry import MONITOR_ALARM

from ..conftest import PROJECT, reaching
from .conftest import asked
from .test_job import NOW, PRODUCT, Stored, World, after, run, week
from .test_job_on_cloud import (
    WINDOW,
    _predicted,  # pyright: ignore[reportPrivateUsage]
    stored,
    watched,
)

__all__ = ["_predicted", "watched"]

TOPIC, RELAY = f"projects/{PROJECT}/topics/told", f"projects/{PROJECT}/subscriptions/told"


@pytest.fixture(scope="module")
def pubsub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PubSubServer]:
    server = PubSubServer(Home(tmp_path_factory.mktemp("told"))).start()
    yield server
    server.stop()


@pytest.fixture
def reached(
    _local: LocalCloud, _storage: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalCloud]:
    """The environment points at the local cloud, of which Cloud Storage runs at the least."""
    with reaching(_local, monkeypatch):
        yield _local


@pytest.fixture
def inbox(
    reached: LocalCloud, pubsub: PubSubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[path.World]:
    """Cloud Monitoring with the policy of drift, the relay, and the channel where people read."""
    one = path.World()
    settings = RelaySettings(
        google_cloud_project=PROJECT,
        environment="test",
        ledger="gs://ledger",
        records=f"gs://{PROJECT}-{{product}}-models",
        settle_seconds=0,
    )
    monkeypatch.setattr(path, "PROJECT", f"projects/{PROJECT}")
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.address)
    home = Home(tmp_path)
    home.write(pubsub.home.endpoints())
    publisher, subscriber = gcp.publisher(), gcp.subscriber()
    with contextlib.ExitStack() as stack:
        channel = Starlette(routes=[Route("/hook", one.channel, methods=["POST"])])
        secrets = RelaySecrets(
            teams_webhook=SecretStr(f"{stack.enter_context(served(channel))}/hook")
        )
        relay = stack.enter_context(served(build_relay(settings, secrets, Ledger())))
        rest = stack.enter_context(served(build_rest([service(home)])))
        monkeypatch.setenv("MONITORING_API_ENDPOINT", rest)
        publisher.create_topic(name=TOPIC)
        subscriber.create_subscription(
            request={
                "name": RELAY,
                "topic": TOPIC,
                "push_config": {"push_endpoint": relay},
                "retry_policy": {"minimum_backoff": "0.1s", "maximum_backoff": "0.2s"},
            }
        )
        one.drifting(TOPIC)
        yield one
        subscriber.delete_subscription(subscription=RELAY)
        publisher.delete_topic(topic=TOPIC)
        subscriber.close()


def test_a_thousand_drifting_features_are_one_message(inbox: path.World) -> None:
    with contextlib.suppress(Exception):  # another test has made it
        gcp.storage_client().create_bucket(f"{PROJECT}-{PRODUCT.name}-models")
    world = World(shift=after(0, 1.0), columns=1_000, rows=300)
    run(world, 0)
    edge = dataclasses.replace(
        world.edge(),
        store=cast("Any", Stored(world)),
        objects=reports(PRODUCT),
        gauges=Metrics(),
    )

    found = monitor(PRODUCT, week(1), at=NOW, edge=edge)

    assert next(one for one in found.findings if one.kind == "drift").subjects == 1_000
    [card] = until(lambda: inbox.cards)
    facts = {
        one["title"]: one["value"] for one in card["attachments"][0]["content"]["body"][-1]["facts"]
    }
    assert facts["Likely cause"].count("x") >= 3
    assert inbox.open() == 1
    labels = {"product": PRODUCT.name, "kind": "drift"}
    Metrics().write([Point(metric=MONITOR_ALARM, labels=labels, value=0.0)], datetime.now(UTC))
    until(lambda: len(inbox.cards) == 2)
    assert [one.split(" ")[0] for one in inbox.titles] == ["Alert", "Recovered"]


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    server = ForkServer("tests.workloads.monitoring.mortal")
    yield server
    server.close()


@dataclasses.dataclass
class Job:
    """The job as its container runs it, and what it leaves."""

    product: Product
    database: DatabaseSettings
    forks: ForkServer
    folder: Path

    def run(self, die: int | None = None) -> tuple[int, list[str]]:
        """Its exit code, and the acts that it came to."""
        acts, log = self.folder / "acts", self.folder / "log"
        acts.write_text("")
        environment = {
            **os.environ,
            "PRODUCT": self.product.name,
            "WINDOW_START": WINDOW.start.isoformat(),
            "WINDOW_END": WINDOW.end.isoformat(),
            "DATABASE_HOST": self.database.database_host,
            "DATABASE_NAME": self.database.database_name,
            "DATABASE_USER": self.database.database_user,
        }
        order = {"environment": environment, "log": str(log), "acts": str(acts), "die": die}
        code = Forked(self.forks, self.forks.ask(order)).wait(240)
        assert code in (0, -9), log.read_text()[-3000:]
        return code, acts.read_text().split()

    def left(self) -> dict[str, Any]:
        """Everything that lies anywhere afterwards, without the moment at which it was written."""
        folder = reports(self.product)
        bucket, _, prefix = folder.uri.removeprefix("gs://").partition("/")
        objects = gcp.storage_client().list_blobs(bucket, prefix=prefix)
        return {
            "scores": self._rows(tables.FEATURE_SCORES),
            "performance": self._rows(tables.PERFORMANCE),
            "objects": {one.name: len(one.download_as_bytes()) for one in objects},
            "requests": [(one.reason, one.key) for one in asked(self.database)],
        }

    def _rows(self, table: Any) -> list[tuple[str, ...]]:
        names = ("measurement_id", "verdict", "score", "value")
        rows = stored(self.product, table)
        for row in rows:
            if row.get("reference") == tables.FRESHNESS:
                row["score"] = "older with each attempt"
        return sorted(tuple(str(row.get(name)) for name in names) for row in rows)


@pytest.fixture
def job(
    watched: Product,
    inbox: path.World,
    records: DatabaseSettings,
    forks: ForkServer,
    tmp_path: Path,
) -> Job:
    folder = reports(watched)
    bucket, _, prefix = folder.uri.removeprefix("gs://").partition("/")
    for one in gcp.storage_client().list_blobs(bucket, prefix=prefix):
        one.delete()
    return Job(watched, records, forks, tmp_path)


def converges(job: Job, inbox: path.World) -> list[str]:
    """Run it to its end; what is left is all there is, and told once. Its acts."""
    code, acts = job.run()
    assert code == 0
    until(lambda: inbox.cards)
    left = job.left()
    assert [reason for reason, _ in left["requests"]] == ["drift"]
    ids = [row[0] for row in left["scores"] + left["performance"]]
    assert len(ids) == len(set(ids)) > 50
    assert "latest-drift.json" in {name.rpartition("/")[2] for name in left["objects"]}
    assert inbox.open() == 1
    assert len(inbox.cards) == 1
    assert "a retraining has been asked for" in str(inbox.cards).lower()
    return acts


@pytest.mark.long
@pytest.mark.timeout(300)
def test_killed_before_anybody_is_told_the_next_attempt_tells_once(
    job: Job, inbox: path.World
) -> None:
    # Nothing is told before all else is done: the last act raises the alert.
    _, acts = job.run(die=9)
    assert "retraining" in acts
    assert inbox.cards == []
    assert "gauges.write" not in acts
    assert "gauges.write" in converges(job, inbox)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_killed_before_each_of_its_steps_in_turn_nothing_is_lost_or_told_twice(
    job: Job, inbox: path.World
) -> None:
    die = 0
    while True:
        code, acts = job.run(die)
        if code == 0:
            break
        assert len(acts) == die
        if "gauges.write" not in acts:
            assert inbox.cards == []
        die += 1
    assert die == len(acts) >= 8
    # Nothing was missing that another attempt would add, and nothing is told again.
    left = job.left()
    assert converges(job, inbox) == acts
    assert job.left() == left
