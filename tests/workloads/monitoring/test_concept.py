"""How soon ADWIN tells that errors have changed, and that it is silent while they have not."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.monitoring.concept import changes

BEFORE = 10_000
STREAMS = 16


def wrong(seed: int, rows: int, share: float) -> np.ndarray:
    return (np.random.default_rng(seed).random(rows) < share).astype(float)


@pytest.mark.parametrize(("share", "most"), [(0.30, 95), (0.20, 303), (0.15, 1_007)])
def test_a_rise_of_errors_is_noticed_as_soon_as_river_can(share: float, most: int) -> None:
    delays: list[int] = []
    for seed in range(STREAMS):
        errors = np.r_[wrong(seed, BEFORE, 0.1), wrong(seed + 100, 4_000, share)]
        found = changes(errors)
        assert all(one.noticed >= BEFORE for one in found), "a false alarm"
        first = found[0]
        assert first.worse
        assert first.before == pytest.approx(0.1, abs=0.02)
        # The sooner it is noticed, the more it was by chance that errors were many.
        assert first.after > 0.1 + (share - 0.1) / 2
        delays.append(first.noticed - BEFORE)
    assert np.mean(delays) <= most


def test_160_000_rows_in_which_nothing_changes_raise_no_alarm() -> None:
    assert changes(wrong(1, 160_000, 0.1)) == []


def test_an_improvement_is_one_change_that_is_not_worse() -> None:
    (only,) = changes(np.r_[wrong(0, 5_000, 0.3), wrong(1, 5_000, 0.1)])
    assert not only.worse
    assert only.began == pytest.approx(5_000, abs=50)
    assert 5_000 < only.noticed < 5_200


def test_each_of_two_changes_is_told_once() -> None:
    errors = np.r_[wrong(0, 5_000, 0.1), wrong(1, 5_000, 0.3), wrong(2, 5_000, 0.1)]
    first, second = changes(errors)
    assert (first.worse, second.worse) == (True, False)
    assert (first.began, second.began) == pytest.approx((5_000, 10_000), abs=100)


def test_no_errors_are_no_change_and_losses_without_bound_are_refused() -> None:
    assert changes([]) == []
    with pytest.raises(ValueError, match=r"between 0\.2 and 3\.0; allowed: 0 to 1"):
        changes([0.2, 3.0])
