"""The definition of an A/B test, as it is kept and as servers follow it. Cheap to import."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

from workloads.product import Product, Task

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")


class InvalidExperiment(ValueError):
    """A definition that cannot be run. Names the field, the value and what is allowed."""


class Metric(StrEnum):
    """What a prediction is held to once the truth is known. Each outcome is bounded."""

    CORRECT = "correct"
    """1 where the answer is the label, else 0; higher is better."""
    BRIER = "brier"
    """Squared distance of the probability from the label, 0 to 1; lower is better."""
    ABSOLUTE_ERROR = "absolute_error"
    """Distance of the expected value from the label, 0 to `limit`; lower is better."""
    COVERED = "covered"
    """1 where the label lies within the predicted interval, else 0; higher is better."""

    @property
    def higher_is_better(self) -> bool:
        return self in (Metric.CORRECT, Metric.COVERED)

    @property
    def task(self) -> Task:
        """The products that it fits."""
        classification = self in (Metric.CORRECT, Metric.BRIER)
        return Task.CLASSIFICATION if classification else Task.REGRESSION


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something that somebody did to an experiment."""

    at: datetime
    by: str
    what: str


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """One A/B test of two versions of a product's model.

    Raises:
        InvalidExperiment: at construction, when a field is out of range.
    """

    product: str
    name: str
    """With the product's name it salts the assignment, so no two experiments may share one."""
    champion: str
    challenger: str
    """Numbers of versions in the Model Registry."""
    share: float
    """Percent of the keys that the challenger answers."""
    metric: Metric
    effect: float
    """The smallest gain, in units of the metric, that is worth finding. The analysis looks
    sharpest for it, and gives up once a gain as large is ruled out."""
    alpha: float = 0.05
    """Chance of a wrong verdict, however often the results are looked at."""
    minimum_keys: int = 500
    """Of each arm, with a known truth, before there is a verdict: the analysis rests on a central
    limit theorem."""
    limit: float = 1.0
    """The largest outcome; an absolute error beyond it counts as this."""
    labels_since: datetime | None = None
    """No entity was asked about before, so that older rows need not be read; None: read all."""
    started_at: datetime
    counted_since: datetime
    """When the share was last changed. Rows before are not analysed: with another share at another
    time, a difference between times looks like one between arms (Simpson's paradox)."""
    ended_at: datetime | None = None
    changes: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidExperiment(
                f"name is {self.name!r}; allowed: 1 to 30 lower-case letters, digits and hyphens, "
                "no hyphen at either end"
            )
        if self.champion == self.challenger:
            raise InvalidExperiment(
                f"champion and challenger are both version {self.champion}; allowed: two versions"
            )
        if not 0 < self.share < 100:
            raise InvalidExperiment(
                f"share is {self.share:g}; allowed: percent of the keys, above 0 and below 100"
            )
        if not 0 < self.alpha <= 0.2:
            raise InvalidExperiment(f"alpha is {self.alpha:g}; allowed: above 0, at most 0.2")
        if not self.limit > 0:
            raise InvalidExperiment(f"limit is {self.limit:g}; allowed: above 0")
        if self.metric is not Metric.ABSOLUTE_ERROR and self.limit != 1:
            raise InvalidExperiment(
                f"limit is {self.limit:g}; allowed: 1 with the metric {self.metric}, whose "
                f"outcomes lie between 0 and 1; others with {Metric.ABSOLUTE_ERROR}"
            )
        if not 0 < self.effect < self.limit:
            raise InvalidExperiment(
                f"effect is {self.effect:g}; allowed: above 0 and below the largest outcome, "
                f"{self.limit:g}"
            )
        if self.minimum_keys < 100:
            raise InvalidExperiment(
                f"minimum_keys is {self.minimum_keys}; allowed: at least 100, since the analysis "
                "rests on a central limit theorem"
            )

    @property
    def running(self) -> bool:
        return self.ended_at is None

    def fits(self, product: Product) -> None:
        """Hold the definition to its product.

        Raises:
            InvalidExperiment: the metric is of another task.
        """
        if self.metric.task is not product.task:
            fitting = ", ".join(one for one in Metric if one.task is product.task)
            raise InvalidExperiment(
                f"metric is {self.metric}; allowed for {product.name}, a {product.task}: {fitting}"
            )


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """All experiments of a product: at most one runs."""

    running: Experiment | None = None
    ended: tuple[Experiment, ...] = ()
    """Oldest first."""

    @property
    def latest(self) -> Experiment | None:
        """The one that runs, else the last that did."""
        return self.running or (self.ended[-1] if self.ended else None)
