"""The end of the demonstration: the monitors run by their schedule, and people are told.

They look at the last two whole weeks before the scenario's present. What lasts from the one to the
other is an alarm: the end of March is warmer than the winter that the model has learned from.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from rich.markup import escape

from esteira.demo import inbox, scenario
from esteira.demo.scheduled import run_monitor
from esteira.demo.stages import Stage
from workloads.monitoring.job import Outcome, last_window
from workloads.monitoring.verdicts import Finding
from workloads.monitoring.window import Window
from workloads.product import Product

PATIENCE: Final = 60.0
"""Seconds that an alarm may take to the inbox; nothing on its way there waits for a schedule."""
_POLL: Final = 0.25
_AFTER: Final = timedelta(hours=12)
"""How long after its end a week is looked at: the last one at the scenario's present."""
_NAMED: Final = 3


class NobodyWasTold(RuntimeError):
    """A monitor raised an alarm, and no message came of it. Says where to look."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What came of two weeks."""

    outcome: Outcome
    """Of the second."""
    alerts: list[dict[str, Any]]
    """Messages in the inbox that name what the alarm names; none where there is no alarm."""

    @property
    def alarm(self) -> Finding | None:
        """The gravest that names a feature."""
        return _alarm(self.outcome)

    def document(self) -> dict[str, Any]:
        """For programs."""
        alarm = self.alarm
        worst = None if alarm is None else alarm.top[0]
        window = self.outcome.window
        return {
            "alarm": None
            if alarm is None or worst is None
            else {
                "kind": alarm.kind,
                "feature": worst.feature,
                "statistic": worst.statistic,
                "score": worst.score,
                "threshold": worst.threshold,
                "window": {"start": window.start.isoformat(), "end": window.end.isoformat()},
                "report": self.outcome.report,
            },
            "alerts": self.alerts,
            "monitored": {one.kind: one.verdict for one in self.outcome.findings},
        }


def weeks(product: Product) -> list[tuple[Window, datetime]]:
    """As many whole windows as an alarm takes, oldest first, and when each is looked at."""
    found = [last_window(product, scenario.PRESENT)]
    while len(found) < product.monitoring.least:
        found.insert(0, last_window(product, found[0].start))
    return [(one, one.end + _AFTER) for one in found]


def watch(product: Product, own: dict[str, Any], stage: Stage) -> Watched:
    """Run the monitors over the weeks as their schedule does, and wait for the message.

    A second run finds the same, and the message that came of the first.

    Raises:
        MonitorFailed: the job was not started, or failed.
        NobodyWasTold: of an alarm.
    """
    outcome: Outcome | None = None
    for window, at in weeks(product):
        outcome = run_monitor(product, own, window, at, stage.doing)
        _say(stage, outcome)
    assert outcome is not None
    alarm = _alarm(outcome)
    told = [] if alarm is None else _told(alarm, stage)
    if told:
        for line in inbox.lines(told[-1]["body"]):
            stage.say(f"  [cyan]{escape(line)}[/]")
    return Watched(outcome=outcome, alerts=told)


def _alarm(outcome: Outcome) -> Finding | None:
    return next((one for one in outcome.findings if one.alarm and one.top), None)


def _say(stage: Stage, outcome: Outcome) -> None:
    """What one week says, a breach a line."""
    until = outcome.window.end - timedelta(days=1)
    days = f"{outcome.window.start:%d %B} to {until:%d %B}"
    breaches = [one for one in outcome.findings if one.alarm or one.verdict == "drifted"]
    for one in breaches:
        named = ", ".join(f"{top.feature} {top.score:.2f}" for top in one.top[:_NAMED])
        colour, word = ("red", "alarm") if one.alarm else ("yellow", "an alarm if it lasts")
        stage.say(f"{days}: [{colour}]{one.kind}, {word}[/]: {escape(named)}")
    if not breaches:
        stage.say(f"{days}: nothing drifted")


def _told(alarm: Finding, stage: Stage) -> list[dict[str, Any]]:
    feature = alarm.top[0].feature
    deadline = time.monotonic() + PATIENCE
    while True:
        found = [
            one
            for one in inbox.messages()
            if any(feature in line for line in inbox.lines(one["body"]))
        ]
        if found:
            return found
        if time.monotonic() > deadline:
            raise NobodyWasTold(
                f"{alarm.kind} of {feature} is an alarm, and within {PATIENCE:.0f} s no message "
                "about it reached the inbox; see `esteira alerts` and `esteira local logs`"
            )
        stage.doing("an alarm; who is told?")
        time.sleep(_POLL)
