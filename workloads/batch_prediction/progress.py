"""How far a task is: a bar for who looks on, and now and then a line for the log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

log = logging.getLogger(__name__)

SECONDS: Final = 10.0
"""Between two lines of the log."""


@contextmanager
def shown(rows: int, what: str, *, seconds: float = SECONDS) -> Iterator[Callable[[int], None]]:
    """Calls of what is yielded tell that so many rows more are done.

    Args:
        rows: how many there will be.
        what: is being done to them, "predicting".
        seconds: between two lines of a log.
    """
    if sys.stderr.isatty():
        try:
            # Not in the image, whose tasks never have a terminal.
            from rich import progress
            from rich.console import Console
        except ImportError:
            pass
        else:
            columns = (
                *progress.Progress.get_default_columns()[:-1],
                progress.MofNCompleteColumn(),
                progress.TimeRemainingColumn(),
            )
            with progress.Progress(*columns, console=Console(stderr=True)) as bar:
                task = bar.add_task(what, total=rows)
                yield lambda more: bar.advance(task, more)
            return
    done, began = 0, time.monotonic()
    told = began

    def tell(more: int) -> None:
        nonlocal done, told
        done += more
        now = time.monotonic()
        if now - told >= seconds or done == rows:
            told = now
            share = 100 * done / rows if rows else 100.0
            pace = done / max(now - began, 1e-9)
            log.info("%s: %d of %d rows, %.0f %%, %.0f a second", what, done, rows, share, pace)

    yield tell
