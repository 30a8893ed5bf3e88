"""The demonstration: the whole platform on this machine, and the ML loop on real flights."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from esteira.demo.stages import Stage, Stages

_HINTS: Final = (
    ("esteira outputs local", "topics, tables, buckets, endpoint"),
    ("esteira preview local", "nothing to do, also after the release"),
    ("esteira accounting flight-delay", "where every message ended"),
    ("esteira dead-letters list flight-delay", "what was refused, and why"),
    ("esteira release status flight-delay", "which model serves; `rollback` returns"),
    ("esteira alerts", "who was told what"),
    ("esteira local logs", "of every service and workload"),
    ('eval "$(esteira local env)"', "point your own Google client here"),
    ("esteira demo --drift", "nine months pass: drift, alarm, retraining"),
    ("make clean", "remove everything"),
)


class ReleaseFailed(RuntimeError):
    """The model was approved and does not serve; says why."""


def run(console: Console) -> dict[str, Any]:
    """Run every stage; the platform stays up afterwards, and a second run goes on from there.

    Returns:
        The report that `esteira demo --json` prints.
    """
    return play(console)[0]


def play(console: Console, *, watched: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the stages.

    Args:
        console: for people.
        watched: whether the monitors look at the last weeks too; not where months follow, which
            tell the same at length.

    Returns:
        The report that `esteira demo --json` prints, and the stack's outputs of the product.
    """
    stages = Stages(console)
    with stages.stage("cloud", "The local cloud") as stage:
        endpoints = cloud(stage)
    outputs, resources = platform(stages, console)
    # Beam, pandas and Google's clients are imported from here on; the platform came up without.
    from esteira.demo import data, model, scenario
    from workloads import product as products

    product = products.load(scenario.PRODUCT)
    own = outputs["products"][product.name]
    bucket = own["buckets"]["landing"].removeprefix("gs://")

    with stages.stage("land", "Three months of flights land as files") as stage:
        files = data.land_history(product, bucket)
        rows = sum(file.rows for file in files)
        stage.say(f"{rows:,} rows in {len(files)} files in [cyan]gs://{bucket}[/]")
    with stages.stage("stream", "The last days stream through Pub/Sub") as stage:
        published = data.stream(product, stage.doing)
        stage.say(
            f"{published.total:,} messages published, of which "
            f"{published.count('poison')} broken, {published.count('duplicate')} sent twice, "
            f"{published.count('late')} too late; {published.refused} more were refused by the "
            "topics' schemas"
        )
    with stages.stage("ingest", "Dataflow takes them into BigQuery") as stage:
        data.await_rows(product, rows + published.total, stage.doing)
        by_file = data.await_files(product, bucket, files, stage.doing)
        total = data.await_stream(product, published, stage.doing)
        dead = sum(account.dead_letters for account in by_file.values())
        stage.say(
            f"files: {sum(account.ingested for account in by_file.values()):,} ingested, "
            f"{dead} dead letters"
        )
        stage.say(
            f"stream: {published.total:,} published = {total.ingested:,} ingested + "
            f"{total.dead_letters} dead letters + {total.duplicates} duplicates + "
            f"{total.late} too late"
        )
    with stages.stage("train", "A model is trained") as stage:
        registered = model.train(product, own, stage)
        metric = product.gate.metric
        score, baseline = registered.metrics[metric], registered.baseline[metric]
        stage.say(
            f"version {registered.version}: {metric} [bold]{score.value:.3f}[/] "
            f"({score.low:.3f} to {score.high:.3f}); base rate {baseline.value:.3f}"
        )
    with stages.stage("gate", "The gate judges it") as stage:
        decision = model.judge(product, registered.version)
        colour, word = ("green", "approved") if decision.approved else ("yellow", "rejected")
        stage.say(f"[{colour}]{word}[/]")
        for reason in decision.reasons[:3]:
            stage.say(f"[dim]{reason}[/]")
    with stages.stage("release", "The better one serves") as stage:
        released = _release(product, registered.version, own, stage, approved=decision.approved)
    with stages.stage("predict", "Noon of 1 April: flights two hours before departure") as stage:
        asked = model.questions(product)
        shown = model.predict(product, asked)
        _show(console, shown)
    with stages.stage("batch", "Everything of that day in one batch") as stage:
        model.batch_predict(own["batch"]["job"], stage)
        batch_rows = model.batch_rows(product, own["tables"]["predictions"]["batch"])
        stage.say(f"{batch_rows:,} predictions in [cyan]{own['tables']['predictions']['batch']}[/]")
    drift: dict[str, Any] | None = None
    if watched:
        from esteira.demo import weeks

        title = "The monitors look at two weeks, by their schedule"
        with stages.stage("drift", title) as stage:
            drift = weeks.watch(product, own, stage).document()

    url = f"{endpoints.url('rest')}/v1/{own['endpoint']['name']}:predict"
    _next(console, stages.total(), own, url, model.instance(product, asked[0]))
    report = {
        "resources": resources,
        "published": published.total,
        "ingested": total.ingested,
        "dead_letters": total.dead_letters,
        "duplicates": total.duplicates,
        "late": total.late,
        "refused": published.refused,
        "files": {name: asdict(account) for name, account in by_file.items()},
        "model": {
            "version": registered.version,
            metric: score.value,
            "interval": [score.low, score.high],
            "baseline": baseline.value,
        },
        "gate": {
            "decision": "approved" if decision.approved else "rejected",
            "reasons": decision.reasons,
            "record": decision.record,
        },
        "release": released,
        "predictions": [asdict(one) for one in shown],
        "batch_rows": batch_rows,
        "drift": drift,
        "endpoint": url,
        "seconds": {**stages.seconds, "total": stages.total()},
    }
    return report, own


def cloud(stage: Stage) -> Any:
    """Start the local cloud, unless it runs; its endpoints."""
    from esteira import local

    endpoints = local.start(stage.doing)
    # From here on this process is a client of the local cloud, as any workload.
    os.environ.update(endpoints.environment())
    stage.say(f"{len(endpoints.ports)} services on loopback; `esteira local status`")
    return endpoints


def platform(stages: Stages, console: Console) -> tuple[dict[str, Any], int]:
    """`up local`; the stack's outputs and how many resources it has."""
    from esteira import operations
    from esteira.engine import in_process
    from esteira.engine.install import NoEngine, obtain
    from esteira.session import track

    with stages.stage("engine", "The Pulumi engine") as stage:
        try:
            engine = obtain(stage.doing)
        except NoEngine as error:
            stage.say("[yellow]none can be had here[/]: the program runs in this process")
            for reason in error.reasons:
                stage.say(f"[dim]{reason}[/]")
            stage.say("missing without it: state, previews, diffs, refresh and destroy")
            engine = None
        else:
            stage.say(f"Pulumi {engine.version_text} ({engine.origin})")
    with stages.stage("up", "`esteira up local`: the platform") as stage:
        if engine is None:
            outputs, resources = in_process.up(stage.doing)
            stage.say(f"{resources} resources")
        else:
            changes, outputs = operations.up_with_outputs("local", console)
            resources = sum(changes.counts.values())
            stage.say(f"{resources} resources: {changes}")
    track(outputs)
    return outputs["esteira"], resources


def _release(
    product: Any, version: str, own: dict[str, Any], stage: Stage, *, approved: bool
) -> dict[str, Any]:
    from esteira.release_runs import run as release
    from workloads.registry import Registry
    from workloads.release.approval import NotApproved

    if not approved:
        champion = Registry(product).find("champion")
        if champion is None:
            raise NotApproved(f"the first model of {product.name} was rejected; nothing serves")
        stage.say(f"version {champion.number} stays")
        return {"released": False, "version": champion.number}
    # Nobody asks the endpoint meanwhile, so a canary would wait for evidence for ever.
    done = release(product, own, "promote", stage.doing, version=version, strategy="direct")
    if done.status is None or not done.ok:
        raise ReleaseFailed(done.message)
    before = done.status.previous
    kept = f", {before} is kept for a roll-back" if before else ""
    stage.say(f"version {done.status.champion} has all traffic{kept}")
    return {"released": True, "version": done.status.champion, "previous": before}


def _show(console: Console, shown: list[Any]) -> None:
    table = Table("flight", "to", "will be late?", "really", box=None, padding=(0, 2, 0, 4))
    for one in shown:
        colour = "red" if one.late else "green"
        table.add_row(
            one.flight_id, one.destination, f"[{colour}]{one.probability:.0%}[/]", one.truth
        )
    console.print(table)


def _next(
    console: Console, seconds: float, own: dict[str, Any], url: str, instance: dict[str, Any]
) -> None:
    body = json.dumps({"instances": [instance]}, separators=(",", ":"))
    hints = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for command, what in _HINTS:
        hints.add_row(command, f"[dim]{what}[/]")
    title = f"The platform is up, after {seconds:.0f} s. Where to look next"
    console.print(Panel(hints, title=title, title_align="left"))
    console.print(f"tables: [cyan]{own['tables']['raw']['flights']}[/] and its neighbours")
    console.print("ask the endpoint:")
    console.print(
        f"curl -s {url} -H 'Content-Type: application/json' -d '{body}'",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
