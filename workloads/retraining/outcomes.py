"""Where a job's outcome is kept, for whoever started it and cannot reach the database."""

from __future__ import annotations

from workloads.artifacts import ArtifactNotFound, Folder
from workloads.product import Product
from workloads.retraining.settings import FOLDER
from workloads.retraining.turn import Outcome


def write(product: Product, execution: str, outcome: Outcome) -> str:
    """Keep the outcome of a job's execution in the product's bucket; its place."""
    folder = Folder.of(product, FOLDER)
    name = f"{execution or 'last'}.json"
    folder.write_json(name, outcome)
    return f"{folder.uri}/{name}"


def read(product: Product, execution: str) -> Outcome | None:
    """The outcome of an execution; none where it did not get to write one."""
    try:
        return Folder.of(product, FOLDER).read_json(f"{execution}.json", Outcome)
    except ArtifactNotFound:
        return None
