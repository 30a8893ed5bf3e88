"""The parts of a product's declaration: what it takes in, answers, promises and watches.

The Pulumi program imports them, so they stay cheap, as `workloads/product.py` does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from workloads.contracts import Contract
from workloads.release.policy import ServingTarget


class InvalidProduct(ValueError):
    """A declaration that cannot be deployed. Names the field, the value and what is allowed."""


class Task(StrEnum):
    """What the model answers."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


METRICS: Final[dict[Task, dict[str, bool]]] = {
    Task.CLASSIFICATION: {"roc_auc": True, "pr_auc": True, "log_loss": False, "brier": False},
    Task.REGRESSION: {"mae": False, "rmse": False, "pinball": False, "coverage_error": False},
}
"""The scores of each task and whether a higher one is better; `workloads.metrics` computes them."""


class Arrival(StrEnum):
    """How rows of a contract reach the platform."""

    STREAM = "stream"
    """Events through Pub/Sub; files of history are taken too."""
    FILES = "files"
    """Files in the landing bucket only."""
    SHARED = "shared"
    """Another product takes them in; its raw table is read where it is."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One contract that the product reads, and how its rows arrive."""

    contract: type[Contract]
    arrival: Arrival
    owner: str | None = None
    """The product that takes a SHARED contract in; None for every other arrival."""
    allowed_lateness: timedelta = timedelta(hours=1)
    """An event that reaches the stream this much after it happened is too late, and set aside."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """What the model predicts."""

    column: str
    """The column of the feature query that holds the truth; null while it is not known."""
    maturity: timedelta
    """After this long, a label that has not come will not come."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """What the model knows when it is asked.

    `sql` is a GoogleSQL query over the raw tables. It yields `entity`, `event_time`, one column for
    each field of `request`, and the label; nothing in a row may be later than its event time.
    """

    sql: Path
    entity: str
    event_time: str
    request: type[Contract]
    base: str | None = None
    """The product on whose feature query this one builds. `{base}` in `sql` stands for its rows of
    the same range: its entity, event time, features and label."""
    fresh_for: timedelta | None = None
    """Features older than this are told as stale by the online store; None: they never are."""


class Parity(StrEnum):
    """What is compared between groups."""

    RATE = "rate"
    """Share of rows that are answered yes."""
    TPR = "tpr"
    """Of the rows whose label is true, the share that is answered yes."""
    FPR = "fpr"
    """Of the rows whose label is false, the share that is answered yes."""
    ERROR = "error"
    """Mean absolute error of a regression, in the label's unit."""
    BIAS = "bias"
    """Mean error of a regression, positive where it predicts too much, in the label's unit."""

    @property
    def classification(self) -> bool:
        """Whether it is of a classification; else of a regression."""
        return self in (Parity.RATE, Parity.TPR, Parity.FPR)


@dataclass(frozen=True, kw_only=True)
class Fairness:
    """Groups that no model may treat too differently, the first one neither."""

    column: str
    """Of the feature query; each of its values is a group."""
    maximum_difference: float
    """Between the groups with the highest and the lowest figure."""
    of: Parity = Parity.RATE


@dataclass(frozen=True, kw_only=True)
class Gate:
    """When a challenger may replace the champion, judged on one frozen hold-out."""

    metric: str
    floor: float
    """The least that any model must reach, the first one too."""
    minimum_gain: float
    """How much better than the champion a challenger must be."""
    confidence: float = 0.95
    """How sure, by paired bootstrap, that the challenger gains at least `minimum_gain`."""
    reruns: int = 0
    """How often each training is repeated with another seed, to learn how far a seed alone moves
    the metric; the confidence then counts that too. 0: a training function whose seed moves
    nothing."""
    slices: tuple[str, ...] = ()
    """Columns whose groups are scored one by one."""
    slice_tolerance: float = 0.02
    """How much worse than the champion any one slice may be."""
    calibration_tolerance: float = 0.02
    """How much larger than the champion's the calibration error may be; of a regression, the error
    of its intervals' coverage. Both are shares."""
    fairness: Fairness | None = None
    single_feature_limit: float | None = None
    """The most that one feature alone may score (ROC-AUC; of a regression R²) before it is taken
    for a leak; None: as `workloads.gate.leaks` says. Raise it for a feature that is that good."""
    suspicious_score: float | None = None
    """The most that a whole model may score before it is taken for one that has been told."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How the endpoint answers."""

    target: ServingTarget = ServingTarget.VERTEX
    machine_type: str = "n1-standard-2"
    min_replicas: int = 1
    max_replicas: int = 3
    max_rows: int = 1000
    """Rows in one request."""

    def within(self, replicas: int | None) -> Serving:
        """The same with no more replicas than a stack allows, if it says how many."""
        if replicas is None:
            return self
        return dataclasses.replace(
            self,
            min_replicas=min(self.min_replicas, replicas),
            max_replicas=min(self.max_replicas, replicas),
        )


@dataclass(frozen=True, kw_only=True)
class BatchPrediction:
    """When, and by how many tasks, everything of a day is predicted."""

    schedule: str
    """Cron, in `time_zone`."""
    time_zone: str = "Etc/UTC"
    tasks: int = 2
    publish_to_database: bool = False
    """Whether rows go into the stack's PostgreSQL too, for BI tools; docs/bi.md."""


@dataclass(frozen=True, kw_only=True)
class Retraining:
    """When a new challenger is trained on its own account, and on which rows; docs/retraining.md.

    A run that starts now learns from all rows of `history` but the last `holdout`, by which it is
    judged.
    """

    schedule: str
    """Cron, in `time_zone`."""
    time_zone: str = "Etc/UTC"
    history: timedelta = timedelta(days=730)
    """How far back it looks."""
    holdout: timedelta = timedelta(days=14)
    on_drift: bool = True
    """Whether the monitor of drift may ask for a run."""
    on_performance: bool = True
    """Whether the monitor of performance may."""
    on_new_file: bool = False
    """Whether rows of a file that was taken in may: of the sources that come in files only."""
    minimum_new_rows: int | None = None
    """Rows with a label, later than what the champion has learned from, that ask for a run; None:
    however many there are."""
    debounce: timedelta = timedelta(hours=1)
    """What is asked for within this long of the first request is one run."""
    cool_down: timedelta = timedelta(days=7)
    """The least between the starts of two runs that no person asked for."""
    max_cool_down: timedelta = timedelta(days=56)
    """It doubles with each run that is not released, up to this; a release sets it back."""
    budget_per_month: int = 4
    """Runs that start in one calendar month of `time_zone`, of those that no person asked for."""


class ErrorStream(StrEnum):
    """What is taken for the error of one answer, where a change of errors is looked for."""

    LOSS = "loss"
    """The squared distance of probability and label; of a regression the absolute error."""
    WRONG = "wrong"
    """Whether the answer was not what came; of a classification."""


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """How a product's data and models are watched, and from where on a difference matters."""

    schedule: str = "0 5 * * *"
    """Cron, in `time_zone`, no two runs more than six days apart. A window that was measured is
    measured again while labels come."""
    time_zone: str = "Etc/UTC"
    window: timedelta = timedelta(days=7)
    """Whole days. A week holds each weekday once, so that weekends are no drift."""
    least: int = 2
    of: int = 3
    """An alarm is raised when a breach is found in `least` of the last `of` windows, and in the
    newest."""
    drift: Mapping[str, float] = dataclasses.field(default_factory=dict[str, float])
    prediction_drift: Mapping[str, float] = dataclasses.field(default_factory=dict[str, float])
    skew: Mapping[str, float] = dataclasses.field(default_factory=dict[str, float])
    """Thresholds by statistic, of each kind, beside those of `workloads.monitoring.assessment`."""
    features: Mapping[str, Mapping[str, float]] = dataclasses.field(
        default_factory=dict[str, Mapping[str, float]]
    )
    """By feature and statistic, before those of drift and of skew."""
    significance: float = 0.001
    """How likely, at most, a window in which nothing has changed has any breach at all."""
    least_rows: int = 100
    """A window with fewer is unknown."""
    performance_tolerance: float = 0.03
    """How much worse than on the hold-out the gate's metric may be, in its unit, chance aside."""
    error_stream: ErrorStream = ErrorStream.LOSS
    error_growth: float = 0.1
    """By which share of what it was on the hold-out the mean error may grow."""
    stale_after: timedelta = timedelta(days=2)
    """A table to which nothing has come for longer is told of in the report, and by an alert."""
    slices: tuple[str, ...] = ()
    """Fields of the request, text, whose values are held against themselves one by one."""
