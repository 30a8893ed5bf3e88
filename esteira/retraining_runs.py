"""How a person's retraining command gets done: here, or by the stack's Cloud Run job.

The database of records is private on Google Cloud. Whoever cannot reach it starts the job
`<product>-retraining` with the command in its environment, and reads the outcome that it writes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from esteira.release_runs import actor, execute
from workloads import gcp
from workloads.database import DatabaseSettings
from workloads.product import Product
from workloads.retraining import outcomes
from workloads.retraining.requests import declared
from workloads.retraining.settings import Command, RetrainingSettings
from workloads.retraining.turn import Outcome, perform

Progress = Callable[[str], None]


class NoController(RuntimeError):
    """The stack has nothing that requests for retraining could be kept in."""


def run(
    product: Product,
    own: dict[str, Any],
    command: Command,
    progress: Progress = lambda _: None,
    **given: Any,
) -> Outcome:
    """Do one command of the retraining controller.

    Args:
        product: the declaration.
        own: the stack's outputs of the product.
        command: what to do.
        progress: told of each step.
        given: fields of `RetrainingSettings` without their `retraining_`.

    Raises:
        NoController: the stack has no database, or was made before it had a controller.
        NoRetraining: the product declares none.
    """
    declared(product)
    controller = own.get("retraining") or {}
    if not controller.get("job"):
        raise NoController(
            f"requests for retraining {product.name} are kept in PostgreSQL, which this stack has "
            "not; set `database.enabled` to true in its settings, then `esteira up STACK`"
        )
    values: dict[str, Any] = {"retraining_command": command, "retraining_actor": actor()}
    values |= {f"retraining_{name}": value for name, value in given.items() if value is not None}
    if gcp.sql_emulator() is None:
        execution, said = execute(controller["job"], values, progress)
        message = f"execution {execution} of {controller['job']}: {said}; look at its log"
        return outcomes.read(product, execution) or Outcome(ok=False, message=message)
    settings = RetrainingSettings(
        google_cloud_project=gcp.project(),
        google_cloud_location=gcp.location(),
        product=product.name,
        training_image=own["training"]["image"],
        serving_image=own["endpoint"]["serving_image"],
        service_account=own["training"]["service_account"],
        serving_service_account=own["endpoint"]["service_account"],
        mlflow_tracking_uri=gcp.tracking_address(),
        # Locally the schedule of the release job rests.
        retraining_releases="here",
        **values,
    )
    database = DatabaseSettings(
        database_host=controller["database_host"],
        database_name=controller["database"],
        database_user=controller["database_user"],
    )
    return perform(product, settings, database, datetime.now(UTC), progress)
