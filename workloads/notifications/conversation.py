"""What one channel is told of incidents, and remembers of it: each as if there were no other.

So a channel that is down, or gone for good, keeps nothing from the others, and has what it missed
told to it once it is back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx
import msgspec

from workloads.notifications.card import teams
from workloads.notifications.channels import Channel, mark
from workloads.notifications.grouping import (
    FORGOTTEN,
    WAITED,
    Group,
    Member,
    kind_of,
    report_of,
    series_of,
)
from workloads.notifications.incident import IncidentRecord
from workloads.notifications.kinds import gravest_first
from workloads.notifications.ledger import Ledger
from workloads.notifications.message import Incident
from workloads.notifications.said import Said, say

log: Final = logging.getLogger("esteira.notifications")


@dataclass(frozen=True)
class Answer:
    """What the push is told."""

    status: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """One channel, and the ledger's part about it."""

    channel: Channel
    ledger: Ledger
    client: httpx.Client
    clock: Callable[[], float]
    environment: str
    settle_seconds: float

    def opened(self, incident: Incident, found: Sequence[IncidentRecord]) -> Answer:
        """An incident has opened.

        Args:
            incident: as its notice says.
            found: what monitors know of it and of what they found with it, the gravest first.
        """
        key, kind = incident.key(), kind_of(incident)
        if self._has(key):
            return Answer(200, f"{key} was delivered before")
        if self._has(_closing(incident.incident_id)):
            # Not marked: were it the first of a group, its key would say that people know.
            return Answer(200, f"{key} was over before it came")
        series = series_of(incident)
        name, group = self._place(series, found)
        before = group.members.get(series)
        if before is not None and before.incident != incident.incident_id:
            # Nobody is told that the earlier one is over: it goes on with this one.
            self._mark(_closing(before.incident))
        if not group.first or (kind and kind not in group.kinds):
            group = msgspec.structs.replace(
                group,
                first=incident.incident_id,
                told_at=self.clock(),
                since=group.since or incident.started_at,
                kinds=gravest_first({kind, *(one.kind for one in found), *group.kinds}),
            )
        members = {**group.members, series: Member(incident=incident.incident_id)}
        # Before anybody is told: after a kill, whichever of the group comes next is told under the
        # same key.
        self._keep(name, msgspec.structs.replace(group, members=members, last=""))
        if kind:
            self.ledger.keep(self._named("series", series), name.encode())
        told = _opening(group.first)
        if told != key and self._has(told):
            self._mark(key)
            return Answer(200, f"{key} belongs to what people know")
        answer = self.deliver(told, say(incident, self.environment, found, kinds=group.kinds))
        if answer.status == 200 and told != key:
            self._mark(key)
        return answer

    def closed(self, incident: Incident, found: Sequence[IncidentRecord]) -> Answer:
        """An incident has closed.

        Args:
            incident: as its notice says.
            found: what monitors know of it.
        """
        key, now, series = incident.key(), self.clock(), series_of(incident)
        name = self._pointed(series) if kind_of(incident) else series
        group = self._group(name)
        member = group.members.get(series)
        if self._has(key):
            if group.last == incident.incident_id:
                # Killed before it was written that people know.
                self._keep(name, Group())
            return Answer(200, f"{key} was delivered before")
        current = member is not None and member.incident == incident.incident_id
        if member is None or not current or not self._has(_opening(group.first)):
            if now - (incident.ended_at or now) < WAITED:
                return Answer(503, f"{key} waits for its alert to be told")
            return self.deliver(key, say(incident, self.environment, found))
        if member.calm is None:
            member = msgspec.structs.replace(member, calm=now, recovered=incident.recovered)
            group = msgspec.structs.replace(group, members={**group.members, series: member})
            if not group.open:
                group = msgspec.structs.replace(group, last=incident.incident_id)
            self._keep(name, group)
        if group.last != incident.incident_id:
            self._mark(key)
            return Answer(200, f"{key} is told with the last of what was told with it")
        left = self.settle_seconds - (now - (member.calm or now))
        if left > 0:
            return Answer(503, f"{key} is told once it has been over for {left:.0f} s more")
        whole = msgspec.structs.replace(incident, started_at=group.since or incident.started_at)
        said = say(whole, self.environment, found, kinds=group.kinds, recovered=group.recovered)
        answer = self.deliver(key, said)
        if answer.status == 200:
            self._keep(name, Group())
        return answer

    def deliver(self, key: str, said: Said) -> Answer:
        """Post a message, unless the channel has it."""
        if self._has(key):
            return Answer(200, f"{key} was delivered before")
        problem = self.channel.post(self.client, said, key)
        if problem is not None:
            log.warning("%s is not delivered yet: %s", key, problem)
            return Answer(503, f"{key} is not delivered yet: {problem}")
        received = datetime.fromtimestamp(self.clock(), UTC)
        # What the ledger keeps of it, never the address.
        kept = {"key": key, "to": self.channel.name, "received": received, "body": teams(said)}
        self.ledger.add(mark(key, self.channel.name), msgspec.json.encode(kept))
        log.info("delivered %s to %s", key, self.channel.name)
        return Answer(200, f"delivered {key}")

    def _place(self, series: str, found: Sequence[IncidentRecord]) -> tuple[str, Group]:
        """The group that an incident belongs to: its name, and how it is."""
        if not found:
            return series, self._lasting(series)
        # A verdict that comes and goes belongs to what it was told with, whatever the window.
        name = self._pointed(series)
        group = self._lasting(name)
        member = group.members.get(series)
        if member is not None and (
            member.calm is None or self.clock() - member.calm < self.settle_seconds
        ):
            return name, group
        name = report_of(found[0])
        return name, self._lasting(name)

    def _lasting(self, name: str) -> Group:
        """A group as far as it is not over, and was not told so long ago that it is told anew."""
        group = self._group(name)
        if group.last and self._has(_closing(group.last)):
            return Group()
        if self.clock() - group.told_at >= FORGOTTEN:
            return Group(members=group.open)
        return group

    def _group(self, name: str) -> Group:
        state = self.ledger.state(self._named("group", name))
        try:
            return Group() if state is None else msgspec.json.decode(state, type=Group)
        except msgspec.DecodeError as error:
            log.warning("what people know is not readable: %s", error)
            return Group()

    def _keep(self, name: str, group: Group) -> None:
        self.ledger.keep(self._named("group", name), msgspec.json.encode(group))

    def _pointed(self, series: str) -> str:
        """The group that the newest incident of a series belongs to."""
        found = self.ledger.state(self._named("series", series))
        return series if found is None else found.decode()

    def _named(self, what: str, name: str) -> str:
        return f"{what}/{name}/{self.channel.name.replace(' ', '-')}"

    def _has(self, key: str) -> bool:
        return self.ledger.has(mark(key, self.channel.name))

    def _mark(self, key: str) -> None:
        """Remember a notice that needs no message."""
        self.ledger.add(mark(key, self.channel.name))


def _opening(incident: str) -> str:
    return Incident(incident_id=incident, state="open").key()


def _closing(incident: str) -> str:
    return Incident(incident_id=incident, state="closed").key()
