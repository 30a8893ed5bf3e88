"""What versions of the model say of the replay's months: real rows and labels, their own graphs."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from esteira.demo.drift_scenario import Month
from esteira.paths import STATE
from workloads import metrics
from workloads.artifacts import ArtifactNotFound
from workloads.batch_prediction.answering import Answering
from workloads.batch_prediction.staging import Staging
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
    """The questions of one month, frozen as a snapshot: a second run asks BigQuery nothing."""

    def __init__(self, product: Product, month: Month) -> None:
        self.product = product
        self.month = month

    @cached_property
    def table(self) -> pa.Table:
        """Rows of the feature query, oldest first; the label is null of those that never landed."""
        index = STATE / "demo" / "months" / f"{self.month.name}-{self._key}.json"
        if index.exists():
            frozen = msgspec.json.decode(index.read_bytes(), type=Snapshot)
            try:
                return thaw(frozen.uri, frozen.sha256)
            except ArtifactNotFound:  # of a platform that was destroyed since
                pass
        rows = FeatureQuery(self.product).run(self.month.start, self.month.end)
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_bytes(msgspec.json.encode(freeze(self.product, rows)))
        return rows

    @property
    def _key(self) -> str:
        return hashlib.sha256(FeatureQuery(self.product).text().encode()).hexdigest()[:12]

    @cached_property
    def labelled(self) -> pa.Table:
        """Those that have a label."""
        column = self.table.column(self.product.label.column)
        return self.table.filter(column.is_valid()).combine_chunks()

    @cached_property
    def truth(self) -> NDArray[Any]:
        """The label of each of `labelled`."""
        return labels(self.product, self.labelled)

    @cached_property
    def times(self) -> NDArray[Any]:
        """The moment of each question of `labelled`, as seconds since 1970."""
        column = self.labelled.column(self.product.features.event_time)
        return np.array([one.timestamp() for one in column.to_pylist()])


class Versions:
    """The registry's versions as they answer; each graph is verified and loaded once."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._registry = Registry(product)
        self._loaded: dict[str, tuple[Version, Scorer]] = {}

    def score(self, rows: MonthRows, served: list[tuple[datetime, str]]) -> float:
        """The gate's metric in the month, each question answered by the version that served then.

        Args:
            served: from when on which version did, oldest first.

        Raises:
            NoSuchVersion: the registry has none of that number.
            ModelRefused: it is not the model that was registered.
        """
        values = np.empty(rows.labelled.num_rows)
        for since, version in served:
            later = rows.times >= since.timestamp()
            if later.any():
                # Later versions answer over those before, from their first moment on.
                answers = self._scorer(version)[1].table(rows.labelled.filter(later))
                values[later] = answers.value
        scored = metrics.scored(self._product.task, rows.truth, Answers(values))
        return scored.score(self._product.gate.metric)

    def predict(self, rows: MonthRows, version: str) -> int:
        """Write what a version says of the month into the table of batch predictions; how many.

        As thirty runs of the batch job would, in one: monitors read it from there. Repeatable.

        Raises:
            NoSuchVersion, ModelRefused: as `score` does.
            NoTable, WriteRefused: BigQuery did not take them.
        """
        found, scorer = self._scorer(version)
        manifest = found.manifest()
        month = rows.month
        staging = Staging(self._product, month.start.date(), (0, 1), month.start, month.end)
        try:
            for day, batch in _days(self._product, rows.table):
                answering = Answering(
                    product=self._product,
                    scorer=scorer,
                    threshold=manifest.threshold,
                    version=found.number,
                    run=manifest.run,
                    day=day,
                    predicted_at=month.end,
                )
                staging.write(answering(batch))
            staging.commit()
        finally:
            staging.close()
        staging.remove()
        return rows.table.num_rows

    def _scorer(self, version: str) -> tuple[Version, Scorer]:
        if version not in self._loaded:
            found = self._registry.get(version)
            self._loaded[version] = found, found.scorer(self._product)
        return self._loaded[version]


def _days(product: Product, rows: pa.Table) -> Iterator[tuple[date, pa.RecordBatch]]:
    """The rows day by day, in the product's zone; they are ordered by time."""
    zone = ZoneInfo(product.batch.time_zone)
    times = rows.column(product.features.event_time).to_pylist()
    position = 0
    for day, group in itertools.groupby(one.astimezone(zone).date() for one in times):
        count = sum(1 for _ in group)
        part = rows.slice(position, count).combine_chunks()
        position += count
        yield from ((day, batch) for batch in part.to_batches())
