"""`esteira`, the command line.

Each command imports what it drives when it runs, so that `--help` is quick and a platform engineer
who only runs `up` needs neither Beam nor scikit-learn installed.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from esteira import (
    alert_commands,
    dashboard_commands,
    data_commands,
    experiment_commands,
    feature_commands,
    model_commands,
    monitor_commands,
    policy_commands,
    product_commands,
    project_commands,
    registry_commands,
    retraining_commands,
)
from esteira.printing import AsJson, console, fail, out, print_json, result

if TYPE_CHECKING:
    from esteira.review.result import Review

app = typer.Typer(
    name="esteira",
    help="An MLOps platform on Google Cloud, and a Google Cloud on this machine to run it on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
local_app = typer.Typer(help="The local cloud of this checkout.", no_args_is_help=True)
app.add_typer(local_app, name="local")
alert_commands.register(app)
dashboard_commands.register(app)
data_commands.register(app)
feature_commands.register(app)
model_commands.register(app)
monitor_commands.register(app)
experiment_commands.register(app)
policy_commands.register(app)
product_commands.register(app)
project_commands.register(app)
registry_commands.register(app)
retraining_commands.register(app)

StackName = Annotated[str, typer.Argument(metavar="STACK", help="local, dev or prod")]


class ReviewFormat(StrEnum):
    """How a review is printed."""

    MARKDOWN = "markdown"
    TEXT = "text"
    JSON = "json"


class OutputFormat(StrEnum):
    """How outputs are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    ENV = "env"


@app.command()
def up(stack: StackName, as_json: AsJson = False) -> None:
    """Create and update the resources of a stack until they are as the program says."""
    from esteira import operations

    changes = operations.up(stack, console)
    result({"stack": stack, "changes": changes.counts}, as_json, f"{stack}: {changes}")


@app.command()
def preview(
    stack: StackName,
    offline: Annotated[
        bool, typer.Option("--offline", help="No credentials, no state: validate every resource.")
    ] = False,
    form: Annotated[
        ReviewFormat | None,
        typer.Option("--format", help="Print a review: for a pull request, a person, a program."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="REF",
            help="Review against the program where this branch left a Git revision. Offline, the "
            "branch that a pull request goes into is taken, or the remote's default, or main.",
        ),
    ] = None,
    no_base: Annotated[
        bool, typer.Option("--no-base", help="Review offline against nothing: all is new.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write the review to a file.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print Pulumi's own preview digest.")
    ] = False,
) -> None:
    """Show what `up` would do. A review exits 1 if a mandatory policy forbids the update."""
    from esteira import operations

    reviewing = form is not None or base is not None or no_base or output is not None
    if as_json and reviewing:
        fail("--json prints Pulumi's own digest; a review as JSON is --format json")
    if as_json:
        print_json(operations.digest(stack, console, offline=offline))
    elif reviewing:
        found = operations.review(stack, console, offline=offline, base=base, whole=no_base)
        _print_review(found, form or ReviewFormat.TEXT, output)
        if not found.passed:
            raise typer.Exit(1)
    else:
        changes = operations.preview(stack, console, offline=offline)
        out.print(f"[bold]{stack}[/]: {changes}", highlight=False)


def _print_review(found: Review, form: ReviewFormat, output: Path | None) -> None:
    from esteira.review import markdown, plain
    from esteira.review.report import document

    if form is ReviewFormat.JSON:
        text = json.dumps(found.as_dict(), indent=2) + "\n"
    elif form is ReviewFormat.MARKDOWN and found.quiet:
        # A comment that says that nothing happens is read by everyone, for nothing.
        text = ""
        console.print(f"{found.stack}: no changes, {found.comparison}", highlight=False)
    elif form is ReviewFormat.MARKDOWN:
        text = markdown.render(document(found))
    else:
        text = plain.render(document(found))
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text)


@app.command()
def refresh(stack: StackName, as_json: AsJson = False) -> None:
    """Bring the state of a stack in line with what is really there."""
    from esteira import operations

    changes = operations.refresh(stack, console)
    result({"stack": stack, "changes": changes.counts}, as_json, f"{stack}: {changes}")


@app.command()
def drift(stack: StackName, as_json: AsJson = False) -> None:
    """List what was changed by someone else than the program. Exits 2 if anything was."""
    from esteira import operations

    found = operations.drift(stack, console)
    lines = [f"{stack}: {len(found)} resource(s) drifted", *(f"  {one}" for one in found)]
    result(
        {"stack": stack, "drifted": [one.as_dict() for one in found]},
        as_json,
        "\n".join(lines),
    )
    if found:
        raise typer.Exit(2)


@app.command()
def destroy(
    stack: StackName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    if_idle: Annotated[
        bool,
        typer.Option(
            "--if-idle",
            help="Only if its last update is longer ago than `lifetime.idleDays`; keeps what the "
            "next `up` could not make again.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Delete every resource of a stack. Asks first, except for the local one."""
    from esteira import lifetime, operations

    if if_idle:
        idleness = operations.idleness(stack, console)
        if not idleness.expired:
            kept = {"stack": stack, "changes": {}, "idleness": idleness.as_dict()}
            result(kept, as_json, f"{stack} is kept: {idleness}")
            return
        console.print(f"[bold]{stack}[/] has expired: {idleness}", highlight=False)
    if stack != "local" and not yes:
        typer.confirm(f"Delete every resource of {stack}?", abort=True, err=True)
    changes = operations.destroy(stack, console, keep=lifetime.KEPT if if_idle else ())
    result({"stack": stack, "changes": changes.counts}, as_json, f"{stack}: {changes}")


@app.command()
def outputs(
    stack: StackName,
    form: Annotated[OutputFormat, typer.Option("--format", help="How to print.")] = (
        OutputFormat.TABLE
    ),
    as_json: AsJson = False,
) -> None:
    """Print what a data team needs of a stack: topics, tables, buckets, endpoints."""
    from esteira import outputs as read

    found = read.of(stack, console)
    form = OutputFormat.JSON if as_json else form
    if form is OutputFormat.JSON:
        print_json(found)
    elif form is OutputFormat.YAML:
        import yaml

        sys.stdout.write(yaml.safe_dump(found, sort_keys=True))
    elif form is OutputFormat.ENV:
        sys.stdout.writelines(
            f"{name}={value}\n" for name, value in read.environment_of(found).items()
        )
    else:
        # Written whole and not laid out: a value that is cut off is of no use to anyone.
        flat = read.flattened(found)
        width = max(map(len, flat), default=0)
        sys.stdout.writelines(f"{name:<{width}}  {value}\n" for name, value in flat.items())


@app.command()
def export(stack: StackName) -> None:
    """Print Pulumi's own export of a stack, as JSON."""
    from esteira import operations

    print_json(operations.export(stack, console))


@app.command()
def demo(
    drift: Annotated[
        bool,
        typer.Option("--drift", help="Then let nine months pass: drift, alarm, retraining."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the platform up on this machine and run the whole loop on real flights."""
    if drift:
        from esteira.demo.drift import run
    else:
        from esteira.demo import run

    report = run(console)
    if as_json:
        print_json(report)


@app.command()
def doctor(
    stack: Annotated[
        str | None,
        typer.Argument(metavar="[STACK]", help="dev or prod: its project; none: this machine"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what was found on this machine or in a project, what is missing, and how to mend it."""
    from esteira.doctor import examine

    if stack not in (None, "local"):
        project_commands.doctor(stack, as_json)
        return
    findings = examine()
    if as_json:
        print_json([finding.as_dict() for finding in findings])
    else:
        for finding in findings:
            mark = "[green]✓[/]" if finding.good else "[red]✗[/]"
            words = f"{mark} [bold]{finding.subject}[/]: {escape(finding.found)}"
            out.print(words, highlight=False)
            if finding.mend:
                out.print(f"  [dim]{escape(finding.mend)}[/]", highlight=False)
    if not all(finding.good or finding.optional for finding in findings):
        raise typer.Exit(1)


@local_app.command("start")
def local_start(as_json: AsJson = False) -> None:
    """Bring the local cloud up and wait until every service answers."""
    from esteira import local

    with console.status("starting the local cloud") as status:
        endpoints = local.start(status.update)
    result({"ports": endpoints.ports}, as_json, "the local cloud is up; `esteira local status`")


@local_app.command("stop")
def local_stop(as_json: AsJson = False) -> None:
    """End the local cloud and every process that it started. Its state stays."""
    from esteira import local
    from localcloud import daemon

    stopped = daemon.stop(local.home())
    result({"stopped": stopped}, as_json, "stopped" if stopped else "it was not running")


@local_app.command("status")
def local_status(as_json: AsJson = False) -> None:
    """Say how each service does. Exits 1 if one does not answer."""
    import msgspec

    from esteira import local
    from localcloud import daemon

    status = daemon.status(local.home())
    if as_json:
        print_json(msgspec.to_builtins(status))
    else:
        state = f"running, pid {status.pid}" if status.running else "not running"
        out.print(f"local cloud at {status.home}: {state}", highlight=False)
        for service in status.services:
            mark = "[green]✓[/]" if service.answers else "[red]✗[/]"
            out.print(f"  {mark} {service.name:<17} {service.address}", highlight=False)
    if not status.healthy:
        raise typer.Exit(1)


@local_app.command("logs")
def local_logs(
    service: Annotated[
        str | None, typer.Argument(help="A service or a workload; all are listed without one.")
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many lines.")] = 40,
) -> None:
    """Print the end of a service's or a workload's log."""
    from esteira import local

    folder = local.home().logs
    files = {str(file.relative_to(folder).with_suffix("")): file for file in folder.rglob("*.log")}
    if service is None:
        for name in sorted(files):
            print(name)  # noqa: T201
        return
    if service not in files:
        fail(f"no log of {service!r}; there are: {', '.join(sorted(files)) or 'none yet'}")
    tail = files[service].read_text(errors="replace").splitlines()[-lines:]
    sys.stdout.writelines(f"{line}\n" for line in tail)


@local_app.command("env")
def local_env() -> None:
    """Print shell exports that point any Google client here: `eval "$(esteira local env)"`."""
    from esteira import local
    from localcloud import daemon

    print(local.shell_exports(local.home().reserve()))  # noqa: T201
    if not daemon.status(local.home()).running:
        console.print("[yellow]nothing listens there yet[/]; `esteira local start`")


def main() -> None:
    """The entry point. An error that a person can mend is one message, not a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        console.print("[yellow]interrupted[/]; run it again to go on")
        sys.exit(130)
    except Exception as error:
        if not _mendable(error):
            raise
        console.print(f"[red]error[/] {escape(str(error))}", highlight=False)
        sys.exit(1)


def _mendable(error: Exception) -> bool:
    """Errors of our own say what to do; anything else is a fault, and its traceback is wanted."""
    packages = ("esteira", "stacks", "workloads", "localcloud")
    return type(error).__module__.split(".")[0] in packages


if __name__ == "__main__":
    main()
