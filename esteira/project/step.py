"""One step of preparing a project: look, make or mend what differs, look again.

A step keeps nothing between two runs. What it does follows only from what is there, so that a
bootstrap that was killed anywhere goes on when it is run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from esteira.project.calls import Call, Calls
from esteira.project.refusals import Refused, refused

_WAITS: Final = (0, 1, 2, 4, 8, 15, 30)
"""Seconds before each look after a change: IAM shows a new account or binding within a minute."""


class Outcome(StrEnum):
    """What came of a step."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    PLANNED = "planned"
    """A dry run: it would be changed."""
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing to make or mend."""

    what: str
    request: Any = None
    """Of Google's client; None for a change on this machine."""
    edit: Callable[[], None] | None = None
    after: Callable[[dict[str, Any]], None] | None = None
    """Waits for what the answer only promises."""
    taken: str = ""
    """What to do when its name is taken by something that cannot be seen."""


class Step(Protocol):
    """What the driver below needs to know of a step."""

    @property
    def subject(self) -> str:
        """What it is about, a few words."""
        ...

    def look(self, calls: Calls) -> Any:
        """What is there; None where nothing is."""
        ...

    def changes(self, found: Any) -> Sequence[Change]:
        """What has to change.

        Raises:
            Refused: what is there cannot be mended safely.
        """
        ...

    def notes(self, found: Any) -> Sequence[str]:
        """What a person should know about what is there, and nobody changes."""
        ...


@dataclass(kw_only=True)
class Report:
    """How a step went."""

    subject: str
    outcome: Outcome
    changes: list[str] = field(default_factory=list[str])
    calls: list[Call] = field(default_factory=list[Call])
    """Writes that were made, or would be made."""
    notes: list[str] = field(default_factory=list[str])
    refusal: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For programs; what is empty is left out."""
        every = {
            "subject": self.subject,
            "outcome": self.outcome.value,
            "changes": self.changes,
            "calls": [call.as_dict() for call in self.calls],
            "notes": self.notes,
            "refusal": self.refusal,
        }
        return {key: value for key, value in every.items() if value}


def converge(step: Step, calls: Calls) -> Report:
    """Take a step until nothing differs.

    Raises:
        Refused: it cannot be taken, or does not show after several looks.
    """
    report = Report(subject=step.subject, outcome=Outcome.UNCHANGED)
    stopped: Refused | None = None
    wanted: Sequence[Change] = ()
    for wait in _WAITS:
        if wait:
            calls.sleep(wait)
        found = step.look(calls)
        wanted = step.changes(found)
        if not wanted:
            report.notes += step.notes(found)
            return report
        if calls.dry_run:
            report.outcome = Outcome.PLANNED
            report.changes = [change.what for change in wanted]
            report.calls = [Call.of(one.request) for one in wanted if one.request is not None]
            report.notes += step.notes(found)
            return report
        again = stopped is not None and stopped.code == 409 and found is None
        if again and stopped is not None and wanted[0].taken:
            raise refused(stopped.refusal.problem, wanted[0].taken)
        stopped = _make(wanted, calls, report)
    raise stopped or refused(
        f"{step.subject}: {', '.join(change.what for change in wanted)} was answered well, "
        "but does not show",
        "run the same command again in a few minutes",
    )


def _make(wanted: Sequence[Change], calls: Calls, report: Report) -> Refused | None:
    """Make the changes; what stopped them if looking again may tell more."""
    for change in wanted:
        try:
            if change.edit is not None:
                change.edit()
            if change.request is not None:
                answer = calls.write(change.request)
                report.calls.append(Call.of(change.request))
                if change.after is not None:
                    change.after(answer)
        except Refused as error:
            if error.code in (409, 412) and not error.refusal.mend:
                # Made or changed by someone else meanwhile, perhaps by a call of ours whose answer
                # was lost.
                return error
            if error.code == 400 and "does not exist" in error.refusal.problem:
                # IAM does not know yet what was made a moment ago.
                return error
            raise
        report.outcome = Outcome.CHANGED
        if change.what not in report.changes:
            report.changes.append(change.what)
    return None
