"""`python -m workloads.notifications`: relay until SIGTERM."""

from __future__ import annotations

import logging
import sys
from typing import Final

from pydantic import ValidationError

from workloads.notifications.channels import NoChannel
from workloads.notifications.relay import build_app
from workloads.notifications.settings import RelaySecrets, RelaySettings

log: Final = logging.getLogger("esteira.notifications")


def main() -> int:
    """Serve; the status to exit with."""
    import uvicorn

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings = RelaySettings()  # pyright: ignore[reportCallIssue] - the environment fills it
        secrets = RelaySecrets()
    except ValidationError as error:
        for fault in error.errors(include_input=False):
            name = ".".join(str(part) for part in fault["loc"]).upper()
            log.error("%s: %s", name, fault["msg"])
        return 2
    try:
        app = build_app(settings, secrets)
    except NoChannel as error:
        log.error("%s", error)
        return 2
    uvicorn.run(app, host=settings.host, port=settings.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
