"""Slices of performance: each against itself, all of them together no more often wrong than one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
import pytest

from workloads.metrics import Interval
from workloads.monitoring import rating, verdicts
from workloads.monitoring.measuring import Measured, Rated
from workloads.monitoring.performance import Performance
from workloads.monitoring.store import PastScore
from workloads.monitoring.verdicts import Finding
from workloads.monitoring.window import Window
from workloads.notifications.incident import TOP

from .test_job import EXPECTED, NOW, PRODUCT, rated, week

TOLERANCE = PRODUCT.monitoring.performance_tolerance


def around(value: float, half: float = 0.01) -> Interval:
    return Interval(value=value, low=value - half, high=value + half)


def scored(window: Window, value: float | None, part: str = "", half: float = 0.01) -> Performance:
    found = rated(window, value)
    return Performance(
        **{name: getattr(found, name) for name in found.__struct_fields__}
        | {
            "slice": part,
            "low": None if value is None else value - half,
            "high": None if value is None else value + half,
        }
    )


def judged(
    scores: Sequence[Mapping[str, float | None]],
    parts: dict[str, Interval],
    *,
    half: float = 0.01,
) -> Finding:
    """What is said of the last window; of each, the score by slice, of all rows by no name."""
    measured = Measured(version="1", window=week(len(scores) - 1), at=NOW)
    past: list[PastScore] = []
    for index, found in enumerate(scores):
        for part, value in found.items():
            one = scored(week(index), value, part, half)
            if index == len(scores) - 1:
                measured.rated.append(Rated(performance=one, version="1"))
                continue
            past.append(
                PastScore(
                    window=one.window,
                    estimated=False,
                    value=one.value,
                    low=one.low,
                    high=one.high,
                    slice=part,
                )
            )
    found = verdicts.judge(PRODUCT, measured, {}, past, EXPECTED, parts)
    return next(one for one in found if one.kind == verdicts.PERFORMANCE)


PARTS = {"origin=EWR": around(0.8), "origin=JFK": around(0.7), "origin=LGA": around(0.75)}
WELL = {"": EXPECTED, "origin=EWR": 0.8, "origin=JFK": 0.7, "origin=LGA": 0.75}


def test_slices_are_held_against_themselves_and_not_against_all_rows() -> None:
    found = judged([WELL, WELL], PARTS)
    assert (found.verdict, found.alarm, found.top) == ("quiet", False, ())


def test_a_slice_that_falls_alone_is_told_of_when_it_lasts() -> None:
    fallen = {**WELL, "origin=JFK": 0.55}
    once = judged([WELL, fallen], PARTS)
    assert (once.verdict, once.alarm) == ("drifted", False)
    lasting = judged([WELL, fallen, fallen], PARTS)
    assert lasting.alarm
    assert lasting.since == week(1).start
    assert (lasting.feature, lasting.score) == ("rows where origin=JFK", 0.55)
    assert lasting.threshold == pytest.approx(0.7 - TOLERANCE)
    assert [one.feature for one in lasting.top] == ["rows where origin=JFK"]
    assert lasting.subjects == 1
    assert not judged([fallen, fallen, WELL], PARTS).alarm


def test_when_all_rows_fall_those_slices_are_named_that_fell_most() -> None:
    fallen: dict[str, float | None] = {
        "": 0.6,
        "origin=EWR": 0.6,
        "origin=JFK": 0.6,
        "origin=LGA": 0.745,
    }
    found = judged([fallen, fallen], PARTS)
    assert found.alarm
    assert [one.feature for one in found.top] == [
        "all rows",
        "rows where origin=EWR",
        "rows where origin=JFK",
    ]
    assert [one.threshold for one in found.top] == pytest.approx(
        [EXPECTED - TOLERANCE, 0.8 - TOLERANCE, 0.7 - TOLERANCE]
    )


def test_what_cannot_be_known_of_a_slice_is_no_breach() -> None:
    """No labels in it, or too few rows of it in the hold-out."""
    unknown: dict[str, float | None] = {**WELL, "origin=JFK": None, "carrier=HA": 0.2}
    assert judged([unknown, unknown], PARTS).verdict == "quiet"
    assert judged([{"": None}, {"": None}], PARTS).verdict == "unknown"


def test_no_more_is_told_than_a_message_holds() -> None:
    parts = {f"carrier={one}": around(0.8) for one in range(30)}
    fallen: dict[str, float | None] = {"": 0.5, **dict.fromkeys(parts, 0.5)}
    found = judged([fallen, fallen], parts)
    assert len(found.top) == TOP
    assert found.top[0].feature == "all rows"
    assert found.subjects == 31


def test_a_hundred_quiet_slices_are_as_seldom_wrong_as_one() -> None:
    """Scores that lie by chance alone just where they are still tolerated, the hardest case."""
    generator = np.random.default_rng(0)
    error = 0.02
    names = [f"carrier={one}" for one in range(100)]
    wrong, runs = 0, 400
    for _ in range(runs):
        now, before = generator.normal(0, error, (2, 100))
        half = 1.96 * error
        expected = {
            name: around(0.8 + off, half) for name, off in zip(names, before.tolist(), strict=True)
        }
        scores = {
            name: scored(week(0), 0.8 - TOLERANCE + off, name, half)
            for name, off in zip(names, now.tolist(), strict=True)
        }
        found = rating.slices("roc_auc", scores, expected, tolerance=TOLERANCE)
        wrong += any(one.worse for one in found.values())
    assert wrong / runs <= rating.LEVEL + 3 * (rating.LEVEL / runs) ** 0.5


def test_of_a_loss_more_is_worse() -> None:
    expected = {"origin=EWR": around(10.0, 0.5)}
    for value, worse in ((12.0, True), (8.0, False)):
        scores = {"origin=EWR": scored(week(0), value, "origin=EWR", 0.5)}
        [one] = rating.slices("mae", scores, expected, tolerance=0.2).values()
        assert one.worse is worse
        assert one.limit == 10.2


def test_windows_that_lie_across_others_are_not_counted_twice() -> None:
    """A day looked at by hand, whose labels have come since."""
    day = Window(start=week(0).start, end=week(0).start + timedelta(days=1))
    measured = Measured(version="1", window=week(1), at=NOW)
    for window in (day, week(1)):
        measured.rated.append(Rated(performance=scored(window, 0.5), version="1"))
    past = [PastScore(window=week(0), estimated=False, value=0.75, low=0.74, high=0.76)]
    [found] = [
        one
        for one in verdicts.judge(PRODUCT, measured, {}, past, EXPECTED)
        if one.kind == verdicts.PERFORMANCE
    ]
    assert (found.verdict, found.alarm) == ("drifted", False)
