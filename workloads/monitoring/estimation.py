"""What a model's score most likely is while its labels are not yet known.

Classification, CBPE (confidence-based performance estimation): a calibrated probability says how
often its answer will be right, so the score that a window will have can be computed from
probabilities alone. Regression, DLE (direct loss estimation): a second model learns, on rows with
labels, how far off the first one is. Both see what moves the inputs and neither sees a change of
what the inputs mean: that shows only once labels are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from workloads import metrics
from workloads.metrics import Interval, NotScorable
from workloads.product import METRICS, Task
from workloads.scoring import Answers

Floats = NDArray[np.float64]

_FOLDS: Final = 10
_GROUPS: Final = 10
LOSSES: Final = {"mae": 1, "rmse": 2}
"""Scores of a regression that can be estimated: the power of the error that is a row's loss, and
whose root the score is. The others need bounds, or are no mean."""
LEAST_ROWS: Final = 100


class Calibrator(msgspec.Struct, frozen=True, kw_only=True):
    """The true share of yes for each probability that a model gives: rising, straight in between.

    Plain numbers, so it can lie beside a model as JSON.
    """

    probabilities: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    """Both empty: the model's probabilities are taken at their word."""

    def __call__(self, values: Floats) -> Floats:
        """The calibrated probability of each value; beyond the ends, that of the end."""
        if not self.probabilities:
            return values
        return np.interp(values, self.probabilities, self.shares)


def calibrate(truth: NDArray[Any], probabilities: NDArray[Any]) -> Calibrator:
    """Isotonic regression on rows that the model was not trained on, if it helps.

    It helps when, fitted on nine tenths, it lowers the calibration error of the other tenth, taken
    over all ten: a model that is well calibrated would only be given noise.

    Args:
        truth: 0 or 1 for each row.
        probabilities: of 1.

    Raises:
        NotScorable: fewer than `LEAST_ROWS` rows, or one class only.
    """
    truth = np.asarray(truth, dtype=np.float64)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if truth.size < LEAST_ROWS or not 0 < truth.sum() < truth.size:
        raise NotScorable(
            f"{truth.size} rows of which {truth.sum():.0f} are positive; calibration needs "
            f"{LEAST_ROWS} rows of both classes"
        )
    fold = np.random.default_rng(0).permutation(truth.size) % _FOLDS
    held_out = np.empty_like(probabilities)
    for one in range(_FOLDS):
        here = fold == one
        held_out[here] = _isotonic(truth[~here], probabilities[~here])(probabilities[here])
    before = metrics.calibration_error(metrics.calibration(truth, probabilities))
    after = metrics.calibration_error(metrics.calibration(truth, held_out))
    return _isotonic(truth, probabilities) if after < before else Calibrator()


def _isotonic(truth: Floats, probabilities: Floats) -> Calibrator:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip", increasing=True).fit(probabilities, truth)
    return Calibrator(
        probabilities=tuple(fitted.X_thresholds_.tolist()),
        shares=tuple(fitted.y_thresholds_.tolist()),
    )


def estimate(
    metric: str,
    probabilities: NDArray[Any],
    calibrator: Calibrator,
    *,
    samples: int = 100,
    seed: int = 0,
) -> Interval:
    """The score that a window of a classification will most likely have, without its labels.

    Args:
        metric: of a classification.
        probabilities: of yes, as the model gave them.
        calibrator: from rows with labels.
        samples: how many sets of labels are drawn for the interval (percentiles 2.5 and 97.5),
            within which the true score falls if only chance is at work; 0 for none.

    Raises:
        NotScorable: fewer than `LEAST_ROWS` rows, or a probability that is none.
        KeyError: no such metric.
    """
    if metric not in METRICS[Task.CLASSIFICATION]:
        raise KeyError(f"no metric {metric!r}; there are {', '.join(METRICS[Task.CLASSIFICATION])}")
    values = np.asarray(probabilities, dtype=np.float64)
    if values.size < LEAST_ROWS or not ((values >= 0) & (values <= 1)).all():
        raise NotScorable(
            f"{values.size} rows between {values.min(initial=0)} and {values.max(initial=0)}; "
            f"allowed: at least {LEAST_ROWS} probabilities"
        )
    likely = calibrator(values)
    if not 0 < likely.sum() < likely.size:
        raise NotScorable("every row is certain to be of one class; a score needs both")
    # Each row twice, as yes and as no, weighted by how likely each is.
    both = np.r_[np.ones(values.size), np.zeros(values.size)]
    scored = metrics.scored(Task.CLASSIFICATION, both, Answers(np.r_[values, values]))
    expected = scored.score(metric, np.r_[likely, 1 - likely])
    generator = np.random.default_rng(seed)
    drawn: list[float] = []
    for _ in range(samples):
        labels = (generator.random(values.size) < likely).astype(np.float64)
        if 0 < labels.sum() < labels.size:
            drawn.append(scored.score(metric, np.r_[labels, 1 - labels]))
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn else (expected, expected)
    return Interval(value=expected, low=float(low), high=float(high))


class LossEstimator:
    """Learns how large a regression's errors are, from rows whose labels are known.

    Made anew from the frozen hold-out whenever it is needed: nothing of it is stored.

    Args:
        features: by name, columns of numbers or of text, None for missing.
        truth: the label of each row.
        predicted: what the model said of it.
        metric: what is estimated, one of `LOSSES`.

    Raises:
        NotScorable: fewer than `LEAST_ROWS` rows, or a metric that is no mean of a loss that the
            answer alone decides.
    """

    def __init__(
        self,
        features: Mapping[str, Sequence[Any] | NDArray[Any]],
        truth: NDArray[Any],
        predicted: NDArray[Any],
        *,
        metric: str = "mae",
    ) -> None:
        from sklearn.ensemble import HistGradientBoostingRegressor

        if metric not in LOSSES:
            raise NotScorable(
                f"{metric} is not estimated without labels; of a regression {', '.join(LOSSES)} are"
            )
        error = np.abs(np.asarray(truth, np.float64) - np.asarray(predicted, np.float64))
        if error.size < LEAST_ROWS or not np.isfinite(error).all():
            raise NotScorable(
                f"{error.size} rows, {int((~np.isfinite(error)).sum())} without a finite label and "
                f"prediction; at least {LEAST_ROWS} finite ones are needed"
            )
        self._names = tuple(features)
        self._codes = {
            name: {text: float(code) for code, text in enumerate(sorted(_texts(values)))}
            for name, values in features.items()
            if _texts(values)
        }
        self._root = LOSSES[metric]
        losses = error**self._root
        table = self._table(features, predicted)
        self._model = HistGradientBoostingRegressor(random_state=0)
        self._model.fit(table, losses)
        expected = self._expected(table)
        # Losses that were alike in what was expected of them: how far one may lie from that.
        self._bounds = np.quantile(expected, np.linspace(0, 1, _GROUPS + 1)[1:-1])
        group = np.searchsorted(self._bounds, expected)
        self._around = [
            losses[group == one] - expected[group == one].mean()
            if (group == one).any()
            else np.zeros(1)
            for one in range(_GROUPS)
        ]

    def estimate(
        self,
        features: Mapping[str, Sequence[Any] | NDArray[Any]],
        predicted: NDArray[Any],
        *,
        samples: int = 100,
        seed: int = 0,
    ) -> Interval:
        """The score that a window will most likely have, without its labels.

        Args:
            features: as those that it has learned from.
            predicted: what the model says of the window's rows.
            samples: how often each row's loss is drawn for the interval (percentiles 2.5 and 97.5),
                within which the true score falls if only chance is at work; 0 for none.
            seed: of what is drawn.

        Raises:
            NotScorable: there are no rows.
            KeyError: a feature is missing.
        """
        if len(predicted) == 0:
            raise NotScorable("no rows; an estimate needs one at least")
        expected = self._expected(self._table(features, predicted))
        mean = float(expected.mean())
        rows = np.bincount(np.searchsorted(self._bounds, expected), minlength=_GROUPS)
        generator = np.random.default_rng(seed)
        drawn: list[float] = [mean] if samples == 0 else []
        for _ in range(samples):
            off = sum(
                float(generator.choice(around, count).sum())
                for around, count in zip(self._around, rows, strict=True)
            )
            drawn.append(max(0.0, mean + off / expected.size))
        low, high = np.percentile(drawn, [2.5, 97.5])
        power = 1 / self._root
        # The estimate lies within its own interval, whatever the few hundred draws say.
        return Interval(
            value=mean**power,
            low=float(min(low, mean)) ** power,
            high=float(max(high, mean)) ** power,
        )

    def _expected(self, table: Floats) -> Floats:
        return np.maximum(self._model.predict(table), 0)

    def _table(
        self, features: Mapping[str, Sequence[Any] | NDArray[Any]], predicted: NDArray[Any]
    ) -> Floats:
        columns = [np.asarray(predicted, dtype=np.float64)]
        for name in self._names:
            values = features[name]
            if codes := self._codes.get(name):
                # Text that was not there before is missing to it.
                columns.append(np.array([codes.get(one, np.nan) for one in values]))
            else:
                columns.append(np.asarray(values, dtype=np.float64))
        return np.column_stack(columns)


def _texts(values: Sequence[Any] | NDArray[Any]) -> set[str]:
    if isinstance(values, np.ndarray) and values.dtype != object:
        return set()
    return {one for one in values if isinstance(one, str)}
