"""`python -m workloads.retraining`: one turn of the retraining controller, then the end.

The Cloud Run job of a product. Its schedule wakes it each hour to look at what was asked, and at
what is due; where the database is private, `esteira retrain` and `esteira retraining` start it for
everything else.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

from pydantic import ValidationError

from workloads import product as products
from workloads.database import DatabaseSettings
from workloads.retraining import outcomes, triggers
from workloads.retraining.requests import NoRetraining
from workloads.retraining.settings import RetrainingSettings
from workloads.retraining.store import opened
from workloads.retraining.turn import Ended, perform

log = logging.getLogger("workloads.retraining")


def main() -> int:
    """Do what the environment says; 0 when it is done, and no run has failed."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    try:
        settings = RetrainingSettings()  # pyright: ignore[reportCallIssue]  # from the environment
        database = DatabaseSettings()  # pyright: ignore[reportCallIssue]  # from the environment
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"]).upper() or "environment"
            log.error("%s is %r: %s", name, fault["input"], fault["msg"])
        return 2
    now = datetime.now(UTC)
    try:
        product = products.load(settings.product)
        if settings.retraining_command == "turn" and not settings.retraining_actor:
            with opened(database, triggers.BY) as store:
                triggers.scheduled(product, store, now)
    except (products.InvalidProduct, NoRetraining) as error:
        log.error("%s", error)
        return 2
    outcome = perform(
        product, settings, database, now, on_progress=lambda step: log.info("%s", step)
    )
    place = outcomes.write(product, settings.cloud_run_execution, outcome)
    if outcome.ended is Ended.REJECTED:
        log.warning("people are told: the retrained model was refused")
    for line in outcome.message.splitlines():
        log.log(logging.INFO if outcome.ok else logging.ERROR, "%s", line)
    log.info("outcome: %s", place)
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
