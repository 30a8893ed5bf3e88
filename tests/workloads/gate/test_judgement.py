"""What passes the gate and what does not."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.gate.judgement import Judgement, judge
from workloads.product import Gate
from workloads.scoring import Answers

ROWS = 4000
# Synthetic models are no better calibrated than they have to be.
GATE = Gate(
    metric="roc_auc",
    floor=0.7,
    minimum_gain=0.002,
    confidence=0.95,
    slice_tolerance=0.02,
    calibration_tolerance=0.5,
)


def model(skill: float, seed: int = 1) -> Answers:
    """Probabilities that know the truth with some skill."""
    noise = np.random.default_rng(seed).random(ROWS)
    return Answers(np.clip(skill * TRUTH + (1 - skill) * noise, 0, 1))


TRUTH = np.random.default_rng(0).integers(0, 2, ROWS)
HALF = np.arange(ROWS) < ROWS // 2


def failed(judgement: Judgement) -> set[str]:
    return {check.name for check in judgement.checks if not check.passed}


def test_the_first_model_needs_only_the_floor() -> None:
    judgement = judge(GATE, TRUTH, model(0.3), None, [("half", "first", HALF)], samples=100)

    assert judgement.passed
    assert [check.name for check in judgement.checks] == ["floor"]
    assert judgement.champion is None
    assert judgement.gain is None


def test_below_the_floor_nothing_passes() -> None:
    judgement = judge(GATE, TRUTH, model(0.1), model(0.05), [], samples=100)

    assert not judgement.passed
    assert failed(judgement) == {"floor"}
    assert "misses the floor of 0.7" in judgement.checks[0].reason


def test_a_better_challenger_passes() -> None:
    judgement = judge(GATE, TRUTH, model(0.35), model(0.25), [("half", "first", HALF)], samples=200)

    assert judgement.passed
    assert judgement.gain is not None
    assert judgement.gain.low > 0


def test_the_same_model_gains_nothing() -> None:
    same = model(0.3)

    judgement = judge(GATE, TRUTH, same, same, [], samples=100)

    assert failed(judgement) == {"minimum gain", "confidence"}
    assert judgement.gain is not None
    assert judgement.gain.value == 0


def test_a_gain_that_may_be_chance_is_not_enough() -> None:
    lucky, champion = model(0.3, seed=1), model(0.3, seed=2)
    if judge(GATE, TRUTH, lucky, champion, [], samples=10).gain.value < 0:  # type: ignore[union-attr]
        lucky, champion = champion, lucky
    bold = Gate(metric="roc_auc", floor=0.7, minimum_gain=0.0, confidence=0.99)

    judgement = judge(bold, TRUTH, lucky, champion, [], samples=300)

    assert failed(judgement) == {"confidence"}


def test_a_slice_must_not_pay_for_the_whole() -> None:
    champion, challenger = model(0.25), model(0.45)
    challenger.value[:200] = model(0.0).value[:200]
    small = np.arange(ROWS) < 200

    judgement = judge(GATE, TRUTH, challenger, champion, [("carrier", "HA", small)], samples=200)

    assert failed(judgement) == {"slice carrier=HA"}
    reasons = [check.reason for check in judgement.checks if not check.passed]
    assert reasons[0].startswith("on 200 rows with carrier HA, roc_auc goes from")


@pytest.mark.parametrize("metric", ["log_loss", "brier"])
def test_a_metric_that_falls_is_judged_the_other_way(metric: str) -> None:
    gate = Gate(metric=metric, floor=0.69, minimum_gain=0.001)

    better = judge(gate, TRUTH, model(0.3), model(0.2), [], samples=100)
    worse = judge(gate, TRUTH, model(0.2), model(0.3), [], samples=100)

    assert better.passed
    assert {"minimum gain", "confidence"} <= failed(worse)


def test_an_unknown_metric_is_refused() -> None:
    gate = Gate(metric="accuracy", floor=0.7, minimum_gain=0.0)

    with pytest.raises(ValueError, match="allowed: brier, log_loss, pr_auc, roc_auc"):
        judge(gate, TRUTH, model(0.3), None, [])
