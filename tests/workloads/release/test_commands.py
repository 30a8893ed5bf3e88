"""What the command line and the Cloud Run job ask, and what they are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from esteira import release_runs
from tests.workloads.release.conftest import USERS, Stage
from workloads import gcp
from workloads.artifacts import Folder
from workloads.database import DatabaseSettings
from workloads.product import Product
from workloads.release import __main__ as job
from workloads.release import commands
from workloads.release.commands import Outcome, describe
from workloads.release.controller import Controller
from workloads.release.settings import ReleaseSettings
from workloads.release.store import Store


def settings(command: str, **more: Any) -> ReleaseSettings:
    return ReleaseSettings(
        google_cloud_project="p",
        google_cloud_location="us-central1",
        product="flight-delay",
        release_command=command,  # pyright: ignore
        release_actor="ana@laptop",
        **more,
    )


@pytest.fixture
def staged(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """`perform` acts on the stage's fakes, over the real records."""

    def controller(product: Product, store: Store, **given: Any) -> Controller:
        return stage.controller(store)

    monkeypatch.setattr(commands, "Controller", controller)
    return stage


def perform(stage: Stage, database: DatabaseSettings, command: str, **more: Any) -> Outcome:
    return commands.perform(stage.product, settings(command, **more), database)


def test_a_release_is_told_from_its_beginning_to_its_end(
    staged: Stage, database: DatabaseSettings
) -> None:
    staged.serve()

    begun = perform(staged, database, "promote", release_version="2")
    assert begun.ok
    where, waits = begun.message.splitlines()[:2]
    assert where.startswith("version 2 is being released: canary, step 1, 5 % of the traffic, ")
    assert waits.startswith("it waits for 2 more clean windows of at least 100 requests each and ")
    assert "version 1 (champion): 95 % of the traffic" in begun.message

    refused = perform(staged, database, "promote", release_version="3")
    assert not refused.ok
    assert "version 2 of flight-delay is being released" in refused.message

    staged.tell(3, errors=40)
    for _ in range(2):
        staged.clock.pass_(minutes=5)
        assert perform(staged, database, "advance").ok
    staged.clock.pass_(minutes=5)
    aborted = perform(staged, database, "advance")
    assert not aborted.ok
    assert "version 2 was aborted: 3 of the last 3 windows breach" in aborted.message
    # The schedule goes on looking; that is no failure any more.
    assert perform(staged, database, "advance").ok
    assert perform(staged, database, "status").ok

    history = perform(staged, database, "history", release_limit=2).history
    assert [(one.to.value, one.phase) for one in history] == [
        ("aborted", "done"),
        ("aborted", "intent"),
    ]


def test_what_a_person_asks_for_is_no_failure(staged: Stage, database: DatabaseSettings) -> None:
    staged.serve()
    perform(staged, database, "promote", release_version="2")

    assert perform(staged, database, "abort", release_reason="told so").ok
    assert not perform(staged, database, "abort").ok


def test_an_outcome_is_read_as_it_was_written(staged: Stage, database: DatabaseSettings) -> None:
    import msgspec

    staged.serve()
    outcome = perform(staged, database, "status")

    assert msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome) == outcome


def test_the_job_writes_its_outcome_for_whoever_started_it(
    cloud: Any,
    staged: Stage,
    database: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # `cloud` first: it names a PostgreSQL of its own, which does not run.
    bucket = gcp.storage_client().bucket(f"{gcp.project()}-flight-delay-models")
    if not bucket.exists():
        bucket.create()
    staged.serve()
    for name, value in {
        "PRODUCT": "flight-delay",
        "DATABASE_HOST": database.database_host,
        "DATABASE_NAME": database.database_name,
        "DATABASE_USER": USERS[0],
        "RELEASE_COMMAND": "promote",
        "RELEASE_VERSION": "2",
        "RELEASE_ACTOR": "ben@laptop",
        "CLOUD_RUN_EXECUTION": "flight-delay-release-abc",
    }.items():
        monkeypatch.setenv(name, value)

    assert job.main() == 0

    outcome = commands.read(staged.product, "flight-delay-release-abc")
    assert outcome is not None
    assert outcome.status is not None
    assert outcome.status.release is not None
    assert outcome.status.release.opened_by == "ben@laptop"
    assert commands.read(staged.product, "flight-delay-release-xyz") is None
    folder = Folder.of(staged.product, "releases")
    assert json.loads(folder.read("flight-delay-release-abc.json"))["ok"] is True


def test_a_job_that_is_told_nonsense_says_which_variable(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RELEASE_COMMAND", "dance")

    assert job.main() == 2
    assert "RELEASE_COMMAND is 'dance'" in caplog.text


class TestTheCommandLine:
    def test_says_what_to_switch_on_where_there_is_no_database(self, product: Product) -> None:
        own = {"release": {"job": None}}

        with pytest.raises(release_runs.NoReleases, match=r"set `database\.enabled` to true"):
            release_runs.run(product, own, "status")

    def test_has_the_job_do_it_where_the_database_is_private(
        self, product: Product, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done = Outcome(ok=True, message="done")
        asked: list[Any] = []
        monkeypatch.delenv("CLOUD_SQL_EMULATOR_HOST", raising=False)
        monkeypatch.setattr(gcp, "run", lambda: FakeRun(asked))
        monkeypatch.setattr(
            commands, "read", lambda product, name: done if name == "release-abc" else None
        )
        monkeypatch.setattr(release_runs, "_POLL_SECONDS", 0.001)
        own = {"release": {"job": "projects/p/locations/l/jobs/flight-delay-release"}}

        outcome = release_runs.run(
            product, own, "promote", version="7", approved=True, strategy="direct", forced=False
        )

        assert outcome is done
        (name, body), polled = asked
        assert name == "projects/p/locations/l/jobs/flight-delay-release"
        (container,) = body["overrides"]["containerOverrides"]
        told = {one["name"]: one["value"] for one in container["env"]}
        assert told.pop("RELEASE_ACTOR") == release_runs.actor()
        assert told == {
            "RELEASE_COMMAND": "promote",
            "RELEASE_VERSION": "7",
            "RELEASE_APPROVED": "true",
            "RELEASE_STRATEGY": "direct",
        }
        assert polled == "operations/1"


class FakeRun:
    """Cloud Run's client: one execution that ends at the first look."""

    def __init__(self, asked: list[Any]) -> None:
        self._asked = asked
        self._answer: Callable[[], Any] = dict

    def __getattr__(self, name: str) -> Callable[[], FakeRun]:
        return lambda: self

    def run(self, *, name: str, body: Any) -> FakeRun:
        self._asked.append((name, body))
        running = {"name": "operations/1", "metadata": {"name": f"{name}/executions/release-abc"}}
        self._answer = lambda: running
        return self

    def get(self, *, name: str) -> FakeRun:
        self._asked.append(name)
        before = self._answer()
        self._answer = lambda: {**before, "done": True}
        return self

    def execute(self) -> Any:
        return self._answer()


def test_nothing_deployed_is_told_so(stage: Stage) -> None:
    assert describe(stage.controller().status()) == "no model of flight-delay is deployed"
