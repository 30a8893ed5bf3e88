"""Each score is what SciPy computes, to 1e-9."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.spatial import distance
from scipy.special import rel_entr

from workloads.monitoring import scores
from workloads.monitoring.reference import number
from workloads.monitoring.scores import NotComparable

CELLS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), min_size=2, max_size=40)


def filled(cells: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    p, q = np.array(cells, dtype=float).T
    p[0] += 1
    q[-1] += 1
    return p, q


@given(CELLS)
def test_scores_of_histograms_are_scipys(cells: list[tuple[int, int]]) -> None:
    p, q = filled(cells)
    ps, qs = p / p.sum(), q / q.sum()

    # Vertex AI's divergence is the square of SciPy's distance, to base 2.
    assert scores.jensen_shannon(p, q) == pytest.approx(
        distance.jensenshannon(p, q, base=2) ** 2, abs=1e-9
    )
    assert scores.l_infinity(p, q) == pytest.approx(distance.chebyshev(ps, qs), abs=1e-9)
    places = np.arange(p.size)
    by_scipy = stats.ks_2samp(
        np.repeat(places, p.astype(int)), np.repeat(places, q.astype(int)), method="asymp"
    )
    assert scores.kolmogorov_smirnov(p, q) == pytest.approx(by_scipy.statistic, abs=1e-9)


@given(CELLS)
def test_psi_is_the_relative_entropy_both_ways(cells: list[tuple[int, int]]) -> None:
    p, q = (one + 1 for one in filled(cells))
    p, q = p / p.sum(), q / q.sum()
    assert scores.psi(p, q) == pytest.approx((rel_entr(p, q) + rel_entr(q, p)).sum(), abs=1e-9)


def test_psi_counts_a_cell_that_one_side_lacks_as_evidently_does() -> None:
    assert scores.psi([50, 50, 0], [50, 0, 50]) == pytest.approx(
        2 * (0.5 - 1e-4) * np.log(0.5 / 1e-4), abs=3e-3
    )


@given(CELLS, st.integers(0, 2**32 - 1))
def test_wasserstein_of_histograms_is_the_area_between_their_distributions(
    cells: list[tuple[int, int]], seed: int
) -> None:
    p, q = filled(cells)
    edges = np.cumsum(np.random.default_rng(seed).uniform(0.01, 3, p.size - 1))
    if edges.size < 2:
        return
    gap = np.cumsum(p / p.sum() - q / q.sum())[:-1]
    zeros = [
        a + (b - a) * x / (x - y)
        for a, b, x, y in zip(edges, edges[1:], gap, gap[1:], strict=False)
        if x * y < 0
    ]
    area = 0.0
    corners = np.sort([*edges, *zeros])
    for a, b in pairwise(corners.tolist()):
        area += integrate.fixed_quad(lambda x: np.abs(np.interp(x, edges, gap)), a, b, n=3)[0]
    assert scores.wasserstein(edges, p, q) == pytest.approx(area, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_samples_are_scipys(seed: int) -> None:
    generator = np.random.default_rng(seed)
    one = np.r_[generator.normal(size=3_000), np.zeros(200)]
    other = np.r_[generator.normal(0.1, 1.2, size=2_001), np.zeros(99)]

    assert scores.kolmogorov_smirnov_of_samples(one, other) == pytest.approx(
        stats.ks_2samp(one, other, method="asymp").statistic, abs=1e-9
    )
    assert scores.wasserstein_of_samples(one, other) == pytest.approx(
        stats.wasserstein_distance(one, other), abs=1e-9
    )


def test_scores_of_histograms_come_near_those_of_the_samples() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=50_000), generator.normal(0.2, 1, size=50_000)
    known = number("x", one)
    cells = np.histogram(other, [-np.inf, *known.edges, np.inf])[0]

    distance_ = scores.kolmogorov_smirnov(known.counts.cells, cells)
    exact = scores.kolmogorov_smirnov_of_samples(one, other)
    assert exact - 0.01 < distance_ <= exact
    moved = scores.wasserstein(known.edges, known.counts.cells, cells)
    spread = scores.spread(known.edges, known.counts.cells)
    # The outermost bins are wide, so both are too large by as much, and their ratio is not.
    assert moved / spread == pytest.approx(0.2, rel=0.1)
    assert moved == pytest.approx(scores.wasserstein_of_samples(one, other), rel=0.25)


def test_an_empty_histogram_has_no_distance() -> None:
    for score in (scores.jensen_shannon, scores.psi, scores.l_infinity, scores.kolmogorov_smirnov):
        with pytest.raises(NotComparable, match="3 and 0 rows"):
            score([1, 2], [0, 0])
    with pytest.raises(NotComparable, match="at least one each"):
        scores.wasserstein_of_samples([], [1.0])
    with pytest.raises(NotComparable, match="the same cells"):
        scores.jensen_shannon([1, 2], [1, 2, 3])


def test_the_largest_of_numbers_overflow_nothing() -> None:
    edges = [-1.7e308, 0.0, 1.7e308]
    assert np.isfinite(scores.wasserstein(edges, [0, 10, 10, 0], [0, 0, 10, 10]))
    assert np.isfinite(scores.spread(edges, [0, 10, 10, 0]))
