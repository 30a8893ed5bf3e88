"""What a decision shows: both models on the same frozen rows."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from workloads.gate.judgement import Judgement
from workloads.plotting.curves import calibration_plot, curves
from workloads.plotting.svg import CHALLENGER, CHAMPION, NEUTRAL, Plot
from workloads.product import Gate, Task
from workloads.scoring import Answers


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
    found = curves(task, truth, models)
    if judgement.calibration is not None:
        sides = [
            ("champion", judgement.champion_calibration, CHAMPION),
            ("challenger", judgement.calibration, CHALLENGER),
        ]
        tables = [(name, one.bins, colour) for name, one, colour in sides if one is not None]
        found["calibration.svg"] = calibration_plot(task, tables)
    if judgement.gains is not None:
        found["gain.svg"] = _gain(gate, judgement)
    if judgement.slices:
        found["slices.svg"] = _slices(judgement)
    return {name: plot.render() for name, plot in found.items()}


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
