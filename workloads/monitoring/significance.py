"""Whether a difference of two histograms is more than chance, and of many, which ones.

Each test gives the probability of a difference at least as large when nothing has changed. They
assume rows that are independent of each other; docs/drift.md says what follows when they are not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LEAST_EXPECTED: Final = 5.0
"""Rows a cell must be expected to hold for the chi-squared distribution to fit (Cochran's rule)."""

_MOST_EXACT: Final = 10_000
"""Rows up to which Fisher's test is cheap; beyond, a normal law is right to some per cent."""


def chi_squared(reference: ArrayLike, window: ArrayLike, *, tail: Sequence[int] = ()) -> float:
    """Two-sample chi-squared test of homogeneity; 1 where there is nothing to tell apart.

    Cells that are expected to hold fewer than `LEAST_EXPECTED` rows on either side count as one.

    Args:
        reference, window: rows in each cell.
        tail: cells that belong to those whatever they hold. That of unlisted categories does: the
            reference listed what it had seen itself, so the rest is always rarer in it.
    """
    from scipy.special import chdtrc

    first = np.asarray(reference, dtype=np.float64)
    second = np.asarray(window, dtype=np.float64)
    rows = first.sum(), second.sum()
    if min(rows) <= 0:
        return 1.0
    least = LEAST_EXPECTED * sum(rows) / min(rows)
    pooled = first + second < least
    pooled[list(tail)] = True
    if pooled.any():
        if (first + second)[pooled].sum() < least and not pooled.all():
            # Still too few: the smallest of the others joins them.
            pooled[np.argmin(np.where(pooled, np.inf, first + second))] = True
        first = np.r_[first[~pooled], first[pooled].sum()]
        second = np.r_[second[~pooled], second[pooled].sum()]
    if first.size < 2:
        return 1.0
    difference = first / rows[0] - second / rows[1]
    statistic = float((difference**2 / (first + second)).sum()) * rows[0] * rows[1]
    return float(chdtrc(first.size - 1, statistic))


def kolmogorov_smirnov(distance: float, reference_rows: float, rows: float) -> float:
    """Of a Kolmogorov-Smirnov distance, by its asymptotic distribution.

    Of binned values the distance is at most that of the values, so this errs to the quiet side.
    """
    from scipy.special import kolmogorov

    if min(reference_rows, rows) <= 0:
        return 1.0
    return float(kolmogorov(distance * np.sqrt(reference_rows * rows / (reference_rows + rows))))


def share(found: int, rows: int, reference_found: int, reference_rows: int) -> float:
    """Two shares being one: twice the smaller tail of Fisher's exact test, of many rows by the
    normal law that it comes near to.

    Args:
        found, rows: of the window: how many of how many.
        reference_found, reference_rows: of the reference.
    """
    from scipy.special import ndtr

    total = rows + reference_rows
    hits = found + reference_found
    if min(rows, reference_rows) <= 0 or hits in (0, total):
        return 1.0
    expected = hits * rows / total
    if min(hits, total - hits) <= _MOST_EXACT:
        from scipy.stats import hypergeom

        law = hypergeom(total, hits, rows)
        tail = law.sf(found - 1) if found > expected else law.cdf(found)
        return float(min(1.0, 2 * tail))
    variance = expected * (1 - hits / total) * reference_rows / (total - 1)
    # Half a row for the step from whole rows to a continuous distribution.
    distance = max(0.0, abs(found - expected) - 0.5) / math.sqrt(variance)
    return float(min(1.0, 2 * ndtr(-distance)))


def unseen(
    found: int, rows: int, reference_rare: int, reference_rows: int, *, dispersion: float = 1.0
) -> float:
    """So many rows of a kind that the reference has not, or hardly, seen.

    What was never seen may still be there. Of values that are spread continuously, two of every
    `reference_rows` lie beyond the extremes of a reference; of categories, about as large a share
    as that of those seen once (Good and Turing). The number found is then negative binomial, which
    for values beyond extremes is the law itself but for a term of order `1 / reference_rows`.

    Args:
        found, rows: of the window: how many of how many.
        reference_rare: kinds seen once in the reference, or 2 for its two extremes.
        reference_rows: of the reference.
        dispersion: how much the unseen share varies beyond that: one unseen category brings many
            rows at once. 1 for extremes.
    """
    from scipy.special import betainc

    if found <= 0 or min(rows, reference_rows) <= 0:
        return 1.0
    odds = dispersion * rows / reference_rows
    return float(betainc(found, max(1, reference_rare) / dispersion, odds / (1 + odds)))


def holm(p_values: ArrayLike | Sequence[float]) -> Floats:
    """P-values adjusted for their number (Holm 1979), in the order given.

    Whoever calls those below `a` significant is wrong about any of them with probability `a` at
    most, however they depend on each other: a hundred quiet features raise no more alarms than one.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    factors = values.size - np.arange(values.size)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * factors))
    return adjusted
