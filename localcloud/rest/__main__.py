"""`python -m localcloud.rest --home DIR`: Vertex AI, Cloud Run, Cloud Scheduler and Dataflow."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from pathlib import Path
from typing import Final

import uvicorn

from localcloud.home import LOOPBACK, Home
from localcloud.rest.app import Service, build_app

log = logging.getLogger("localcloud.rest")

SERVICES: Final = ("vertex", "run", "scheduler", "dataflow")


def services(home: Home) -> list[Service]:
    """The services of this port, in the order in which they are asked."""
    found: list[Service] = []
    for name in SERVICES:
        try:
            module = importlib.import_module(f"localcloud.services.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"localcloud.services.{name}":
                raise
            log.warning("service %s is not there yet", name)
            continue
        found.append(module.service(home))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m localcloud.rest", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of the local cloud")
    home = Home(parser.parse_args(arguments).home.resolve())
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    port = home.endpoints().ports["rest"]
    uvicorn.run(
        build_app(services(home)),
        host=LOOPBACK,
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        lifespan="on",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
