"""Commands for A/B tests: start, look, widen, stop."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from esteira.data_commands import OnStack, ProductName
from esteira.printing import AsJson, console, result

if TYPE_CHECKING:
    from workloads.experiments.analysis import Analysis
    from workloads.experiments.experiment import Experiment
    from workloads.experiments.results import ArmResults, Results
    from workloads.product import Product

experiment_app = typer.Typer(
    help="A/B tests: two versions answer, each its own part of the keys.", no_args_is_help=True
)


@experiment_app.command("start")
def start(
    product: ProductName,
    share: Annotated[float, typer.Option(help="Percent of the keys for the challenger.")] = 50.0,
    metric: Annotated[
        str | None,
        typer.Option(help="correct or brier; of a regression: absolute_error or covered."),
    ] = None,
    effect: Annotated[
        float | None,
        typer.Option(help="The smallest gain worth finding, in the metric's unit."),
    ] = None,
    limit: Annotated[
        float | None, typer.Option(help="An absolute error beyond it counts as this.")
    ] = None,
    champion: Annotated[str, typer.Option(help="Number or alias of a version.")] = "champion",
    challenger: Annotated[str, typer.Option(help="Number or alias of a version.")] = "challenger",
    name: Annotated[
        str | None, typer.Option(help="Salts the assignment; unlike any before.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Chance of a wrong verdict.")] = 0.05,
    minimum_keys: Annotated[
        int, typer.Option(help="Of each arm, before there is a verdict.")
    ] = 500,
    labels_since: Annotated[
        datetime | None,
        typer.Option(help="Read truths of entities asked about since then, UTC; else of all."),
    ] = None,
    elsewhere: Annotated[
        bool,
        typer.Option("--elsewhere", help="Servers outside of Cloud Run follow the registry."),
    ] = False,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Begin an A/B test of two versions. Servers follow within seconds."""
    from workloads.experiments.analysis import needed_keys
    from workloads.experiments.experiment import Change, Experiment, Metric
    from workloads.experiments.servers import require_follower
    from workloads.experiments.store import Experiments
    from workloads.gate.asker import asker
    from workloads.product import Task
    from workloads.registry import Registry

    declared = _connected(product, stack)
    if not elsewhere:
        require_follower(declared)
    classification = declared.task is Task.CLASSIFICATION
    measured = Metric(metric or (Metric.BRIER if classification else Metric.ABSOLUTE_ERROR))
    largest = limit or (1.0 if measured is not Metric.ABSOLUTE_ERROR else _spread(declared))
    registry = Registry(declared)
    versions = [registry.get(one).number for one in (champion, challenger)]
    now = datetime.now(UTC)
    begun = Experiments(declared).start(
        Experiment(
            product=product,
            name=name or f"v{versions[0]}-v{versions[1]}",
            champion=versions[0],
            challenger=versions[1],
            share=share,
            metric=measured,
            effect=effect or largest / 100,
            alpha=alpha,
            minimum_keys=minimum_keys,
            limit=largest,
            labels_since=labels_since and labels_since.replace(tzinfo=UTC),
            started_at=now,
            counted_since=now,
            changes=(Change(at=now, by=asker(), what=f"started with share {share:g}"),),
        )
    )
    # Nothing is known of the outcomes yet but their bounds; `status` says better.
    variance = begun.limit**2 / 4
    needed = needed_keys(begun.effect, variance, variance, begun.share, begun.alpha)
    text = (
        f"{begun.name}: version {begun.challenger} answers {begun.share:g} % of the keys, version "
        f"{begun.champion} the rest; a gain of {begun.effect:g} {begun.metric} takes at most "
        f"{needed:,} keys with a known truth to find"
    )
    result({**msgspec.to_builtins(begun), "needed_keys_at_most": needed}, as_json, text)


@experiment_app.command("status")
def status(product: ProductName, stack: OnStack = "local", as_json: AsJson = False) -> None:
    """Say what the predictions so far tell. Look as often as you like: that is allowed for."""
    from workloads.experiments.analysis import analyse
    from workloads.experiments.results import results
    from workloads.experiments.store import Experiments

    declared = _connected(product, stack)
    experiment = Experiments(declared).latest()
    with console.status("reading the log"):
        found = results(declared, experiment)
    analysis = analyse(experiment, found.champion.totals, found.challenger.totals)
    document = {
        "experiment": msgspec.to_builtins(experiment),
        "results": msgspec.to_builtins(found),
        "analysis": msgspec.to_builtins(analysis),
    }
    result(document, as_json, "\n".join(_told(experiment, found, analysis)))


@experiment_app.command("ramp")
def ramp(
    product: ProductName,
    share: Annotated[float, typer.Argument(help="Percent of the keys; more than now.")],
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Give the challenger more keys. Those it has stay; results are counted anew."""
    from workloads.experiments.store import Experiments
    from workloads.gate.asker import asker

    ramped = Experiments(_connected(product, stack)).ramp(share, by=asker())
    text = f"{ramped.name}: version {ramped.challenger} answers {ramped.share:g} % of the keys"
    result(msgspec.to_builtins(ramped), as_json, text)


@experiment_app.command("stop")
def stop(
    product: ProductName,
    why: Annotated[str, typer.Option(help="For the record.")] = "",
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """End the A/B test that runs: the champion answers every key again."""
    from workloads.experiments.store import Experiments
    from workloads.gate.asker import asker

    ended = Experiments(_connected(product, stack)).stop(by=asker(), why=why)
    text = f"{ended.name} ended {ended.ended_at:%Y-%m-%d %H:%M} UTC; every key is the champion's"
    result(msgspec.to_builtins(ended), as_json, text)


def _connected(product: str, stack: str) -> Product:
    from esteira.session import connect
    from workloads.product import load

    declared = load(product)
    with console.status(f"connecting to {stack}") as shown:
        connect(stack, shown.update)
    return declared


def _spread(product: Product) -> float:
    """Three times the champion's mean absolute error: few rows err by more."""
    from workloads.registry import CHAMPION, Registry

    return round(3 * Registry(product).get(CHAMPION).manifest().metrics["mae"].value, 3)


def _told(experiment: Experiment, found: Results, analysis: Analysis) -> list[str]:
    split, needed = analysis.mismatch_p_value, analysis.needed_keys
    lines = [
        f"{experiment.name}: {analysis.verdict.value}",
        f"  {analysis.reason}",
        _arm("champion", found.champion, analysis.champion, experiment),
        _arm("challenger", found.challenger, analysis.challenger, experiment),
        f"  always-valid p-values: {analysis.p_value:.4g}, of the split {split:.4g}",
        f"  {analysis.keys:,} keys; a gain of {experiment.effect:g} takes {needed:,} to find",
    ]
    if found.crossed:
        lines.append(f"  {found.crossed:,} keys were answered by both arms")
    if not experiment.running:
        lines.append(f"  ended {experiment.ended_at:%Y-%m-%d %H:%M} UTC")
    return lines


def _arm(title: str, arm: ArmResults, mean: float, experiment: Experiment) -> str:
    lost: dict[str, Any] = {
        "awaited": arm.awaited,
        "without a truth": arm.unlabelled,
        "unanswered": arm.unanswered,
    }
    rest = "".join(f", {count:,} {what}" for what, count in lost.items() if count)
    return (
        f"  {title} (version {arm.version}): {experiment.metric} {mean:.4f} on "
        f"{arm.totals.rows:,} rows of {arm.totals.keys:,} keys{rest}"
    )


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(experiment_app, name="experiment")
