"""How commands speak: what was asked for on the output stream, in words or as JSON; on the error
stream what they are at, and what goes wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

console: Final = Console(stderr=True)
"""For what a person watches: progress, warnings, errors."""
out: Final = Console(soft_wrap=True)
"""For what was asked for, so that it can be piped: no line is broken or cut. Not while a status of
`console` is shown, which takes whatever is written meanwhile to its own stream."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def print_json(document: Any) -> None:
    """Print for a program; instants and paths become text."""
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")


def result(document: Any, as_json: bool, text: str) -> None:
    """Print what came of a command."""
    if as_json:
        print_json(document)
    else:
        out.print(escape(text), highlight=False)


def attempt(document: Any, as_json: bool, text: str, *, ok: bool) -> None:
    """Print what came of a command that may be refused. A refusal is an error, and exits with 1."""
    if not ok and not as_json:
        fail(text)
    result(document, as_json, text)
    if not ok:
        raise typer.Exit(1)


def history[Entry](
    entries: Sequence[Entry], as_json: bool, line: Callable[[Entry], str], none: str
) -> None:
    """Print what happened, one a line; or that nothing did."""
    if as_json:
        print_json([msgspec.to_builtins(one) for one in entries])
        return
    for one in entries:
        out.print(line(one), highlight=False, markup=False)
    if not entries:
        console.print(none)


def fail(message: str) -> NoReturn:
    """Say what is wrong and exit with 1."""
    console.print(f"[red]error[/] {escape(message)}", highlight=False)
    raise typer.Exit(1)
