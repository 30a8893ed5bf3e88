"""Commands for models: train, judge, release, roll back, predict."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from esteira.data_commands import OnStack, ProductName
from esteira.printing import AsJson, console, fail, print_json, result

release_app = typer.Typer(help="Which model serves.", no_args_is_help=True)

Version = Annotated[str, typer.Option(help="Number or alias of a version.")]


def train(
    product: ProductName,
    start: Annotated[datetime, typer.Option(help="Learn from rows since then, UTC.")],
    split: Annotated[datetime, typer.Option(help="Hold rows out since then, UTC.")],
    end: Annotated[datetime, typer.Option(help="Read no row from then on, UTC.")],
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Run the training pipeline and register what it makes as the challenger."""
    from workloads.product import load
    from workloads.training.submit import new_run, submit

    declared = load(product)
    own = _outputs(stack, product)
    run = new_run(
        declared,
        start=start.replace(tzinfo=UTC),
        split=split.replace(tzinfo=UTC),
        end=end.replace(tzinfo=UTC),
        training_image=own["training"]["image"],
        serving_image=own["endpoint"]["serving_image"],
        service_account=own["training"]["service_account"],
    )
    with console.status(f"training {run.name}") as status:
        registered = submit(
            run, on_progress=lambda step: status.update(f"{step.step}: {step.state.lower()}")
        )
    metric = registered.metrics[declared.gate.metric]
    text = (
        f"version {registered.version}: {declared.gate.metric} {metric.value:.4f} "
        f"({metric.low:.4f} to {metric.high:.4f}); `esteira release judge {product}` comes next"
    )
    result(msgspec.to_builtins(registered), as_json, text)


@release_app.command("judge")
def judge(
    product: ProductName,
    version: Version = "challenger",
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Ask the gate whether a version may replace the champion. Exits 1 if it may not."""
    from esteira.session import connect
    from workloads.gate.decision import decide
    from workloads.product import load

    declared = load(product)
    with console.status("judging") as status:
        connect(stack, status.update)
        decision = decide(declared, version)
    verdict = "approved" if decision.approved else "rejected"
    lines = [f"version {decision.challenger.version} is {verdict}", *decision.reasons]
    document = {
        **msgspec.to_builtins(decision),
        "decision": verdict,
        "reasons": decision.reasons,
    }
    result(document, as_json, "\n".join([*lines, f"record: {decision.record}"]))
    if not decision.approved:
        raise typer.Exit(1)


@release_app.command("promote")
def promote(
    product: ProductName,
    version: Version = "challenger",
    whatever_the_gate_says: Annotated[
        bool,
        typer.Option("--whatever-the-gate-says", help="For a person who answers for it."),
    ] = False,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Make an approved version the champion: deploy, route all traffic, smoke test."""
    from workloads.product import load
    from workloads.release import controller

    declared = load(product)
    own = _outputs(stack, product)
    with console.status("releasing") as status:
        released = controller.release(
            declared,
            version,
            approved=whatever_the_gate_says,
            service_account=own["endpoint"]["service_account"],
            on_progress=status.update,
        )
    text = f"version {released.version} of {product} has all traffic"
    result(msgspec.to_builtins(released), as_json, text)


@release_app.command("rollback")
def rollback(product: ProductName, stack: OnStack = "local", as_json: AsJson = False) -> None:
    """Return to the version that was champion before."""
    from workloads.product import load
    from workloads.release import controller

    declared = load(product)
    own = _outputs(stack, product)
    with console.status("rolling back") as status:
        released = controller.rollback(
            declared,
            service_account=own["endpoint"]["service_account"],
            on_progress=status.update,
        )
    text = f"version {released.version} of {product} has all traffic again"
    result(msgspec.to_builtins(released), as_json, text)


@release_app.command("status")
def release_status(product: ProductName, stack: OnStack = "local", as_json: AsJson = False) -> None:
    """Say which versions are deployed, with which share of the traffic."""
    from esteira.session import connect
    from workloads.product import load
    from workloads.registry import Registry
    from workloads.release.endpoint import Endpoint

    declared = load(product)
    with console.status("asking") as status:
        connect(stack, status.update)
        registry, endpoint = Registry(declared), Endpoint(declared)
        deployed = endpoint.deployed()
        aliases = {number: list(registry.get(number).aliases) for number in registry.numbers()}
    document = {
        "product": product,
        "endpoint": endpoint.resource.resource_name,
        "deployed": [
            {"version": one.version, "traffic": one.traffic, "deployed_model": one.id}
            for one in deployed
        ],
        "versions": aliases,
    }
    if as_json:
        print_json(document)
        return
    for one in deployed:
        names = ", ".join(aliases.get(one.version, []))
        console.print(f"version {one.version} ({names}): {one.traffic} % of the traffic")
    if not deployed:
        console.print(f"no model of {product} is deployed")


def predict(
    product: ProductName,
    file: Annotated[
        Path, typer.Argument(help="JSON: a row, a list, or one row a line; `-`: input stream.")
    ] = Path("-"),
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Ask the endpoint about rows of the product's request contract."""
    from google.api_core.exceptions import GoogleAPICallError

    from esteira.session import connect
    from workloads.product import load
    from workloads.release.endpoint import Endpoint

    declared = load(product)
    rows = _rows(file)
    with console.status("asking") as status:
        connect(stack, status.update)
        try:
            model, answers = Endpoint(declared).predict(rows)
        except GoogleAPICallError as error:
            fail(f"the endpoint refused: {error.message}")
    document = {"deployed_model": model, "predictions": answers}
    result(document, as_json, "\n".join(json.dumps(answer) for answer in answers))


def _rows(file: Path) -> list[dict[str, Any]]:
    if str(file) == "-":
        text = sys.stdin.read()
    elif file.is_file():
        text = file.read_text()
    else:
        fail(f"{file} is no file; give one, or `-` for the input stream")
    try:
        document = json.loads(text)
    except ValueError:
        try:
            document = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            fail(f"{file} is no JSON: {error}")
    rows = document if isinstance(document, list) else [document]
    if not rows or not all(isinstance(row, dict) for row in rows):
        fail(f"{file} must hold one JSON object, a list of them, or one a line; and at least one")
    return rows


def _outputs(stack: str, product: str) -> dict[str, Any]:
    """The stack's outputs of one product; this process is pointed at the stack's cloud."""
    from esteira import operations
    from esteira.session import connect

    with console.status(f"connecting to {stack}") as status:
        connect(stack, status.update)
    found = operations.outputs(stack, console).get("esteira", {}).get("products", {})
    if product not in found:
        fail(f"{stack} has no product {product!r}; run `esteira up {stack}` first")
    return found[product]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(train)
    app.command()(predict)
    app.add_typer(release_app, name="release")
