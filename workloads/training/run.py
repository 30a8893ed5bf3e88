"""One training run: which product, from when to when, by which code."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from workloads.product import Product

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,60}[a-z0-9]")
_ROOT: Final = Path(__file__).resolve().parents[2]


class Runner(StrEnum):
    """Who executes the compiled pipeline. Either is given the same file and parameters."""

    VERTEX = "vertex"
    KUBEFLOW = "kubeflow"


class NoPlan(ValueError):
    """A product that names no `retraining` was to be trained on the rows that it plans for."""


class InvalidRun(ValueError):
    """A run that cannot be started. Names the field, the value and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """What the pipeline is given. `start`, `split` and `end` are instants with a time zone.

    Raises:
        InvalidRun: at construction.
    """

    product: Product
    start: datetime
    """Rows are learned from since then."""
    split: datetime
    """Rows are held out since then."""
    end: datetime
    """No row is read from then on."""
    training_image: str
    """The container of every step."""
    serving_image: str
    """The container that will serve the model."""
    name: str
    """Names the pipeline job, the artefact folder and an alias of the version."""
    code_version: str
    service_account: str = ""
    tracking: str = ""
    """Address of the MLflow that it is logged to; empty: it is not."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidRun(
                f"name is {self.name!r}; allowed: 2 to 62 lower-case letters, digits and hyphens, "
                "starting with a letter, not ending in a hyphen"
            )
        for field in ("start", "split", "end"):
            if getattr(self, field).tzinfo is None:
                raise InvalidRun(
                    f"{field} is {getattr(self, field).isoformat()}; allowed: an instant with a "
                    "time zone"
                )
        if not self.start < self.split < self.end:
            raise InvalidRun(
                f"start is {self.start.isoformat()}, split {self.split.isoformat()}, end "
                f"{self.end.isoformat()}; allowed: start before split before end"
            )

    def parameters(self) -> dict[str, str]:
        """The parameters of the pipeline (its images are fixed when it is compiled)."""
        return {
            "run": self.name,
            "start": self.start.isoformat(),
            "split": self.split.isoformat(),
            "end": self.end.isoformat(),
            "serving_image": self.serving_image,
            "code_version": self.code_version,
            "tracking": self.tracking,
        }


def planned(product: Product, now: datetime) -> tuple[datetime, datetime, datetime]:
    """`start`, `split` and `end` of a run that starts now, as the product's `retraining` says.

    They are whole days, so that an attempt some hours later means the same rows.

    Args:
        product: the declaration.
        now: an instant with a time zone.

    Raises:
        NoPlan: the product has no `retraining`.
    """
    plan = product.retraining
    if plan is None:
        raise NoPlan(
            f"{product.name} has no `retraining`; declare when and on which rows in its product.py"
        )
    # A label that has not come by its maturity will not come, so no later row teaches anything.
    end = (now.astimezone(UTC) - product.label.maturity).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    return end - plan.history, end - plan.holdout, end


def code_version() -> str:
    """The version of this code: CODE_VERSION, which images carry, or else git's word for it."""
    if version := os.environ.get("CODE_VERSION"):
        return version
    try:
        found = subprocess.run(
            ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=12"],
            check=True,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return re.sub(r"[^a-z0-9_-]", "-", found.stdout.strip().lower())
