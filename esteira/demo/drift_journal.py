"""What a replay has found so far, on disk: one that was cut off goes on where it was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from esteira.demo.drift_scenario import MONTHS
from esteira.paths import STATE
from workloads.notifications.incident import IncidentFeature

PLACE: Final = STATE / "demo" / "drift.json"


class NotAtTheBeginning(RuntimeError):
    """The champion knows what is to be replayed. Says how to begin anew."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of monitor said of a month."""

    kind: str
    verdict: str
    alarm: bool
    feature: str
    statistic: str
    score: float | None
    threshold: float | None
    top: tuple[IncidentFeature, ...] = ()
    """What breaches, the worst first."""


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """A month as the monitors found it."""

    findings: tuple[Finding, ...]
    report: str
    action: str
    """What the platform said that it would do; empty where there was no alarm."""

    @property
    def alarms(self) -> list[Finding]:
        """The gravest first; findings come in that order."""
        return [one for one in self.findings if one.alarm]

    @property
    def breaches(self) -> list[Finding]:
        """What is beyond its threshold, lasting or not, the gravest first."""
        return [one for one in self.findings if one.alarm or one.verdict == "drifted"]


class Retrained(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of the retraining controller came to."""

    run: str
    version: str | None
    reasons: tuple[str, ...]
    state: str
    """`released`, `rejected` or `failed`."""
    why: str
    """Of the state: of the gate's verdict, where that ended it."""
    gate: str = ""
    """`approved`, `rejected`, or empty where it never got there."""
    record: str = ""
    """`gs://...` of the gate's decision; empty where there is none."""
    reasons_of_gate: tuple[str, ...] = ()

    @property
    def released(self) -> bool:
        """Whether its version serves."""
        return self.state == "released"


class MonthDone(msgspec.Struct, kw_only=True):
    """One month, as far as it has come."""

    rows: int = 0
    with_retraining: float = 0.0
    without: float = 0.0
    looked: Looked | None = None
    alerts: list[dict[str, Any]] = []
    """Messages that reached the inbox while the month was looked at."""
    retrained: Retrained | None = None
    waits: str = ""
    """Why what was asked for starts no run yet."""
    done: bool = False


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """From when on a version served, in the replay's time."""

    since: datetime
    version: str


class Journal(msgspec.Struct, kw_only=True):
    """The whole replay."""

    run: str
    """The pipeline run of the first version: a platform that was made anew has another."""
    served: list[Served]
    """Oldest first; the first is the model that is never trained again."""
    heard: int = 0
    """Messages of the inbox that are told of already, or were there before."""
    seconds: float = 0.0
    """That the commands took together which have played it, from their start to their end."""
    months: dict[str, MonthDone] = {}

    @property
    def first(self) -> str:
        """The version that served when the replay began."""
        return self.served[0].version

    def month(self, name: str) -> MonthDone:
        """What is known of a month."""
        return self.months.setdefault(name, MonthDone())

    @property
    def timeline(self) -> list[tuple[datetime, str]]:
        """As `Versions.score` takes it."""
        return [(one.since, one.version) for one in self.served]

    def done(self) -> list[tuple[str, MonthDone]]:
        """The months that are over, in order."""
        return [(name, one) for name, one in sorted(self.months.items()) if one.done]

    def save(self, place: Path = PLACE) -> None:
        """Write it whole or not at all."""
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_suffix(".new")
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(self)))
        draft.replace(place)


def begin(
    versions: Sequence[tuple[str, str, datetime]],
    champion: str,
    place: Path = PLACE,
    *,
    heard: int = 0,
) -> Journal:
    """The journal of this platform's replay, or a new one.

    Args:
        versions: number, pipeline run and end of training of each version that there is.
        champion: the number of the one that serves.
        place: of the file.
        heard: messages that are in the inbox already.

    Raises:
        NotAtTheBeginning: there is no journal, and the champion has learned from what would be
            replayed.
    """
    runs = {number: run for number, run, _ in versions}
    if place.exists():
        found = msgspec.json.decode(place.read_bytes(), type=Journal)
        if runs.get(found.first) == found.run:
            return found
    first = MONTHS[0].start
    until = next(end for number, _, end in versions if number == champion)
    if until > first:
        raise NotAtTheBeginning(
            f"the champion, version {champion}, has learned from rows until {until.isoformat()}; "
            f"the replay begins on {first:%d %B %Y}. Make the platform anew: `esteira destroy "
            "local`, then `esteira demo --drift`"
        )
    served = [Served(since=first, version=champion)]
    return Journal(run=runs[champion], served=served, heard=heard)
