"""Scores of answers against what happened, with bootstrap intervals.

Thousands of resamples are scored, so a sample is a vector of weights over rows that were sorted
once, and no score sorts again. The tests hold each score to scikit-learn's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workloads.product import METRICS, Task
from workloads.scoring import Answers

Floats = NDArray[np.float64]

HIGHER_IS_BETTER: Final = {name: up for table in METRICS.values() for name, up in table.items()}
"""Every score, and which way it improves. `roc_auc` and `pr_auc` lie in [0, 1], 1 best; 0 is best
of the others. `mae`, `rmse` and `pinball` have the label's unit, `coverage_error` is a share."""
_EPSILON: Final = float(np.finfo(np.float64).eps)


class NotScorable(ValueError):
    """Rows that no score can be computed for: none at all, one class only, no bounds."""


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


class ScoredNumbers:
    """Predicted numbers, the intervals around them and the true ones.

    Args:
        truth: a number for each row.
        answers: what was said of each row. Without bounds, `mae` and `rmse` alone can be scored.

    Raises:
        NotScorable: there are no rows, their numbers differ, or something is not finite.
    """

    def __init__(self, truth: NDArray[Any], answers: Answers) -> None:
        truth = np.asarray(truth, dtype=np.float64)
        if truth.shape != answers.value.shape or truth.size == 0:
            raise NotScorable(
                f"labels have shape {truth.shape} and predictions {answers.value.shape}; "
                "allowed: two vectors of one length, at least one row"
            )
        error = truth - answers.value
        self.rows = truth.size
        self.nominal = answers.interval[1] - answers.interval[0]
        self._losses = {"mae": np.abs(error), "rmse": error**2}
        if answers.lower is not None and answers.upper is not None:
            bounds = zip(answers.interval, (answers.lower, answers.upper), strict=True)
            self._losses["pinball"] = np.mean(
                [pinball(truth, bound, quantile) for quantile, bound in bounds], axis=0
            )
            inside = (truth >= answers.lower) & (truth <= answers.upper)
            self._losses["coverage_error"] = inside.astype(np.float64)
        if not all(np.isfinite(one).all() for one in self._losses.values()):
            raise NotScorable("a label or a prediction is not finite; allowed: numbers")

    def score(self, metric: str, weights: Floats | None = None) -> float:
        """One score, each row counted by its weight.

        Raises:
            KeyError: no such metric of a regression; `METRICS` lists them.
            NotScorable: it needs bounds, and there are none.
        """
        if metric not in METRICS[Task.REGRESSION]:
            raise KeyError(metric)
        mean = self._mean(metric, weights)
        if metric == "rmse":
            return math.sqrt(mean)
        return abs(mean - self.nominal) if metric == "coverage_error" else mean

    def coverage(self, weights: Floats | None = None) -> float:
        """The share of rows whose truth lies in their interval, bounds included.

        Raises:
            NotScorable: there are no bounds.
        """
        return self._mean("coverage_error", weights)

    def _mean(self, metric: str, weights: Floats | None) -> float:
        if metric not in self._losses:
            raise NotScorable(f"{metric} needs a lower and an upper bound; the answers have none")
        return float(np.average(self._losses[metric], weights=weights))


def pinball(truth: Floats, predicted: Floats, quantile: float) -> Floats:
    """The pinball loss of each row: least on average where `predicted` is that quantile."""
    error = truth - predicted
    return np.maximum(quantile * error, (quantile - 1) * error)


def scored(task: Task, truth: NDArray[Any], answers: Answers) -> Scored | ScoredNumbers:
    """What a task's scores are computed from: has `rows` and `score(metric, weights=None)`.

    Raises:
        NotScorable: as `Scored` and `ScoredNumbers`.
    """
    if task is Task.CLASSIFICATION:
        return Scored(truth, answers.value)
    return ScoredNumbers(truth, answers)


def resamples(
    truth: NDArray[Any], count: int, seed: int = 0, task: Task = Task.CLASSIFICATION
) -> Iterator[Floats]:
    """Bootstrap samples as row weights.

    Those of a classification that would miss a class are drawn again.
    """
    generator = np.random.default_rng(seed)
    size = truth.size
    # Summed and not multiplied: above 10,000 rows NumPy's BLAS shares a product out among threads,
    # which wait for one another a hundred times longer than they multiply.
    positive = np.flatnonzero(truth)
    made = 0
    while made < count:
        weights = np.bincount(generator.integers(0, size, size), minlength=size).astype(np.float64)
        if task is not Task.CLASSIFICATION or 0 < weights[positive].sum() < size:
            made += 1
            yield weights


def intervals(
    task: Task, truth: NDArray[Any], answers: Answers, *, samples: int = 500, seed: int = 0
) -> dict[str, Interval]:
    """Every score of a task with its bootstrap interval (percentiles 2.5 and 97.5).

    Raises:
        NotScorable: as `scored`; for a regression also when there are no bounds.
    """
    found = scored(task, truth, answers)
    drawn: dict[str, list[float]] = {metric: [] for metric in METRICS[task]}
    for weights in resamples(truth, samples, seed, task):
        for metric, values in drawn.items():
            values.append(found.score(metric, weights))
    result: dict[str, Interval] = {}
    for metric, values in drawn.items():
        low, high = np.percentile(values, [2.5, 97.5])
        result[metric] = Interval(value=found.score(metric), low=float(low), high=float(high))
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
