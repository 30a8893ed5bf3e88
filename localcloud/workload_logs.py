"""Logs of workload processes: appended to by the process itself, bounded in size."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

LOG_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a log before it is rotated; one older file is kept beside it as `.1`."""

_MARK: Final = re.compile(r"^-{3} \d{4}-\d\d-\d\dT\S+ ")


def is_mark(line: str) -> bool:
    """Whether the supervisor wrote this line, not the process."""
    return _MARK.match(line) is not None


def mark(file: Path, text: str) -> None:
    """Add a line of the supervisor's own, with the time."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    one_line = text.replace("\n", "\\n")[:500]
    with file.open("ab") as out:
        out.write(f"--- {now} {one_line}\n".encode())


def rotate(file: Path, limit: int = LOG_LIMIT) -> None:
    """Move a log that has grown over `limit` bytes to `<file>.1` and empty it.

    Copied and truncated rather than renamed, because the process holds it open for appending.
    """
    with contextlib.suppress(FileNotFoundError):
        if file.stat().st_size > limit:
            shutil.copyfile(file, file.with_name(f"{file.name}.1"))
            os.truncate(file, 0)


def tail(file: Path, lines: int = 20) -> list[str]:
    """The last lines of a log; none if there is no log."""
    try:
        with file.open("rb") as source:
            size = source.seek(0, os.SEEK_END)
            source.seek(max(0, size - 512 * lines - 4096))
            content = source.read()
    except FileNotFoundError:
        return []
    return content.decode(errors="replace").splitlines()[-lines:]
