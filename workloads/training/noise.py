"""How far a training moves by its seed alone: what a gain has to exceed to be one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.manifest import Noise
from workloads.metrics import scored
from workloads.product import Product, Task
from workloads.scoring import Answers
from workloads.training import fitting
from workloads.training.data import frame, labels

if TYPE_CHECKING:
    import pyarrow as pa


def measured(product: Product, training: pa.Table, holdout: pa.Table, own: float) -> Noise | None:
    """Train again as often as the product's gate says, with other seeds, and compare the scores.

    Args:
        product: the declaration.
        training, holdout: labelled rows.
        own: what the model itself scores by the gate's metric on the hold-out.

    Returns:
        None where the product has no reruns made.

    Raises:
        InvalidFit: as training does.
    """
    if product.gate.reruns == 0:
        return None
    rows, truth = frame(product, training), labels(product, training)
    unseen, came = frame(product, holdout), labels(product, holdout)
    scores = [own]
    for seed in range(1, product.gate.reruns + 1):
        fitted = fitting.fit(product, rows, truth, seed=seed)
        answers = answered(product, fitted, unseen)
        scores.append(scored(product.task, came, answers).score(product.gate.metric))
    return spread(scores)


def spread(scores: Sequence[float]) -> Noise:
    """What the scores of trainings that differ by their seed say of it, at least two of them."""
    return Noise(reruns=len(scores) - 1, deviation=float(np.std(scores, ddof=1)))


def answered(product: Product, fitted: Any, rows: Any) -> Answers:
    """What a fitted model says, without the way through a graph."""
    if product.task is Task.CLASSIFICATION:
        return Answers(fitted.predict_proba(rows)[:, 1])
    value, lower, upper = fitted.predict(rows).T
    return Answers(value, lower, upper, product.interval)
