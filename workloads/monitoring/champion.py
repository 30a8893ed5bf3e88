"""The model that is watched: what it learned from, how it answered, how well it was judged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from workloads import contracts
from workloads.artifacts import Folder
from workloads.manifest import ANSWERS_PROFILE, PROFILE, Manifest
from workloads.metrics import Interval
from workloads.monitoring.estimation import Calibrator, LossEstimator, calibrate
from workloads.monitoring.performance import interval
from workloads.monitoring.reference import Reference, from_profile
from workloads.product import ErrorStream, Product, Task
from workloads.registry import CHAMPION, Registry, Version
from workloads.scoring import Answers, Scorer

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Champion:
    """The version of a product's model that answers, and what lies beside it."""

    product: Product
    version: Version

    @classmethod
    def of(cls, product: Product) -> Champion:
        """The version that serves now.

        Raises:
            NoSuchVersion: no model was released yet.
        """
        return cls(product, Registry(product).get(CHAMPION))

    @cached_property
    def number(self) -> str:
        """In the Model Registry."""
        return self.version.number

    @cached_property
    def manifest(self) -> Manifest:
        """What it is."""
        return self.version.manifest()

    @cached_property
    def features(self) -> Reference:
        """The rows it learned from."""
        return from_profile(_document(self.version.folder, PROFILE))

    @cached_property
    def answers(self) -> Reference:
        """Its answers on the hold-out, and the label there."""
        return from_profile(_document(self.version.folder, ANSWERS_PROFILE))

    @cached_property
    def expected(self) -> float:
        """The gate's metric on the hold-out."""
        return self.manifest.metrics[self.product.gate.metric].value

    @cached_property
    def scorer(self) -> Scorer:
        """The model itself."""
        return self.version.scorer(self.product)

    @cached_property
    def holdout(self) -> tuple[pa.Table, NDArray[Any], Answers]:
        """The frozen rows it was judged by, their labels, and what it said of them."""
        from workloads.training import data

        rows = data.load(self.manifest.holdout)
        return rows, data.labels(self.product, rows).astype(np.float64), self.scorer.table(rows)

    @cached_property
    def parts(self) -> dict[str, Interval]:
        """The gate's metric of each slice of the hold-out, `column=value`; those of too few rows to
        be scored are left out."""
        from workloads.training.evaluation import slices

        rows, truth, answers = self.holdout
        return {
            f"{column}={value}": interval(
                self.product.task, truth[here], answers.where(here), self.product.gate.metric
            )
            for column, value, here in slices(self.product, rows, truth)
        }

    @cached_property
    def calibrator(self) -> Calibrator:
        """Of a classification: how often its probabilities were right on the hold-out.

        Raises:
            NotScorable: the hold-out is too small for it.
        """
        _, truth, answers = self.holdout
        return calibrate(truth, answers.value)

    @cached_property
    def losses(self) -> LossEstimator:
        """Of a regression: how far off it was on the hold-out, by the features.

        Raises:
            NotScorable: the hold-out is too small for it, or the gate's metric cannot be estimated.
        """
        rows, truth, answers = self.holdout
        metric = self.product.gate.metric
        return LossEstimator(columns(self.product, rows), truth, answers.value, metric=metric)

    def errors(self, truth: NDArray[Any], answers: Answers) -> NDArray[np.float64]:
        """The error of each row, from 0, in the stream that the product declares."""
        if self.product.monitoring.error_stream is ErrorStream.WRONG:
            threshold = 0.5 if self.manifest.threshold is None else self.manifest.threshold
            return ((answers.value >= threshold) != (truth > 0.5)).astype(np.float64)
        distance = np.abs(truth - answers.value)
        return distance**2 if self.product.task is Task.CLASSIFICATION else distance


def columns(product: Product, rows: pa.Table) -> dict[str, list[Any]]:
    """The features of rows, as numbers and text."""
    return {
        one.name: [
            None if value is None else str(value).lower() if one.kind == "boolean" else value
            for value in rows.column(one.name).to_pylist()
        ]
        for one in contracts.fields(product.features.request)
    }


def _document(folder: Folder, name: str) -> dict[str, dict[str, Any]]:
    return msgspec.json.decode(folder.read(name), type=dict[str, dict[str, Any]])
