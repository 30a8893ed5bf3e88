"""A span of time that is measured as one, and what many in a row add up to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec


class InvalidWindow(ValueError):
    """A window that holds no time. Names both ends."""


class Window(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """The event times [start, end), both with a time zone.

    Raises:
        InvalidWindow: the end is not after the start, or a time zone is missing.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None or self.start >= self.end:
            raise InvalidWindow(
                f"start is {self.start.isoformat()} and end is {self.end.isoformat()}; allowed: "
                "two instants with a time zone, start before end"
            )

    def parts(self, length: timedelta) -> tuple[Window, ...]:
        """Windows of one length that fill this one from its start; the last may be shorter."""
        if length <= timedelta(0):
            raise InvalidWindow(f"length is {length}; allowed: above 0")
        found: list[Window] = []
        start = self.start
        while start < self.end:
            found.append(Window(start=start, end=min(start + length, self.end)))
            start += length
        return tuple(found)


def lasting(breaches: Sequence[bool | None], *, least: int, of: int) -> bool:
    """Whether a breach lasts: `least` of the last `of` windows, and the newest among them.

    So one odd day raises no alarm, and an alarm ends with the first window that is well.

    Args:
        breaches: oldest first. None is a window that nothing is known of: it is no breach, it
            keeps its place, and while the newest is unknown nothing new is claimed.

    Raises:
        ValueError: `least` is not between 1 and `of`.
    """
    if not 1 <= least <= of:
        raise ValueError(f"least is {least} of {of}; allowed: 1 to {of}")
    newest = breaches[-of:]
    return bool(newest) and newest[-1] is True and sum(one is True for one in newest) >= least
