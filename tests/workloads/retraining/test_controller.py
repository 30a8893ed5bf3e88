"""A request becomes one run and one release, however often the controller is killed on the way."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from tests.workloads.retraining.fakes import (
    DAY,
    NOW,
    Death,
    FakeSteps,
    Killed,
    MortalStore,
    controller,
    product_of,
)
from workloads.database import DatabaseSettings
from workloads.retraining.controller import ATTEMPTS
from workloads.retraining.requests import Reason, RequestState
from workloads.retraining.runs import RunState
from workloads.retraining.steps import Standing
from workloads.retraining.store import Busy, Overtaken, Store, opened

NAME = "flight-delay"


def ask(store: Store, reason: Reason = Reason.DRIFT, key: str = "1", **change: object) -> None:
    given = {"by": "monitor", "at": NOW - DAY, **change}
    store.ask(NAME, reason, {"key": key}, **given)  # pyright: ignore[reportArgumentType]


def test_a_request_is_trained_judged_and_released_and_each_step_is_written_down(
    store: Store,
) -> None:
    ask(store)
    ask(store, Reason.PERFORMANCE)
    steps = FakeSteps()

    turn = controller(product_of(), store, steps).turn()

    assert turn.run is not None
    assert (turn.run.state, turn.run.version) == (RunState.RELEASED, "1")
    decisions = [one.decision for one in reversed(store.history(NAME))]
    assert decisions == [
        "asked",
        "asked",
        "started",
        "started",
        "coalesced",
        "training",
        "trained",
        "approved",
        "released",
    ]
    first, second = store.of_run(turn.run)
    assert (first.state, second.state) == (RequestState.STARTED, RequestState.COALESCED)
    assert turn.run.reasons == (Reason.DRIFT, Reason.PERFORMANCE)


KILLS = [(number, when) for number in range(15) for when in ("before", "after")]


@pytest.mark.parametrize("kill", KILLS, ids=[f"{when} {number}" for number, when in KILLS])
def test_killed_at_any_step_and_run_again_it_converges(
    database: DatabaseSettings, store: Store, kill: tuple[int, str]
) -> None:
    ask(store)
    death = Death()
    death.at = kill
    steps = FakeSteps(death)
    killed = False
    with opened(database, "mortal") as mortal:
        try:
            controller(product_of(), MortalStore(mortal._connection, death), steps).turn()
        except Killed:
            killed = True
        assert killed is (kill[0] < len(ACTS))
        death.at = None

    # The lock goes with the connection of the one that died.
    controller(product_of(), store, steps, NOW + timedelta(hours=1)).turn()

    (run,) = store.runs(NAME)
    assert run.state is RunState.RELEASED
    assert list(steps.jobs) == [run.name]
    assert {one.learn_from for one in steps.submitted} == {run.learn_from}
    assert steps.begun == ["1"]
    decisions = [
        one.decision for one in reversed(store.history(NAME)) if one.run and not one.request
    ]
    assert decisions == ["started", "training", "trained", "approved", "released"]


ACTS = [
    "write begin",
    "write attempt",
    "write training",
    "write attempt",
    "train",
    "write trained",
    "write attempt",
    "judge",
    "write approved",
    "write attempt",
    "release",
    "write released",
]


def test_these_are_all_the_acts_between_which_it_is_killed(
    database: DatabaseSettings, store: Store
) -> None:
    ask(store)
    death = Death()
    with opened(database, "mortal") as mortal:
        steps = FakeSteps(death)
        controller(product_of(), MortalStore(mortal._connection, death), steps).turn()
    assert death.acts == ACTS


def test_a_run_that_kills_its_controllers_is_given_up(store: Store) -> None:
    ask(store)
    for _ in range(ATTEMPTS):
        death = Death()
        death.at = (0, "before")
        with pytest.raises(Killed):
            controller(product_of(), store, FakeSteps(death)).turn()
    turn = controller(product_of(), store, FakeSteps()).turn()
    assert turn.run is not None
    assert turn.run.state is RunState.FAILED
    assert "given up" in turn.run.why


def test_the_run_is_frozen_as_of_the_request_and_not_the_clock(store: Store) -> None:
    ask(store, as_of=NOW - 100 * DAY)
    steps = FakeSteps()
    controller(product_of(), store, steps).turn()
    (run,) = steps.submitted
    assert run.as_of == NOW - 100 * DAY
    assert run.read_until < NOW - 100 * DAY
    assert run.name.startswith(f"flight-delay-{NOW - 100 * DAY:%Y%m%d}-")


def test_the_same_request_in_a_new_database_is_another_job_only_if_asked_at_another_time(
    store: Store,
) -> None:
    from tests.workloads.retraining.fakes import request
    from workloads.retraining.controller import job_name

    one = job_name(request(), NOW)
    assert one == job_name(request(7, key="1"), NOW)
    assert one != job_name(request(asked_at=NOW), NOW)
    assert len(one) <= 62


def test_a_rejected_model_is_the_end_of_the_run_and_the_next_waits_longer(store: Store) -> None:
    ask(store)
    steps = FakeSteps()
    steps.approve = False
    turn = controller(product_of(), store, steps).turn()
    assert turn.run is not None
    assert (turn.run.state, turn.last_rejected) == (RunState.REJECTED, True)
    assert steps.begun == []
    ask(store, key="2", at=NOW + DAY)
    later = controller(product_of(), store, steps, NOW + 8 * DAY).turn()
    assert later.run is None
    assert later.until == NOW + 14 * DAY
    assert "grown from 7 days" in later.why
    waits = [one for one in store.history(NAME) if one.decision == "waits"]
    controller(product_of(), store, steps, NOW + 9 * DAY).turn()
    assert [one for one in store.history(NAME) if one.decision == "waits"] == waits


def test_training_that_fails_is_told_with_its_reason(store: Store) -> None:
    ask(store)
    steps = FakeSteps()
    steps.fails = "step validate: too few rows"
    turn = controller(product_of(), store, steps).turn()
    assert turn.run is not None
    assert (turn.run.state, turn.run.why) == (RunState.FAILED, "step validate: too few rows")
    assert not turn.last_rejected


def test_a_release_that_waits_for_evidence_keeps_the_run_under_way(store: Store) -> None:
    ask(store)
    steps = FakeSteps()
    steps.standing = Standing.UNDER_WAY
    for _ in range(ATTEMPTS + 2):
        turn = controller(product_of(), store, steps).turn()
        assert turn.run is not None
        assert turn.run.state is RunState.RELEASING
    steps.releases["1"] = Standing.STOPPED
    turn = controller(product_of(), store, steps).turn()
    assert turn.run is not None
    assert turn.run.state is RunState.REJECTED


def test_another_release_under_way_is_waited_for_as_long_as_it_takes(store: Store) -> None:
    ask(store)
    steps = FakeSteps()
    steps.standing = Standing.BLOCKED
    for _ in range(ATTEMPTS + 2):
        turn = controller(product_of(), store, steps).turn()
        assert turn.run is not None
        assert turn.run.state is RunState.APPROVED
    steps.standing = Standing.RELEASED
    turn = controller(product_of(), store, steps).turn()
    assert turn.run is not None
    assert turn.run.state is RunState.RELEASED


def test_it_is_judged_again_when_the_champion_has_changed(store: Store) -> None:
    ask(store)
    steps = FakeSteps()
    steps.unjudged = 1
    turn = controller(product_of(), store, steps).turn()
    assert turn.run is not None
    assert turn.run.state is RunState.RELEASED
    assert steps.death.acts.count("judge") == 2


def test_a_champion_that_keeps_changing_ends_the_turn_and_not_the_run(store: Store) -> None:
    ask(store)
    steps = FakeSteps()
    steps.unjudged = 2
    turn = controller(product_of(), store, steps).turn()
    assert turn.run is not None
    assert turn.run.state is RunState.TRAINED


def test_a_product_has_one_run_at_a_time(database: DatabaseSettings, store: Store) -> None:
    ask(store)
    held, done = threading.Event(), threading.Event()

    class Slow(FakeSteps):
        def train(self, run: object) -> str:
            held.set()
            assert done.wait(20)
            return super().train(run)  # pyright: ignore[reportArgumentType]

    steps = Slow()

    def first() -> None:
        with opened(database, "first") as own:
            controller(product_of(), own, steps).turn()

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert held.wait(20)
        with pytest.raises(Busy, match="another controller"):
            controller(product_of(), store, FakeSteps()).turn()
    finally:
        done.set()
        thread.join(20)
    assert [one.state for one in store.runs(NAME)] == [RunState.RELEASED]


def test_the_index_holds_what_the_lock_does_not(store: Store) -> None:
    ask(store)
    (request,) = store.waiting(NAME)
    death = Death()
    death.at = (0, "before")
    with pytest.raises(Killed):
        controller(product_of(), store, FakeSteps(death)).turn()
    run = store.under_way(NAME)
    assert run is not None
    from workloads.release.states import Strategy

    with pytest.raises(Busy, match="just been started"):
        store.begin(
            NAME,
            [request],
            name="other",
            as_of=NOW,
            learn_from=NOW,
            hold_out_from=NOW,
            read_until=NOW,
            strategy=Strategy.DIRECT,
            why="",
            at=NOW,
        )
    store.take_up(run)
    with pytest.raises(Overtaken, match="changed by somebody else"):
        store.move(run, RunState.FAILED, "late", NOW)


def test_a_refusal_is_written_down_once(store: Store) -> None:
    ask(store)
    for _ in range(2):
        controller(product_of(on_drift=False), store, FakeSteps()).turn()
    assert [one.decision for one in store.history(NAME)] == ["refused", "asked"]


def test_a_year_of_alarms_every_day_through_the_records_keeps_within_the_budget(
    store: Store,
) -> None:
    steps = FakeSteps()
    product = product_of(budget_per_month=2)
    for day in range(365):
        now = NOW + day * DAY
        reason = (Reason.DRIFT, Reason.PERFORMANCE)[day % 2]
        ask(store, reason, str(day), at=now)
        steps.approve = day % 3 == 0
        controller(product, store, steps, now + timedelta(hours=2)).turn()
    runs = store.runs(NAME)
    months = [f"{one.started_at:%Y-%m}" for one in runs]
    assert max(months.count(one) for one in set(months)) <= 2
    assert 6 <= len(runs) <= 24
    assert len(steps.jobs) == len(runs)
