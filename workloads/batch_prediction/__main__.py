"""`python -m workloads.batch_prediction`: one task of the Cloud Run job."""

from __future__ import annotations

import logging
import sys

from pydantic import ValidationError

from workloads import product as products
from workloads.batch_prediction.settings import BatchPredictionSettings
from workloads.batch_prediction.task import NoTable, predict_day, today
from workloads.registry import NoSuchVersion
from workloads.scoring import ModelRefused

log = logging.getLogger("workloads.batch_prediction")


def main() -> int:
    """Predict this task's share; 0 when its rows are written."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    try:
        settings = BatchPredictionSettings()  # pyright: ignore[reportCallIssue]  # from the environment
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"]).upper() or "environment"
            log.error("%s is %r: %s", name, fault["input"], fault["msg"])
        return 2
    product = products.load(settings.product)
    day = settings.prediction_date or today(product)
    index, count = settings.cloud_run_task_index, settings.cloud_run_task_count
    try:
        outcome = predict_day(product, day, index=index, count=count)
    except (NoSuchVersion, NoTable, ModelRefused) as error:
        log.error("%s", error)
        return 1
    log.info(
        "task %d of %d: %d rows of %s predicted by version %s",
        index + 1,
        count,
        outcome.rows,
        day,
        outcome.model_version,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
