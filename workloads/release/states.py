"""The states of a release, and which may follow which."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec


class State(StrEnum):
    """Where a release stands."""

    REGISTERED = "registered"
    """Accepted; nothing is deployed yet."""
    SHADOW = "shadow"
    """Deployed without traffic, and compared on requests that the champion has answered."""
    CANARY = "canary"
    """Has a share of the traffic."""
    FULL = "full"
    """The champion."""
    RETIRED = "retired"
    """Was the champion until another release became full."""
    ABORTED = "aborted"
    """Stopped by evidence, a failure or a person: on the way, or while the champion is watched."""
    ROLLED_BACK = "rolled_back"
    """Taken back by a person."""


UNDER_WAY: Final = (State.REGISTERED, State.SHADOW, State.CANARY)
"""A product has at most one release in one of these."""
FOLLOWS: Final[dict[State, frozenset[State]]] = {
    State.REGISTERED: frozenset(
        {State.SHADOW, State.CANARY, State.FULL, State.ABORTED, State.ROLLED_BACK}
    ),
    State.SHADOW: frozenset({State.CANARY, State.FULL, State.ABORTED, State.ROLLED_BACK}),
    State.CANARY: frozenset({State.CANARY, State.FULL, State.ABORTED, State.ROLLED_BACK}),
    State.FULL: frozenset({State.RETIRED, State.ABORTED, State.ROLLED_BACK}),
    # A roll-back makes the champion of before the champion again.
    State.RETIRED: frozenset({State.FULL}),
    State.ABORTED: frozenset(),
    State.ROLLED_BACK: frozenset(),
}


class Strategy(StrEnum):
    """How a release gets to its end."""

    POLICY = "policy"
    """Through shadow and canary, as the product declares."""
    DIRECT = "direct"
    """Straight to full after the smoke test."""


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a release: written down before it acts and after."""

    to: State
    step: int = 0
    """Which of the canary steps, from 0."""
    share: int = 0
    """Of the traffic, per cent, once it is done."""
    reason: str


class WrongTransition(ValueError):
    """A step that no release takes."""


def check(state: State, transition: Transition) -> None:
    """
    Raises:
        WrongTransition: the state cannot be followed by that one.
    """
    allowed = FOLLOWS[state]
    if transition.to not in allowed:
        names = ", ".join(sorted(one.value for one in allowed)) or "nothing"
        raise WrongTransition(
            f"a release that is {state.value} cannot become {transition.to.value}; allowed: {names}"
        )
