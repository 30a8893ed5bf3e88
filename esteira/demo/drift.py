"""`esteira demo --drift`: nine months pass, the data drift, and the platform sees to it itself."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from esteira.demo import drift_journal, drift_scenario, inbox, scenario
from esteira.demo.drift_journal import Journal, Looked, MonthDone
from esteira.demo.stages import Stage, Stages

DRIFT: Final = "drift"
"""The kind of alarm that names features."""
NAMED: Final = 3
"""Features that are shown of a month's breach; the report has all."""


def run(console: Console) -> dict[str, Any]:
    """Replay April to December on the platform that the demonstration left, which is run first
    where there is none. A second run shows what the first found, and goes on where it was cut off.

    Returns:
        The report that `esteira demo --drift --json` prints.
    """
    from esteira import demo

    begun = time.monotonic()
    stages = Stages(console)
    with stages.stage("cloud", "The local cloud") as stage:
        demo.cloud(stage)
        served = _champion()
    if served:
        # Its monitors and alerts are to be those of this checkout.
        outputs, _ = demo.platform(stages, console)
        own = outputs["products"][scenario.PRODUCT]
    else:
        _, own = demo.play(console, watched=False)
    # pandas and Google's clients are imported from here on.
    from esteira.demo.drift_data import Landing
    from esteira.demo.drift_replay import Replay
    from workloads import product as products

    product = products.load(scenario.PRODUCT)
    journal = _begun(product)
    spent, played = journal.seconds, False
    landing = Landing(product, own["buckets"]["landing"].removeprefix("gs://"))
    replay = Replay(product, own, journal, landing, inbox.messages)
    told = False
    with contextlib.closing(replay):
        with stages.stage("land", "The first of April to December land as files") as stage:
            rows = replay.begin()
            stage.say(f"{rows:,} rows; Dataflow takes them in, and the others, as months pass")
        for month in drift_scenario.MONTHS:
            with stages.stage(month.name, f"{month.start:%B}") as stage:
                again = journal.month(month.name).done
                found = replay.play(month, stage.doing)
                _say(stage, product.gate.metric, found, first_alarm=not told)
            told = told or (found.looked is not None and bool(found.looked.alarms))
            if not again:
                played = True
                journal.seconds = spent + time.monotonic() - begun
                journal.save()
        with stages.stage("accounts", "Where the files' lines ended") as stage:
            accounts = replay.accounts()
            ingested = sum(one.ingested for _, one in accounts)
            dead = sum(one.dead_letters for _, one in accounts)
            stage.say(f"{ingested:,} ingested, {dead} dead letters, none lost")
    if played:
        # Of the whole command, the demonstration before it included where it was run first.
        journal.seconds = spent + time.monotonic() - begun
        journal.save()
    report = document(journal)
    _table(console, product.gate.metric, journal)
    console.print(
        "[bold]where to look next[/]: esteira alerts; esteira retraining history "
        f"{product.name}; esteira release history {product.name}"
    )
    return report


def document(journal: Journal) -> dict[str, Any]:
    """What the replay found, for programs."""
    first = next(
        ((name, one.looked) for name, one in journal.done() if one.looked and one.looked.alarms),
        None,
    )
    runs = [one.retrained for _, one in journal.done() if one.retrained is not None]
    released = [one for one in runs if one.released]
    # The first run that came of the alarm to a champion; of none, the first that was refused.
    shown = (released or runs or [None])[0]
    return {
        "alarm": None if first is None else _alarm(*first),
        "alerts": [message for _, one in journal.done() for message in one.alerts],
        "retrained": None if shown is None else shown.version,
        "gate": None
        if shown is None
        else {"decision": shown.gate, "reasons": shown.reasons_of_gate, "record": shown.record},
        "released": shown is not None and shown.released,
        "runs": msgspec.to_builtins(runs),
        "monthly_auc": {
            name: {"with": round(one.with_retraining, 4), "without": round(one.without, 4)}
            for name, one in journal.done()
        },
        "served": msgspec.to_builtins(journal.served),
        "seconds": round(journal.seconds, 1),
    }


def _alarm(month: str, looked: Looked) -> dict[str, Any]:
    """An alarm by the feature it names; where none of the month names one, by the gravest."""
    alarm = next((one for one in looked.alarms if one.kind == DRIFT), looked.alarms[0])
    window = next(found for found in drift_scenario.MONTHS if found.name == month)
    # As the message names it: a slice that scores more is part of the same.
    named = alarm.top[0] if alarm.top else alarm
    return {
        "kind": alarm.kind,
        "feature": named.feature,
        "statistic": named.statistic,
        "score": named.score,
        "threshold": named.threshold,
        "window": {"start": window.start.isoformat(), "end": window.end.isoformat()},
        "alarms": msgspec.to_builtins(looked.alarms),
        "report": looked.report,
        "action": looked.action,
    }


def _champion() -> bool:
    """Whether a model serves on the platform that is up, if one is."""
    from workloads import product as products
    from workloads.registry import CHAMPION, Registry

    return Registry(products.load(scenario.PRODUCT)).find(CHAMPION) is not None


def _begun(product: Any) -> Journal:
    """The replay's journal, by what the registry holds."""
    from workloads.registry import CHAMPION, Registry

    registry = Registry(product)
    champion = registry.get(CHAMPION).number
    manifests = {one: registry.get(one).manifest() for one in registry.numbers()}
    versions = [(number, one.run, one.training.end) for number, one in manifests.items()]
    return drift_journal.begin(versions, champion, heard=len(inbox.messages()))


def _say(stage: Stage, metric: str, found: MonthDone, *, first_alarm: bool) -> None:
    """What a month came to; of the first alarm everything."""
    looked = found.looked
    stage.say(
        f"{found.rows:,} flights; {metric} [bold]{found.with_retraining:.3f}[/], "
        f"never trained again {found.without:.3f}"
    )
    if looked is None or not looked.breaches:
        stage.say("[green]nothing drifted[/]")
    for one in () if looked is None else looked.breaches:
        colour, word = ("red", "alarm") if one.alarm else ("yellow", "breach, no alarm yet")
        named = ", ".join(
            f"{top.feature} {top.statistic} {top.score:.3f} (threshold {top.threshold:.3f})"
            for top in one.top[:NAMED]
        )
        stage.say(f"[{colour}]{word}[/] {one.kind}: {escape(named)}")
    if first_alarm and looked is not None and looked.alarms:
        stage.say(f"[dim]report: {escape(looked.report)}[/]")
        # Of what was said meanwhile, such as a recovery, the alarm says the most.
        message = max(found.alerts, key=lambda one: len(inbox.lines(one["body"])))
        for line in inbox.lines(message["body"]):
            stage.say(f"  [cyan]{escape(line)}[/]")
        count = len(found.alerts)
        word = "message" if count == 1 else "messages"
        stage.say(f"[dim]{count} {word} in the inbox; `esteira alerts`[/]")
    if found.waits:
        stage.say(f"retraining waits: {escape(found.waits)}")
    run = found.retrained
    if run is not None:
        stage.say(f"trained again for {', '.join(run.reasons)}: version {run.version or 'none'}")
        colour = "green" if run.gate == "approved" else "yellow"
        stage.say(f"gate: [{colour}]{run.gate or 'not asked'}[/]")
        for reason in run.reasons_of_gate[: 3 if first_alarm else 1]:
            stage.say(f"  [dim]{escape(reason)}[/]")
        if run.released:
            stage.say(f"[green]version {run.version} has all traffic[/]")
        elif run.gate != "rejected":
            stage.say(f"[yellow]{escape(run.why)}[/]")


def _table(console: Console, metric: str, journal: Journal) -> None:
    table = Table(
        "month", f"{metric} with", "without", "gain", "served by", box=None, padding=(0, 2, 0, 4)
    )
    done = journal.done()
    for (name, one), month in zip(done, drift_scenario.MONTHS, strict=False):
        by = [served.version for served in journal.served if served.since < month.end]
        gain = one.with_retraining - one.without
        colour = "green" if gain > 0 else "red" if gain < 0 else "dim"
        table.add_row(
            name,
            f"{one.with_retraining:.3f}",
            f"{one.without:.3f}",
            f"[{colour}]{gain:+.3f}[/]",
            f"version {by[-1]}",
        )
    means = [
        sum(getattr(one, name) for _, one in done) / len(done)
        for name in ("with_retraining", "without")
    ]
    table.add_row(
        "[bold]mean[/]", f"{means[0]:.3f}", f"{means[1]:.3f}", f"{means[0] - means[1]:+.3f}", ""
    )
    console.print(table)
