"""Commands for releases: judge, promote, advance, abort, roll back, status, history."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from esteira import printing
from esteira.data_commands import OnStack, ProductName
from esteira.model_commands import outputs_of
from esteira.printing import AsJson, console, fail, result

release_app = typer.Typer(help="Which model serves.", no_args_is_help=True)

Version = Annotated[str, typer.Option(help="Number or alias of a version.")]


@release_app.command("judge")
def judge(
    product: ProductName,
    version: Version = "challenger",
    stack: OnStack = "local",
    markdown: Annotated[
        Path | None, typer.Option(help="Write the record of the decision there, for people.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the gate whether a version may replace the champion. Exits 1 if it may not."""
    from esteira.session import connect
    from workloads.gate import record
    from workloads.gate.decision import decide
    from workloads.product import load

    declared = load(product)
    with console.status("judging") as status:
        connect(stack, status.update)
        decision = decide(declared, version)
    if markdown is not None:
        markdown.write_text(record.markdown(decision))
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
    direct: Annotated[
        bool,
        typer.Option("--direct", help="Straight to all traffic, without shadow and canary."),
    ] = False,
    wait: Annotated[
        int, typer.Option(help="Seconds to wait for another release of the product to end.", min=0)
    ] = 0,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Release an approved version as the product declares; returns when it waits for evidence."""
    _do(
        stack,
        product,
        "promote",
        as_json,
        version=version,
        approved=whatever_the_gate_says,
        strategy="direct" if direct else "policy",
        wait_seconds=wait,
    )


@release_app.command("advance")
def advance(
    product: ProductName,
    whatever_the_evidence_says: Annotated[
        bool,
        typer.Option(
            "--whatever-the-evidence-says", help="Take one step; a person answers for it."
        ),
    ] = False,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Look at the evidence, and take the release under way as far as it allows."""
    _do(stack, product, "advance", as_json, forced=whatever_the_evidence_says)


@release_app.command("abort")
def abort(
    product: ProductName,
    reason: Annotated[str, typer.Option(help="For the records.")] = "",
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Stop the release under way; the champion has all traffic."""
    _do(stack, product, "abort", as_json, reason=reason)


@release_app.command("rollback")
def rollback(
    product: ProductName,
    reason: Annotated[str, typer.Option(help="For the records.")] = "",
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Take back the release under way, else return to the version that was champion before."""
    _do(stack, product, "rollback", as_json, reason=reason)


@release_app.command("status")
def release_status(product: ProductName, stack: OnStack = "local", as_json: AsJson = False) -> None:
    """Say what serves, what is under way, on which evidence, and what it waits for."""
    _do(stack, product, "status", as_json)


@release_app.command("history")
def history(
    product: ProductName,
    limit: Annotated[int, typer.Option(help="Lines.", min=1, max=10_000)] = 50,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """List every transition of the product's releases, the newest first."""
    outcome = _outcome(stack, product, "history", limit=limit)
    if not outcome.ok:
        fail(outcome.message)
    printing.history(
        outcome.history,
        as_json,
        lambda one: (
            f"{one.at:%Y-%m-%d %H:%M:%S} version {one.version}: {one.state.value} → "
            f"{one.to.value} {one.share} % ({one.phase}) by {one.actor}: {one.reason}"
        ),
        f"nothing of {product} was ever released",
    )


def _do(stack: str, product: str, command: Any, as_json: bool, **given: Any) -> None:
    outcome = _outcome(stack, product, command, **given)
    if outcome.status is None:
        fail(outcome.message)
    document = {
        "ok": outcome.ok,
        "message": outcome.message,
        **msgspec.to_builtins(outcome.status),
    }
    printing.attempt(document, as_json, outcome.message, ok=outcome.ok)


def _outcome(stack: str, product: str, command: Any, **given: Any) -> Any:
    from esteira.release_runs import NoReleases, run
    from workloads.product import load

    declared = load(product)
    own = outputs_of(stack, product)
    with console.status(f"{command} {product}") as status:
        try:
            return run(declared, own, command, status.update, **given)
        except NoReleases as error:
            fail(str(error))
