"""Alerts that come and go are told of once.

Each time a condition is met anew, Cloud Monitoring opens another incident. People hear of the
first; its recovery is told when none of the group has been open for a while. What opens meanwhile
belongs to what they know already.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from workloads.notifications.message import Incident

WAITED: Final = 3_600.0
"""Seconds after its end for which a recovery waits for the alert that it is of to be told."""


FORGOTTEN: Final = 7 * 86_400.0
"""Seconds after which an alert is told anew, were its recovery lost: Google closes every incident
within a week without data."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """What people were told of one condition, and how it is."""

    told: bool = False
    """People know that something is wrong, and not yet that it is over."""
    told_at: float = 0.0
    """When they were told, by the relay's clock."""
    since: float | None = None
    """When the first incident of the group began."""
    incident: str = ""
    """The newest incident of the group."""
    calm: float | None = None
    """When that one closed, by the relay's clock; None while it is open."""


def group_of(incident: Incident) -> str:
    """The name of the group: the policy, its condition, and the series."""
    parts = [incident.policy_name or "", incident.condition_name or ""]
    for labelled in (incident.resource, incident.metric):
        if labelled is not None:
            parts += [labelled.type, *(f"{k}={v}" for k, v in sorted(labelled.labels.items()))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
