"""What a report draws over time: the gate's metric with its band, and the scores that are worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from workloads.monitoring import rating, tables
from workloads.monitoring.assessment import FeatureScore, Verdict
from workloads.monitoring.measuring import Measured
from workloads.monitoring.performance import Performance
from workloads.monitoring.store import PastFeature, PastScore
from workloads.monitoring.window import Window
from workloads.plotting.svg import CHALLENGER, CHAMPION, NEUTRAL, Plot
from workloads.product import Product

WINDOWS: Final = 12
"""Earlier windows of the same version that are drawn."""
FEATURES: Final = 6
"""Features that are drawn of each reference."""
HELD_AGAINST: Final = {
    tables.TRAINING: "training",
    tables.SERVED: "served, against training",
    tables.SKEW: "served, against the feature query",
    tables.ANSWERS: "answers on the hold-out",
    tables.ERRORS: "errors on the hold-out",
}
"""By reference, in words; the others have no course worth a plot."""
_DAY: Final = 86_400


def worst(measured: Measured) -> list[tuple[str, FeatureScore]]:
    """The scores that are drawn: of each reference the features furthest beyond their thresholds,
    those that drifted first, by the statistic that says most."""
    found: list[tuple[str, FeatureScore]] = []
    for reference in HELD_AGAINST:
        ranked = sorted(
            (one for one in measured.of(reference) if one.score is not None and not one.slice),
            key=lambda one: (
                one.verdict is not Verdict.DRIFTED,
                -(one.score or 0) / max(one.threshold, 1e-12),
            ),
        )
        first: dict[str, FeatureScore] = {}
        for one in ranked:
            first.setdefault(one.feature, one)
        found += [(reference, one) for one in list(first.values())[:FEATURES]]
    return found


def scores(measured: Measured, past: Sequence[PastFeature]) -> list[Plot]:
    """A plot for each of the worst: its score in one window after another, and its threshold.

    Args:
        measured: the newest window.
        past: scores of the windows before, of these features at least.
    """
    known: dict[tuple[str, str, str], list[PastFeature]] = {}
    for one in past:
        known.setdefault((one.reference, one.feature, one.statistic), []).append(one)
    plots: list[Plot] = []
    for reference, one in worst(measured):
        course = [
            (each.window, each.score, each.threshold)
            for each in known.get((reference, one.feature, one.statistic), ())
        ]
        course.append((measured.window, one.score or 0.0, one.threshold))
        first = min(window.start for window, _, _ in course)
        top = max(max(score, threshold) for _, score, threshold in course)
        across = (0.0, _day(measured.window, first) * 1.05)
        plot = Plot(
            f"{one.feature}, {HELD_AGAINST[reference]}",
            f"days since {first:%d %B %Y}",
            one.statistic,
            across,
            (0, top * 1.25 or 1.0),
        )
        limits = [(_day(window, first), threshold) for window, _, threshold in course]
        # As it was in each window; the first one's from the left edge on.
        steps = [(across[0], limits[0][1]), *limits, (across[1], limits[-1][1])]
        plot.line(steps, NEUTRAL, "threshold", dashed=True)
        points = [(_day(window, first), score) for window, score, _ in course]
        plot.line(points, CHAMPION, "score")
        plot.dots(points, CHAMPION)
        plots.append(plot)
    return plots


def performance(
    product: Product, measured: Measured, past: Sequence[PastScore], expected: float
) -> Plot | None:
    """The gate's metric of all rows over time, by labels and estimated, each with its 95 % band;
    nothing while all of it is unknown.

    Args:
        product: says which metric, and how much worse it may be.
        measured: the newest window, and earlier ones as they are known now.
        past: the windows before.
        expected: on the hold-out.
    """
    metric, tolerance = product.gate.metric, product.monitoring.performance_tolerance
    known: dict[bool, dict[Window, PastScore | Performance]] = {False: {}, True: {}}
    for one in past:
        if not one.slice:
            known[one.estimated][one.window] = one
    for rated in measured.rated:
        again = rated.performance
        ours = again.metric == metric and rated.version == measured.version
        if ours and not again.slice:
            known[rated.estimated][again.window] = again
    courses = {estimated: _course(all_) for estimated, all_ in known.items()}
    shown = [one for course in courses.values() for one in course]
    if not shown:
        return None
    first = min(window.start for window, *_ in shown)
    end = max(_day(window, first) for window, *_ in shown) * 1.05
    values = [expected, *(x for _, *bounds in shown for x in bounds)]
    margin = 0.1 * (max(values) - min(values)) + tolerance
    plot = Plot(
        f"{metric} of each window",
        f"days since {first:%d %B %Y}",
        metric,
        (0, end),
        (min(values) - margin, max(values) + margin),
    )
    worst_ = rating.limit(metric, expected, tolerance)
    plot.line([(0, expected), (end, expected)], NEUTRAL, "hold-out")
    plot.line([(0, worst_), (end, worst_)], NEUTRAL, "tolerated", dashed=True)
    for estimated, colour in ((False, CHALLENGER), (True, CHAMPION)):
        course = courses[estimated]
        if not course:
            continue
        days = [_day(window, first) for window, *_ in course]
        plot.band(
            [(day, low) for day, (_, _, low, _) in zip(days, course, strict=True)],
            [(day, high) for day, (_, _, _, high) in zip(days, course, strict=True)],
            colour,
        )
        points = [(day, value) for day, (_, value, _, _) in zip(days, course, strict=True)]
        plot.line(points, colour, "estimated" if estimated else "by labels")
        plot.dots(points, colour)
    return plot


def _course(
    known: Mapping[Window, PastScore | Performance],
) -> list[tuple[Window, float, float, float]]:
    """Window, value, low and high, oldest first, of those that are known."""
    return [
        (
            window,
            one.value,
            one.value if one.low is None else one.low,
            one.value if one.high is None else one.high,
        )
        for window, one in sorted(known.items())
        if one.value is not None
    ]


def _day(window: Window, first: datetime) -> float:
    return (window.end - first).total_seconds() / _DAY
