"""Commands about a real Google Cloud project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from esteira.printing import AsJson, console, out, print_json

if TYPE_CHECKING:
    from esteira.project.step import Report

_MARKS = {
    "unchanged": "[green]✓[/]",
    "changed": "[green]✓[/]",
    "planned": "[cyan]·[/]",
    "refused": "[red]✗[/]",
    "ok": "[green]✓[/]",
    "warning": "[yellow]![/]",
    "failure": "[red]✗[/]",
}


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(bootstrap)


def bootstrap(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="dev or prod")],
    deployer: Annotated[
        list[str] | None,
        typer.Option(
            "--deployer",
            metavar="PRINCIPAL",
            help="Who may act as the account that deploys: user:ana@example.com, group:...; may "
            "be repeated.",
        ),
    ] = None,
    state_bucket: Annotated[
        str,
        typer.Option(help="Name of the state bucket; PROJECT-pulumi-state if none is given."),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print every call it would make, and make none.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Prepare a project before its first `up`. Run it again at any time: it goes on."""
    import esteira.paths
    from esteira.project import stack_file
    from esteira.project.bootstrap import Bootstrap
    from esteira.project.calls import Calls
    from esteira.project.clients import Google
    from stacks.options import principals

    if stack == "local":
        raise typer.BadParameter("the local stack needs no project", param_hint="STACK")
    try:
        deployers = principals(tuple(deployer or ()))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--deployer") from error
    folder = esteira.paths.ROOT
    settings = stack_file.settings(stack, folder)
    google = Google.connect(settings.project)
    calls = Calls(google, dry_run=dry_run, principal=google.principal())
    task = Bootstrap(
        settings=settings,
        stack=stack,
        calls=calls,
        file=folder / f"Pulumi.{stack}.yaml",
        deployers=deployers,
        state_bucket=state_bucket,
    )

    def told(report: Report) -> None:
        # What a real run does is its progress; what a dry run finds is what was asked for.
        if not as_json and not dry_run:
            _show(report, console)

    with console.status("") as status:
        result = task.run(lambda subject: status.update(escape(subject)), told)
    if dry_run and not as_json:
        for report in result.reports:
            _show(report, out)
    if as_json:
        print_json(result.as_dict())
    elif not result.refused:
        names = result.names
        _next(names.backend, names.secrets_provider, names.account, stack, dry_run)
        if settings.github.repository:
            out.print(
                f"The first `up` lets GitHub in: {settings.github.repository}, branch "
                f"{settings.github.branch}.",
                highlight=False,
            )
        if not deployers:
            console.print(
                "[yellow]nobody may act as that account yet[/]: give --deployer", highlight=False
            )
    if result.refused:
        raise typer.Exit(1)


def doctor(stack: str, as_json: bool) -> None:
    """Look a stack's project over. Exits 1 if something would stop `up`."""
    import esteira.paths
    from esteira.project.examination import examine
    from esteira.project.finding import Status

    with console.status(f"looking at the project of {stack}"):
        findings = examine(stack, esteira.paths.ROOT)
    if as_json:
        print_json([finding.as_dict() for finding in findings])
    else:
        for one in findings:
            mark = _MARKS[one.status.value]
            out.print(f"{mark} [bold]{one.subject}[/]: {escape(one.found)}", highlight=False)
            if one.means:
                out.print(f"  {escape(one.means)}", highlight=False)
            _mend([*one.mend], one.who, out)
    if any(one.status is Status.FAILURE for one in findings):
        raise typer.Exit(1)


def _show(report: Report, to: Console) -> None:
    """Print how a step went, and each call that it would make: method, address and body."""
    mark = _MARKS[report.outcome.value]
    told = "; ".join(report.changes) or report.outcome.value
    to.print(f"{mark} [bold]{report.subject}[/]: {escape(told)}", highlight=False)
    if report.outcome.value == "planned":
        for call in report.calls:
            to.print(f"    {call.method} {escape(call.url)}", highlight=False, soft_wrap=True)
            if call.body is not None:
                body = json.dumps(call.body, indent=2).replace("\n", "\n    ")
                to.print(f"    {escape(body)}", style="dim", highlight=False, soft_wrap=True)
    for note in report.notes:
        to.print(f"  [yellow]{escape(note)}[/]", highlight=False)
    if report.refusal is not None:
        to.print(f"  {escape(report.refusal['problem'])}", highlight=False)
        _mend(report.refusal.get("mend", []), report.refusal.get("who", ""), to)


def _mend(commands: list[str], who: str, to: Console) -> None:
    for command in commands:
        to.print(f"    {escape(command)}", style="cyan", highlight=False, soft_wrap=True)
    if who:
        to.print(f"  [dim]by {escape(who)}[/]", highlight=False)


def _next(backend: str, provider: str, account: str, stack: str, dry_run: bool) -> None:
    out.print(
        f"\n{'It would be ready' if dry_run else 'Ready'}. To deploy as {account}:",
        highlight=False,
    )
    for command in (
        f"gcloud auth application-default login --impersonate-service-account={account}",
        f"pulumi login {backend}    # or, in Pulumi.yaml: backend: {{url: {backend}}}",
        f"esteira doctor {stack}",
        f"esteira up {stack}    # or, in the shell:",
        f'pulumi stack init {stack} --secrets-provider "{provider}"    # once',
        f"pulumi up -s {stack}",
    ):
        out.print(f"  {escape(command)}", style="cyan", highlight=False)
