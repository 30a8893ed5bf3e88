"""How a person's release command gets done: here, or by the stack's Cloud Run job.

The database of records is private on Google Cloud. Whoever cannot reach it starts the job
`<product>-release` with the command in its environment, and reads the outcome that it writes.
"""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from workloads import gcp
from workloads.database import DatabaseSettings
from workloads.product import Product
from workloads.release import commands
from workloads.release.commands import Outcome
from workloads.release.settings import Command, ReleaseSettings

_POLL_SECONDS: Final = 1.0
Progress = Callable[[str], None]


class NoReleases(RuntimeError):
    """The stack has nothing that releases could be kept in."""


def run(
    product: Product,
    own: dict[str, Any],
    command: Command,
    progress: Progress = lambda _: None,
    **given: Any,
) -> Outcome:
    """Do one command of the release controller.

    Args:
        product: the declaration.
        own: the stack's outputs of the product.
        command: what to do.
        progress: told of each step.
        given: fields of `ReleaseSettings` without their `release_`.

    Raises:
        NoReleases: the stack has no database, or was made before it had releases.
    """
    values: dict[str, Any] = {"release_command": command, "release_actor": actor()}
    values |= {f"release_{name}": value for name, value in given.items() if value is not None}
    release = own.get("release") or {}
    if not release.get("job"):
        raise NoReleases(
            f"releases of {product.name} are kept in PostgreSQL, which this stack has not; set "
            "`database.enabled` to true in its settings, then `esteira up STACK`"
        )
    if gcp.sql_emulator() is None:
        return _by_job(product, release["job"], values, progress)
    settings = ReleaseSettings(
        google_cloud_project=gcp.project(),
        google_cloud_location=gcp.location(),
        product=product.name,
        service_account=own["endpoint"]["service_account"],
        **values,
    )
    database = DatabaseSettings(
        database_host=release["database_host"],
        database_name=release["database"],
        database_user=release["database_user"],
    )
    return commands.perform(product, settings, database, progress)


def actor() -> str:
    """Who this is, for the records."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # an account without a name
        return socket.gethostname()


def _by_job(product: Product, job: str, values: dict[str, Any], progress: Progress) -> Outcome:
    """Start the job, wait for its end, and read what came of it."""
    execution, said = execute(job, values, progress)
    outcome = commands.read(product, execution)
    if outcome is not None:
        return outcome
    return Outcome(ok=False, message=f"execution {execution} of {job}: {said}; look at its log")


def execute(job: str, values: dict[str, Any], progress: Progress) -> tuple[str, str]:
    """Start a Cloud Run job, and wait for its end.

    Args:
        job: its resource name.
        values: variables of its environment, in lower case; those that are False are left out.
        progress: told of each step.

    Returns:
        The name of the execution, and what is said of its failure.
    """
    progress(f"the database is private: {job} does it")
    env = [
        {"name": name.upper(), "value": str(value).lower() if value is True else str(value)}
        for name, value in sorted(values.items())
        if value is not False
    ]
    locations = gcp.run().projects().locations()
    body = {"overrides": {"containerOverrides": [{"env": env}]}}
    operation = locations.jobs().run(name=job, body=body).execute()
    execution = operation.get("metadata", {}).get("name", "").rpartition("/")[2]
    while not operation.get("done"):
        time.sleep(_POLL_SECONDS)
        operation = locations.operations().get(name=operation["name"]).execute()
        execution = operation.get("metadata", {}).get("name", execution).rpartition("/")[2]
        progress(f"execution {execution}")
    return execution, operation.get("error", {}).get("message", "it ended without an outcome")
