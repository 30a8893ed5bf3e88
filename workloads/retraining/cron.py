"""When a schedule was due last, for the controller, whose own schedule is another; and its gaps.

Cloud Scheduler wakes the controller each hour; a product's `retraining.schedule` is one of the
reasons it looks at then. Numbers, lists, ranges and steps, as crontab(5) has them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_FIELDS: Final = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 7),
)
_MONDAY: Final = date(2024, 1, 1)
_YEARS: Final = 5
"""29 February comes within so many, but around 2100."""


class InvalidCron(ValueError):
    """A schedule that is not understood; says which field."""


def latest(schedule: str, zone: str, until: datetime) -> datetime | None:
    """The last time of a schedule that is not after an instant, in UTC; None within five years.

    Raises:
        InvalidCron: it is not five fields of numbers, lists, ranges and steps.
    """
    times = _Times.of(schedule)
    local = until.astimezone(ZoneInfo(zone))
    for back in range(366 * _YEARS):
        day = local.date() - timedelta(days=back)
        if not times.on(day):
            continue
        due = [
            instant
            for hour in times.hours
            for minute in times.minutes
            if (instant := _instant(day, hour, minute, zone)) <= until
        ]
        if due:
            return max(due)
    return None


def longest_gap(schedule: str) -> timedelta:
    """The most days from one day with a run to the next; None within five years are as many.

    Raises:
        InvalidCron: as `latest`.
    """
    times = _Times.of(schedule)
    days = [day for n in range(366 * _YEARS) if times.on(day := _MONDAY + timedelta(days=n))]
    gaps = [after - before for before, after in itertools.pairwise(days)]
    return max(gaps, default=timedelta(days=366 * _YEARS))


@dataclass(frozen=True, kw_only=True)
class _Times:
    """When a schedule runs, by the fields of crontab."""

    minutes: set[int]
    hours: set[int]
    days: set[int]
    months: set[int]
    weekdays: set[int]
    either: bool
    """Whether a day of the month or one of the week will do: cron has it so where both are
    restricted."""

    @classmethod
    def of(cls, schedule: str) -> _Times:
        words = schedule.split()
        if len(words) != len(_FIELDS):
            raise InvalidCron(f"schedule is {schedule!r}; allowed: five fields of crontab")
        minutes, hours, days, months, weekdays = (
            _field(word, *one) for word, one in zip(words, _FIELDS, strict=True)
        )
        return cls(
            minutes=minutes,
            hours=hours,
            days=days,
            months=months,
            weekdays=weekdays | ({0} if 7 in weekdays else set()),
            either=not words[2].startswith("*") and not words[4].startswith("*"),
        )

    def on(self, day: date) -> bool:
        """Whether there is a run that day."""
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        fits = in_month or in_week if self.either else in_month and in_week
        return day.month in self.months and fits


def _instant(day: date, hour: int, minute: int, zone: str) -> datetime:
    return datetime.combine(day, time(hour, minute), ZoneInfo(zone)).astimezone(UTC)


def _field(word: str, name: str, least: int, most: int) -> set[int]:
    found: set[int] = set()
    for part in word.split(","):
        span, _, step = part.partition("/")
        low, dash, high = span.partition("-")
        try:
            first = least if span == "*" else int(low)
            last = most if span == "*" or (step and not dash) else int(high if dash else low)
            every = int(step) if step else 1
        except ValueError:
            raise InvalidCron(
                f"{name} is {word!r}; allowed: numbers, lists, ranges and steps from {least} to "
                f"{most}"
            ) from None
        if not least <= first <= last <= most or every < 1:
            raise InvalidCron(f"{name} is {word!r}; allowed: {least} to {most}")
        found |= set(range(first, last + 1, every))
    return found
