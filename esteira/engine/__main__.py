"""Obtains the Pulumi engine: `python -m esteira.engine`. Exits 0 also when there is none to be had,
because the local cloud works without; it says so."""

from __future__ import annotations

import sys

from rich.console import Console

from esteira.engine.install import NoEngine, find, obtain


def main() -> int:
    """Obtain the engine, showing progress."""
    console = Console(stderr=True)
    if find() is not None:
        return 0
    try:
        with console.status("looking for the Pulumi engine") as status:
            engine = obtain(lambda line: status.update(line[: console.width - 4]))
    except NoEngine as error:
        console.print(f"[yellow]{error}[/]\nThe local stack will run without state and diffs.")
        return 0
    for reason in engine.fallbacks:
        console.print(f"[dim]· {reason}[/]", highlight=False)
    console.print(f"[dim]· Pulumi {engine.version_text} ({engine.origin}) at {engine.path}[/]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
