"""How good a version of the model is in a month of the replay: real labels, its own graph."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from esteira.demo.drift_scenario import Month
from esteira.paths import STATE
from workloads import metrics
from workloads.artifacts import ArtifactNotFound
from workloads.features.query import FeatureQuery
from workloads.features.snapshot import Snapshot, freeze, thaw
from workloads.product import Product
from workloads.registry import Registry, Version
from workloads.scoring import Answers, Scorer
from workloads.training.data import labels

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


class MonthRows:
    """The questions of one month that have a label, frozen as a snapshot.

    A second run of the demonstration finds the snapshot and asks nothing.
    """

    def __init__(self, product: Product, month: Month) -> None:
        self.product = product
        self.month = month

    @cached_property
    def table(self) -> pa.Table:
        """Rows of the feature query, oldest first."""
        index = STATE / "demo" / "months" / f"{self.month.name}-{self._key}.json"
        if index.exists():
            frozen = msgspec.json.decode(index.read_bytes(), type=Snapshot)
            try:
                return thaw(frozen.uri, frozen.sha256)
            except ArtifactNotFound:  # of a platform that was destroyed since
                pass
        rows = FeatureQuery(self.product).run(self.month.start, self.month.end)
        known = rows.filter(rows.column(self.product.label.column).is_valid()).combine_chunks()
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_bytes(msgspec.json.encode(freeze(self.product, known)))
        return known

    @property
    def _key(self) -> str:
        return hashlib.sha256(FeatureQuery(self.product).text().encode()).hexdigest()[:12]

    @cached_property
    def truth(self) -> NDArray[Any]:
        """The label of each row."""
        return labels(self.product, self.table)


class Scores:
    """Scores versions of the registry on months by the gate's metric."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._registry = Registry(product)
        self._scorers: dict[str, tuple[Version, Scorer]] = {}
        self._answers: dict[tuple[str, str], Answers] = {}

    def answers(self, rows: MonthRows, version: str) -> Answers:
        """What the version says of the month.

        Raises:
            NoSuchVersion: the registry has none of that number.
            ModelRefused: it is not the model that was registered.
        """
        key = (rows.month.name, version)
        if key not in self._answers:
            self._answers[key] = self.scorer(version)[1].table(rows.table)
        return self._answers[key]

    def score(self, rows: MonthRows, version: str) -> float:
        """The gate's metric of the version in the month."""
        scored = metrics.scored(self._product.task, rows.truth, self.answers(rows, version))
        return scored.score(self._product.gate.metric)

    def scorer(self, version: str) -> tuple[Version, Scorer]:
        """The version and its verified graph, loaded once."""
        if version not in self._scorers:
            found = self._registry.get(version)
            self._scorers[version] = found, found.scorer(self._product)
        return self._scorers[version]
