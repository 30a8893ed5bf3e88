"""The declaration of an ML product, from which its topics, tables, pipelines and endpoint follow.

A product is a folder `workloads/products/<name>/` whose `product.py` exports one frozen `PRODUCT`.
The Pulumi program imports this module, so it stays cheap: no pandas, no scikit-learn, no Beam.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from workloads import contracts
from workloads.declaration import (
    METRICS,
    Arrival,
    BatchPrediction,
    ErrorStream,
    Fairness,
    Features,
    Gate,
    InvalidProduct,
    Label,
    Monitoring,
    Parity,
    Retraining,
    Serving,
    Source,
    Task,
)
from workloads.release.policy import ReleasePolicy
from workloads.retraining.cron import InvalidCron, longest_gap

__all__ = [
    "METRICS",
    "Arrival",
    "BatchPrediction",
    "ErrorStream",
    "Fairness",
    "Features",
    "Gate",
    "InvalidProduct",
    "Label",
    "Monitoring",
    "Parity",
    "Product",
    "ReleasePolicy",
    "Retraining",
    "Serving",
    "Source",
    "Task",
    "base_of",
    "load",
    "names",
]

_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,28}[a-z0-9])?")
_LEAST_RERUNS: Final = 3
_SPARSEST: Final = timedelta(days=6)
"""Between runs of the monitors; the stack's alerts on them close after 7 days without a verdict."""
_ANSWERED: Final = frozenset({"probability", "lower", "upper", "model"})


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
        if self.features.base is not None and (
            self.features.base == self.name or not _NAME.fullmatch(self.features.base)
        ):
            raise InvalidProduct(
                f"{self.name}: features.base is {self.features.base!r}; allowed: the name of "
                "another product, or None"
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
        if self.gate.reruns != 0 and self.gate.reruns < _LEAST_RERUNS:
            raise InvalidProduct(
                f"{self.name}: gate.reruns is {self.gate.reruns}; allowed: 0, or at least "
                f"{_LEAST_RERUNS}, since fewer say little of a spread"
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
                "schedule",
                _gap(self.name, ours.schedule) > _SPARSEST,
                f"a run at least every {_SPARSEST.days} days: alarms are closed after 7 without",
            ),
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


def _gap(name: str, schedule: str) -> timedelta:
    try:
        return longest_gap(schedule)
    except InvalidCron as error:
        raise InvalidProduct(f"{name}: monitoring: {error}") from None


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
    _based(product)
    return product


def base_of(product: Product) -> Product | None:
    """The product on whose feature query another builds; None: it builds on none."""
    name = product.features.base
    return None if name is None else _declared(name)


def _based(product: Product) -> None:
    """Refuse a base that is not there, builds on itself, or reads what the product does not."""
    chain = [product.name]
    upper = product
    while (name := upper.features.base) is not None:
        others = [one for one in names() if one not in chain]
        if name not in others:
            what = "builds on it in turn" if name in chain else "is none"
            raise InvalidProduct(
                f"{upper.name}: features.base is {name!r}, which {what}; allowed: "
                f"{' or '.join(others) or 'nothing, since there is no other product'}"
            )
        base = _declared(name)
        ours = {(one.contract, product.raw(one)) for one in product.sources}
        if lacking := [
            one.contract for one in base.sources if (one.contract, base.raw(one)) not in ours
        ]:
            raise InvalidProduct(
                f"{product.name}: the features of {name} read {lacking[0].PLURAL}, which sources "
                "does not name; add it as shared, so that its raw table may be read"
            )
        chain.append(name)
        upper = base


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
