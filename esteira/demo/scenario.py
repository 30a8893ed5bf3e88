"""What the demonstration plays: the flights of New York in early 2013.

January to 29 March land as files. From 30 March on, flights and landings stream in, and with them a
few hundred messages that are broken, sent twice or too late. The replay stops at noon of 1 April,
which is then the present: what is asked about has not landed yet.

The model learns from 1 January to 20 March and is judged on 21 to 31 March.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from workloads.replay.replayer import Plan

PRODUCT: Final = "flight-delay"
_ZONE: Final = ZoneInfo("America/New_York")

BEGIN: Final = datetime(2013, 1, 1, tzinfo=_ZONE)
STREAMED_FROM: Final = datetime(2013, 3, 30, tzinfo=_ZONE)
HELD_OUT_FROM: Final = datetime(2013, 3, 21, tzinfo=_ZONE)
HELD_OUT_TO: Final = datetime(2013, 4, 1, tzinfo=_ZONE)
PRESENT: Final = datetime(2013, 4, 1, 12, tzinfo=_ZONE)
ASKED_WITHIN: Final = timedelta(minutes=45)
"""Flights that are shown were asked about this long before the present."""
SHOWN: Final = 6
"""Predictions that are shown beside the truth."""

REPLAY: Final = Plan(
    product=PRODUCT,
    start=STREAMED_FROM,
    end=PRESENT,
    poison=150,
    duplicates=150,
    late=50,
    unfit=20,
)
