"""`python -m workloads.training`: submit one run of a product's pipeline, and follow it to its end.

The Cloud Run job that the product's schedule starts. What it registers is a challenger: the gate
and the release decide whether it ever serves.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

from pydantic import ValidationError

from workloads import product as products
from workloads.product import Product
from workloads.training.run import InvalidRun, TrainingRun, code_version
from workloads.training.settings import TrainingSettings
from workloads.training.submit import StepProgress, TrainingFailed, submit

log = logging.getLogger("workloads.training")


class NotScheduled(Exception):
    """A product that names no schedule was asked to be trained by one."""


def scheduled(product: Product, settings: TrainingSettings, now: datetime) -> TrainingRun:
    """The run that is due now.

    It is named after the execution of the job, so that a second attempt follows the run of the
    first instead of starting another; and it reads whole days, so that both mean the same rows.

    Args:
        product: The declaration.
        settings: Of this execution.
        now: An instant with a time zone.

    Raises:
        NotScheduled: the product has no `retraining`.
    """
    plan = product.retraining
    if plan is None:
        raise NotScheduled(
            f"{product.name} has no `retraining`; declare when and on which rows in its product.py"
        )
    # A label that has not come by its maturity will not come, so no later row teaches anything.
    end = (now.astimezone(UTC) - product.label.maturity).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    return TrainingRun(
        product=product,
        start=end - plan.history,
        split=end - plan.holdout,
        end=end,
        training_image=settings.training_image,
        serving_image=settings.serving_image,
        name=settings.cloud_run_execution or f"{product.name}-{now.astimezone(UTC):%Y%m%d-%H%M%S}",
        code_version=code_version(),
        service_account=settings.service_account,
        tracking=settings.mlflow_tracking_uri.rstrip("/"),
    )


def main() -> int:
    """Train and register; 0 when there is a new challenger."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    try:
        settings = TrainingSettings()  # pyright: ignore[reportCallIssue]  # from the environment
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"]).upper() or "environment"
            log.error("%s is %r: %s", name, fault["input"], fault["msg"])
        return 2
    try:
        run = scheduled(products.load(settings.product), settings, datetime.now(UTC))
        log.info("run %s: rows from %s to %s", run.name, run.start.date(), run.end.date())
        registered = submit(run, on_progress=_tell)
    except (InvalidRun, NotScheduled, TrainingFailed, products.InvalidProduct) as error:
        log.error("%s", error)
        return 1
    log.info("version %s of %s is a challenger", registered.version, registered.model)
    return 0


def _tell(step: StepProgress) -> None:
    log.info("%s: %s after %.0f s", step.step, step.state.lower(), step.seconds)


if __name__ == "__main__":
    sys.exit(main())
