"""Commands about the policies that stacks are held to."""

from __future__ import annotations

from typing import Annotated

import typer

from esteira.printing import AsJson, console, out, print_json


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    policies = typer.Typer(help="What every stack is held to.", no_args_is_help=True)
    policies.command("list")(show)
    policies.command()(check)
    app.add_typer(policies, name="policies")


def show(as_json: AsJson = False) -> None:
    """List the policies with their levels and references."""
    from policies.catalogue import GROUPS, RULES

    if as_json:
        print_json(
            [
                {
                    "name": rule.name,
                    "description": rule.description,
                    "level": rule.level.value,
                    "severity": rule.severity.value,
                    "references": rule.references,
                    "types": rule.types,
                    "remedy": rule.remedy,
                }
                for rule in RULES
            ]
        )
        return
    width = max(len(rule.name) for rule in RULES)
    for title, rules in GROUPS.items():
        typer.secho(title, bold=True)
        for rule in rules:
            typer.echo(f"  {rule.name:<{width}}  {rule.level:<17}  {', '.join(rule.references)}")


def check(
    stack: Annotated[str, typer.Argument(metavar="STACK", help="local, dev or prod")],
    as_json: AsJson = False,
) -> None:
    """Judge a stack without credentials. Exits 1 if something mandatory is violated."""
    from esteira import operations, policy_report

    findings = operations.findings(stack, console)
    violated = [one for one in findings if one.mandatory]
    if as_json:
        print_json(
            {
                "stack": stack,
                "passed": not violated,
                "findings": [one.as_dict() for one in findings],
            }
        )
    else:
        policy_report.show(findings, out)
        verdict = f"[red]{len(violated)} violations[/]" if violated else "[green]passed[/]"
        out.print(f"[bold]{stack}[/]: {verdict}", highlight=False)
    if violated:
        raise typer.Exit(1)
