"""What is drawn of models on frozen rows: of one alone, and of both that a decision compares."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from workloads.gate.calibration import calibration
from workloads.gate.judgement import Judgement
from workloads.gate.svg import CHALLENGER, CHAMPION, NEUTRAL, Plot, Points
from workloads.metrics import Bin
from workloads.product import Gate, Task
from workloads.scoring import Answers

_POINTS: Final = 150
_DOTS: Final = 400


def plots(
    task: Task,
    gate: Gate,
    truth: NDArray[Any],
    challenger: Answers,
    champion: Answers | None,
    judgement: Judgement,
) -> dict[str, str]:
    """SVG documents by file name, in the order in which they are shown."""
    models = [("challenger", challenger, CHALLENGER)]
    if champion is not None:
        models.insert(0, ("champion", champion, CHAMPION))
    found = _curves(task, truth, models)
    if judgement.calibration is not None:
        sides = [
            ("champion", judgement.champion_calibration, CHAMPION),
            ("challenger", judgement.calibration, CHALLENGER),
        ]
        tables = [(name, one.bins, colour) for name, one, colour in sides if one is not None]
        found["calibration.svg"] = _calibration(task, tables)
    if judgement.gains is not None:
        found["gain.svg"] = _gain(gate, judgement)
    if judgement.slices:
        found["slices.svg"] = _slices(judgement)
    return {name: plot.render() for name, plot in found.items()}


def of_model(task: Task, truth: NDArray[Any], answers: Answers) -> dict[str, str]:
    """SVG documents by file name of one model, in the order in which they are shown.

    Args:
        task: of the product.
        truth: the label of each row of the hold-out.
        answers: what the model says of the same rows.
    """
    found = _curves(task, truth, [("model", answers, CHALLENGER)])
    table = calibration(task, truth, answers)
    if table is not None:
        found["calibration.svg"] = _calibration(task, [("model", table.bins, CHALLENGER)])
    return {name: plot.render() for name, plot in found.items()}


type _Models = list[tuple[str, Answers, str]]
type _Tables = list[tuple[str, tuple[Bin, ...], str]]


def _curves(task: Task, truth: NDArray[Any], models: _Models) -> dict[str, Plot]:
    """The last of the models is the one that a plot with room for one shows."""
    if task is Task.CLASSIFICATION:
        return {
            "roc.svg": _roc(truth, models),
            "precision-recall.svg": _precision_recall(truth, models),
        }
    return {
        "predictions.svg": _predictions(truth, models[-1]),
        "residuals.svg": _residuals(truth, models),
    }


def _roc(truth: NDArray[Any], models: _Models) -> Plot:
    plot = Plot("ROC", "false positive rate", "true positive rate", (0, 1), (0, 1))
    plot.line([(0, 0), (1, 1)], NEUTRAL, dashed=True)
    for name, answers, colour in models:
        yes, no = _cumulated(truth, answers.value)
        plot.line(_thinned(no / no[-1], yes / yes[-1]), colour, name)
    return plot


def _precision_recall(truth: NDArray[Any], models: _Models) -> Plot:
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


def _residuals(truth: NDArray[Any], models: _Models) -> Plot:
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


def _calibration(task: Task, tables: _Tables) -> Plot:
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


def _gain(gate: Gate, judgement: Judgement) -> Plot:
    gains = judgement.gains
    assert gains is not None
    low, high = min(gains.edges[0], 0.0), max(gains.edges[-1], gate.minimum_gain)
    margin = 0.05 * (high - low or 1.0)
    top = max(gains.counts) * 1.3
    plot = Plot(
        "Gain in paired resamples", f"gain of {gate.metric}", "resamples",
        (low - margin, high + margin), (0, top),
    )  # fmt: skip
    plot.bars(gains.edges, gains.counts, CHALLENGER)
    plot.upright(0, NEUTRAL, "no gain")
    plot.upright(gate.minimum_gain, CHAMPION, "required")
    return plot


def _slices(judgement: Judgement) -> Plot:
    shown = judgement.slices[:24]
    scores = [one.challenger for one in shown] + [
        one.champion for one in shown if one.champion is not None
    ]
    spread = 0.05 * (max(scores) - min(scores) or 1.0)
    plot = Plot(
        "Slices", judgement.metric, "", (min(scores) - spread, max(scores) + spread),
        (-0.7, len(shown) + 0.6),
    )  # fmt: skip
    plot.rows([one.value for one in reversed(shown)])
    places = list(enumerate(reversed(shown)))
    old = [(one.champion, float(place)) for place, one in places if one.champion is not None]
    if old:
        plot.dots(old, CHAMPION, "champion", size=4)
    plot.dots([(one.challenger, float(place)) for place, one in places], CHALLENGER, "challenger",
              size=4)  # fmt: skip
    return plot
