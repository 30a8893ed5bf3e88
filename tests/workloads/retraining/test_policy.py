"""When a run starts, when it waits, when it is refused; and that no alarm makes a storm of runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.workloads.retraining.fakes import DAY, NOW, product_of, request, run_of
from workloads.product import InvalidProduct, Product
from workloads.retraining.policy import SKEW, Ruling, cool_down, rows, rule
from workloads.retraining.requests import Reason, Request
from workloads.retraining.runs import Run, RunState

HOUR = timedelta(hours=1)


def test_with_no_request_nothing_starts() -> None:
    assert rule(product_of(), [], [], NOW) == Ruling()


def test_a_request_starts_a_run_once_its_debounce_has_passed() -> None:
    asked = request(asked_at=NOW)
    early = rule(product_of(), [asked], [], NOW + timedelta(minutes=59))
    assert (early.start, early.wait, early.until) == ((), (asked,), NOW + HOUR)
    assert rule(product_of(), [asked], [], NOW + HOUR).start == (asked,)


def test_requests_within_the_debounce_are_one_run_and_do_not_put_it_off() -> None:
    asked = [request(n, asked_at=NOW + n * timedelta(minutes=10)) for n in range(6)]
    ruling = rule(product_of(), asked, [], NOW + HOUR)
    assert ruling.start == tuple(asked)


def test_the_cool_down_is_reckoned_from_the_start_of_the_last_run() -> None:
    last = run_of(started_at=NOW - 3 * DAY)
    waits = rule(product_of(), [request()], [last], NOW)
    assert waits.until == NOW + 4 * DAY
    assert "cool-down of 7 days" in waits.why
    assert rule(product_of(), [request()], [last], NOW + 4 * DAY).start


def test_a_commit_waits_for_neither_debounce_nor_cool_down_but_for_run_and_budget() -> None:
    waiting = [request(1), request(2, Reason.COMMIT, asked_at=NOW)]
    last = run_of(state=RunState.REJECTED, started_at=NOW - HOUR)
    assert rule(product_of(), waiting, [last], NOW).start == tuple(waiting)
    spent = rule(product_of(budget_per_month=1), waiting, [last], NOW)
    assert (spent.start, spent.out_of_budget) == ((), True)
    under_way = run_of(state=RunState.RELEASING)
    assert under_way.name in rule(product_of(), waiting, [under_way], NOW).why


@pytest.mark.parametrize(
    ("strikes", "days"), [(0, 7), (1, 14), (2, 28), (3, 56), (4, 56), (40, 56), (1_000, 56)]
)
@pytest.mark.parametrize("state", [RunState.REJECTED, RunState.FAILED])
def test_the_cool_down_doubles_with_each_run_that_is_not_released_up_to_its_most(
    strikes: int, days: int, state: RunState
) -> None:
    runs = [run_of(1), *(run_of(n + 2, state) for n in range(strikes))]
    plan = product_of().retraining
    assert plan is not None
    assert cool_down(plan, runs) == days * DAY


def test_a_release_sets_the_cool_down_back() -> None:
    runs = [run_of(1, RunState.REJECTED), run_of(2, RunState.REJECTED), run_of(3)]
    plan = product_of().retraining
    assert plan is not None
    assert cool_down(plan, runs) == 7 * DAY


def test_without_a_cool_down_runs_follow_each_other() -> None:
    product = product_of(cool_down=timedelta(0), budget_per_month=100)
    runs = [run_of(n, RunState.REJECTED, started_at=NOW - HOUR) for n in range(1, 20)]
    assert rule(product, [request()], runs, NOW).start


def test_the_budget_is_of_a_calendar_month_in_the_zone_of_the_product() -> None:
    product = product_of(cool_down=timedelta(0), budget_per_month=2, time_zone="America/New_York")
    runs = [run_of(n, RunState.FAILED, started_at=NOW - n * DAY) for n in (1, 2)]
    held = rule(product, [request()], runs, NOW)
    assert held.out_of_budget
    assert "budget of 2 runs for June 2013" in held.why
    assert held.until == datetime(2013, 7, 1, 4, tzinfo=UTC)
    free = rule(product, [request()], runs, datetime(2013, 7, 1, 4, tzinfo=UTC))
    assert free.start
    assert not free.out_of_budget


def test_a_run_of_the_month_before_by_the_local_clock_is_not_in_the_budget() -> None:
    product = product_of(cool_down=timedelta(0), budget_per_month=1, time_zone="America/New_York")
    late_in_may = run_of(started_at=datetime(2013, 6, 1, 3, tzinfo=UTC))
    assert rule(product, [request()], [late_in_may], NOW).start


def test_a_person_is_not_held_back_and_takes_along_what_waits() -> None:
    product = product_of(budget_per_month=1)
    waiting = [request(1), request(2, Reason.PERSON, asked_at=NOW)]
    last = run_of(state=RunState.FAILED, started_at=NOW - HOUR)
    assert rule(product, waiting[:1], [last], NOW).start == ()
    assert rule(product, waiting, [last], NOW).start == tuple(waiting)


def test_what_a_person_asked_for_is_not_in_the_budget_but_cools_down() -> None:
    product = product_of(budget_per_month=1)
    theirs = run_of(started_at=NOW - HOUR, reasons=(Reason.DRIFT, Reason.PERSON))
    ruling = rule(product, [request(asked_at=NOW - HOUR)], [theirs], NOW)
    assert not ruling.out_of_budget
    assert "cool-down" in ruling.why


def test_while_a_run_is_under_way_a_person_waits_too() -> None:
    run = run_of(state=RunState.TRAINING)
    ruling = rule(product_of(), [request(reason=Reason.PERSON)], [run], NOW)
    assert (ruling.start, ruling.until) == ((), None)
    assert run.name in ruling.why


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        (Reason.DRIFT, {"on_drift": False}),
        (Reason.PERFORMANCE, {"on_performance": False}),
        (Reason.FILE, {}),
        (Reason.ROWS, {}),
    ],
)
def test_a_trigger_that_the_product_has_off_is_refused(
    reason: Reason, change: dict[str, Any]
) -> None:
    ((refused, why),) = rule(product_of(**change), [request(reason=reason)], [], NOW).refuse
    assert refused.reason is reason
    assert "retraining." in why


@pytest.mark.parametrize("reason", [Reason.DRIFT, Reason.PERFORMANCE])
def test_drift_that_was_found_in_the_model_before_is_not_answered_twice(reason: Reason) -> None:
    released = run_of(started_at=NOW - 10 * DAY, entered_at=NOW - 9 * DAY)
    before, after = request(1, reason, asked_at=NOW - 10 * DAY), request(2, reason)
    ruling = rule(product_of(), [before, after], [released], NOW)
    assert [one.id for one, _ in ruling.refuse] == [1]
    assert ruling.start == (after,)


def test_drift_is_still_answered_when_the_run_meanwhile_was_rejected() -> None:
    rejected = run_of(state=RunState.REJECTED, started_at=NOW - 40 * DAY, entered_at=NOW - 9 * DAY)
    asked = request(1, asked_at=NOW - 10 * DAY)
    assert rule(product_of(), [asked], [rejected], NOW).start == (asked,)


def test_a_file_that_landed_while_a_run_trained_is_not_forgotten() -> None:
    released = run_of(started_at=NOW - 10 * DAY, entered_at=NOW - 9 * DAY)
    asked = request(1, Reason.FILE, asked_at=NOW - 10 * DAY)
    assert rule(product_of(on_new_file=True), [asked], [released], NOW).start == (asked,)


def test_a_run_that_a_replay_wrote_in_a_later_year_holds_nobody_back() -> None:
    replayed = run_of(started_at=NOW + 365 * DAY, entered_at=NOW + 365 * DAY)
    assert rule(product_of(), [request()], [replayed], NOW).start


def test_a_clock_that_is_a_little_ahead_starts_no_second_run() -> None:
    ahead = run_of(state=RunState.FAILED, started_at=NOW + SKEW / 2)
    assert not rule(product_of(), [request()], [ahead], NOW).start


def test_whole_days_are_read_up_to_those_whose_labels_have_come() -> None:
    product = product_of(history=60 * DAY, holdout=10 * DAY)
    assert product.retraining is not None
    read = rows(product, product.retraining, datetime(2013, 4, 1, 10, 30, tzinfo=UTC))
    assert read.end == datetime(2013, 3, 31, tzinfo=UTC)
    assert read.split == datetime(2013, 3, 21, tzinfo=UTC)
    assert read.start == datetime(2013, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cool_down": 60 * DAY}, "cool_down"),
        ({"cool_down": -DAY}, "cool_down"),
        ({"debounce": -HOUR}, "debounce"),
        ({"budget_per_month": 0}, "budget_per_month"),
        ({"minimum_new_rows": 0}, "minimum_new_rows"),
    ],
)
def test_a_declaration_that_makes_no_sense_names_the_field(
    change: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidProduct, match=rf"retraining\.{field}"):
        product_of(**change)


def simulate(product: Product, released: Callable[[int], bool]) -> list[Run]:
    """A year in which every day has an alarm, of drift and of performance by turns."""
    runs: list[Run] = []
    waiting: list[Request] = []
    begin = datetime(2013, 1, 1, tzinfo=UTC)
    for hour in range(365 * 24):
        now = begin + hour * HOUR
        if hour % 24 == 0:
            reason = (Reason.DRIFT, Reason.PERFORMANCE)[hour // 24 % 2]
            waiting.append(request(hour, reason, asked_at=now))
        ruling = rule(product, waiting, runs, now)
        gone = {one.id for one in ruling.start} | {one.id for one, _ in ruling.refuse}
        waiting = [one for one in waiting if one.id not in gone]
        if ruling.start:
            state = RunState.RELEASED if released(len(runs)) else RunState.REJECTED
            runs.append(run_of(len(runs) + 1, state, started_at=now, entered_at=now + 2 * HOUR))
    return runs


def test_a_year_of_daily_alternating_alarms_is_no_storm_when_all_are_released() -> None:
    runs = simulate(product_of(budget_per_month=3), lambda _: True)
    by_month = [sum(one.started_at.month == month for one in runs) for month in range(1, 13)]
    assert by_month == [3] * 12  # seven days apart there would be four or five
    gaps = [b.started_at - a.started_at for a, b in pairwise(runs)]
    assert min(gaps) >= 7 * DAY


def test_a_year_of_alarms_that_training_does_not_help_trains_ever_more_seldom() -> None:
    runs = simulate(product_of(), lambda _: False)
    gaps = [(b.started_at - a.started_at).days for a, b in pairwise(runs)]
    assert gaps[:3] == [14, 28, 56]
    assert set(gaps[3:]) == {56}
    assert len(runs) == 8


def test_a_year_of_alarms_within_the_cool_down_alone() -> None:
    runs = simulate(product_of(budget_per_month=31), lambda _: True)
    assert 365 // 8 <= len(runs) <= 365 // 7 + 1


def test_a_product_that_is_trained_by_hand_refuses() -> None:
    by_hand = dataclasses.replace(product_of(), retraining=None)
    assert len(rule(by_hand, [request()], [], NOW).refuse) == 1
