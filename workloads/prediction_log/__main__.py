"""`python -m workloads.prediction_log`: write the prediction log to PostgreSQL until SIGTERM."""

from __future__ import annotations

import logging
import signal
import sys
from typing import Final

from pydantic import ValidationError

from workloads.prediction_log.service import Service
from workloads.prediction_log.settings import PredictionLogSettings
from workloads.prediction_log.store import Store

log: Final = logging.getLogger("workloads.prediction_log")


def main() -> int:
    """Serve; the status to exit with."""
    import uvicorn

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = PredictionLogSettings()  # pyright: ignore[reportCallIssue] - the environment fills it
    except ValidationError as error:
        for fault in error.errors(include_input=False):
            name = ".".join(str(part) for part in fault["loc"]).upper()
            log.error("%s: %s", name, fault["msg"])
        return 2
    store = Store(settings)
    # uvicorn ends requests under way on SIGTERM, then raises the signal anew: that is a success.
    signal.signal(signal.SIGTERM, lambda *_: None)
    uvicorn.run(
        Service(store),
        host=settings.host,
        port=settings.port,
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=settings.grace_seconds,
    )
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
