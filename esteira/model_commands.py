"""Commands for models: train and predict; releases are in `release_commands`."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from esteira.data_commands import OnStack, ProductName
from esteira.printing import AsJson, console, fail, result
from workloads.training.run import Runner

if TYPE_CHECKING:
    from workloads.product import Product
    from workloads.training.registration import Registration
    from workloads.training.run import TrainingRun


def train(
    product: ProductName,
    start: Annotated[datetime | None, typer.Option(help="Learn from rows since then, UTC.")] = None,
    split: Annotated[datetime | None, typer.Option(help="Hold rows out since then, UTC.")] = None,
    end: Annotated[datetime | None, typer.Option(help="Read no row from then on, UTC.")] = None,
    runner: Annotated[Runner, typer.Option(help="Who executes the pipeline.")] = Runner.VERTEX,
    why: Annotated[
        str,
        typer.Option(help="Enter it in the records of retraining, if no run is under way there."),
    ] = "",
    commit: Annotated[
        str,
        typer.Option(metavar="SHA", help="The commit that asks, within the budget; with --why."),
    ] = "",
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Run the training pipeline and register what it makes as the challenger.

    Without dates the rows are those that the product's `retraining` plans for a run that starts
    now; either all three are given, or none.

    With --why it is one of the product's retraining runs: it waits for the one that is under way,
    and a commit's also for the budget of the month. Then nothing is trained, and it says so.
    """
    from esteira import claimed_training
    from workloads.product import load
    from workloads.training.runners import submit
    from workloads.training.submit import new_run

    if commit and not why.strip():
        fail("--why is empty; say why the commit asks, for those who read the records")
    declared = load(product)
    start, split, end = _rows_of(declared, start, split, end)
    own = outputs_of(stack, product)
    run = new_run(
        declared,
        start=start,
        split=split,
        end=end,
        training_image=own["training"]["image"],
        serving_image=own["endpoint"]["serving_image"],
        service_account=own["training"]["service_account"],
    )

    with console.status(f"training {product}") as status:

        def execute(run: TrainingRun) -> Registration:
            return submit(
                run,
                runner,
                on_progress=lambda step: status.update(f"{step.step}: {step.state.lower()}"),
            )

        claimed = (
            claimed_training.claim(run, own, why, commit.lower(), status.update) if why else None
        )
        if claimed is None:
            registered = execute(run)
        elif claimed.ours:
            registered = claimed_training.train(run, own, claimed, execute, status.update)
        else:
            result(claimed_training.standing(claimed), as_json, claimed.message)
            return
    metric = registered.metrics[declared.gate.metric]
    text = (
        f"version {registered.version}: {declared.gate.metric} {metric.value:.4f} "
        f"({metric.low:.4f} to {metric.high:.4f}); `esteira release judge {product}` comes next"
    )
    result(msgspec.to_builtins(registered), as_json, text)


def _rows_of(
    product: Product, start: datetime | None, split: datetime | None, end: datetime | None
) -> tuple[datetime, datetime, datetime]:
    from workloads.training.run import planned

    if start is None and split is None and end is None:
        return planned(product, datetime.now(UTC))
    if start is None or split is None or end is None:
        given = {"--start": start, "--split": split, "--end": end}
        missing = ", ".join(name for name, value in given.items() if value is None)
        fail(f"{missing} is missing: give --start, --split and --end, or none of them")
    return start.replace(tzinfo=UTC), split.replace(tzinfo=UTC), end.replace(tzinfo=UTC)


def predict(
    product: ProductName,
    file: Annotated[
        Path, typer.Argument(help="JSON: a row, a list, or one row a line; `-`: input stream.")
    ] = Path("-"),
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Ask the endpoint about rows of the product's request contract."""
    from workloads.product import load

    declared = load(product)
    rows = _rows(file)
    # Google's clients take longer to import than a mistake above takes to find.
    from google.api_core.exceptions import GoogleAPICallError

    from esteira.session import connect
    from workloads.release.endpoint import Endpoint

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


def outputs_of(stack: str, product: str) -> dict[str, Any]:
    """The stack's outputs of one product; this process is pointed at the stack's cloud."""
    from esteira import outputs
    from esteira.session import connect, track

    with console.status(f"connecting to {stack}") as status:
        connect(stack, status.update)
    of_stack = outputs.of(stack, console)
    track(of_stack)
    found = of_stack.get("esteira", {}).get("products", {})
    if product not in found:
        fail(f"{stack} has no product {product!r}; run `esteira up {stack}` first")
    return found[product]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    # It uses this module, so it comes after.
    from esteira.release_commands import release_app

    app.command()(train)
    app.command()(predict)
    app.add_typer(release_app, name="release")
