"""The declaration of an ML product, from which its topics, tables, pipelines and endpoint follow.

A product is a folder `workloads/products/<name>/` whose `product.py` exports one frozen `PRODUCT`.
The Pulumi program imports this module, so it stays cheap: no pandas, no scikit-learn, no Beam.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

from workloads import contracts
from workloads.contracts import Contract
from workloads.release.policy import ReleasePolicy, ServingTarget

_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")


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
_ANSWERED: Final = frozenset({"probability", "lower", "upper", "model"})


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
    """Cron, in `time_zone`. A window that was measured is measured again while labels come."""
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
    """A table to which nothing has come for longer is told of in the report."""
    slices: tuple[str, ...] = ()
    """Fields of the request, text, whose values are held against themselves one by one."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """One ML product.

    Raises:
        InvalidProduct: at construction, when a field does not fit the others.
    """

    name: str
    """Lower-case letters, digits and hyphens, at most 30 characters; it names the resources."""
    owner: str
    """The team that answers for it; a label, so lower case."""
    cost_center: str
    title: str
    task: Task
    sources: tuple[Source, ...]
    features: Features
    label: Label
    interval: tuple[float, float] = (0.1, 0.9)
    """The quantiles between which a regression says the truth lies. No meaning otherwise."""
    train: str
    """The training function, `module:name`, imported only where training runs."""
    gate: Gate
    serving: Serving = Serving()
    release: ReleasePolicy = ReleasePolicy()
    batch: BatchPrediction
    retraining: Retraining | None = None
    """None: it is trained by hand only."""
    monitoring: Monitoring = Monitoring()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidProduct(
                f"name is {self.name!r}; allowed: lower-case letters, digits and hyphens, "
                "starting with a letter, at most 30 characters"
            )
        for field in ("owner", "cost_center"):
            if not re.fullmatch(r"[a-z0-9_-]{1,63}", value := getattr(self, field)):
                raise InvalidProduct(
                    f"{self.name}: {field} is {value!r}; allowed: a label value, lower-case "
                    "letters, digits, `-` and `_`, at most 63 characters"
                )
        if not self.features.sql.is_file():
            raise InvalidProduct(
                f"{self.name}: features.sql is {self.features.sql}, which is no file"
            )
        if self.features.fresh_for is not None and self.features.fresh_for <= timedelta(0):
            raise InvalidProduct(
                f"{self.name}: features.fresh_for is {self.features.fresh_for}; allowed: above 0, "
                "or None"
            )
        if ":" not in self.train:
            raise InvalidProduct(
                f"{self.name}: train is {self.train!r}; allowed: `module:function`"
            )
        if type(self.task) is not Task:
            raise InvalidProduct(
                f"{self.name}: task is {self.task!r}; allowed: {', '.join(map(str, Task))} of "
                "workloads.product.Task"
            )
        if self.gate.metric not in METRICS[self.task]:
            raise InvalidProduct(
                f"{self.name}: gate.metric is {self.gate.metric!r}; allowed for "
                f"{self.task.value}: {', '.join(sorted(METRICS[self.task]))}"
            )
        if self.label.column in _ANSWERED:
            raise InvalidProduct(
                f"{self.name}: label.column is {self.label.column!r}, which an answer of the "
                f"endpoint has already; allowed: any name but {', '.join(sorted(_ANSWERED))}"
            )
        if not 0 < self.interval[0] < 0.5 < self.interval[1] < 1:
            raise InvalidProduct(
                f"{self.name}: interval is {self.interval}; allowed: two quantiles, one between 0 "
                "and 0.5 and one between 0.5 and 1, bounds excluded"
            )
        if not 0.5 < self.gate.confidence < 1:
            raise InvalidProduct(
                f"{self.name}: gate.confidence is {self.gate.confidence}; allowed: 0.5 to 1, "
                "both excluded"
            )
        for field in ("slice_tolerance", "calibration_tolerance"):
            if (value := getattr(self.gate, field)) < 0:
                raise InvalidProduct(f"{self.name}: gate.{field} is {value}; allowed: 0 or more")
        self._check_fairness()
        self._check_monitoring()
        if not 0 < self.serving.min_replicas <= self.serving.max_replicas:
            raise InvalidProduct(
                f"{self.name}: serving.min_replicas is {self.serving.min_replicas}; allowed: 1 to "
                f"max_replicas ({self.serving.max_replicas})"
            )
        if self.retraining is not None and not (
            timedelta(0) < self.retraining.holdout < self.retraining.history
        ):
            raise InvalidProduct(
                f"{self.name}: retraining.holdout is {self.retraining.holdout}; allowed: above 0, "
                f"below retraining.history ({self.retraining.history})"
            )
        self._check_retraining()
        for source in self.sources:
            contract = source.contract
            contracts.fields(contract)
            if contract.IDENTITY is None or contract.EVENT_TIME is None:
                raise InvalidProduct(
                    f"{self.name}: contract {contract.NAME} needs IDENTITY and EVENT_TIME to be "
                    "ingested"
                )
            if (source.arrival is Arrival.SHARED) != (source.owner is not None):
                raise InvalidProduct(
                    f"{self.name}: source {contract.NAME} is {source.arrival.value} and has owner "
                    f"{source.owner!r}; allowed: an owner for {Arrival.SHARED.value}, and for "
                    "nothing else"
                )
            if source.owner == self.name or (
                source.owner is not None and not _NAME.fullmatch(source.owner)
            ):
                raise InvalidProduct(
                    f"{self.name}: source {contract.NAME} has owner {source.owner!r}; allowed: the "
                    "name of another product"
                )
        names = [source.contract.NAME for source in self.sources]
        if len(set(names)) != len(names):
            raise InvalidProduct(f"{self.name}: sources name a contract twice: {names}")
        contracts.fields(self.features.request)

    def _check_retraining(self) -> None:
        plan = self.retraining
        if plan is None:
            return
        if plan.debounce < timedelta(0):
            raise InvalidProduct(
                f"{self.name}: retraining.debounce is {plan.debounce}; allowed: 0 or more"
            )
        if not timedelta(0) <= plan.cool_down <= plan.max_cool_down:
            raise InvalidProduct(
                f"{self.name}: retraining.cool_down is {plan.cool_down}; allowed: 0 to "
                f"retraining.max_cool_down ({plan.max_cool_down})"
            )
        for field in ("budget_per_month", "minimum_new_rows"):
            value = getattr(plan, field)
            if value is not None and value < 1:
                raise InvalidProduct(
                    f"{self.name}: retraining.{field} is {value}; allowed: 1 or more"
                )

    def _check_fairness(self) -> None:
        fairness = self.gate.fairness
        if fairness is None:
            return
        if fairness.of.classification != (self.task is Task.CLASSIFICATION):
            fitting = [one for one in Parity if one.classification != fairness.of.classification]
            raise InvalidProduct(
                f"{self.name}: gate.fairness.of is {fairness.of.value!r}; allowed for "
                f"{self.task.value}: {', '.join(fitting)}"
            )
        columns = (self.features.entity, *self.features.request.__struct_fields__)
        if fairness.column not in columns:
            raise InvalidProduct(
                f"{self.name}: gate.fairness.column is {fairness.column!r}; allowed: a column of "
                f"the feature query, {', '.join(columns)}"
            )
        if fairness.maximum_difference <= 0:
            raise InvalidProduct(
                f"{self.name}: gate.fairness.maximum_difference is {fairness.maximum_difference}; "
                "allowed: above 0"
            )

    def _check_monitoring(self) -> None:
        ours = self.monitoring
        fields = self.features.request.__struct_fields__
        faults = (
            (
                "window",
                ours.window < timedelta(days=1) or ours.window % timedelta(days=1) != timedelta(0),
                "whole days, at least one",
            ),
            ("least", not 1 <= ours.least <= ours.of, f"1 to monitoring.of ({ours.of})"),
            ("significance", not 0 < ours.significance < 1, "above 0, below 1"),
            ("least_rows", ours.least_rows < 1, "1 or more"),
            ("performance_tolerance", ours.performance_tolerance < 0, "0 or more"),
            ("error_growth", ours.error_growth < 0, "0 or more"),
            ("stale_after", ours.stale_after <= timedelta(0), "above 0"),
            (
                "error_stream",
                self.task is Task.REGRESSION and ours.error_stream is ErrorStream.WRONG,
                f"{ErrorStream.LOSS.value} of a regression",
            ),
            (
                "slices",
                not set(ours.slices) <= set(fields),
                f"fields of the request, {', '.join(fields)}",
            ),
            (
                "features",
                not set(ours.features) <= set(fields),
                f"fields of the request, {', '.join(fields)}",
            ),
        )
        for name, wrong, allowed in faults:
            if wrong:
                raise InvalidProduct(
                    f"{self.name}: monitoring.{name} is {getattr(ours, name)}; allowed: {allowed}"
                )

    @property
    def id(self) -> str:
        """The name as BigQuery and Python spell it, with underscores."""
        return self.name.replace("-", "_")

    @property
    def streams(self) -> tuple[Source, ...]:
        """The sources that come through Pub/Sub."""
        return tuple(one for one in self.sources if one.arrival is Arrival.STREAM)

    @property
    def own(self) -> tuple[Source, ...]:
        """The sources that this product takes in itself: all that are not shared."""
        return tuple(one for one in self.sources if one.arrival is not Arrival.SHARED)

    @property
    def owners(self) -> tuple[str, ...]:
        """The products whose raw tables this one reads, each once, in the order of the sources."""
        return tuple(dict.fromkeys(one.owner for one in self.sources if one.owner is not None))

    def raw(self, source: Source) -> str:
        """The id of the dataset that holds the raw table of a source."""
        return f"{self.id if source.owner is None else source.owner.replace('-', '_')}_raw"

    def source(self, contract: str) -> Source:
        """The source of a contract that this product takes in, by its name.

        Raises:
            InvalidProduct: there is none; the message lists those there are.
        """
        for one in self.sources:
            if contract in (one.contract.NAME, one.contract.PLURAL):
                if one.owner is None:
                    return one
                raise InvalidProduct(
                    f"{self.name} takes in no {contract!r}: {one.owner} does; name that product"
                )
        known = ", ".join(one.contract.PLURAL for one in self.own) or "nothing of its own"
        raise InvalidProduct(f"{self.name} takes in no {contract!r}; it takes in {known}")


def names() -> list[str]:
    """The names of all products that this checkout declares."""
    from workloads import products

    return sorted(one.name.replace("_", "-") for one in pkgutil.iter_modules(products.__path__))


def load(name: str) -> Product:
    """The product of a name.

    Raises:
        InvalidProduct: no folder declares it, its declaration does not fit its folder, or a
            product that it reads from does not take in what it reads.
    """
    if name not in names():
        raise InvalidProduct(f"no product {name!r}; there are: {', '.join(names()) or 'none'}")
    product = _declared(name)
    for source in product.sources:
        if source.owner is not None:
            _owned(product, source, source.owner)
    return product


def _owned(product: Product, source: Source, owner: str) -> None:
    wanted = source.contract
    others = [one for one in names() if one != product.name]
    if owner not in others:
        raise InvalidProduct(
            f"{product.name}: source {wanted.NAME} has owner {owner!r}; allowed: "
            f"{' or '.join(others) or 'nothing, since there is no other product'}"
        )
    taken = [one.contract for one in _declared(owner).own]
    if wanted not in taken:
        raise InvalidProduct(
            f"{product.name}: {owner} takes in no {wanted.NAME} v{wanted.VERSION} "
            f"({wanted.__module__}); allowed: the contracts it takes in itself, imported from it: "
            f"{', '.join(one.__name__ for one in taken) or 'none'}"
        )


def _declared(name: str) -> Product:
    module = importlib.import_module(f"workloads.products.{name.replace('-', '_')}.product")
    product: Product = module.PRODUCT
    if product.name != name:
        raise InvalidProduct(
            f"{module.__name__} declares {product.name!r}; it must be {name!r}, as its folder"
        )
    return product
