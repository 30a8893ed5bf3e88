"""Bounds of a regression that hold the truth as often as they promise.

Quantile regression promises nothing for rows it was not fitted on. Conformalized quantile
regression (Romano, Patterson and Candès, NeurIPS 2019) keeps some rows from it, looks how far their
truths lie outside of the bounds, and moves both bounds by what would have let in the right share of
them. Here these are the last of the training rows: what is asked next comes after them. The promise
is for rows that are like them; where time has changed more than that, coverage tells.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workloads.training.regression import IntervalRegressor

SHARE: Final = 0.1
"""Of the training rows that are kept for calibration."""


class TooFewRows(ValueError):
    """So few rows that no margin of theirs lets in the share that is promised."""


def cut(rows: int, share: float = SHARE) -> int:
    """How many rows, the first ones, the bounds may be fitted on; the others calibrate them.

    Args:
        rows: of training, which are in order of event time.
        share: to calibrate on.
    """
    return rows - math.ceil(rows * share)


def calibrated(
    fitted: IntervalRegressor, rows: Any, truth: NDArray[Any], interval: tuple[float, float]
) -> IntervalRegressor:
    """The same regressors with a margin on both bounds, negative where they are too wide.

    Args:
        fitted: its bounds have not seen these rows; its value may have: it promises no share.
        rows: to calibrate on, as regressors take them.
        truth: the number for each of them.
        interval: the quantiles of the bounds.

    Raises:
        TooFewRows: there are fewer than the promise needs.
    """
    truth = np.asarray(truth, dtype=np.float64)
    # How far outside of its bounds each truth lies; of one within, less than 0.
    outside = np.maximum(fitted.lower.predict(rows) - truth, truth - fitted.upper.predict(rows))
    promised = interval[1] - interval[0]
    # Rounded, since 0.9 - 0.1 is a little more than 0.8.
    rank = math.ceil(round((truth.size + 1) * promised, 9))
    if rank > truth.size:
        raise TooFewRows(
            f"{truth.size} rows to calibrate an interval of {promised:.0%} on; allowed: at least "
            f"{math.ceil(round(promised / (1 - promised), 9))}"
        )
    # What 32 bits hold, as the graph has it.
    margin = float(np.float32(np.sort(outside)[rank - 1]))
    return dataclasses.replace(fitted, margin=margin, calibration_rows=truth.size)
