"""How far two distributions lie apart, from histograms over the same cells or from samples.

Of two histograms, counts or shares alike: each is divided by its sum. The tests hold every score to
SciPy's within 1e-9.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

PSI_FLOOR: Final = 1e-4
"""The least share that PSI counts a cell with: it is infinite where a cell is empty on one side.
Evidently puts the same number there."""


class NotComparable(ValueError):
    """Distributions that have no distance: one is empty, or their cells differ."""


def jensen_shannon(reference: ArrayLike, window: ArrayLike) -> float:
    """Jensen-Shannon divergence in bits, 0 (alike) to 1 (nothing in common).

    As Vertex AI Model Monitoring scores numbers: the divergence to base 2, without a root
    (`JensenShannonDivergence` in metrics.cc of TensorFlow Data Validation, on which it builds). The
    Jensen-Shannon *distance* of SciPy is the root of it.

    Raises:
        NotComparable: as for all scores of histograms.
    """
    p, q = _shares(reference, window)
    middle = (p + q) / 2
    return float(
        min(1.0, max(0.0, (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2))
    )


def l_infinity(reference: ArrayLike, window: ArrayLike) -> float:
    """The largest difference of a share, 0 to 1: as Vertex AI Model Monitoring scores categories.

    Raises:
        NotComparable: as for all scores of histograms.
    """
    p, q = _shares(reference, window)
    return float(np.abs(p - q).max())


def psi(reference: ArrayLike, window: ArrayLike) -> float:
    """Population stability index, in nats; no upper bound. Empty cells count `PSI_FLOOR`.

    Raises:
        NotComparable: as for all scores of histograms.
    """
    p, q = _shares(reference, window)
    seen = (p > 0) | (q > 0)
    p, q = np.where(p > 0, p, PSI_FLOOR)[seen], np.where(q > 0, q, PSI_FLOOR)[seen]
    return float(((q - p) * np.log(q / p)).sum())


def kolmogorov_smirnov(reference: ArrayLike, window: ArrayLike) -> float:
    """The largest difference of the distribution functions at the ends of cells, 0 to 1.

    Never above that of the samples themselves, which may differ more inside a cell.

    Raises:
        NotComparable: as for all scores of histograms.
    """
    p, q = _shares(reference, window)
    return float(np.abs(np.cumsum(p - q)).max())


def wasserstein(edges: ArrayLike, reference: ArrayLike, window: ArrayLike) -> float:
    """The first Wasserstein distance, in the feature's unit, of values spread evenly over bins.

    Args:
        edges: `n` bounds of bins, rising.
        reference, window: `n + 1` cells: below the first edge, the bins, above the last. What lies
            outside counts as if it lay at the edge, so that one absurd reading cannot drown the
            rest; the share out of range has a score of its own.

    Raises:
        NotComparable: as for all scores of histograms.
    """
    p, q = _shares(reference, window)
    bounds, scale = _scaled(edges)
    if bounds.size + 1 != p.size:
        raise NotComparable(
            f"{bounds.size} edges and {p.size} cells; allowed: one cell more than edges"
        )
    if bounds.size < 2:
        return 0.0
    # The difference of the distribution functions at each edge; a line in between.
    difference = np.cumsum(p - q)[:-1]
    left, right, width = difference[:-1], difference[1:], np.diff(bounds)
    height = np.abs(left) + np.abs(right)
    # Two triangles where it crosses zero inside a bin, a trapezium elsewhere.
    crossed = np.divide(left**2 + right**2, height, out=np.zeros_like(height), where=height > 0)
    return scale * float((width * np.where(left * right < 0, crossed, height) / 2).sum())


def spread(edges: ArrayLike, counts: ArrayLike) -> float:
    """The standard deviation of values spread evenly over bins, those outside at the edge.

    Args:
        edges, counts: as for `wasserstein`.
    """
    bounds, scale = _scaled(edges)
    weights = np.asarray(counts, dtype=np.float64)
    if bounds.size < 2 or weights.sum() == 0:
        return 0.0
    weights = weights / weights.sum()
    left, right = np.r_[bounds[0], bounds], np.r_[bounds, bounds[-1]]
    centre = bounds[0] / 2 + bounds[-1] / 2
    left, right = left - centre, right - centre
    mean = float(weights @ (left + right)) / 2
    square = float(weights @ (left**2 + left * right + right**2)) / 3
    return scale * float(np.sqrt(max(0.0, square - mean**2)))


def kolmogorov_smirnov_of_samples(reference: ArrayLike, window: ArrayLike) -> float:
    """The largest difference of the distribution functions of two samples, exact.

    Raises:
        NotComparable: a sample is empty.
    """
    first, second = _samples(reference, window)
    points = np.concatenate([first, second])
    return float(np.abs(_distribution(first, points) - _distribution(second, points)).max())


def wasserstein_of_samples(reference: ArrayLike, window: ArrayLike) -> float:
    """The first Wasserstein distance of two samples, in their unit, exact.

    Raises:
        NotComparable: a sample is empty.
    """
    first, second = _samples(reference, window)
    points = np.sort(np.concatenate([first, second]))
    difference = _distribution(first, points[:-1]) - _distribution(second, points[:-1])
    return float(np.abs(difference) @ np.diff(points))


def _distribution(ordered: Floats, points: Floats) -> Floats:
    return np.searchsorted(ordered, points, side="right") / ordered.size


def _samples(reference: ArrayLike, window: ArrayLike) -> tuple[Floats, Floats]:
    first, second = (np.sort(np.asarray(one, dtype=np.float64)) for one in (reference, window))
    if first.size == 0 or second.size == 0:
        raise NotComparable(f"{first.size} and {second.size} values; allowed: at least one each")
    return first, second


def _shares(reference: ArrayLike, window: ArrayLike) -> tuple[Floats, Floats]:
    first: NDArray[Any] = np.asarray(reference, dtype=np.float64)
    second: NDArray[Any] = np.asarray(window, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise NotComparable(
            f"histograms of shapes {first.shape} and {second.shape}; allowed: the same cells"
        )
    totals = first.sum(), second.sum()
    if not min(totals, default=0) > 0:
        raise NotComparable(f"histograms of {totals[0]:g} and {totals[1]:g} rows; allowed: above 0")
    return first / totals[0], second / totals[1]


def _scaled(edges: ArrayLike) -> tuple[Floats, float]:
    """Edges of at most 1, so that no square and no difference of huge ones overflows."""
    bounds = np.asarray(edges, dtype=np.float64)
    largest = float(np.abs(bounds).max(initial=0.0))
    # A power of two, by which division loses nothing.
    scale = 2.0 ** min(1023, math.frexp(largest)[1]) if largest > 0 else 1.0
    return bounds / scale, scale


def _relative_entropy(p: Floats, q: Floats) -> float:
    held = p > 0
    return float(p[held] @ np.log2(p[held] / q[held]))
