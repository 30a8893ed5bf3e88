"""Commands for retraining: ask for it, take a turn of its controller, see what was decided."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from esteira import printing
from esteira.data_commands import OnStack, ProductName
from esteira.model_commands import outputs_of
from esteira.printing import AsJson, console, fail

retraining_app = typer.Typer(
    help="When models are trained again, and what came of it.", no_args_is_help=True
)


def retrain(
    product: ProductName,
    why: Annotated[str, typer.Option(help="For the records.")],
    commit: Annotated[
        str, typer.Option(metavar="SHA", help="The commit that asks, once; not a person.")
    ] = "",
    as_of: Annotated[
        datetime | None,
        typer.Option(help="Train as if it were then, UTC: for data that are replayed."),
    ] = None,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Ask for a model to be trained again. A person waits for no cool-down and no budget."""
    if not why.strip():
        fail("--why is empty; say why, for those who read the records")
    outcome = _outcome(
        stack,
        product,
        "ask",
        why=why,
        commit=commit.lower() or None,
        as_of=None if as_of is None else as_of.replace(tzinfo=UTC),
    )
    _say(outcome, as_json)


@retraining_app.command("status")
def retraining_status(
    product: ProductName, stack: OnStack = "local", as_json: AsJson = False
) -> None:
    """Say how the newest run stands, and which requests wait for what."""
    _say(_outcome(stack, product, "status"), as_json)


@retraining_app.command("run")
def run(
    product: ProductName,
    direct: Annotated[
        bool,
        typer.Option(
            "--direct", help="Release straight to all traffic, without shadow and canary."
        ),
    ] = False,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Take one turn of the controller now, and follow what it starts. Exits 1 if the run fails."""
    _say(_outcome(stack, product, "turn", strategy="direct" if direct else "policy"), as_json)


@retraining_app.command("history")
def retraining_history(
    product: ProductName,
    limit: Annotated[int, typer.Option(help="Lines.", min=1, max=10_000)] = 50,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """List every decision on the product's retraining, the newest first."""
    outcome = _outcome(stack, product, "history", limit=limit)
    if not outcome.ok:
        fail(outcome.message)

    def line(one: Any) -> str:
        about = f"request {one.request}" if one.run is None else f"run {one.run}"
        return f"{one.at:%Y-%m-%d %H:%M:%S} {about}: {one.decision} by {one.actor}: {one.why}"

    none = f"nobody ever asked for {product} to be trained again"
    printing.history(outcome.history, as_json, line, none)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(retrain)
    app.add_typer(retraining_app, name="retraining")


def _say(outcome: Any, as_json: bool) -> None:
    printing.attempt(msgspec.to_builtins(outcome), as_json, outcome.message, ok=outcome.ok)


def _outcome(stack: str, product: str, command: Any, **given: Any) -> Any:
    from esteira.retraining_runs import NoController
    from esteira.retraining_runs import run as perform
    from workloads.product import load
    from workloads.retraining.requests import NoRetraining

    declared = load(product)
    own = outputs_of(stack, product)
    with console.status(f"{command} {product}") as status:
        try:
            return perform(declared, own, command, status.update, **given)
        except (NoController, NoRetraining) as error:
            fail(str(error))
