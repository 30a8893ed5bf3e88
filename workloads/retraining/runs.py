"""A retraining run, its states, and which may follow which."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from workloads.release.states import Strategy
from workloads.retraining.requests import Reason


class RunState(StrEnum):
    """Where a run stands."""

    STARTED = "started"
    """Its parameters are frozen; nothing is submitted yet."""
    TRAINING = "training"
    """The pipeline runs, or is about to."""
    TRAINED = "trained"
    """There is a version; the gate has not judged it against the present champion."""
    APPROVED = "approved"
    """The gate approves; the version is to be released."""
    RELEASING = "releasing"
    """The release controller has it, and waits for evidence."""
    RELEASED = "released"
    """The version is the champion."""
    REJECTED = "rejected"
    """The gate refused it, or the release was stopped by its evidence."""
    FAILED = "failed"
    """There is no version, or it cannot be deployed."""


UNDER_WAY: Final = (
    RunState.STARTED,
    RunState.TRAINING,
    RunState.TRAINED,
    RunState.APPROVED,
    RunState.RELEASING,
)
"""A product has at most one run in one of these."""
FOLLOWS: Final[dict[RunState, frozenset[RunState]]] = {
    RunState.STARTED: frozenset({RunState.TRAINING, RunState.FAILED}),
    RunState.TRAINING: frozenset({RunState.TRAINED, RunState.FAILED}),
    RunState.TRAINED: frozenset(
        {RunState.APPROVED, RunState.RELEASED, RunState.REJECTED, RunState.FAILED}
    ),
    # Another champion since: it has to be judged against that one.
    RunState.APPROVED: frozenset(
        {
            RunState.TRAINED,
            RunState.RELEASING,
            RunState.RELEASED,
            RunState.REJECTED,
            RunState.FAILED,
        }
    ),
    RunState.RELEASING: frozenset({RunState.RELEASED, RunState.REJECTED, RunState.FAILED}),
    RunState.RELEASED: frozenset(),
    RunState.REJECTED: frozenset(),
    RunState.FAILED: frozenset(),
}


class WrongTransition(ValueError):
    """A step that no run takes."""


def check(state: RunState, to: RunState) -> None:
    """
    Raises:
        WrongTransition: the state cannot be followed by that one.
    """
    if to not in FOLLOWS[state]:
        names = ", ".join(sorted(FOLLOWS[state])) or "nothing"
        raise WrongTransition(f"a run that is {state} cannot become {to}; allowed: {names}")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as it stands. What is read from when to when never changes."""

    id: int
    product: str
    name: str
    """Of the pipeline's job, so that whoever goes on with the run finds it."""
    state: RunState
    reasons: tuple[Reason, ...]
    as_of: datetime
    learn_from: datetime
    hold_out_from: datetime
    read_until: datetime
    strategy: Strategy
    why: str
    """What was decided on it last, in words."""
    version: str | None
    opened_by: str
    attempts: int
    """How often a controller has taken it up since it last got on."""
    revision: int
    started_at: datetime
    entered_at: datetime
    updated_at: datetime

    @property
    def under_way(self) -> bool:
        """Whether it keeps another run from starting."""
        return self.state in UNDER_WAY

    @property
    def unasked(self) -> bool:
        """Whether no person asked for it."""
        return Reason.PERSON not in self.reasons


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the history."""

    request: int | None
    run: int | None
    decision: str
    """`asked`, `waits`, `coalesced`, `refused`, or the state that a run has entered."""
    why: str
    evidence: Any
    actor: str
    at: datetime
