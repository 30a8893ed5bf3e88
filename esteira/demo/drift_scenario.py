"""What `esteira demo --drift` plays: the flights of New York from April to December 2013.

It begins where the demonstration's own scenario stopped. Months are those of New York's clocks; at
the end of each, monitors look at it and the platform does what follows from that. Time is the
replay's: what a month's monitor may see ends with the month.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from esteira.demo import scenario

_ZONE: Final = scenario.PRESENT.tzinfo


@dataclass(frozen=True)
class Month:
    """One month of the replay: the event times [start, end)."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """As `2013-04`."""
        return f"{self.start:%Y-%m}"


def _month(number: int) -> datetime:
    return datetime(2013 + (number - 1) // 12, (number - 1) % 12 + 1, 1, tzinfo=_ZONE)


FIRST: Final = 4
LAST: Final = 12
MONTHS: Final = tuple(Month(_month(one), _month(one + 1)) for one in range(FIRST, LAST + 1))

LANDED_AT_ONCE: Final = 3
"""Months that land as one file of each contract: a file is a Dataflow job, whose start costs more
than its rows. Windows keep monitors and training from what has landed ahead of its time."""
END: Final = datetime(2014, 1, 2, tzinfo=_ZONE)
"""The last flight of the year has landed by then, and its label is there."""


def landings() -> list[tuple[datetime, datetime]]:
    """The event times of the files, from the demonstration's present on without a gap."""
    ends = [month.end for month in MONTHS[LANDED_AT_ONCE - 1 :: LANDED_AT_ONCE]]
    ends[-1:] = [END]
    return list(zip([scenario.PRESENT, *ends], ends, strict=False))
