"""Commands for dashboards and rules outside of Google Cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esteira.printing import AsJson, fail, result

dashboards_app = typer.Typer(
    help="Grafana dashboards and Prometheus rules, from the products.", no_args_is_help=True
)


@dashboards_app.command()
def generate(
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write them here; default: dashboards/.")
    ] = None,
    stack: Annotated[
        str, typer.Option(help="Products and thresholds are those of this stack.")
    ] = "prod",
    metrics: Annotated[
        str,
        typer.Option(
            help="Who answers for Cloud Monitoring: `google`, its own PromQL, or `exporter`, a "
            "Prometheus that scrapes stackdriver_exporter."
        ),
    ] = "google",
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if anything would change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write Grafana's dashboards and Prometheus' rules anew."""
    from esteira.dashboards import files
    from esteira.dashboards.naming import Naming
    from esteira.dashboards.rules import Unmeasurable
    from stacks.settings import SettingsError

    if metrics not in list(Naming):
        fail(f"--metrics is {metrics!r}; allowed: {', '.join(Naming)}")
    try:
        made = files.generated(files.settings_of(stack), Naming(metrics))
    except (files.UnknownStack, SettingsError, Unmeasurable) as error:
        fail(str(error))
    folder = out or files.FOLDER
    try:
        changed = files.outdated(made, folder) if check else files.write(made, folder)
    except OSError as error:
        fail(f"{folder} cannot be written: {error}; --out names another folder")
    document = {
        "folder": folder,
        "stack": stack,
        "metrics": metrics,
        "files": [str(path) for path in made],
        "changed": [str(path) for path in changed],
    }
    verb = "would change" if check else "changed"
    listed = "".join(f"\n  {path}" for path in changed)
    result(document, as_json, f"{len(made)} files in {folder}, {len(changed)} {verb}{listed}")
    if check and changed:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(dashboards_app, name="dashboards")
