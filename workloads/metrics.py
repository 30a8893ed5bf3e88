"""Scores of probabilities against what happened, with bootstrap intervals.

Thousands of resamples are scored, so a sample is a vector of weights over rows that were sorted
once, and no score sorts again. The tests hold each score to scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HIGHER_IS_BETTER: Final = {"roc_auc": True, "pr_auc": True, "log_loss": False, "brier": False}
"""Every score, and which way it improves. The first two lie in [0, 1], 1 best; 0 is best of the
others."""
_EPSILON: Final = float(np.finfo(np.float64).eps)


class NotScorable(ValueError):
    """Rows that no score can be computed for: none at all, or one class only."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A score and the bounds between which it lies with 95 % confidence."""

    value: float
    low: float
    high: float


class Scored:
    """Predicted probabilities and true labels, ready to be scored under any weights.

    Args:
        truth: 0 or 1 for each row.
        probabilities: of 1, for each row.

    Raises:
        NotScorable: there are no rows, or only one class.
    """

    def __init__(self, truth: NDArray[Any], probabilities: NDArray[Any]) -> None:
        truth = np.asarray(truth, dtype=np.float64)
        probabilities = np.asarray(probabilities, dtype=np.float64)
        if truth.shape != probabilities.shape or truth.ndim != 1:
            raise NotScorable(
                f"labels have shape {truth.shape} and probabilities {probabilities.shape}; "
                "allowed: two vectors of one length"
            )
        positives = float(truth.sum())
        if not 0 < positives < truth.size:
            raise NotScorable(
                f"{truth.size} rows of which {positives:.0f} are positive; a score needs both "
                "classes: choose a longer hold-out"
            )
        self._order = np.argsort(-probabilities, kind="stable")
        ranked = probabilities[self._order]
        self._truth = truth[self._order]
        # Rows of equal probability are one threshold.
        self._starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        clipped = np.clip(ranked, _EPSILON, 1 - _EPSILON)
        self._losses = -np.where(self._truth == 1, np.log(clipped), np.log1p(-clipped))
        self._squares = (ranked - self._truth) ** 2
        self._ranked = ranked
        self.rows = truth.size

    def score(self, metric: str, weights: Floats | None = None) -> float:
        """One score, each row counted by its weight (in the order the rows were given in).

        Raises:
            KeyError: no such metric; `HIGHER_IS_BETTER` lists them.
        """
        ordered = np.ones(self.rows) if weights is None else weights[self._order]
        return _SCORES[metric](self, ordered)

    def roc_auc(self, weights: Floats) -> float:
        positive, negative = self._by_threshold(weights)
        below = negative.sum() - np.cumsum(negative)
        return float((positive * (below + negative / 2)).sum() / positive.sum() / negative.sum())

    def pr_auc(self, weights: Floats) -> float:
        positive, negative = self._by_threshold(weights)
        found = np.cumsum(positive)
        asked = found + np.cumsum(negative)
        precision = np.divide(found, asked, out=np.zeros_like(found), where=asked > 0)
        return float((positive * precision).sum() / positive.sum())

    def log_loss(self, weights: Floats) -> float:
        return float(np.average(self._losses, weights=weights))

    def brier(self, weights: Floats) -> float:
        return float(np.average(self._squares, weights=weights))

    def best_threshold(self) -> float:
        """The probability from which saying yes gives the best F1, halfway to the next lower."""
        positive, negative = self._by_threshold(np.ones(self.rows))
        found, asked = np.cumsum(positive), np.cumsum(positive + negative)
        best = int(np.argmax(2 * found / (asked + positive.sum())))
        thresholds = self._ranked[self._starts]
        lower = thresholds[best + 1] if best + 1 < thresholds.size else 0.0
        return float((thresholds[best] + lower) / 2)

    def _by_threshold(self, weights: Floats) -> tuple[Floats, Floats]:
        positive = np.add.reduceat(weights * self._truth, self._starts)
        return positive, np.add.reduceat(weights * (1 - self._truth), self._starts)


_SCORES: Final[dict[str, Callable[[Scored, Floats], float]]] = {
    "roc_auc": Scored.roc_auc,
    "pr_auc": Scored.pr_auc,
    "log_loss": Scored.log_loss,
    "brier": Scored.brier,
}


def resamples(truth: NDArray[Any], count: int, seed: int = 0) -> Iterator[Floats]:
    """Bootstrap samples as row weights; those that would miss a class are drawn again."""
    generator = np.random.default_rng(seed)
    size = truth.size
    made = 0
    while made < count:
        weights = np.bincount(generator.integers(0, size, size), minlength=size).astype(np.float64)
        positives = float(weights @ truth)
        if 0 < positives < size:
            made += 1
            yield weights


def intervals(
    truth: NDArray[Any], probabilities: NDArray[Any], *, samples: int = 500, seed: int = 0
) -> dict[str, Interval]:
    """Every score with its bootstrap interval (percentiles 2.5 and 97.5).

    Raises:
        NotScorable: as `Scored`.
    """
    scored = Scored(truth, probabilities)
    drawn: dict[str, list[float]] = {metric: [] for metric in HIGHER_IS_BETTER}
    for weights in resamples(truth, samples, seed):
        for metric, values in drawn.items():
            values.append(scored.score(metric, weights))
    result: dict[str, Interval] = {}
    for metric, values in drawn.items():
        low, high = np.percentile(values, [2.5, 97.5])
        result[metric] = Interval(value=scored.score(metric), low=float(low), high=float(high))
    return result


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Rows of like probability: what was said of them and what came."""

    rows: int
    predicted: float
    observed: float


def calibration(truth: NDArray[Any], probabilities: NDArray[Any], bins: int = 10) -> list[Bin]:
    """Bins of equal size from the lowest probability to the highest."""
    order = np.argsort(probabilities, kind="stable")
    return [
        Bin(
            rows=part.size,
            predicted=float(probabilities[part].mean()),
            observed=float(truth[part].mean()),
        )
        for part in np.array_split(order, min(bins, order.size))
    ]


def calibration_error(table: list[Bin]) -> float:
    """The mean distance of predicted from observed, weighted by rows (ECE)."""
    rows = sum(one.rows for one in table)
    return sum(one.rows * abs(one.predicted - one.observed) for one in table) / rows
