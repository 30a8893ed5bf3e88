"""A run on the local Vertex AI: its pipeline, the gate, and the release controller's records."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.workloads.conftest import IMAGES, Trained
from tests.workloads.release.test_release import lenient, unreleased
from tests.workloads.retraining.fakes import FakeSteps
from workloads import gcp
from workloads.database import DatabaseSettings
from workloads.product import Product, Retraining
from workloads.registry import CHAMPION, Registry
from workloads.release.controller import Controller
from workloads.release.endpoint import Endpoint
from workloads.release.states import State
from workloads.release.store import opened as opened_releases
from workloads.retraining.requests import Reason, ask
from workloads.retraining.settings import RetrainingSettings
from workloads.retraining.store import Store
from workloads.retraining.triggers import labelled, landed, look
from workloads.retraining.turn import Ended, Outcome, turn
from workloads.training import submit as submitting
from workloads.training.run import TrainingRun

__all__ = ["lenient", "unreleased"]

AS_OF = datetime(2013, 1, 15, 6, tzinfo=UTC)
LATER = AS_OF + timedelta(hours=2)


@pytest.fixture
def retrainable(unreleased: Product) -> Product:
    plan = Retraining(schedule="0 6 1 * *", history=timedelta(days=13), holdout=timedelta(days=3))
    return dataclasses.replace(unreleased, retraining=plan)


@pytest.fixture
def trains(monkeypatch: pytest.MonkeyPatch, challenge: Callable[..., Any]) -> list[Any]:
    """The pipeline is left out: a run registers what was fitted before, once a name."""
    runs: list[TrainingRun] = []
    done: dict[str, Any] = {}

    def submit(run: TrainingRun, *, on_progress: Any) -> Any:
        runs.append(run)
        if run.name not in done:
            done[run.name] = challenge(run.name)
        return done[run.name]

    monkeypatch.setattr(submitting, "submit", submit)
    return runs


def settings(**more: Any) -> RetrainingSettings:
    return RetrainingSettings(
        google_cloud_project=gcp.project(),
        google_cloud_location=gcp.location(),
        product="flight-delay",
        training_image=f"{IMAGES}/training:test",
        serving_image=f"{IMAGES}/serving:test",
        **more,
    )


@pytest.mark.long
def test_a_turn_trains_asks_the_gate_and_releases(
    retrainable: Product, trains: list[TrainingRun], database: DatabaseSettings, store: Store
) -> None:
    ask(retrainable, Reason.DRIFT, {"feature": "wind"}, by="m", as_of=AS_OF, database=database)
    said: list[str] = []
    given = settings(retraining_releases="here")

    waits = turn(retrainable, AS_OF, settings=given, database=database)
    assert (waits.ended, waits.until) == (Ended.WAITS, AS_OF + timedelta(hours=1))
    done = turn(
        retrainable,
        LATER,
        strategy="direct",
        settings=given,
        database=database,
        on_progress=said.append,
    )

    assert done.ended is Ended.RELEASED, done.message
    assert done.run is not None
    (run,) = trains
    assert (run.start, run.split, run.end) == (
        datetime(2013, 1, 1, tzinfo=UTC),
        datetime(2013, 1, 11, tzinfo=UTC),
        datetime(2013, 1, 14, tzinfo=UTC),
    )
    champion = Registry(retrainable).get(CHAMPION)
    assert champion.number == done.run.version
    assert champion.manifest().run == done.run.name
    assert [one.traffic for one in Endpoint(retrainable).deployed()] == [100]
    approved = next(one for one in store.history("flight-delay") if one.decision == "approved")
    assert approved.evidence["record"].startswith("gs://")
    assert any("the champion" in one or "released" in one for one in said)


def test_a_job_hands_over_to_the_release_job_and_sees_it_through(
    retrainable: Product, trains: list[TrainingRun], database: DatabaseSettings, store: Store
) -> None:
    ask(retrainable, Reason.PERSON, {"why": "new code"}, by="ana", as_of=AS_OF, database=database)

    begun = turn(retrainable, LATER, strategy="direct", settings=settings(), database=database)

    assert begun.ended is Ended.UNDER_WAY, begun.message
    assert Endpoint(retrainable).deployed() == []
    assert begun.run is not None
    with opened_releases(database, "release job") as releases:
        record = releases.find("flight-delay")
        assert record is not None
        assert (record.version, record.state) == (begun.run.version, State.REGISTERED)
        assert begun.run.name in record.reason
        Controller(retrainable, releases).abort("a person thinks better of it")
    ended = turn(retrainable, LATER, settings=settings(), database=database)
    assert ended.ended is Ended.REJECTED
    assert "a person thinks better of it" in ended.message
    assert len(trains) == 1


@pytest.mark.long
def test_the_pipeline_itself_is_found_again_by_the_name_of_the_run(
    retrainable: Product, database: DatabaseSettings, store: Store
) -> None:
    ask(retrainable, Reason.PERSON, {"why": "try"}, by="ana", as_of=AS_OF, database=database)
    given = settings(retraining_releases="here")

    done = turn(retrainable, LATER, strategy="direct", settings=given, database=database)

    assert done.ended is Ended.RELEASED, done.message
    assert done.run is not None
    from workloads.retraining.steps import PlatformSteps

    jobs = gcp.vertex().PipelineJob.list(filter='labels.product="flight-delay"')
    before = len(jobs)
    assert PlatformSteps(retrainable, given, database).train(done.run) == done.run.version
    jobs = gcp.vertex().PipelineJob.list(filter='labels.product="flight-delay"')
    assert len(jobs) == before


def test_a_second_attempt_at_a_run_follows_the_job_of_the_first(trained: Trained) -> None:
    jobs = gcp.vertex().PipelineJob.list()
    assert submitting.submit(trained.run) == trained.registration
    assert len(gcp.vertex().PipelineJob.list()) == len(jobs)


def test_rows_with_a_label_are_counted_in_the_feature_query(
    january: Product, trained: Trained
) -> None:
    since, until = trained.run.start, trained.run.end
    manifest = Registry(january).get("1").manifest()
    counted = manifest.training.rows + manifest.holdout.rows
    assert labelled(january, since, until) == counted


def test_rows_of_files_are_counted_since_they_were_taken_in(january: Product) -> None:
    (dataset,) = {january.raw(one) for one in january.sources}
    rows, newest = landed(january, "weather", dataset, datetime(2012, 12, 31, tzinfo=UTC))
    assert rows > 0
    assert newest is not None
    assert newest == datetime(2013, 1, 1, tzinfo=UTC)
    assert landed(january, "weather", dataset, newest) == (0, None)


def test_rows_and_files_ask_once_for_as_many_as_have_come(
    retrainable: Product, trained: Trained, store: Store
) -> None:
    registry = Registry(retrainable)
    assert retrainable.retraining is not None
    plan = dataclasses.replace(retrainable.retraining, minimum_new_rows=1_000, on_new_file=True)
    product = dataclasses.replace(retrainable, retraining=plan)
    now = AS_OF + timedelta(days=1)
    look(product, store, now)
    assert store.waiting(product.name) == [], "without a champion nothing is new"
    registry.move(CHAMPION, registry.get("1"))

    look(product, store, now)
    look(product, store, now + timedelta(minutes=5))

    (asked,) = store.waiting(product.name)
    assert asked.reason is Reason.ROWS
    assert asked.evidence["rows"] >= 1_000


@pytest.fixture
def landing(january: Product) -> Iterator[Callable[[], None]]:
    """Ingestion takes in a file: a row of weather that was in no table before."""
    (dataset,) = {january.raw(one) for one in january.sources}
    table = f"`{gcp.project()}.{dataset}.weather`"
    place = "gs://test/tomorrow.jsonl#1:1"

    def land() -> None:
        gcp.bigquery_client().query(
            f"INSERT INTO {table} SELECT * REPLACE ('{place}' AS source, 'tomorrow' AS message_id,"
            f" TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL 1 HOUR) AS ingested_at)"
            f" FROM {table} LIMIT 1"
        ).result()

    yield land
    gcp.bigquery_client().query(f"DELETE FROM {table} WHERE source = '{place}'").result()


@pytest.mark.parametrize("reason", [Reason.ROWS, Reason.FILE])
def test_new_rows_and_a_new_file_start_a_run_when_the_debounce_has_passed(
    reason: Reason,
    retrainable: Product,
    trained: Trained,
    database: DatabaseSettings,
    store: Store,
    landing: Callable[[], None],
) -> None:
    registry = Registry(retrainable)
    registry.move(CHAMPION, registry.get("1"))
    assert retrainable.retraining is not None
    switched = {"minimum_new_rows": 1_000} if reason is Reason.ROWS else {"on_new_file": True}
    plan = dataclasses.replace(retrainable.retraining, **switched)
    product = dataclasses.replace(retrainable, retraining=plan)
    steps, now = FakeSteps(), AS_OF + timedelta(days=1)

    def turned(hours: float) -> Outcome:
        return turn(product, now + timedelta(hours=hours), database=database, steps=steps)

    # Nothing has come since the champion: no file, and no row whose label it had not seen.
    assert turned(-96 if reason is Reason.ROWS else 0).ended is Ended.NOTHING
    landing()
    waits = turned(0)
    assert (waits.ended, [one.reason for one in waits.requests]) == (Ended.WAITS, [reason])
    done = turned(1.1)
    assert done.run is not None
    assert done.run.reasons == (reason,)
    assert [one.name for one in steps.submitted] == [done.run.name]
    # The label of its last row has come.
    assert done.run.read_until == datetime(2013, 1, 15, tzinfo=UTC)
    # The same rows, or the same file, are the same request.
    assert turned(2).ended is Ended.NOTHING
    assert len(steps.submitted) == 1
