"""Every score that is known goes to Cloud Monitoring, under labels of its metric."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from workloads import telemetry
from workloads.monitoring import gauges, tables
from workloads.monitoring.assessment import STATISTICS, FeatureScore
from workloads.monitoring.measuring import Measured, Rated
from workloads.monitoring.publishing import Point

from .test_job import NOW, PRODUCT, World, champion, rated, week

REFERENCES = (tables.TRAINING, tables.SERVED, tables.SKEW, tables.ANSWERS)


@pytest.fixture(scope="module")
def measured() -> Measured:
    """A window with scores against every reference, and with a slice."""
    found = World().measure(champion(), week(0), at=NOW, earlier=())
    whole = found.scores[tables.TRAINING]
    for reference in REFERENCES[1:]:
        found.scores[reference] = list(whole)
    found.scores[tables.TRAINING] = [
        *whole,
        *(msgspec.structs.replace(one, slice="origin=EWR") for one in whole),
        msgspec.structs.replace(whole[0], feature="unknown", score=None),
    ]
    part = msgspec.structs.replace(rated(week(0), 0.6), slice="origin=EWR")
    found.rated.append(Rated(performance=part, version="1"))
    return found


@pytest.fixture(scope="module")
def points(measured: Measured) -> list[Point]:
    return gauges.points(PRODUCT, measured, [], datetime(2013, 4, 1, tzinfo=UTC), NOW)


def test_every_known_score_is_told_once(measured: Measured, points: list[Point]) -> None:
    told = {
        (
            one.labels.get(telemetry.REFERENCE, tables.ANSWERS),
            one.labels[telemetry.FEATURE],
            one.labels[telemetry.STATISTIC],
            one.labels.get(telemetry.SLICE, telemetry.ALL),
        ): one.value
        for one in points
        if one.metric in (telemetry.DRIFT_SCORE, telemetry.PREDICTION_DRIFT)
    }

    def key(reference: str, one: FeatureScore) -> tuple[str, str, str, str]:
        return reference, one.feature, one.statistic, one.slice or telemetry.ALL

    assert told == {
        key(reference, one): one.score
        for reference, one in measured.all
        if one.score is not None and reference in REFERENCES
    }
    assert {statistic for _, _, statistic, _ in told} == set(STATISTICS["number"])


def test_the_score_of_a_slice_is_apart_from_that_of_all_rows(points: list[Point]) -> None:
    found = {
        one.labels[telemetry.SLICE]: one.value
        for one in points
        if one.metric is telemetry.PERFORMANCE
    }
    assert found == {telemetry.ALL: 0.75, "origin=EWR": 0.6}


def test_points_have_the_labels_that_their_metric_declares(points: list[Point]) -> None:
    series: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for one in points:
        assert set(one.labels) == {name for name, _ in one.metric.labels}
        # An empty label is as good as none: dashboards could not ask for it.
        assert all(one.labels.values())
        series.add((one.metric.type, tuple(sorted(one.labels.items()))))
    assert len(series) == len(points)
