"""Bootstrap samples of rows that follow one another in time.

Rows of one hour share its weather and its jams: a model that does well on one of them does well on
all. Drawn one by one they would pass for so many witnesses. Drawn in blocks of time they do not
(Carlstein, "The Use of Subseries Values for Estimating the Variance of a General Statistic from a
Stationary Sequence", Annals of Statistics 14(3), 1986).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workloads.product import Task

BLOCKS: Final = 12
"""In one hold-out. Boosted trees of twelve seeds, each held against each on 2,405 real flights of
three days: drawn row by row 23 % of the challengers passed for better, in 12 blocks 8 %; of 20 or
40 blocks more pass, and fewer leave too few ways to draw them (two cores, 21 November 2026)."""
WIDENING: Final = 1.14
"""How much wider than its draws a figure really lies: twelve blocks show too little of the spread
(a factor of sqrt(12/11)), and know it as badly as Student's t with 11 degrees of freedom says
(1.796 against 1.645, at 95 %)."""


def block_resamples(
    truth: NDArray[Any], count: int, seed: int = 0, task: Task = Task.CLASSIFICATION
) -> Iterator[NDArray[np.float64]]:
    """Samples of blocks with replacement, as row weights.

    Those of a classification that would miss a class are drawn again.

    Args:
        truth: the label of each row, in the order of time; more rows than blocks.
        count: how many samples.
        seed: the draw is repeatable.
        task: of the product.
    """
    generator = np.random.default_rng(seed)
    block = np.arange(truth.size) * BLOCKS // truth.size
    made = 0
    while made < count:
        drawn = np.bincount(generator.integers(0, BLOCKS, BLOCKS), minlength=BLOCKS)
        weights = drawn.astype(np.float64)[block]
        if task is not Task.CLASSIFICATION or 0 < float(weights @ truth) < weights.sum():
            made += 1
            yield weights
