"""What the report draws over time: the worst scores, and the gate's metric with its band."""

from __future__ import annotations

import re

import pytest

from workloads.monitoring import timelines

from .test_job import EXPECTED, World, after, run

COUNT = 6


@pytest.fixture(scope="module")
def pages() -> tuple[World, list[str]]:
    """Six weeks, of which the last two have drifted and got worse."""
    moved, fallen = after(COUNT - 2, 0.5), after(COUNT - 2, 0.15)
    world = World(shift=moved, auc=lambda window: EXPECTED - fallen(window), columns=8)
    found = [run(world, index).report.rpartition("/")[2] for index in range(COUNT)]
    return world, [world.objects[one].decode() for one in found]


def plots(page: str, title: str) -> list[str]:
    """The plots whose title begins so."""
    return [
        one
        for one in re.findall(r"<svg.*?</svg>", page, re.DOTALL)
        if re.search(rf'aria-label="{re.escape(title)}', one)
    ]


def heights(plot: str, of: str = "circle") -> list[float]:
    """Of each dot of a line, how far below the top it lies."""
    return [float(one) for one in re.findall(rf'<{of} cx="[\d.]+" cy="([\d.]+)" r="3"', plot)]


def test_a_score_is_drawn_in_each_window_beside_its_threshold(
    pages: tuple[World, list[str]],
) -> None:
    _, all_ = pages
    drawn = [one for number in range(8) for one in plots(all_[-1], f"x{number}, training")]
    assert len(drawn) == timelines.FEATURES
    for plot in drawn:
        assert len(heights(plot)) == COUNT
        assert plot.count("stroke-dasharray") == 1
        assert ">threshold</text>" in plot
        # The last two weeks lie above the threshold, the four before below.
        dashed = re.search(r'<polyline points="([^"]+)"[^>]*stroke-dasharray', plot)
        assert dashed is not None
        threshold = float(dashed[1].split()[-1].partition(",")[2])
        assert [one < threshold for one in heights(plot)] == [False] * 4 + [True] * 2


def test_the_first_window_is_drawn_alone(pages: tuple[World, list[str]]) -> None:
    _, all_ = pages
    drawn = [one for number in range(8) for one in plots(all_[0], f"x{number}, training")]
    assert [len(heights(one)) for one in drawn] == [1] * timelines.FEATURES


def test_performance_is_drawn_with_a_band_over_more_windows_than_are_judged(
    pages: tuple[World, list[str]],
) -> None:
    _, all_ = pages
    [plot] = plots(all_[-1], "roc_auc of each window")
    dots = heights(plot)
    assert len(dots) == COUNT
    assert max(dots[:4]) < min(dots[4:])
    [band] = re.findall(r'<polygon points="([^"]+)"', plot)
    # Twelve corners: the lower bound of each window there, and the upper one back.
    assert len(band.split()) == 2 * COUNT
    assert ">hold-out</text>" in plot
    assert ">tolerated</text>" in plot


def test_windows_long_ago_are_left_out() -> None:
    world = World(columns=1)
    pages = [run(world, index).report.rpartition("/")[2] for index in range(timelines.WINDOWS + 3)]
    [plot] = plots(world.objects[pages[-1]].decode(), "x0, training")
    assert len(heights(plot)) == timelines.WINDOWS + 1
