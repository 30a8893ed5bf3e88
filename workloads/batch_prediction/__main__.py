"""`python -m workloads.batch_prediction`: one task of the Cloud Run job."""

from __future__ import annotations

import logging
import os
import sys

from pydantic import ValidationError

from workloads import product as products
from workloads.batch_prediction.appending import WriteRefused
from workloads.batch_prediction.settings import BatchPredictionSettings
from workloads.batch_prediction.staging import NoTable
from workloads.batch_prediction.task import predict_day, today
from workloads.database import DatabaseSettings, NoCertificates
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
        database = _database()
    except ValidationError as error:
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"]).upper() or "environment"
            log.error("%s is %r: %s", name, fault["input"], fault["msg"])
        return 2
    product = products.load(settings.product)
    day = settings.prediction_date or today(product)
    index, count = settings.cloud_run_task_index, settings.cloud_run_task_count
    try:
        outcome = predict_day(product, day, index=index, count=count, database=database)
    except (NoSuchVersion, NoTable, ModelRefused, WriteRefused, NoCertificates) as error:
        log.error("%s", error)
        return 1
    log.info(
        "task %d of %d: %d rows of %s predicted by version %s, %d published to PostgreSQL",
        index + 1,
        count,
        outcome.rows,
        day,
        outcome.model_version,
        outcome.published,
    )
    return 0


def _database() -> DatabaseSettings | None:
    """The stack's database, where it has one."""
    if not os.environ.get("DATABASE_HOST"):
        return None
    return DatabaseSettings()  # pyright: ignore[reportCallIssue]  # from the environment


if __name__ == "__main__":
    sys.exit(main())
