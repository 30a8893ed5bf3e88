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
    ScoredNumbers,
    calibration,
    calibration_error,
    intervals,
    resamples,
    scored,
)
from workloads.product import METRICS, Task
from workloads.scoring import Answers

CLASSES, NUMBERS = Task.CLASSIFICATION, Task.REGRESSION

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


@pytest.mark.parametrize("metric", METRICS[CLASSES])
@given(rows=scored_rows())
@settings(max_examples=60, deadline=None)
def test_a_score_is_the_reference(
    metric: str, rows: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    truth, probabilities, weights = rows
    found = scored(CLASSES, truth, Answers(probabilities))

    assert found.score(metric) == pytest.approx(REFERENCE[metric](truth, probabilities))
    assert found.score(metric, weights) == pytest.approx(
        REFERENCE[metric](truth, probabilities, sample_weight=weights)
    )


def test_an_interval_holds_its_value_and_narrows_with_rows() -> None:
    generator = np.random.default_rng(3)
    truth = generator.integers(0, 2, 4000)
    probabilities = np.clip(0.3 * truth + generator.random(4000) * 0.7, 0, 1)

    few = intervals(CLASSES, truth[:200], Answers(probabilities[:200]), samples=200)
    many = intervals(CLASSES, truth, Answers(probabilities), samples=200)

    for metric in METRICS[CLASSES]:
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


def numbers(rows: int, seed: int = 0) -> tuple[np.ndarray, Answers]:
    """Minutes with noise of deviation 10, and a model that knows all but the noise."""
    generator = np.random.default_rng(seed)
    value = generator.normal(5, 20, rows)
    truth = value + generator.normal(0, 10, rows)
    # 1.2816 deviations either side hold 80 % of a normal distribution.
    return truth, Answers(value, value - 12.816, value + 12.816, (0.1, 0.9))


def test_a_score_of_numbers_is_the_reference() -> None:
    truth, answers = numbers(300)
    weights = np.random.default_rng(1).integers(0, 4, 300).astype(float)
    found = scored(NUMBERS, truth, answers)

    for each in (None, weights):
        assert found.score("mae", each) == pytest.approx(
            reference.mean_absolute_error(truth, answers.value, sample_weight=each)
        )
        assert found.score("rmse", each) == pytest.approx(
            reference.root_mean_squared_error(truth, answers.value, sample_weight=each)
        )
        losses = [
            reference.mean_pinball_loss(truth, bound, alpha=quantile, sample_weight=each)
            for quantile, bound in ((0.1, answers.lower), (0.9, answers.upper))
        ]
        assert found.score("pinball", each) == pytest.approx(np.mean(losses))


def test_coverage_tells_an_interval_that_is_too_narrow() -> None:
    truth, honest = numbers(4000)
    value = honest.value
    narrow = Answers(value, value - 1, value + 1, (0.1, 0.9))

    assert scored(NUMBERS, truth, honest).score("coverage_error") < 0.02
    found = ScoredNumbers(truth, narrow)
    assert found.coverage() == pytest.approx(0.08, abs=0.02)
    assert found.score("coverage_error") == pytest.approx(0.8 - found.coverage())
    assert found.score("pinball") > ScoredNumbers(truth, honest).score("pinball")


def test_intervals_of_numbers_hold_their_values_and_narrow_with_rows() -> None:
    truth, answers = numbers(4000)

    few = intervals(NUMBERS, truth[:200], answers.where(np.arange(200)), samples=200)
    many = intervals(NUMBERS, truth, answers, samples=200)

    assert set(many) == set(METRICS[NUMBERS])
    for metric in ("mae", "rmse", "pinball"):
        assert many[metric].low <= many[metric].value <= many[metric].high
        assert many[metric].high - many[metric].low < few[metric].high - few[metric].low


def test_every_metric_belongs_to_one_task_and_says_which_way_it_improves() -> None:
    assert set(HIGHER_IS_BETTER) == set(METRICS[CLASSES]) | set(METRICS[NUMBERS])
    assert not any(METRICS[NUMBERS].values())


@pytest.mark.parametrize(
    ("truth", "answers", "said"),
    [
        ([], Answers(np.empty(0)), "at least one row"),
        ([1.0, 2.0], Answers(np.ones(3)), "two vectors of one length"),
        ([1.0, np.nan], Answers(np.ones(2)), "not finite"),
        ([1.0, 2.0], Answers(np.array([1.0, np.inf])), "not finite"),
    ],
)
def test_numbers_that_cannot_be_scored_are_refused(
    truth: list[float], answers: Answers, said: str
) -> None:
    with pytest.raises(NotScorable, match=said):
        scored(NUMBERS, np.array(truth), answers)


def test_without_bounds_there_is_no_score_of_the_interval() -> None:
    found = scored(NUMBERS, np.array([1.0, 2.0]), Answers(np.array([1.5, 2.5])))

    assert found.score("mae") == 0.5
    with pytest.raises(NotScorable, match="coverage_error needs a lower and an upper bound"):
        found.score("coverage_error")
    with pytest.raises(KeyError):
        found.score("roc_auc")


def test_a_bound_alone_is_no_interval() -> None:
    with pytest.raises(ValueError, match="both bounds or none"):
        Answers(np.ones(2), lower=np.zeros(2))
