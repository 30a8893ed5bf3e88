"""What may be said of two arms, and how often it is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from tests.workloads.experiments.test_assignment import experiment
from workloads.experiments.analysis import (
    ArmTotals,
    Verdict,
    analyse,
    boundary,
    mean_variance,
    mixture_precision,
    needed_keys,
    ratio_p_value,
)
from workloads.experiments.experiment import Metric

ALPHA = 0.05


def arm(outcomes: np.ndarray, keys: np.ndarray | None = None) -> ArmTotals:
    """The totals of outcomes, one key each unless told."""
    keys = np.arange(outcomes.size) if keys is None else keys
    _, index = np.unique(keys, return_inverse=True)
    sums, counts = np.bincount(index, outcomes), np.bincount(index)
    return ArmTotals(
        assigned=counts.size,
        keys=counts.size,
        rows=int(counts.sum()),
        total=float(sums.sum()),
        squares=float((sums**2).sum()),
        products=float((sums * counts).sum()),
        counts=float((counts**2).sum()),
    )


def peeked(
    generator: np.random.Generator, tests: int, rows: int, rates: tuple[float, float], share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Two models that fail at given rates, looked at after every row: the first row at which each
    is found better, `rows` where it never is."""
    effect, minimum = 0.02, 500
    precision = mixture_precision(effect, ALPHA)
    better = [np.full(tests, rows), np.full(tests, rows)]
    for test in range(tests):
        challenger = generator.random(rows) < share / 100
        failed = generator.random(rows) < np.where(challenger, rates[1], rates[0])
        means, spread = [], []
        enough = np.ones(rows, dtype=bool)
        for mine in (~challenger, challenger):
            count, total = np.cumsum(mine), np.cumsum(failed & mine)
            rate = (total + 1) / (count + 2)
            means.append(total / np.maximum(count, 1))
            spread.append(rate * (1 - rate) / (count + 1))
            enough &= count >= minimum
        gain = means[0] - means[1]
        half = boundary(1 / (spread[0] + spread[1]), precision, ALPHA)
        for side, signed in enumerate((gain, -gain)):
            if (found := enough & (signed > half)).any():
                better[side][test] = int(np.argmax(found))
    return better[0], better[1]


@pytest.mark.parametrize(("share", "rate"), [(50, 0.2), (25, 0.5), (10, 0.03)])
def test_a_thousand_tests_of_a_model_against_itself_promote_few(share: float, rate: float) -> None:
    rows = 20_000

    challenger, champion = peeked(np.random.default_rng(5), 1000, rows, (rate, rate), share)

    promoted = (challenger < rows).mean()
    assert promoted <= 0.05
    assert ((challenger < rows) | (champion < rows)).mean() <= ALPHA + 0.015


def test_a_fixed_test_looked_at_each_time_would_promote_many() -> None:
    """What the simulation above would find if the boundary were the textbook's 1.96."""
    generator = np.random.default_rng(5)
    steps = generator.standard_normal((1000, 20_000)).astype(np.float32)
    means = np.cumsum(steps, axis=1) / np.sqrt(np.arange(1, 20_001))

    assert (means[:, 500:] > 1.96).any(axis=1).mean() > 0.15


def test_a_real_difference_is_found_within_the_rows_that_were_foretold() -> None:
    rates, share = (0.20, 0.18), 50
    foretold = needed_keys(0.02, 0.2 * 0.8, 0.18 * 0.82, share)
    assert 15_000 < foretold < 35_000

    challenger, champion = peeked(np.random.default_rng(6), 300, foretold, rates, share)

    assert (challenger < foretold).mean() >= 0.8
    assert (champion < foretold).mean() <= ALPHA / 2
    # Looking on the way pays: half of all tests end with a third of the rows to spare.
    assert np.median(challenger) < 2 / 3 * foretold


def test_the_verdict_agrees_with_the_simulation() -> None:
    generator = np.random.default_rng(1)
    champion, challenger = generator.random(20_000) < 0.30, generator.random(20_000) < 0.24

    found = analyse(
        experiment(share=50, effect=0.02),
        arm(champion.astype(float)),
        arm(challenger.astype(float)),
    )

    assert found.verdict is Verdict.CHALLENGER
    assert found.low > 0
    assert found.p_value < ALPHA
    assert found.gain == pytest.approx(champion.mean() - challenger.mean())


def test_which_way_is_better_follows_the_metric() -> None:
    low, high = arm(np.tile([0.0, 0.0, 1.0], 4000)), arm(np.tile([0.0, 1.0, 1.0], 4000))

    def verdict(metric: Metric) -> Verdict:
        return analyse(experiment(share=50, metric=metric, effect=0.02), low, high).verdict

    assert verdict(Metric.CORRECT) is Verdict.CHALLENGER
    assert verdict(Metric.BRIER) is Verdict.CHAMPION


def test_two_equal_models_end_with_no_difference_worth_finding() -> None:
    same = arm(np.tile([0.0, 0.0, 0.0, 1.0], 40_000))

    found = analyse(experiment(share=50, effect=0.02), same, same)

    assert found.verdict is Verdict.EQUAL
    assert "0.02 is ruled out" in found.reason


def test_few_keys_are_too_early_whatever_they_say() -> None:
    found = analyse(experiment(share=50), arm(np.ones(400)), arm(np.zeros(400)))

    assert found.verdict is Verdict.TOO_EARLY
    assert analyse(experiment(), ArmTotals(), ArmTotals()).verdict is Verdict.TOO_EARLY


def test_rows_of_one_key_count_as_one_witness() -> None:
    """Ten rows a key that all agree hold what one row holds."""
    outcomes = (np.random.default_rng(2).random(1000) < 0.3).astype(float)
    keys = np.repeat(np.arange(1000), 10)

    single, tenfold = arm(outcomes), arm(np.repeat(outcomes, 10), keys)

    assert tenfold.mean == single.mean
    assert mean_variance(tenfold) == pytest.approx(mean_variance(single), rel=0.01)
    assert mean_variance(arm(np.repeat(outcomes, 10))) < 0.11 * mean_variance(single)


def test_keys_that_agree_with_themselves_promote_few_too() -> None:
    """A/A with 1 to 8 rows a key and a rate of its own, looked at every 250 keys."""
    generator = np.random.default_rng(3)
    promoted = 0
    defined = experiment(share=50, effect=0.05, metric=Metric.BRIER)
    for _ in range(200):
        arms: list[list[ArmTotals]] = []
        for _ in range(2):
            rates = generator.beta(0.5, 1.5, 3000)
            counts = generator.integers(1, 9, 3000)
            sums = generator.binomial(counts, rates)
            totals = [np.cumsum(one) for one in (sums, sums**2, sums * counts, counts**2, counts)]
            arms.append(
                [
                    ArmTotals(
                        assigned=at + 1,
                        keys=at + 1,
                        rows=int(totals[4][at]),
                        total=float(totals[0][at]),
                        squares=float(totals[1][at]),
                        products=float(totals[2][at]),
                        counts=float(totals[3][at]),
                    )
                    for at in range(499, 3000, 250)
                ]
            )
        promoted += any(
            analyse(defined, one, other).verdict is Verdict.CHALLENGER
            for one, other in zip(*arms, strict=True)
        )

    assert promoted / 200 <= 0.05


def test_a_split_that_is_not_the_defined_one_voids_the_result() -> None:
    champion, challenger = arm(np.ones(30_000)), arm(np.zeros(28_000))

    found = analyse(experiment(share=50), champion, challenger)

    assert found.verdict is Verdict.MISMATCH
    assert "48.28 % of the keys went to the challenger, not 50 %" in found.reason


def test_a_right_split_looked_at_after_every_key_is_rarely_called_wrong() -> None:
    generator = np.random.default_rng(4)
    called = 0
    for _ in range(100):
        challenger = np.cumsum(generator.random(5000) < 0.05)
        called += any(
            ratio_p_value(int(challenger[at]), at + 1 - int(challenger[at]), 5) <= 0.01
            for at in range(0, 5000, 10)
        )

    assert called <= 4


def test_a_smaller_effect_and_a_smaller_share_need_more_keys() -> None:
    base = needed_keys(0.02, 0.16, 0.16, 50)

    assert needed_keys(0.01, 0.16, 0.16, 50) == pytest.approx(4 * base, rel=0.01)
    assert needed_keys(0.02, 0.16, 0.16, 5) > 5 * base
    assert needed_keys(0.02, 0.16, 0.16, 50, alpha=0.01) > base
