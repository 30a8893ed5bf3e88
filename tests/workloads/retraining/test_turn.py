"""What the command line and the Cloud Run job ask, and what they are told."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

from esteira import retraining_runs
from tests.workloads.retraining.fakes import DAY, NOW, FakeSteps, product_of
from workloads import gcp
from workloads.artifacts import Folder
from workloads.database import DatabaseSettings
from workloads.product import Product
from workloads.retraining import __main__ as job
from workloads.retraining import held, outcomes, triggers
from workloads.retraining import turn as turns
from workloads.retraining.requests import NoRetraining, Reason, ask
from workloads.retraining.settings import RetrainingSettings
from workloads.retraining.store import Store
from workloads.retraining.turn import Ended, Outcome, perform, turn


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What people are told by the metric."""
    told: list[dict[str, Any]] = []

    def publish(product: str, **reasons: bool) -> bool:
        told.append(reasons)
        return True

    monkeypatch.setattr(held, "publish", publish)
    return told


def settings(command: str = "turn", **more: Any) -> RetrainingSettings:
    return RetrainingSettings(
        google_cloud_project="p",
        google_cloud_location="us-central1",
        product="flight-delay",
        training_image="training@sha256:1",
        serving_image="serving@sha256:1",
        retraining_command=command,  # pyright: ignore
        **more,
    )


def told(command: str, database: DatabaseSettings, now: datetime = NOW, **more: Any) -> Outcome:
    return perform(product_of(), settings(command, **more), database, now)


def test_a_person_asks_and_is_told_what_comes_next(
    database: DatabaseSettings, store: Store, written: list[Any]
) -> None:
    asked = told("ask", database, retraining_why="new seats", retraining_actor="ana@laptop")
    assert asked.ok
    assert "esteira retraining run flight-delay" in asked.message

    status = told("status", database)
    assert "no run of flight-delay was ever started" in status.message
    assert "request 1 (person, by ana@laptop) waits" in status.message

    done = turn(product_of(), NOW, database=database, steps=FakeSteps())
    assert (done.ok, done.ended) == (True, Ended.RELEASED)
    assert done.requests[0].evidence["why"] == "new seats"
    assert any("new seats" in one.why for one in told("history", database).history)
    assert "version 1, is released" in told("status", database).message
    assert turn(product_of(), NOW, database=database, steps=FakeSteps()).ended is Ended.NOTHING


def test_a_person_who_asks_twice_means_two_and_a_commit_is_one(
    database: DatabaseSettings, store: Store
) -> None:
    for minutes in range(2):
        now = NOW + timedelta(minutes=minutes)
        told("ask", database, now, retraining_why="again", retraining_actor="ana")
        told("ask", database, now, retraining_why="push", retraining_commit="abcdef0")
    reasons = [one.reason for one in store.waiting("flight-delay")]
    assert sorted(reasons) == [Reason.COMMIT, Reason.PERSON, Reason.PERSON]


def test_people_are_told_that_the_gate_refused_and_that_it_is_over(
    database: DatabaseSettings, written: list[dict[str, Any]]
) -> None:
    steps = FakeSteps()
    for day, approve in ((0, False), (20, True)):
        ask(
            product_of(), Reason.DRIFT, {"day": day}, by="m", now=NOW + day * DAY, database=database
        )
        steps.approve = approve
        now = NOW + day * DAY + timedelta(hours=1)
        outcome = turn(product_of(), now, database=database, steps=steps)
        assert outcome.ended is (Ended.RELEASED if approve else Ended.REJECTED)
        assert outcome.ok
    assert [one["rejected"] for one in written] == [True, False]


def test_people_are_told_that_the_budget_is_used_up(
    database: DatabaseSettings, written: list[dict[str, Any]]
) -> None:
    product = product_of(budget_per_month=1, cool_down=timedelta(0))
    outcomes = list[Outcome]()
    for day in range(2):
        ask(product, Reason.DRIFT, {"day": day}, by="m", now=NOW + day * DAY, database=database)
        now = NOW + day * DAY + timedelta(hours=1)
        outcomes.append(turn(product, now, database=database, steps=FakeSteps()))
    first, outcome = outcomes
    assert first.ended is Ended.RELEASED
    assert outcome.ended is Ended.WAITS
    assert "budget of 1 runs for June 2013 is used up" in outcome.message
    assert [one["out_of_budget"] for one in written] == [False, True]


def test_a_run_that_fails_is_a_failure_of_the_command(
    database: DatabaseSettings, written: list[Any]
) -> None:
    ask(product_of(), Reason.PERSON, {}, by="ana", now=NOW, database=database)
    steps = FakeSteps()
    steps.fails = "step train: out of memory"
    outcome = turn(product_of(), NOW, database=database, steps=steps)
    assert (outcome.ok, outcome.ended) == (False, Ended.FAILED)
    assert "out of memory" in outcome.message


def test_a_metric_that_is_not_taken_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    monkeypatch.setenv("MONITORING_API_ENDPOINT", "http://127.0.0.1:1")
    assert held.publish("flight-delay", rejected=True, out_of_budget=False) is False


def test_the_metric_is_written_as_cloud_monitoring_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    bodies: list[Any] = []

    class Series:
        def __getattr__(self, name: str) -> Any:
            return lambda **given: bodies.append(given) or self

    monkeypatch.setattr(gcp, "monitoring", Series)
    assert held.publish("flight-delay", rejected=True, out_of_budget=False)
    series = bodies[-2]["body"]["timeSeries"]
    values = {
        one["metric"]["labels"]["reason"]: one["points"][0]["value"]["doubleValue"]
        for one in series
    }
    assert values == {"rejected": 1.0, "budget": 0.0}
    assert {one["resource"]["type"] for one in series} == {"global"}


def test_the_schedule_asks_once_when_it_is_due(store: Store) -> None:
    product = product_of()
    for hours in (5, 6, 7, 29):
        now = datetime(2013, 6, 1, tzinfo=UTC) + timedelta(hours=hours)
        triggers.scheduled(product, store, now)
    (asked,) = store.waiting("flight-delay")
    assert asked.reason is Reason.SCHEDULE
    assert asked.key == "2013-06-01T06:00:00+00:00"
    triggers.scheduled(product, store, datetime(2013, 7, 15, tzinfo=UTC))
    assert len(store.waiting("flight-delay")) == 1, "slept through, it is left to the next"


def test_an_instant_without_a_zone_is_refused(database: DatabaseSettings) -> None:
    with pytest.raises(ValueError, match="time zone"):
        turn(product_of(), datetime(2013, 6, 1), database=database, steps=FakeSteps())  # noqa: DTZ001


def test_a_product_that_is_trained_by_hand_is_told_so(database: DatabaseSettings) -> None:
    by_hand = dataclasses.replace(product_of(), retraining=None)
    outcome = perform(by_hand, settings(), database, NOW)
    assert not outcome.ok
    assert "declare when" in outcome.message


class TestTheJob:
    @pytest.fixture
    def environment(self, database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        given = {
            "GOOGLE_CLOUD_PROJECT": "p",
            "GOOGLE_CLOUD_LOCATION": "us-central1",
            "PRODUCT": "flight-delay",
            "TRAINING_IMAGE": "t",
            "SERVING_IMAGE": "s",
            "DATABASE_HOST": database.database_host,
            "DATABASE_NAME": database.database_name,
            "DATABASE_USER": database.database_user,
            "CLOUD_RUN_EXECUTION": "flight-delay-retraining-abc",
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)

    @pytest.fixture
    def bucket(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        monkeypatch.setattr(
            Folder, "write_json", lambda self, name, value: kept.update({name: value})
        )
        return kept

    def test_takes_a_turn_and_leaves_its_outcome(
        self,
        environment: None,
        bucket: dict[str, Any],
        store: Store,
        written: list[Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        store.ask("flight-delay", Reason.PERSON, {"why": "x"}, by="ana", at=NOW)
        steps = FakeSteps()
        monkeypatch.setattr(turns, "PlatformSteps", lambda *given: steps)
        assert job.main() == 0
        outcome = bucket["flight-delay-retraining-abc.json"]
        assert outcome.ended is Ended.RELEASED
        assert len(steps.jobs) == 1

    def test_a_run_that_fails_is_a_job_that_failed(
        self,
        environment: None,
        bucket: dict[str, Any],
        store: Store,
        written: list[Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        store.ask("flight-delay", Reason.PERSON, {"why": "x"}, by="ana", at=NOW)
        steps = FakeSteps()
        steps.fails = "no rows"
        monkeypatch.setattr(turns, "PlatformSteps", lambda *given: steps)
        assert job.main() == 1

    def test_says_what_it_was_not_told(
        self, environment: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.delenv("TRAINING_IMAGE")
        assert job.main() == 2
        assert "TRAINING_IMAGE" in caplog.text

    def test_its_outcome_can_be_read_by_whoever_started_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        outcome = Outcome(ok=True, message="done", ended=Ended.RELEASED)
        import msgspec

        content = msgspec.json.encode(outcome)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
        monkeypatch.setattr(
            Folder, "read_json", lambda self, name, kind: msgspec.json.decode(content, type=kind)
        )
        assert outcomes.read(product_of(), "abc") == outcome


class TestTheCommandLine:
    OWN: ClassVar = {
        "training": {"image": "t", "service_account": "train@p"},
        "endpoint": {"serving_image": "s", "service_account": "serve@p"},
    }

    def own(self, database: DatabaseSettings) -> dict[str, Any]:
        controller = {"job": "projects/p/jobs/x", **json.loads(database.model_dump_json())}
        return {**self.OWN, "retraining": {**controller, "database": database.database_name}}

    @pytest.fixture
    def product(self) -> Product:
        return product_of()

    def test_acts_here_where_the_database_is_here(
        self, product: Product, database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
        monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us-central1")
        own = self.own(database)
        asked = retraining_runs.run(product, own, "ask", why="seats", as_of=NOW)
        assert asked.request is not None
        assert (asked.request.as_of, asked.request.reason) == (NOW, Reason.PERSON)
        assert retraining_runs.run(product, own, "history", limit=5).history

    def test_starts_the_job_where_it_is_not(
        self, product: Product, database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CLOUD_SQL_EMULATOR_HOST")
        started: list[Any] = []

        def execute(name: str, values: dict[str, Any], progress: Any) -> tuple[str, str]:
            started.append((name, values))
            return "x-1", "killed"

        monkeypatch.setattr(retraining_runs, "execute", execute)
        monkeypatch.setattr(outcomes, "read", lambda product, execution: None)
        outcome = retraining_runs.run(product, self.own(database), "turn", strategy="policy")
        assert not outcome.ok
        assert "execution x-1 of projects/p/jobs/x: killed" in outcome.message
        ((_, values),) = started
        assert values["retraining_command"] == "turn"
        assert RetrainingSettings(
            google_cloud_project="p",
            google_cloud_location="l",
            product="flight-delay",
            training_image="t",
            serving_image="s",
            **values,
        )

    def test_says_what_to_switch_on(self, product: Product) -> None:
        with pytest.raises(retraining_runs.NoController, match=r"database\.enabled"):
            retraining_runs.run(product, {**self.OWN, "retraining": {"job": None}}, "status")

    def test_says_what_to_declare(self, product: Product) -> None:
        by_hand = dataclasses.replace(product, retraining=None)
        with pytest.raises(NoRetraining, match="declare"):
            retraining_runs.run(by_hand, self.OWN, "status")
