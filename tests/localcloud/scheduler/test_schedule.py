"""The calendar of Cloud Scheduler: zones, daylight saving, retries."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from localcloud.rest.errors import ApiError
from localcloud.services.scheduler.schedule import (
    backoff,
    check_retries,
    check_schedule,
    following,
    latest,
    retries_left,
)
from localcloud.services.scheduler.targets import local_uri


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "expected"),
    [
        ("*/15 * * * *", "Etc/UTC", "2026-03-01T10:07:30", "2026-03-01T10:15:00"),
        ("0 9 * * 1", "utc", "2026-03-02T09:00:00", "2026-03-09T09:00:00"),
        ("0 3 * * *", "America/Sao_Paulo", "2026-03-01T05:00:00", "2026-03-01T06:00:00"),
        # New York changes to daylight saving on 8 March 2026: 9:00 is an hour earlier in UTC.
        ("0 9 * * *", "America/New_York", "2026-03-07T15:00:00", "2026-03-08T13:00:00"),
        ("0 9 * * *", "America/New_York", "2026-03-06T15:00:00", "2026-03-07T14:00:00"),
    ],
)
def test_the_next_time_is_of_the_jobs_zone(
    schedule: str, zone: str, after: str, expected: str
) -> None:
    assert following(schedule, zone, at(after)) == at(expected)


def test_the_last_time_may_be_now() -> None:
    assert latest("0 * * * *", "UTC", at("2026-03-01T10:00:00")) == at("2026-03-01T10:00:00")
    assert latest("0 * * * *", "UTC", at("2026-03-01T10:59:59")) == at("2026-03-01T10:00:00")


@pytest.mark.parametrize(
    ("schedule", "zone", "code"),
    [
        (None, "UTC", 400),
        ("* * * *", "UTC", 400),
        ("* * * * * *", "UTC", 400),
        ("61 * * * *", "UTC", 400),
        ("@daily", "UTC", 400),
        ("0 0 30 2 *", "UTC", 400),
        ("0 9 * * *", "Mars/Olympus", 400),
        ("every 5 minutes", "UTC", 501),
    ],
)
def test_wrong_schedules_are_refused(schedule: str | None, zone: str, code: int) -> None:
    with pytest.raises(ApiError) as caught:
        check_schedule(schedule, zone)
    assert caught.value.code == code


def test_retries_double_then_grow_by_the_same_step_then_stay() -> None:
    """The example of Google's guide: 10 s, 2 doublings, at most 120 s."""
    config = check_retries(
        {"minBackoffDuration": "10s", "maxBackoffDuration": "120s", "maxDoublings": 2}
    )
    waits = [backoff(config, retry) for retry in range(1, 8)]
    assert waits == [10, 20, 40, 80, 120, 120, 120]


def test_retries_end_when_both_limits_are_reached() -> None:
    none = check_retries(None)
    assert not retries_left(none, 0, 0)
    count = check_retries({"retryCount": 2})
    assert [retries_left(count, done, 1e6) for done in range(4)] == [True, True, False, False]
    time = check_retries({"maxRetryDuration": "60s"})
    assert retries_left(time, 99, 59)
    assert not retries_left(time, 0, 61)
    both = check_retries({"retryCount": 1, "maxRetryDuration": "60s"})
    assert retries_left(both, 5, 30)
    assert not retries_left(both, 1, 61)


@pytest.mark.parametrize(
    "config",
    [
        {"retryCount": 6},
        {"maxDoublings": -1},
        {"minBackoffDuration": "10s", "maxBackoffDuration": "5s"},
    ],
)
def test_wrong_retries_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(ApiError, match="RetryConfig"):
        check_retries(config)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (
            "https://run.googleapis.com/v2/projects/p/locations/l/jobs/j:run",
            "http://127.0.0.1:9/v2/projects/p/locations/l/jobs/j:run",
        ),
        (
            "https://us-east1-run.googleapis.com/apis/run.googleapis.com/v1/namespaces/p/jobs/j:run",
            "http://127.0.0.1:9/v2/projects/p/locations/us-east1/jobs/j:run",
        ),
        (
            "https://us-east1-aiplatform.googleapis.com/v1/projects/p/locations/l/pipelineJobs?a=b",
            "http://127.0.0.1:9/v1/projects/p/locations/l/pipelineJobs?a=b",
        ),
        (
            "https://dataflow.googleapis.com/v1b3/projects/p/locations/l/flexTemplates:launch",
            "http://127.0.0.1:9/v1b3/projects/p/locations/l/flexTemplates:launch",
        ),
        ("http://127.0.0.1:1234/start", "http://127.0.0.1:1234/start"),
    ],
)
def test_googles_apis_are_answered_here(uri: str, expected: str) -> None:
    assert local_uri(uri, "http://127.0.0.1:9") == expected
