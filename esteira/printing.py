"""How commands speak: to a person on the error stream, to a program in JSON on the output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

# What a person watches goes to the error stream: the output stream is for what a program reads.
console: Final = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def print_json(document: Any) -> None:
    """Print for a program; instants and paths become text."""
    sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")


def result(document: Any, as_json: bool, text: str) -> None:
    """Print what came of a command."""
    if as_json:
        print_json(document)
    else:
        console.print(escape(text), highlight=False)


def history[Entry](
    entries: Sequence[Entry], as_json: bool, line: Callable[[Entry], str], none: str
) -> None:
    """Print what happened, one a line; or that nothing did."""
    if as_json:
        print_json([msgspec.to_builtins(one) for one in entries])
        return
    for one in entries:
        console.print(line(one), highlight=False, markup=False)
    if not entries:
        console.print(none)


def fail(message: str) -> NoReturn:
    """Say what is wrong and exit with 1."""
    console.print(f"[red]error[/] {escape(message)}", highlight=False)
    raise typer.Exit(1)
