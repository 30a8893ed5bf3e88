"""What policies found, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape

from esteira.engine.policies import Finding


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print each mandatory violation whole, and of the rest what there is to do."""
    for one in findings:
        if one.mandatory:
            _show_violation(one, console)
    for policy, group in _by_policy(x for x in findings if not x.mandatory and x.decided):
        names = ", ".join(_name(one) for one in group)
        console.print(
            f"  [yellow]advisory[/] {policy}: {escape(names)}\n"
            f"           [dim]{escape(group[0].remedy)} {_references(group[0])}[/]",
            highlight=False,
            soft_wrap=True,
        )
    waiting = _by_policy(one for one in findings if not one.decided)
    if waiting:
        total = sum(len(group) for _, group in waiting)
        console.print(
            f"  [dim]{total} verdicts wait for values that `up` knows: "
            f"{', '.join(policy for policy, _ in waiting)}[/]",
            highlight=False,
            soft_wrap=True,
        )


def _show_violation(one: Finding, console: Console) -> None:
    console.print(
        f"  [red]violation[/] {one.policy}: {escape(_name(one))}\n"
        f"            {escape(one.message)}\n"
        f"            {escape(one.remedy)} [dim]{_references(one)}[/]",
        highlight=False,
        soft_wrap=True,
    )


def _by_policy(findings: Iterable[Finding]) -> list[tuple[str, list[Finding]]]:
    groups: dict[str, list[Finding]] = {}
    for one in findings:
        groups.setdefault(one.policy, []).append(one)
    return list(groups.items())


def _name(one: Finding) -> str:
    return one.resource.rpartition("::")[2] or "the stack"


def _references(one: Finding) -> str:
    return f"({', '.join(one.references)})"
