"""What is drawn of models on frozen rows: how they rank, err and know how sure they are."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workloads.calibration import calibration
from workloads.metrics import Bin
from workloads.plotting.svg import CHALLENGER, NEUTRAL, Plot, Points
from workloads.product import Task
from workloads.scoring import Answers

_POINTS: Final = 150
_DOTS: Final = 400

type Models = list[tuple[str, Answers, str]]
"""Name, answers and colour of each; the newest last."""
type Tables = list[tuple[str, tuple[Bin, ...], str]]
"""Name, calibration and colour of each."""


def of_model(task: Task, truth: NDArray[Any], answers: Answers) -> dict[str, str]:
    """SVG documents by file name of one model, in the order in which they are shown.

    Args:
        task: of the product.
        truth: the label of each row of the hold-out.
        answers: what the model says of the same rows.
    """
    found = curves(task, truth, [("model", answers, CHALLENGER)])
    table = calibration(task, truth, answers)
    if table is not None:
        found["calibration.svg"] = calibration_plot(task, [("model", table.bins, CHALLENGER)])
    return {name: plot.render() for name, plot in found.items()}


def curves(task: Task, truth: NDArray[Any], models: Models) -> dict[str, Plot]:
    """By file name, how models rank or err; a plot with room for one shows the last."""
    if task is Task.CLASSIFICATION:
        return {
            "roc.svg": _roc(truth, models),
            "precision-recall.svg": _precision_recall(truth, models),
        }
    return {
        "predictions.svg": _predictions(truth, models[-1]),
        "residuals.svg": _residuals(truth, models),
    }


def _roc(truth: NDArray[Any], models: Models) -> Plot:
    plot = Plot("ROC", "false positive rate", "true positive rate", (0, 1), (0, 1))
    plot.line([(0, 0), (1, 1)], NEUTRAL, dashed=True)
    for name, answers, colour in models:
        yes, no = _cumulated(truth, answers.value)
        plot.line(_thinned(no / no[-1], yes / yes[-1]), colour, name)
    return plot


def _precision_recall(truth: NDArray[Any], models: Models) -> Plot:
    plot = Plot("Precision and recall", "recall", "precision", (0, 1), (0, 1))
    rate = float(truth.mean())
    plot.line([(0, rate), (1, rate)], NEUTRAL, dashed=True)
    for name, answers, colour in models:
        yes, no = _cumulated(truth, answers.value)
        # The first rows say little: one right answer is a precision of 1.
        some = yes + no >= 10
        plot.line(_thinned((yes / yes[-1])[some], (yes / (yes + no))[some]), colour, name)
    return plot


def _cumulated(
    truth: NDArray[Any], value: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows with and without the label among the likeliest, at each distinct probability."""
    order = np.argsort(-value, kind="stable")
    ranked = value[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    yes = np.cumsum(np.asarray(truth, dtype=np.float64)[order])[ends]
    return yes, ends + 1 - yes


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> Points:
    kept = np.unique(np.linspace(0, x.size - 1, min(_POINTS, x.size)).astype(int))
    return list(zip(x[kept].tolist(), y[kept].tolist(), strict=True))


def _predictions(truth: NDArray[Any], model: tuple[str, Answers, str]) -> Plot:
    name, answers, colour = model
    low, high = np.percentile(np.r_[truth, answers.value], [0.5, 99.5]).tolist()
    plot = Plot("Predicted and true", "predicted", "true", (low, high), (low, high))
    plot.line([(low, low), (high, high)], NEUTRAL, dashed=True)
    kept = np.linspace(0, truth.size - 1, min(_DOTS, truth.size)).astype(int)
    pairs = zip(answers.value[kept].tolist(), np.asarray(truth)[kept].tolist(), strict=True)
    plot.dots(list(pairs), colour, name, size=1.6)
    return plot


def _residuals(truth: NDArray[Any], models: Models) -> Plot:
    errors = [np.asarray(truth, dtype=np.float64) - answers.value for _, answers, _ in models]
    low, high = np.percentile(np.concatenate(errors), [1, 99]).tolist()
    edges = np.linspace(low, high, 41)
    counts = [np.histogram(one, edges)[0] / one.size for one in errors]
    top = max(float(one.max()) for one in counts)
    plot = Plot("Residuals", "true less predicted", "share of rows", (low, high), (0, 1.05 * top))
    plot.upright(0, NEUTRAL)
    middles = (edges[1:] + edges[:-1]) / 2
    for (name, _, colour), one in zip(models, counts, strict=True):
        plot.line(list(zip(middles.tolist(), one.tolist(), strict=True)), colour, name)
    return plot


def calibration_plot(task: Task, tables: Tables) -> Plot:
    """How sure models are against how often they are right."""
    if task is Task.REGRESSION:
        plot = Plot("Truths within the interval", "tenth of the predictions, lowest first",
                    "share", (0.5, 10.5), (0, 1))  # fmt: skip
        nominal = tables[0][1][0].predicted
        plot.line([(0.5, nominal), (10.5, nominal)], NEUTRAL, dashed=True)
        for name, bins, colour in tables:
            points = [(place + 1, one.observed) for place, one in enumerate(bins)]
            plot.line(points, colour)
            plot.dots(points, colour, name)
        return plot
    top = max(max(one.predicted, one.observed) for _, bins, _ in tables for one in bins)
    plot = Plot("Calibration", "predicted share", "observed share", (0, top), (0, top))
    plot.line([(0, 0), (top, top)], NEUTRAL, dashed=True)
    for name, bins, colour in tables:
        points = [(one.predicted, one.observed) for one in bins]
        plot.line(points, colour)
        plot.dots(points, colour, name)
    return plot
