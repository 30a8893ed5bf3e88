"""Runs the stages of the demonstration one after another, showing each and timing it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.status import Status


class Stage:
    """One stage while it runs; says what it is at and what came of it."""

    def __init__(self, console: Console, status: Status, title: str) -> None:
        self._console = console
        self._status = status
        self._title = title

    def doing(self, text: str) -> None:
        """Say what it is at; replaced by the next."""
        self._status.update(f"[bold]{self._title}[/] [dim]{escape(text)}[/]")

    def say(self, text: str) -> None:
        """Say what came of it; stays on the screen. May hold markup."""
        self._console.print(f"    {text}", highlight=False)


class Stages:
    """All stages of one run; `seconds` has the time of each that ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str, title: str) -> Iterator[Stage]:
        """Show a stage while it runs.

        Args:
            name: in `seconds`.
            title: for the person who watches.
        """
        begun = time.monotonic()
        with self._console.status(f"[bold]{title}[/]") as status:
            yield Stage(self._console, status, title)
        self.seconds[name] = round(time.monotonic() - begun, 1)
        self._console.print(
            f"[green]✓[/] [bold]{title}[/] [dim]{self.seconds[name]:.0f} s[/]", highlight=False
        )

    def total(self) -> float:
        """Seconds since the run began."""
        return round(time.monotonic() - self._begun, 1)
