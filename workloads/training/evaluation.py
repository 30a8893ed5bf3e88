"""How good a model is on the hold-out: scores with intervals, calibration, slices, a baseline."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from workloads import metrics
from workloads.manifest import Example, Noise, Score
from workloads.plotting.curves import of_model
from workloads.product import Product, Task
from workloads.scoring import Answers, Scorer
from workloads.training import noise
from workloads.training.data import Extract, labels, load
from workloads.training.profile import Profile, of_answers, of_features

if TYPE_CHECKING:
    import pyarrow as pa

SMALLEST_SLICE: Final = 200
"""Rows; a score of fewer says little."""
_EXAMPLES: Final = 5
_SAMPLES: Final = 500


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One group of the hold-out."""

    column: str
    value: str
    rows: int
    label_mean: float
    """Of a classification, the share of yes."""
    score: float
    """Of the gate's metric."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a 30 % comes true in 30 of 100, or 30 minutes are 30 on average.

    A regression that predicts medians is off here where the label leans to one side: its mean is
    another.
    """

    error: float
    """Mean distance of predicted from observed over the bins."""
    bins: list[metrics.Bin]


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the intervals of a regression hold the truth as often as they promise."""

    quantiles: tuple[float, float]
    """What the bounds stand for."""
    share: Score
    """Of rows whose truth lies in their interval."""
    below: float
    above: float
    """Share of rows whose truth lies below its interval, and above."""
    width: float
    """Mean width, in the label's unit."""
    margin: float | None = None
    """By which calibration moved both bounds outwards; None: they were not calibrated."""
    calibration_rows: int = 0
    """The last of the training rows, by which they were."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was found on the hold-out."""

    rows: int
    label_mean: float
    """Of a classification, the share of yes."""
    threshold: float | None
    """The probability from which a classification says yes."""
    metrics: dict[str, Score]
    baseline: dict[str, Score]
    calibration: Calibration
    coverage: Coverage | None = None
    """Of a regression."""
    slices: list[Slice]
    noise: Noise | None = None
    """Between trainings that differ by their seed; None where the product has none made."""


class Evaluated(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation with the files that go beside the model."""

    evaluation: Evaluation
    profile: Profile
    """Of the features in training."""
    answers_profile: Profile
    """Of the answers on the hold-out, and of the label there."""
    examples: list[Example]
    plots: dict[str, str]
    """SVG documents of the model on the hold-out, by file name."""


def evaluate(product: Product, model: bytes, parts: Extract) -> Evaluated:
    """Score a model on the hold-out, beside a baseline that answers every row alike.

    The baseline of a classification is the base rate of the training rows; that of a regression
    their median, with their quantiles as bounds. The threshold of a classification is the one of
    the best F1 on the hold-out: a working point, not a score.
    """
    training, holdout = load(parts.training), load(parts.holdout)
    truth = labels(product, holdout)
    scorer = Scorer(model, product.features.request, product.task)
    answers = scorer.table(holdout)
    threshold = None
    if product.task is Task.CLASSIFICATION:
        threshold = metrics.Scored(truth, answers.value).best_threshold()
    table = metrics.calibration(truth, answers.value)
    scores = _scores(product.task, truth, answers)
    evaluation = Evaluation(
        rows=holdout.num_rows,
        label_mean=float(truth.mean()),
        threshold=threshold,
        metrics=scores,
        baseline=_scores(product.task, truth, _alike(product, labels(product, training), truth)),
        calibration=Calibration(error=metrics.calibration_error(table), bins=table),
        coverage=_coverage(truth, answers, scorer.calibration),
        slices=[
            Slice(
                column=column,
                value=value,
                rows=int(here.sum()),
                label_mean=float(truth[here].mean()),
                score=metrics.scored(product.task, truth[here], answers.where(here)).score(
                    product.gate.metric
                ),
            )
            for column, value, here in slices(product, holdout, truth)
        ],
        noise=noise.measured(product, training, holdout, scores[product.gate.metric].value),
    )
    return Evaluated(
        evaluation=evaluation,
        profile=of_features(product, training),
        answers_profile=of_answers(product, holdout, answers, threshold),
        examples=_examples(product, holdout, answers),
        plots=of_model(product.task, truth, answers),
    )


def _alike(product: Product, known: NDArray[Any], truth: NDArray[Any]) -> Answers:
    """What is best said of every row by who has seen nothing but the labels of training."""

    def everywhere(value: Any) -> NDArray[np.float64]:
        return np.full(truth.size, float(value))

    if product.task is Task.CLASSIFICATION:
        return Answers(everywhere(known.mean()))
    lower, upper = np.quantile(known, product.interval)
    return Answers(
        everywhere(np.median(known)), everywhere(lower), everywhere(upper), product.interval
    )


def _scores(task: Task, truth: NDArray[Any], answers: Answers) -> dict[str, Score]:
    found = metrics.intervals(task, truth, answers, samples=_SAMPLES)
    return {name: Score(**asdict(one)) for name, one in found.items()}


def _coverage(
    truth: NDArray[Any], answers: Answers, calibration: tuple[float, int] | None
) -> Coverage | None:
    if answers.lower is None or answers.upper is None:
        return None
    found = metrics.ScoredNumbers(truth, answers)
    drawn = [
        found.coverage(weights)
        for weights in metrics.resamples(truth, _SAMPLES, task=Task.REGRESSION)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Coverage(
        quantiles=answers.interval,
        share=Score(value=found.coverage(), low=float(low), high=float(high)),
        below=float((truth < answers.lower).mean()),
        above=float((truth > answers.upper).mean()),
        width=float((answers.upper - answers.lower).mean()),
        margin=None if calibration is None else calibration[0],
        calibration_rows=0 if calibration is None else calibration[1],
    )


def slices(
    product: Product, rows: pa.Table, truth: NDArray[Any]
) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Column, value and mask of each group that is large enough to be scored.

    A group of a classification also has to hold both classes.
    """
    found: list[tuple[str, str, NDArray[np.bool_]]] = []
    for column in product.gate.slices:
        values = np.array([str(one) for one in rows.column(column).to_pylist()], dtype=object)
        for value in sorted(set(values)):
            here = values == value
            if here.sum() < SMALLEST_SLICE:
                continue
            if product.task is not Task.CLASSIFICATION or 0 < truth[here].sum() < here.sum():
                found.append((column, value, here))
    return found


def _examples(product: Product, rows: pa.Table, answers: Answers) -> list[Example]:
    """Rows from the least answer to the greatest, so that a deployment that mixes them up shows."""
    order = np.argsort(answers.value, kind="stable")
    chosen = order[np.linspace(0, order.size - 1, min(_EXAMPLES, order.size)).astype(int)]
    fields = list(product.features.request.__struct_fields__)
    instances = rows.select(fields).take(chosen).to_pylist()
    lower, upper = answers.lower, answers.upper
    return [
        Example(
            instance=instance,
            value=float(answers.value[index]),
            lower=None if lower is None else float(lower[index]),
            upper=None if upper is None else float(upper[index]),
        )
        for instance, index in zip(instances, chosen, strict=True)
    ]
