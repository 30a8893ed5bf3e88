"""Scores are scikit-learn's, under any weights, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from workloads.metrics import (
    HIGHER_IS_BETTER,
    NotScorable,
    Scored,
    calibration,
    calibration_error,
    intervals,
    resamples,
)

REFERENCE = {
    "roc_auc": reference.roc_auc_score,
    "pr_auc": reference.average_precision_score,
    "log_loss": reference.log_loss,
    "brier": reference.brier_score_loss,
}


@st.composite
def scored_rows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = draw(st.integers(2, 60))
    truth = draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    truth[:2] = [0, 1]
    # Few distinct values, so that ties are common.
    tenths = draw(st.lists(st.integers(1, 9), min_size=size, max_size=size))
    weights = draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    weights[:2] = [1, 1]
    return np.array(truth), np.array(tenths) / 10, np.array(weights, dtype=float)


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
@given(rows=scored_rows())
@settings(max_examples=60, deadline=None)
def test_a_score_is_the_reference(
    metric: str, rows: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    truth, probabilities, weights = rows
    scored = Scored(truth, probabilities)

    assert scored.score(metric) == pytest.approx(REFERENCE[metric](truth, probabilities))
    assert scored.score(metric, weights) == pytest.approx(
        REFERENCE[metric](truth, probabilities, sample_weight=weights)
    )


def test_an_interval_holds_its_value_and_narrows_with_rows() -> None:
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 2, 4000)
    probabilities = np.clip(0.3 * truth + generator.random(4000) * 0.7, 0, 1)

    few = intervals(truth[:200], probabilities[:200], samples=200)
    many = intervals(truth, probabilities, samples=200)

    for metric in HIGHER_IS_BETTER:
        assert many[metric].low <= many[metric].value <= many[metric].high
        assert many[metric].high - many[metric].low < few[metric].high - few[metric].low


def test_saying_the_same_of_all_is_a_coin_toss() -> None:
    truth = np.array([0, 1, 0, 1])

    assert Scored(truth, np.full(4, 0.3)).score("roc_auc") == 0.5
    assert Scored(truth, np.full(4, 0.3)).score("pr_auc") == 0.5


@pytest.mark.parametrize(
    ("truth", "probabilities", "said"),
    [
        ([], [], "0 rows"),
        ([1, 1], [0.1, 0.2], "2 rows of which 2 are positive"),
        ([0, 0], [0.1, 0.2], "needs both classes"),
        ([0, 1], [0.1], "two vectors of one length"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    truth: list[int], probabilities: list[float], said: str
) -> None:
    with pytest.raises(NotScorable, match=said):
        Scored(np.array(truth), np.array(probabilities))


def test_every_resample_holds_both_classes() -> None:
    truth = np.zeros(50)
    truth[7] = 1

    drawn = list(resamples(truth, 100))

    assert len(drawn) == 100
    assert all(weights.sum() == 50 and weights[7] >= 1 for weights in drawn)


def test_calibration_tells_an_overconfident_model() -> None:
    truth = np.tile([0, 0, 0, 1], 100)
    honest, loud = np.full(400, 0.25), np.full(400, 0.75)

    assert calibration_error(calibration(truth, honest)) < 0.03
    assert calibration_error(calibration(truth, loud)) == pytest.approx(0.5)


def test_the_best_threshold_parts_what_can_be_parted() -> None:
    truth = np.array([0, 0, 1, 1])

    assert 0.2 < Scored(truth, np.array([0.1, 0.2, 0.6, 0.9])).best_threshold() < 0.6
