"""When a schedule was due last: the same as croniter says, which the local cloud schedules by."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from localcloud.services.scheduler.schedule import latest as peer
from workloads import product as products
from workloads.retraining.cron import InvalidCron, latest, longest_gap

SCHEDULES = [
    "0 6 1 * *",
    "*/15 * * * *",
    "30 4 * * 1-5",
    "0 0 29 2 *",
    "5,35 8-18/2 * * *",
    "0 12 1,15 * 5",
    "0 0 * * 7",
    "10 3 */2 * *",
]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_it_agrees_with_the_local_scheduler(schedule: str) -> None:
    drawn = random.Random(schedule)
    for _ in range(25):
        until = datetime(2012, 6, 1, tzinfo=UTC) + timedelta(minutes=drawn.randrange(3 * 525_600))
        until += timedelta(seconds=1)
        assert latest(schedule, "Etc/UTC", until) == peer(schedule, "Etc/UTC", until)


def test_it_is_the_zones_own_clock_in_summer_and_in_winter() -> None:
    for month, hour in ((1, 11), (7, 10)):
        until = datetime(2013, month, 20, tzinfo=UTC)
        due = latest("0 6 1 * *", "America/New_York", until)
        assert due == datetime(2013, month, 1, hour, tzinfo=UTC)


def test_the_instant_itself_is_due() -> None:
    at = datetime(2013, 4, 1, 6, tzinfo=UTC)
    assert latest("0 6 1 * *", "Etc/UTC", at) == at
    assert latest("0 6 1 * *", "Etc/UTC", at - timedelta(seconds=1)) == datetime(
        2013, 3, 1, 6, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("schedule", "days"),
    [
        ("30 4 * * *", 1),
        ("0 5 * * 1,4", 4),
        ("30 4 * * 1-5", 3),
        ("0 0 * * 7", 7),
        ("0 6 1 * *", 31),
        # Across the end of a month that has 31.
        ("0 6 */6 * *", 6),
        ("0 6 1 1 *", 366),
        ("0 0 31 2 *", 366 * 5),
    ],
)
def test_a_schedule_leaves_so_many_days_between(schedule: str, days: int) -> None:
    assert longest_gap(schedule) == timedelta(days=days)


def test_a_day_that_never_comes_was_never_due() -> None:
    assert latest("0 0 31 2 *", "Etc/UTC", datetime(2013, 4, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    "schedule", ["* * * *", "61 * * * *", "a * * * *", "5-1 * * * *", "*/0 * * * *"]
)
def test_what_is_not_understood_is_refused(schedule: str) -> None:
    with pytest.raises(InvalidCron, match="allowed"):
        latest(schedule, "Etc/UTC", datetime(2013, 4, 1, tzinfo=UTC))


def test_every_declared_schedule_is_understood() -> None:
    for name in products.names():
        plan = products.load(name).retraining
        if plan is not None:
            assert latest(plan.schedule, plan.time_zone, datetime(2026, 1, 1, tzinfo=UTC))
