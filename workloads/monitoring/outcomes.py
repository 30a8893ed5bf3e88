"""What an execution of the monitoring job found, for the program that started it."""

from __future__ import annotations

from workloads.artifacts import ArtifactNotFound, Folder
from workloads.monitoring.job import Outcome
from workloads.monitoring.publishing import reports
from workloads.product import Product


def write(product: Product, execution: str, outcome: Outcome) -> None:
    """Keep an execution's outcome beside the reports; what no execution found is not kept."""
    if execution:
        _folder(product).write_json(f"{execution}.json", outcome)


def read(product: Product, execution: str) -> Outcome | None:
    """The outcome of an execution; none where it did not get to write one."""
    try:
        return _folder(product).read_json(f"{execution}.json", Outcome)
    except ArtifactNotFound:
        return None


def _folder(product: Product) -> Folder:
    return Folder(f"{reports(product).uri}/executions")
