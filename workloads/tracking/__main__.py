"""`python -m workloads.tracking`: serve MLflow until told to end."""

from __future__ import annotations

import logging
import os
import signal
import sys

import uvicorn
from pydantic import ValidationError

from workloads.database import NoCertificates
from workloads.tracking import schema, server
from workloads.tracking.settings import TrackingSettings

log = logging.getLogger("workloads.tracking")


def main() -> int:
    """Bring the tables up to date, then listen."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    try:
        settings = TrackingSettings()  # pyright: ignore[reportCallIssue]  # from the environment
        # Before MLflow is imported: it reads its variables then.
        os.environ.update(server.environment(settings))
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"]).upper()
            log.error("%s is %r: %s", name, fault["input"], fault["msg"])
        return 2
    except NoCertificates as error:
        log.error("%s", error)
        return 2
    server.show_tokens()
    try:
        schema.migrate(server.address(settings))
    except schema.SchemaTooNew as error:
        log.error("%s", error)
        return 1
    # uvicorn ends requests under way on SIGTERM, then raises the signal anew: that is a success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        server.build(),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=settings.grace_seconds,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
