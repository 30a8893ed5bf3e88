"""Commands for monitors: run them, say what they found, read their report, install Vertex AI's."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from esteira.data_commands import OnStack, ProductName
from esteira.model_commands import outputs_of
from esteira.printing import AsJson, console, fail, result

monitor_app = typer.Typer(help="What is watched of data and models.", no_args_is_help=True)


@monitor_app.command("run")
def run(
    product: ProductName,
    window: Annotated[
        tuple[datetime, datetime] | None,
        typer.Option(
            help="First instant and first after it, UTC; the last whole one if not given."
        ),
    ] = None,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Measure a window, store it, say what is wrong. Exits 1 if something could not be done."""
    from workloads import gcp
    from workloads.database import DatabaseSettings
    from workloads.monitoring.job import Edge, monitor
    from workloads.monitoring.window import InvalidWindow, Window
    from workloads.product import load

    declared = load(product)
    try:
        chosen = (
            None
            if window is None
            else Window(start=window[0].replace(tzinfo=UTC), end=window[1].replace(tzinfo=UTC))
        )
    except InvalidWindow as error:
        fail(str(error))
    own = outputs_of(stack, product)
    records = own.get("retraining") or {}
    database = None
    # On Google Cloud the database is private: there the job asks for retraining, not a person.
    if records.get("database_host") and gcp.sql_emulator():
        database = DatabaseSettings(
            database_host=records["database_host"],
            database_name=records["database"],
            database_user=records["database_user"],
        )
    with console.status(f"monitoring {product}") as status, _refused():
        outcome = monitor(
            declared, chosen, edge=Edge.of(declared, database), progress=status.update
        )
    document = msgspec.to_builtins(outcome)
    lines = [_line(one) for one in document["findings"]]
    if outcome.incident is not None:
        lines.append(outcome.incident.action)
    text = "\n".join([f"{product}: {outcome.verdict}", *lines, f"report: {outcome.report}"])
    result({**document, "verdict": outcome.verdict}, as_json, text)
    if outcome.unasked:
        fail(f"retraining is due and could not be asked for: {outcome.unasked}")


@monitor_app.command("status")
def status(product: ProductName, stack: OnStack = "local", as_json: AsJson = False) -> None:
    """Say what was found in the newest window: what drifted, and the performance."""
    from workloads.monitoring.store import Store
    from workloads.product import load

    declared = load(product)
    outputs_of(stack, product)
    with _refused():
        scores = Store(declared).newest()
    if not scores:
        fail(f"nothing of {product} was ever monitored; `esteira monitor run {product}`")
    counts: dict[str, int] = {}
    for one in scores:
        counts[one["verdict"]] = counts.get(one["verdict"], 0) + 1
    first = scores[0]
    lines = [
        f"{product}, {first['window_start']:%Y-%m-%d} to {first['window_end']:%Y-%m-%d}: "
        + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())),
        *(
            f"  {one['feature']}{' where ' + one['slice'] if one['slice'] else ''}, "
            f"{one['statistic']} {one['score']:.4g} above {one['threshold']:g} ({one['reference']})"
            for one in scores
            if one["verdict"] == "drifted"
        ),
    ]
    document = {
        "product": product,
        "window": {"start": first["window_start"], "end": first["window_end"]},
        "model_version": first["model_version"],
        "counts": counts,
        "scores": scores,
    }
    result(document, as_json, "\n".join(lines))


@monitor_app.command("report")
def report(
    product: ProductName,
    output: Annotated[Path | None, typer.Option(help="Write it here and do not open it.")] = None,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Fetch the newest report and show it in a browser."""
    from workloads.monitoring.publishing import reports
    from workloads.product import load

    declared = load(product)
    outputs_of(stack, product)
    folder = reports(declared)
    with _refused():
        names = sorted(one for one in folder.listed() if one.endswith(".html"))
        if not names:
            fail(f"{product} has no report yet; `esteira monitor run {product}`")
        content = folder.read(names[-1])
    place = output or Path.cwd() / f"{product}-{names[-1]}"
    place.write_bytes(content)
    if output is None and not as_json:
        webbrowser.open(place.as_uri())
    document = {"product": product, "report": f"{folder.uri}/{names[-1]}", "file": str(place)}
    result(document, as_json, f"{document['report']} is at {place}")


@monitor_app.command("install")
def install(product: ProductName, stack: OnStack = "local", as_json: AsJson = False) -> None:
    """Set up Vertex AI Model Monitoring with the same thresholds, beside our own monitors."""
    from workloads.monitoring import model_monitoring
    from workloads.product import load

    declared = load(product)
    own = outputs_of(stack, product)
    with console.status(f"installing the monitor of {product}"), _refused():
        try:
            installed = model_monitoring.install(declared, own["monitoring"]["reports"])
        except model_monitoring.NotInstalled as error:
            fail(str(error))
    text = f"{installed.monitor} runs by {installed.schedule}"
    result(msgspec.to_builtins(installed), as_json, text)


def _line(one: dict[str, Any]) -> str:
    verdict = f"{one['verdict']}, alarm" if one["alarm"] else one["verdict"]
    if one["score"] is None:
        return f"  {one['kind']}: {verdict} ({one['reason']})"
    more = f" ({one['subjects']} in all)" if one["subjects"] > 1 else ""
    return (
        f"  {one['kind']}: {verdict}; {one['feature']} {one['statistic']} {one['score']:.4g}, "
        f"threshold {one['threshold']:.4g}{more}"
    )


@contextmanager
def _refused() -> Iterator[None]:
    """What Google's services refuse is said in a sentence."""
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from googleapiclient.errors import HttpError

    from workloads.artifacts import ArtifactNotFound
    from workloads.monitoring.store import StoreRefused
    from workloads.registry import NoSuchVersion

    try:
        yield
    except (
        ArtifactNotFound,
        GoogleAPICallError,
        HttpError,
        NoSuchVersion,
        RetryError,
        StoreRefused,
    ) as error:
        fail(str(error))


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(monitor_app, name="monitor")
