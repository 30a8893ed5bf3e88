"""Commands for the registry of models: list, show, card, and what MLflow has of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.markup import escape
from rich.table import Table

from esteira.data_commands import OnStack, ProductName
from esteira.printing import AsJson, console, fail, out, print_json, result

if TYPE_CHECKING:
    from workloads.registry import Recorded, Registry

models_app = typer.Typer(help="Which models there are.", no_args_is_help=True)

Version = Annotated[str, typer.Option(help="Number or alias of a version.")]


@models_app.command("list")
def list_models(
    product: ProductName,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest.")] = 20,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """List versions, newest first: metrics, aliases, release, decision of the gate."""
    registry = _registry(stack, product)
    with console.status("reading"):
        recorded = registry.recorded()[::-1][:limit]
        numbers, behind = _mirrored(registry)
        shown = [_document(registry, one, numbers) for one in recorded]
    document = {"product": product, "versions": shown, "mlflow": behind}
    if as_json:
        print_json(document)
        return
    metric = registry.product.gate.metric
    table = Table("version", metric, "95 %", "release", "gate", "aliases", "trained", box=None)
    for one in shown:
        score = one["metrics"].get(metric)
        table.add_row(
            one["version"],
            f"{score['value']:.4f}" if score else "?",
            f"{score['low']:.4f} to {score['high']:.4f}" if score else "?",
            one["release"],
            one["gate"]["decision"] if one["gate"] else "not judged",
            ", ".join(one["aliases"]),
            f"{one['created']:%Y-%m-%d %H:%M}",
        )
    if shown:
        out.print(table)
    else:
        console.print(f"{product} has no model yet; `esteira train {product}` makes one")
    _tell(behind, product)


@models_app.command("show")
def show(
    product: ProductName,
    version: Version = "champion",
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Show one version: what it learned from, how good it is, where it is kept."""
    registry = _registry(stack, product)
    with console.status("reading"):
        recorded = registry.record(version)
        numbers, behind = _mirrored(registry)
        document = {**_document(registry, recorded, numbers), "mlflow": behind}
    if as_json:
        print_json(document)
        return
    for name, value in _flat(document).items():
        out.print(f"{name:<28} {escape(str(value))}", highlight=False)


@models_app.command("card")
def card(
    product: ProductName,
    version: Version = "champion",
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Print the model card of a version in Markdown, and renew the one that lies beside it."""
    from workloads import model_card

    registry = _registry(stack, product)
    with console.status("reading"):
        recorded = registry.record(version)
        with registry.writing(f"renew the card of version {recorded.number}"):
            text = model_card.write(registry.product, recorded)
    if as_json:
        place = f"{recorded.folder.uri}/{model_card.CARD}"
        print_json({"version": recorded.number, "uri": place, "markdown": text})
    else:
        # A program's input as well: the summary of a job.
        typer.echo(text, nl=False)


@models_app.command("reconcile")
def reconcile(
    product: ProductName,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 if anything differs.")
    ] = False,
    stack: OnStack = "local",
    as_json: AsJson = False,
) -> None:
    """Bring MLflow's registry to where Vertex AI's is, and finish what was cut off."""
    registry = _registry(stack, product)
    mirror = registry.mirror()
    if mirror is None:
        fail(f"{stack} tracks nothing: switch `esteira:tracking.enabled` on, and `esteira up`")
    with console.status("comparing"):
        pending = mirror.pending()
        differences = mirror.differences() if check else mirror.mend(thoroughly=True)
    word = "differ" if check else "mended"
    text = [f"{product}: {len(differences)} {word}", *(f"  {one}" for one in differences)]
    text += [f"  begun {one.begun:%Y-%m-%d %H:%M:%S} UTC: {one.what}" for one in pending]
    document = {
        "product": product,
        "agree": not (check and differences),
        "mended": not check,
        "differences": [msgspec.to_builtins(one) for one in differences],
        "pending": [msgspec.to_builtins(one) for one in pending],
    }
    result(document, as_json, "\n".join(text))
    if check and differences:
        raise typer.Exit(1)


def _registry(stack: str, product: str) -> Registry:
    """The registry of a stack's product, with its MLflow beside."""
    from esteira import outputs
    from esteira.session import connect, track
    from workloads.product import load
    from workloads.registry import Registry

    declared = load(product)
    with console.status(f"connecting to {stack}") as status:
        connect(stack, status.update)
    track(outputs.of(stack, console))
    return Registry(declared)


def _mirrored(registry: Registry) -> tuple[dict[str, str], dict[str, Any]]:
    """MLflow's numbers by Vertex AI's, and how MLflow does."""
    from workloads.tracking.client import TrackingFailed

    mirror = registry.mirror()
    if mirror is None:
        return {}, {"tracked": False}
    pending = [one.what for one in mirror.pending()]
    told = {"tracked": True, "url": mirror.url(), "pending": pending}
    try:
        return mirror.numbers(), told
    except TrackingFailed as error:
        return {}, {**told, "error": str(error)}


def _tell(behind: dict[str, Any], product: str) -> None:
    if "error" in behind:
        console.print(f"[yellow]MLflow[/]: {escape(behind['error'])}", highlight=False)
    if behind.get("pending"):
        console.print(
            f"[yellow]MLflow[/] may be behind by {len(behind['pending'])} write(s); "
            f"`esteira models reconcile {product}`",
            highlight=False,
        )


def _document(registry: Registry, one: Recorded, numbers: dict[str, str]) -> dict[str, Any]:
    from workloads import model_card
    from workloads.artifacts import ArtifactNotFound

    try:
        card = model_card.read(one)
    except ArtifactNotFound as error:
        card = None
        console.print(f"[yellow]version {one.number}[/]: {escape(str(error))}", highlight=False)
    manifest = None if card is None else card.manifest
    verdict = None if card is None else card.verdict
    return {
        "version": one.number,
        "run": one.run,
        "created": one.created,
        "aliases": [alias for alias in one.aliases if not alias.startswith("run-")],
        "release": one.state,
        "sha256": one.sha256,
        "metrics": {} if manifest is None else msgspec.to_builtins(manifest.metrics),
        "baseline": {} if manifest is None else msgspec.to_builtins(manifest.baseline),
        "gate": None
        if verdict is None
        else {"decision": verdict.word, **msgspec.to_builtins(verdict)},
        "data": None
        if manifest is None
        else msgspec.to_builtins({"training": manifest.training, "holdout": manifest.holdout}),
        "code_version": None if manifest is None else manifest.code_version,
        "links": _links(registry, one, numbers),
    }


def _links(registry: Registry, one: Recorded, numbers: dict[str, str]) -> dict[str, str]:
    from workloads import gcp

    version = f"{registry.name}@{one.number}"
    endpoint = os.environ.get("VERTEX_API_ENDPOINT")
    console_page = (
        f"https://console.cloud.google.com/vertex-ai/models/locations/{gcp.location()}/models/"
        f"{registry.product.name}/versions/{one.number}/evaluate?project={gcp.project()}"
    )
    here = f"projects/{gcp.project()}/locations/{gcp.location()}"
    links = {
        "vertex": console_page if endpoint is None else f"{endpoint}/v1/{version}",
        "artefacts": one.folder.uri,
        "pipeline_job": f"{here}/pipelineJobs/{one.run}",
    }
    mirror = registry.mirror()
    if mirror is not None and one.number in numbers:
        links["mlflow"] = mirror.url(numbers[one.number])
    return links


def _flat(document: Any) -> dict[str, Any]:
    from esteira.outputs import flattened

    return flattened(document)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(models_app, name="models")
