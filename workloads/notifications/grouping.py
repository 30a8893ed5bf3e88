"""What belongs together is told of once.

Each time a condition is met anew, Cloud Monitoring opens another incident, and one of each kind of
monitor that is alarmed by a window. People hear of the first; its recovery is told when none of the
group has been open for a while. What opens meanwhile belongs to what they know already, unless it
is of a kind that they were not told of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from workloads.notifications.incident import KINDS, IncidentRecord
from workloads.notifications.message import Incident

WAITED: Final = 3_600.0
"""Seconds after its end for which a recovery waits for the alert that it is of to be told."""


FORGOTTEN: Final = 7 * 86_400.0
"""Seconds after which an alert is told anew, were its recovery lost: Google closes every incident
within a week without data."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One series of a group: the newest incident of it."""

    incident: str
    calm: float | None = None
    """When that one closed, by the relay's clock; None while it is open."""
    recovered: bool = True
    """Whether what was measured says that it is over; nothing of one that is open."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """What the people of one channel are told of in one message, and how it is."""

    first: str = ""
    """The incident by whose notice they are told; empty where there is nothing to tell."""
    told_at: float = 0.0
    """When that came, by the relay's clock."""
    since: float | None = None
    """When the first incident of the group began."""
    kinds: tuple[str, ...] = ()
    """Of monitors that the message names, the gravest first; none where it is of something else."""
    members: Mapping[str, Member] = msgspec.field(default_factory=dict[str, Member])
    """By series."""
    last: str = ""
    """The incident that closed last, whose notice tells the recovery; empty while one is open."""

    @property
    def open(self) -> dict[str, Member]:
        """Those of its members that have not closed."""
        return {series: one for series, one in self.members.items() if one.calm is None}

    @property
    def recovered(self) -> bool:
        """Whether all that has closed is known to be over."""
        return all(one.recovered for one in self.members.values())


def kind_of(incident: Incident) -> str:
    """Which kind of monitor an incident is of; empty where it is of something else."""
    labels = incident.policy_user_labels or {}
    kind = labels.get("alert", "")
    return kind if kind in KINDS and labels.get("product") else ""


def series_of(incident: Incident) -> str:
    """What one incident at a time is open of: a policy, its condition, and the series."""
    parts = [incident.policy_name or "", incident.condition_name or ""]
    for labelled in (incident.resource, incident.metric):
        if labelled is not None:
            parts += [labelled.type, *(f"{k}={v}" for k, v in sorted(labelled.labels.items()))]
    return _digest(*parts)


def report_of(record: IncidentRecord) -> str:
    """The group of everything that the monitors of a product found in one window."""
    window = record.window
    return _digest(record.product, record.report, window.start.isoformat(), window.end.isoformat())


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
