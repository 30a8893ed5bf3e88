"""`python -m workloads.release`: one act of the release controller, then the end.

The Cloud Run job of a product. Its schedule has it advance the release under way, by the evidence
that has come; where the database is private, `esteira release` starts it for everything else.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

from pydantic import ValidationError

from workloads import product as products
from workloads.database import DatabaseSettings
from workloads.release import commands
from workloads.release.settings import ReleaseSettings

log = logging.getLogger("workloads.release")


def main() -> int:
    """Do what the environment says; 0 when it is done, and the release was not aborted."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    try:
        settings = ReleaseSettings()  # pyright: ignore[reportCallIssue]  # from the environment
        database = DatabaseSettings()  # pyright: ignore[reportCallIssue]  # from the environment
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"]).upper() or "environment"
            log.error("%s is %r: %s", name, fault["input"], fault["msg"])
        return 2
    try:
        product = products.load(settings.product)
        serving = product.serving.within(settings.serving_max_replicas)
        product = replace(product, serving=serving)
    except products.InvalidProduct as error:
        log.error("%s", error)
        return 2
    outcome = commands.perform(
        product, settings, database, on_progress=lambda step: log.info("%s", step)
    )
    place = commands.write(product, settings.cloud_run_execution, outcome)
    for line in outcome.message.splitlines():
        log.log(logging.INFO if outcome.ok else logging.ERROR, "%s", line)
    log.info("outcome: %s", place)
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
