"""`python -m localcloud.services.postgres --home DIR`: run PostgreSQL until told to end."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Final

from localcloud.home import Home
from localcloud.services.postgres.account import PostgresNotRunnable
from localcloud.services.postgres.cluster import Cluster, environment

_PR_SET_PDEATHSIG: Final = 1


def main(arguments: list[str] | None = None) -> int:
    """Prepare the data folder, then be PostgreSQL's parent."""
    parser = argparse.ArgumentParser(prog="python -m localcloud.services.postgres")
    parser.add_argument("--home", type=Path, required=True)
    cluster = Cluster(Home(parser.parse_args(arguments).home.resolve()))
    try:
        cluster.prepare()
    except PostgresNotRunnable as error:
        sys.stderr.write(f"{error}\n")
        return 1
    process = subprocess.Popen(
        cluster.command(),
        cwd="/",
        env=environment(),
        # This process has one thread, so code between fork and exec is safe; it runs after the
        # change of user, which would undo it (the account's prefix makes its own change later).
        preexec_fn=_end_with_parent,  # noqa: PLW1509
        **cluster.account.keywords,
    )

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        # SIGTERM would have PostgreSQL wait for its clients to leave; SIGINT has it end theirs.
        process.send_signal(signal.SIGINT)

    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, end)
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.kill()


def _end_with_parent() -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
