"""A release and a line of its history, as they are kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from workloads.release.judgement import Verdict
from workloads.release.states import UNDER_WAY, State, Strategy, Transition


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One release, as it stands."""

    id: int
    product: str
    version: str
    champion: str | None
    """The version that served when it began; None for the first release of a product."""
    target: str
    strategy: Strategy
    state: State
    step: int
    share: int
    intent: Transition | None
    """What was begun and is not known to be done."""
    verdicts: tuple[Verdict, ...]
    """On the windows of this step, the newest last."""
    reason: str
    opened_by: str
    revision: int
    created_at: datetime
    entered_at: datetime
    """When this state, or this step of it, began."""
    looked_at: datetime
    """Until when there is evidence already."""
    updated_at: datetime

    @property
    def under_way(self) -> bool:
        """Whether it keeps another release from beginning."""
        return self.state in UNDER_WAY or self.intent is not None


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the history."""

    release: int
    version: str
    state: State
    to: State
    step: int
    share: int
    phase: str
    reason: str
    evidence: Any
    actor: str
    at: datetime
