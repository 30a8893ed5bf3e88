"""Whether what a model says of its own certainty is true, and no less true than the champion's."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from workloads import metrics
from workloads.metrics import Bin
from workloads.product import Task
from workloads.scoring import Answers

_BINS = 10


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How far one model's certainty is from the truth."""

    error: float
    """Classification: mean distance of predicted from observed share over the bins. Regression:
    distance of the share of truths within the interval from the share that should be."""
    bins: tuple[Bin, ...]
    """From the lowest prediction to the highest; of a regression, `predicted` is the share that
    should be within, `observed` the share that is."""


def calibration(task: Task, truth: NDArray[Any], answers: Answers) -> Calibration | None:
    """How well a model is calibrated; None for a regression without intervals.

    Args:
        task: of the product.
        truth: the label of each row.
        answers: what was said of the same rows.
    """
    if task is Task.CLASSIFICATION:
        table = metrics.calibration(truth, answers.value, _BINS)
        return Calibration(error=metrics.calibration_error(table), bins=tuple(table))
    if answers.lower is None or answers.upper is None:
        return None
    nominal = answers.interval[1] - answers.interval[0]
    inside = (truth >= answers.lower) & (truth <= answers.upper)
    parts = np.array_split(np.argsort(answers.value, kind="stable"), min(_BINS, truth.size))
    return Calibration(
        error=abs(float(inside.mean()) - nominal),
        bins=tuple(
            Bin(rows=part.size, predicted=nominal, observed=float(inside[part].mean()))
            for part in parts
        ),
    )
