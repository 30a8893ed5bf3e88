"""Commands of those who work with models and data: send, predict, train, release, dead letters."""

from __future__ import annotations
import typer


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
