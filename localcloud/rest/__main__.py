"""`python -m localcloud.rest --home DIR`: Vertex AI, Cloud Run, Cloud Scheduler, Dataflow, KServe,
Kubeflow Pipelines, Cloud Monitoring, and the APIs of a project itself.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvicorn

from localcloud.home import LOOPBACK, Home
from localcloud.rest.app import Service, build_app

SERVICES: Final = (
    "project",
    "vertex",
    "run",
    "scheduler",
    "dataflow",
    "kserve",
    "kubeflow",
    "monitoring",
)


def services(home: Home, names: Sequence[str] = SERVICES) -> list[Service]:
    """The services of this port, in the order in which they are asked."""
    return [importlib.import_module(f"localcloud.services.{name}").service(home) for name in names]


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m localcloud.rest", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of the local cloud")
    parser.add_argument(
        "--only", action="append", choices=SERVICES, help="serve this one; may be repeated"
    )
    given = parser.parse_args(arguments)
    home = Home(given.home.resolve())
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    # One line for each prediction would drown the rest.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # uvicorn shuts down in order, then raises the signal that made it to the earlier handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = home.endpoints().ports["rest"]
    uvicorn.run(
        build_app(services(home, given.only or SERVICES)),
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
