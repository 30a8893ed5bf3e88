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
from workloads.training.run import InvalidRun, NoPlan, TrainingRun, code_version, planned
from workloads.training.settings import TrainingSettings
from workloads.training.submit import StepProgress, TrainingFailed, submit

log = logging.getLogger("workloads.training")


def scheduled(product: Product, settings: TrainingSettings, now: datetime) -> TrainingRun:
    """The run that is due now.

    It is named after the execution of the job, so that a second attempt follows the run of the
    first instead of starting another; and it reads whole days, so that both mean the same rows.

    Args:
        product: The declaration.
        settings: Of this execution.
        now: An instant with a time zone.

    Raises:
        NoPlan: the product has no `retraining`.
    """
    start, split, end = planned(product, now)
    return TrainingRun(
        product=product,
        start=start,
        split=split,
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
    except (InvalidRun, NoPlan, TrainingFailed, products.InvalidProduct) as error:
        log.error("%s", error)
        return 1
    log.info("version %s of %s is a challenger", registered.version, registered.model)
    return 0


def _tell(step: StepProgress) -> None:
    log.info("%s: %s after %.0f s", step.step, step.state.lower(), step.seconds)


if __name__ == "__main__":
    sys.exit(main())
