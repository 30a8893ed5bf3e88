"""Scores estimated without labels come near those that labels give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workloads.metrics import NotScorable, Scored, ScoredNumbers
from workloads.monitoring.estimation import Calibrator, LossEstimator, calibrate, estimate
from workloads.scoring import Answers

CHUNK = 5_000


def errors(
    known: tuple[np.ndarray, np.ndarray], later: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """By chunk, how far the estimated ROC-AUC is from the true one."""
    calibrator = calibrate(*known)
    truth, probabilities = later
    return np.array(
        [
            estimate("roc_auc", probabilities[at : at + CHUNK], calibrator, samples=0).value
            - Scored(truth[at : at + CHUNK], probabilities[at : at + CHUNK]).score("roc_auc")
            for at in range(0, truth.size, CHUNK)
        ]
    )


def test_roc_auc_of_car_loans(nannyml: Path) -> None:
    known = pd.read_csv(nannyml / "synthetic_car_loan_reference.csv")
    later = pd.read_csv(nannyml / "synthetic_car_loan_analysis.csv").merge(
        pd.read_csv(nannyml / "synthetic_car_loan_analysis_target.csv"), on="id"
    )
    found = errors(
        *((one.repaid.to_numpy(), one.y_pred_proba.to_numpy()) for one in (known, later))
    )
    assert found.size == 10
    assert np.abs(found).mean() <= 0.0025


def test_roc_auc_of_employment_in_massachusetts(nannyml: Path) -> None:
    known = pd.read_parquet(nannyml / "employment_MA_reference.pq")
    later = pd.read_parquet(nannyml / "employment_MA_analysis.pq").merge(
        pd.read_parquet(nannyml / "employment_MA_analysis_target.pq"), on="id"
    )
    found = errors(
        *((one.employed.to_numpy(), one.predicted_probability.to_numpy()) for one in (known, later))
    )
    assert found.size == 42
    assert np.abs(found).mean() <= 0.0045


def test_absolute_error_of_car_prices(nannyml: Path) -> None:
    names = ["car_age", "km_driven", "price_new", "accident_count", "door_count"]
    names += ["fuel", "transmission"]
    known = pd.read_csv(nannyml / "regression_synthetic_reference.csv").iloc[:10_000]
    later = pd.read_csv(nannyml / "regression_synthetic_analysis.csv").join(
        pd.read_csv(nannyml / "regression_synthetic_analysis_targets.csv")[["y_true"]]
    )
    estimator = LossEstimator(
        {name: known[name].to_numpy() for name in names},
        known.y_true.to_numpy(),
        known.y_pred.to_numpy(),
    )
    found, true = [], []
    for at in range(0, len(later), 12_000):
        chunk = later.iloc[at : at + 3_000]
        features = {name: chunk[name].to_numpy() for name in names}
        found.append(estimator.estimate(features, chunk.y_pred.to_numpy(), samples=0).value)
        true.append(float(np.abs(chunk.y_true - chunk.y_pred).mean()))
    assert found == pytest.approx(true, rel=0.06)
    # The inputs shift in the middle of the data, and both fall by a sixth.
    assert max(found[3:]) < 0.9 * min(found[:2])


@pytest.mark.parametrize("metric", ["roc_auc", "pr_auc", "log_loss", "brier"])
def test_each_score_of_a_calibrated_model_is_foreseen(metric: str) -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.beta(2, 5, 20_000)
    truth = (generator.random(20_000) < probabilities).astype(float)
    found = estimate(metric, probabilities, Calibrator())
    assert found.low <= Scored(truth, probabilities).score(metric) <= found.high
    assert found.low < found.value < found.high


def test_calibration_mends_what_is_off_and_leaves_what_is_right() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.random(5_000)
    overconfident = (generator.random(5_000) < 0.25 + probabilities / 2).astype(float)
    fitted = calibrate(overconfident, probabilities)
    assert fitted(np.array([0.2, 0.5, 0.8])) == pytest.approx([0.35, 0.5, 0.65], abs=0.08)
    honest = (generator.random(5_000) < probabilities).astype(float)
    points = np.linspace(0.1, 0.9, 9)
    assert calibrate(honest, probabilities)(points) == pytest.approx(points, abs=0.08)
    assert Calibrator()(probabilities) is probabilities


def test_what_cannot_be_estimated_is_refused() -> None:
    with pytest.raises(NotScorable, match="99 rows"):
        estimate("roc_auc", np.full(99, 0.5), Calibrator())
    with pytest.raises(NotScorable, match="one class"):
        estimate("roc_auc", np.zeros(500), Calibrator())
    with pytest.raises(NotScorable, match="allowed: at least 100 probabilities"):
        estimate("roc_auc", np.full(500, np.nan), Calibrator())
    with pytest.raises(KeyError, match="mae"):
        estimate("mae", np.full(500, 0.5), Calibrator())
    with pytest.raises(NotScorable, match="calibration needs"):
        calibrate(np.zeros(500), np.full(500, 0.5))
    with pytest.raises(NotScorable, match="at least 100 finite"):
        LossEstimator({"x": [1.0]}, np.array([1.0]), np.array([1.0]))


def errant(rows: int, seed: int, noise: float = 1.0) -> tuple[dict[str, np.ndarray], ...]:
    """A regression whose errors grow with its one feature: features, truth and predictions."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(0, 1, rows)
    truth = 5 * x + noise * generator.normal(0, 0.5 + 2 * x)
    return {"x": x}, {"truth": truth, "value": 5 * x}


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_the_error_of_a_regression_lies_within_its_band(metric: str) -> None:
    """As often as it should when chance alone is at work, and hardly ever when errors have grown,
    which no estimate from the inputs alone can see."""
    known, rows = errant(4_000, 0)
    estimator = LossEstimator(known, rows["truth"], rows["value"], metric=metric)
    inside, after, windows = 0, 0, 40
    for seed in range(1, windows + 1):
        features, now = errant(500, seed)
        found = estimator.estimate(features, now["value"], seed=seed)
        assert found.low < found.value < found.high
        for noise in (1.0, 1.5):
            truth = now["value"] + noise * (now["truth"] - now["value"])
            score = ScoredNumbers(truth, Answers(now["value"])).score(metric)
            if noise == 1.0:
                inside += found.low <= score <= found.high
            else:
                after += found.low <= score <= found.high
    assert inside >= 0.85 * windows
    assert after <= 0.1 * windows


def test_a_band_narrows_with_rows_and_is_left_out_on_demand() -> None:
    known, rows = errant(2_000, 0)
    estimator = LossEstimator(known, rows["truth"], rows["value"])
    few, many = (
        estimator.estimate(features, now["value"])
        for features, now in (errant(count, 1) for count in (200, 20_000))
    )
    assert many.high - many.low < (few.high - few.low) / 5
    features, now = errant(200, 1)
    bare = estimator.estimate(features, now["value"], samples=0)
    assert (bare.low, bare.value, bare.high) == (few.value,) * 3


@pytest.mark.parametrize("metric", ["pinball", "coverage_error"])
def test_what_no_loss_of_the_answer_says_is_refused(metric: str) -> None:
    known, rows = errant(200, 0)
    with pytest.raises(NotScorable, match=f"{metric} is not estimated without labels.*mae, rmse"):
        LossEstimator(known, rows["truth"], rows["value"], metric=metric)
