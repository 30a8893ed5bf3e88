"""Commands for products: make one, list them, check one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from esteira.data_commands import ProductName
from esteira.printing import AsJson, out, print_json, result
from workloads.product import Task

if TYPE_CHECKING:
    from esteira.product_check import Ask

product_app = typer.Typer(help="The ML products of this checkout.", no_args_is_help=True)


@product_app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower case, e.g. parcel-loss")],
    task: Annotated[
        Task | None,
        typer.Option(
            help="What the model answers; classification, or what that of --like does.",
            show_default=False,
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="PRODUCT",
            help="Share its sources and build on its features, and take in nothing.",
            show_default=False,
        ),
    ] = None,
    owner: Annotated[str, typer.Option(help="Label: the team that answers for it.")] = (
        "data-science"
    ),
    cost_center: Annotated[str, typer.Option(help="Label: who pays.")] = "none",
    as_json: AsJson = False,
) -> None:
    """Make the folder of a new product, that trains on a sample as it stands."""
    from esteira.paths import ROOT
    from esteira.scaffold import Scaffold
    from esteira.scaffold.likeness import Likeness
    from workloads import product as products
    from workloads import schemas

    if like is None:
        answers = task or Task.CLASSIFICATION
        scaffold = Scaffold(name=name, task=answers, owner=owner, cost_center=cost_center)
    else:
        other = products.load(like)
        if task not in (None, other.task):
            raise typer.BadParameter(
                f"{task.value}, and {like} is a {other.task.value}; allowed: {other.task.value}. "
                "Change task, label, gate and training in the new folder",
                param_hint="--task",
            )
        scaffold = Likeness.of(other, name, owner, cost_center)
    files = scaffold.write(ROOT)
    declared = products.load(name)
    schemas.write(declared)
    # A product that takes in nothing has no schemas.
    written = [one for one in (*files, schemas.file(declared)) if one.exists()]
    shown = sorted({str(one.relative_to(ROOT)) for one in written})
    text = "\n".join(
        [
            f"{name} is there:",
            *(f"  {one}" for one in shown),
            f"`esteira product check {name}` comes next; docs/add-a-product.md says the rest",
        ]
    )
    result({"product": name, "task": declared.task.value, "files": shown}, as_json, text)


@product_app.command("list")
def list_products(as_json: AsJson = False) -> None:
    """List the products that this checkout declares."""
    from workloads import product as products

    found = [products.load(name) for name in products.names()]
    document = [
        {
            "name": one.name,
            "title": one.title,
            "task": one.task.value,
            "owner": one.owner,
            "takes_in": [source.contract.PLURAL for source in one.own],
            "reads_from": list(one.owners),
            "builds_on": one.features.base,
            "metric": one.gate.metric,
        }
        for one in found
    ]
    width = max((len(one.name) for one in found), default=0)
    lines = [f"{one.name:<{width}}  {one.task.value:<14}  {one.title}" for one in found]
    result(document, as_json, "\n".join(lines) or "none yet; `esteira product new NAME` makes one")


@product_app.command("check")
def check(
    product: ProductName,
    write: Annotated[
        bool,
        typer.Option("--write", help="Write schemas.json anew, as far as topics would take it."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with a product, before anything of it is deployed. Exits 1 if any is."""
    from esteira import product_check, product_check_seeds
    from workloads import product as products
    from workloads import schemas

    declared = products.load(product)
    if write:
        schemas.write(declared)
    findings = list(product_check.check(declared, _local_bigquery()))
    # What cannot be called cannot be trained with.
    if not any(one.what == "training" and one.passed is False for one in findings):
        findings.append(product_check_seeds.check(declared))
    if as_json:
        print_json([one.as_dict() for one in findings])
    else:
        marks = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]-[/]"}
        for one in findings:
            out.print(
                f"{marks[one.passed]} [bold]{one.what}[/]: {escape(one.found)}", highlight=False
            )
    if any(one.passed is False for one in findings):
        raise typer.Exit(1)


def _local_bigquery() -> Ask | None:
    """The local cloud's BigQuery, if it answers. It is not started: nothing here depends on it."""
    import os

    from esteira import local
    from localcloud import daemon

    status = daemon.status(local.home())
    answers = {one.name: one.answers for one in status.services}
    if not (status.running and answers.get("bigquery")):
        return None
    os.environ.update(local.home().reserve().environment())

    def ask(sql: str, parameters: dict[str, Any]) -> list[tuple[str, str]]:
        from google.cloud import bigquery

        from workloads import gcp

        given = [
            bigquery.ScalarQueryParameter(name, "TIMESTAMP", value)
            for name, value in parameters.items()
        ]
        config = bigquery.QueryJobConfig(query_parameters=given)
        rows = gcp.bigquery_client().query(sql, job_config=config).result()
        return [(field.name, field.field_type) for field in rows.schema]

    return ask


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(product_app, name="product")
