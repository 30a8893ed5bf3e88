"""Time, in whole microseconds since the epoch: the unit that generations are made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

Clock = Callable[[], int]
"""The present, in microseconds since the epoch. Tests pass their own to travel in time."""

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND


def wall_clock() -> int:
    """The present by this machine's clock."""
    return time.time_ns() // 1000


def rfc3339(moment: int) -> str:
    """A moment as the JSON API writes it, to the millisecond: `2026-11-21T10:15:30.123Z`."""
    whole, rest = divmod(moment, SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{rest // 1000:03d}Z"


def parse_rfc3339(text: str) -> int:
    """The moment that an RFC 3339 string names.

    Raises:
        ValueError: the text is no such moment, or lacks an offset from UTC.
    """
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        raise ValueError(f"{text!r} lacks an offset from UTC, such as the Z at the end")
    return round(parsed.timestamp() * SECOND)


def midnight(date: str) -> int:
    """The first moment of a UTC date written `2026-11-21`, as lifecycle conditions write it.

    Raises:
        ValueError: the text is no such date.
    """
    return round(datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * SECOND)


def http_date(moment: int) -> str:
    """A moment as HTTP headers write it."""
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(moment // SECOND))
