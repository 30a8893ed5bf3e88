"""`python -m localcloud.services.pubsub --home DIR`: serve until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from localcloud.home import Home, NotStarted
from localcloud.services.pubsub.server import Serving


def main() -> int:
    """Run the server; 0 after SIGTERM or SIGINT, 1 when it cannot start."""
    parser = argparse.ArgumentParser(prog="pubsub", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of the local cloud")
    home = Home(parser.parse_args().home)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        home.endpoints()
        asyncio.run(_serve(home))
    except (NotStarted, OSError, ValueError) as error:
        sys.stderr.write(f"pubsub: {error}\n")
        return 1
    return 0


async def _serve(home: Home) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Serving(home):
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
