"""Whoever trains outside the controller keeps to single flight, budget and the records."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from esteira import model_commands
from esteira.cli import app
from tests.workloads.retraining.fakes import DAY, NOW, FakeSteps, controller, product_of
from workloads import product as products
from workloads.database import DatabaseSettings
from workloads.manifest import Score
from workloads.retraining.claims import Claim, claim, settle
from workloads.retraining.policy import Range
from workloads.retraining.requests import Reason, RequestState
from workloads.retraining.runs import RunState
from workloads.retraining.store import Busy, Store, opened
from workloads.training import runners
from workloads.training.registration import Registration
from workloads.training.run import TrainingRun
from workloads.training.submit import TrainingFailed

NAME = "flight-delay"
COMMIT = "3f2a9c1d"


def claimed(store: Store, key: str = COMMIT, now: Any = NOW, **plan: Any) -> Claim:
    return claim(product_of(**plan), store, Reason.COMMIT, {"key": key}, by="ci", now=now)


def test_a_commit_has_a_run_of_its_own_at_once_and_takes_along_what_waits(store: Store) -> None:
    drift = store.ask(NAME, Reason.DRIFT, {"day": 1}, by="monitor", at=NOW)
    found = claimed(store)
    assert found.ours
    assert found.run is not None
    assert found.run.state is RunState.TRAINING
    assert found.run.reasons == (Reason.COMMIT, Reason.DRIFT)
    assert {one.id: one.state for one in store.requests(NAME)} == {
        found.request.id: RequestState.STARTED,
        drift.id: RequestState.COALESCED,
    }
    assert found.run.why == "ci trains it"


def test_the_controller_leaves_it_alone_until_it_is_settled_or_the_lease_is_over(
    store: Store,
) -> None:
    found, steps = claimed(store), FakeSteps()
    assert found.run is not None
    told = controller(product_of(), store, steps).turn()
    assert told.run is not None
    assert (told.run.state, steps.submitted) == (RunState.TRAINING, [])

    # The workflow was killed: the controller finds the job by the name of the run.
    store.lease(found.run, "ci", -timedelta(seconds=1))
    told = controller(product_of(), store, steps).turn()
    assert told.run is not None
    assert told.run.state is RunState.RELEASED
    assert list(steps.jobs) == [found.run.name]


def test_what_is_settled_is_judged_and_released_by_the_controller(store: Store) -> None:
    found, steps = claimed(store), FakeSteps()
    assert found.run is not None
    assert "version 7" in settle(product_of(), store, found.run.name, NOW, version="7")
    assert "not in training" in settle(product_of(), store, found.run.name, NOW, version="7")
    told = controller(product_of(), store, steps).turn()
    assert told.run is not None
    assert (told.run.state, told.run.version) == (RunState.RELEASED, "7")
    assert (steps.submitted, steps.begun) == ([], ["7"])


def test_two_commits_are_never_two_runs_at_once_and_the_second_is_not_lost(store: Store) -> None:
    first, second = claimed(store), claimed(store, key="0000000")
    assert first.run is not None
    assert (second.run, second.ours) == (None, False)
    assert first.run.name in second.why
    settle(product_of(), store, first.run.name, NOW, version="7")
    steps = FakeSteps()
    # The commit's turn comes with the controller.
    assert controller(product_of(), store, steps).turn().waiting == ()
    assert [one.reasons for one in store.runs(NAME)] == [(Reason.COMMIT,)] * 2
    assert len(steps.submitted) == 1


def test_a_commit_is_in_the_budget_and_waits_for_the_next_month(store: Store) -> None:
    first = claimed(store, budget_per_month=1)
    assert first.run is not None
    settle(product_of(), store, first.run.name, NOW, why="no rows")
    second = claimed(store, key="0000000", budget_per_month=1)
    assert second.run is None
    assert "budget of 1 runs" in second.why
    assert second.until is not None
    assert [one.key for one in store.waiting(NAME)] == ["0000000"]


def test_a_workflow_that_is_started_again_goes_on_with_its_run_or_tries_anew(store: Store) -> None:
    first, again = claimed(store), claimed(store, now=NOW + DAY)
    assert again.run is not None
    assert first.run is not None
    assert (again.run.name, again.ours) == (first.run.name, True)
    assert again.run.read_until == first.run.read_until
    settle(product_of(), store, first.run.name, NOW, why="out of memory")
    anew = claimed(store)
    assert anew.run is not None
    assert anew.ours
    assert anew.run.name != first.run.name
    settle(product_of(), store, anew.run.name, NOW, version="7")
    trained = claimed(store)
    assert trained.run is not None
    assert (trained.run.version, trained.ours) == ("7", False)


def test_a_person_has_the_rows_that_were_named_or_is_refused(store: Store) -> None:
    product, evidence = product_of(budget_per_month=1), {"key": "ana 1"}
    named = Range(start=NOW - 9 * DAY, split=NOW - 3 * DAY, end=NOW - DAY)
    first = claim(product, store, Reason.PERSON, evidence, by="ana", now=NOW, given=named)
    assert first.run is not None
    assert (first.run.learn_from, first.run.read_until) == (named.start, named.end)
    second = claim(product, store, Reason.PERSON, {"key": "ana 2"}, by="ana", now=NOW)
    assert second.run is None
    assert first.run.name in second.why
    assert store.waiting(NAME) == []


def test_while_a_controller_acts_a_commit_waits_and_is_written_down(
    store: Store, database: DatabaseSettings
) -> None:
    with opened(database, "controller") as other, other.alone(NAME), pytest.raises(Busy):
        claimed(store)
    assert [one.key for one in store.waiting(NAME)] == [COMMIT]


class TestTheCommandLine:
    WORDS = ("train", NAME, "--start", "2013-01-01", "--split", "2013-03-21", "--end", "2013-04-01")

    @pytest.fixture
    def submitted(
        self, database: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
    ) -> list[TrainingRun]:
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
        monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us-central1")
        made: list[TrainingRun] = []

        def submit(run: TrainingRun, *_: Any, **__: Any) -> Registration:
            made.append(run)
            if run.product.name != NAME:
                raise TrainingFailed("step train: out of memory")
            metrics = {run.product.gate.metric: Score(value=0.7, low=0.6, high=0.8)}
            return Registration(
                model="m", version="7", run=run.name, uri="g", metrics=metrics, baseline=metrics
            )

        controlled = {
            "job": "projects/p/jobs/x",
            "database_host": database.database_host,
            "database": database.database_name,
            "database_user": database.database_user,
        }
        own = {
            "training": {"image": "t", "service_account": "train@p"},
            "endpoint": {"serving_image": "s", "service_account": "serve@p"},
            "retraining": controlled,
        }
        monkeypatch.setattr(model_commands, "outputs_of", lambda stack, name: own)
        monkeypatch.setattr(runners, "submit", submit)
        return made

    @pytest.fixture
    def esteira(self, submitted: list[TrainingRun]) -> Callable[..., tuple[int, Any]]:
        def run(*words: str) -> tuple[int, Any]:
            ended = CliRunner().invoke(app, [*words, "--json"])
            return ended.exit_code, json.loads(ended.stdout) if ended.stdout.strip() else None

        return run

    def test_a_commit_is_trained_under_the_name_of_its_run_and_settled(
        self, esteira: Callable[..., Any], submitted: list[TrainingRun], store: Store
    ) -> None:
        asks = (*self.WORDS, "--why", "code has changed", "--commit", COMMIT)
        status, document = esteira(*asks)
        assert (status, document["version"]) == (0, "7")
        (run,) = store.runs(NAME)
        assert (run.state, run.version, run.name) == (RunState.TRAINED, "7", submitted[0].name)
        assert (run.learn_from, run.read_until) == (submitted[0].start, submitted[0].end)
        assert store.waiting(NAME) == []
        # The workflow was started again: what is trained is compared, and not trained twice.
        assert esteira(*asks) == (0, {"version": "7", "run": run.name, "waits": ""})

        other = (*self.WORDS, "--why", "more", "--commit", "0000000")
        status, document = esteira(*other)
        assert (status, document["version"]) == (0, "")
        assert run.name in document["waits"]
        assert len(submitted) == 1
        # A person who named rows cannot be served later.
        assert esteira(*self.WORDS, "--why", "a hunch")[0] == 1
        assert len(store.waiting(NAME)) == 1

    def test_a_training_that_fails_is_a_run_that_failed(
        self, esteira: Callable[..., Any], submitted: list[TrainingRun], store: Store
    ) -> None:
        words = ("train", "arrival-delay", *self.WORDS[2:])
        assert esteira(*words, "--why", "code has changed", "--commit", COMMIT)[0] == 1
        (run,) = store.runs("arrival-delay")
        assert (run.state, run.why) == (RunState.FAILED, "step train: out of memory")

    def test_a_commit_without_a_why_is_refused_and_without_both_nothing_is_recorded(
        self, esteira: Callable[..., Any], submitted: list[TrainingRun], store: Store
    ) -> None:
        assert esteira(*self.WORDS, "--commit", COMMIT)[0] == 1
        assert submitted == []
        assert esteira(*self.WORDS)[0] == 0
        assert store.runs(NAME) == []

    def test_without_a_database_or_a_plan_there_is_nothing_to_enter_it_in(
        self,
        esteira: Callable[..., Any],
        submitted: list[TrainingRun],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        by_hand = dataclasses.replace(product_of(), retraining=None)
        monkeypatch.setattr(products, "load", lambda name: by_hand)
        status, document = esteira(*self.WORDS, "--why", "more", "--commit", COMMIT)
        assert (status, document["version"]) == (0, "7")
