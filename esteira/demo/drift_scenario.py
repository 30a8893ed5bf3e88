"""What `esteira demo --drift` plays: the flights of New York from April to December 2013.

It begins where the demonstration's own scenario stopped. Months are those of New York's clocks. A
day after the end of each, when the last labels have come, its monitors look at it, and the platform
does what follows from that. Time is the replay's: nothing looks beyond it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from esteira.demo import scenario

_ZONE: Final = scenario.PRESENT.tzinfo

MATURITY: Final = timedelta(days=1)
"""How long after a month it is looked at: the maturity of the product's label."""


@dataclass(frozen=True)
class Month:
    """One month of the replay: the event times [start, end)."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """As `2013-04`."""
        return f"{self.start:%Y-%m}"

    @property
    def looked_at(self) -> datetime:
        """The replay's present when the month is looked at; a new champion serves from then on."""
        return self.end + MATURITY


def _first_of(month: int) -> datetime:
    return datetime(2013 + (month - 1) // 12, (month - 1) % 12 + 1, 1, tzinfo=_ZONE)


MONTHS: Final = tuple(Month(_first_of(one), _first_of(one + 1)) for one in range(4, 13))

LANDED_AT_ONCE: Final = 3
"""Months that land as one file of each contract: a file is a Dataflow job, whose start costs more
than its rows. Windows keep monitors and training from what has landed ahead of its time."""


def landings() -> list[tuple[datetime, datetime]]:
    """The event times of the files, from the demonstration's present on without a gap."""
    ends = [month.looked_at for month in MONTHS[LANDED_AT_ONCE - 1 :: LANDED_AT_ONCE]]
    return list(zip([scenario.PRESENT, *ends], ends, strict=False))
