"""`python -m localcloud.services.storage --home DIR`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from localcloud.home import Home, NotStarted
from localcloud.services.storage.server import serve


def main() -> int:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="localcloud.services.storage", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the local cloud's state folder")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        serve(Home(arguments.home))
    except (NotStarted, OSError) as error:
        logging.getLogger(__name__).error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
