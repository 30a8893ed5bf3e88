"""When a Cloud Scheduler job is due, and how long it waits before a retry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

from localcloud.rest.errors import InvalidArgument, Unimplemented
from localcloud.rest.operations import seconds

# https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs#RetryConfig
RETRY_DEFAULTS: Final = {
    "maxRetryDuration": "0s",
    "minBackoffDuration": "5s",
    "maxBackoffDuration": "3600s",
    "maxDoublings": 5,
}
_MAX_RETRIES: Final = 5


def check_schedule(schedule: str | None, zone: str) -> None:
    """Refuse a schedule that has no next time.

    Raises:
        InvalidArgument: it is not five fields of crontab, or the zone is unknown.
        Unimplemented: it is App Engine's English-like form.
    """
    if not schedule:
        raise InvalidArgument("Job.schedule: a schedule is required, such as '0 9 * * 1'.")
    if schedule.lstrip().lower().startswith("every"):
        raise Unimplemented(
            f"Job.schedule: '{schedule}': the English-like form is not supported by the local "
            "cloud; write it as crontab, such as '*/5 * * * *'."
        )
    if len(schedule.split()) != 5 or not croniter.is_valid(schedule):
        raise InvalidArgument(
            f"Schedule or time zone is invalid. Job.schedule '{schedule}' must be crontab's five "
            "fields: minute, hour, day of month, month, day of week."
        )
    try:
        _zone(zone)
        following(schedule, zone, datetime.now(UTC))
    except (KeyError, ValueError, OSError, CroniterError):
        raise InvalidArgument(
            f"Schedule or time zone is invalid. Job.schedule '{schedule}' in Job.time_zone "
            f"'{zone}' has no next time; the zone must be a name of the tz database, such as "
            "'America/Sao_Paulo'."
        ) from None


def following(schedule: str, zone: str, after: datetime) -> datetime:
    """The first time of a schedule strictly after a moment, in UTC."""
    local = after.astimezone(_zone(zone))
    return croniter(schedule, local).get_next(datetime).astimezone(UTC)


def latest(schedule: str, zone: str, until: datetime) -> datetime:
    """The last time of a schedule that is not after a moment, in UTC."""
    local = until.astimezone(_zone(zone))
    if croniter.match(schedule, local) and not (local.second or local.microsecond):
        return until
    return croniter(schedule, local).get_prev(datetime).astimezone(UTC)


def check_retries(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The retry settings, completed with Google's defaults.

    Raises:
        InvalidArgument: a value out of its range.
    """
    complete = {**RETRY_DEFAULTS, **(config or {})}
    count = complete.get("retryCount", 0)
    if not 0 <= count <= _MAX_RETRIES:
        raise InvalidArgument(
            f"RetryConfig.retry_count: {count} is not between 0 and {_MAX_RETRIES}."
        )
    if complete["maxDoublings"] < 0:
        raise InvalidArgument(
            f"RetryConfig.max_doublings: {complete['maxDoublings']} must not be negative."
        )
    low, high = seconds(complete["minBackoffDuration"]), seconds(complete["maxBackoffDuration"])
    if low < 0 or high < low or seconds(complete["maxRetryDuration"]) < 0:
        raise InvalidArgument(
            f"RetryConfig: min_backoff_duration {complete['minBackoffDuration']} must be at least "
            f"0s and at most max_backoff_duration {complete['maxBackoffDuration']}."
        )
    return complete


def backoff(config: Mapping[str, Any], retry: int) -> float:
    """Seconds before the retry of this number (1 is the first): doubling, then linear, capped."""
    first = seconds(config["minBackoffDuration"])
    doublings = min(retry - 1, config["maxDoublings"])
    grown = first * 2**doublings
    beyond = retry - 1 - doublings
    grown += beyond * first * 2 ** config["maxDoublings"]
    return min(grown, seconds(config["maxBackoffDuration"]))


def retries_left(config: Mapping[str, Any], done: int, since_first: float) -> bool:
    """Whether a failed attempt is retried: until both limits are reached, where both are given."""
    count = config.get("retryCount", 0)
    limit = seconds(config["maxRetryDuration"])
    if not count and not limit:
        return False
    if limit and not count:
        return since_first < limit
    return done < count or (limit > 0 and since_first < limit)


def _zone(name: str) -> ZoneInfo:
    return ZoneInfo("UTC" if name.lower() == "utc" else name)
