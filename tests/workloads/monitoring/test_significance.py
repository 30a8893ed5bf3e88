"""On the null next to nothing is flagged; a real shift always is."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from scipy import stats

from workloads.monitoring import significance
from workloads.monitoring.assessment import Thresholds, Verdict, assess
from workloads.monitoring.counting import count
from workloads.monitoring.reference import Feature, Reference, from_profile, number

from .conftest import WINDOW

NUMBERS = ("normal", "skewed", "rounded", "weekday", "yes_or_no", "seldom", "constant", "gaps")
TEXTS = ("few", "many")


def drawn(generator: np.random.Generator, rows: int, shift: float = 0.0) -> dict[str, Any]:
    """Ten columns of all sorts; `shift` moves the first by as many standard deviations."""
    gaps = generator.normal(size=rows)
    gaps[generator.random(rows) < 0.03] = np.nan
    return {
        "normal": generator.normal(shift, 1, rows),
        "skewed": generator.lognormal(0, 2, rows),
        "rounded": generator.exponential(3, rows).round(1),
        "weekday": generator.integers(1, 8, rows),
        "yes_or_no": generator.random(rows) < 0.3,
        "seldom": generator.random(rows) < 0.002,
        "constant": np.zeros(rows),
        "gaps": gaps,
        "few": generator.choice(["EWR", "JFK", "LGA"], rows, p=[0.5, 0.3, 0.2]),
        "many": generator.zipf(1.6, rows).astype(str),
    }


def profiled(columns: dict[str, Any]) -> Reference:
    features: list[Feature] = [number(name, columns[name].astype(float)) for name in NUMBERS]
    for name in TEXTS:
        rows = len(columns[name])
        values = dict(Counter(columns[name].tolist()).most_common(200))
        entry = {"kind": "string", "rows": rows, "nulls": 0, "values": values}
        features += from_profile({name: entry}).features
    return Reference(features=tuple(features))


def flagged(seeds: int, rows: int, reference_rows: int) -> tuple[dict[str, float], float]:
    """Of null data sets: by test the share of columns with p <= 0.05; of data sets, any drift."""
    hits: dict[str, list[bool]] = defaultdict(list)
    alarms = 0
    for seed in range(seeds):
        generator = np.random.default_rng([seed, rows])
        known = profiled(drawn(generator, reference_rows))
        counts = count(known, drawn(generator, rows))
        for one in known.features:
            # A feature by itself, one test at a time.
            alone = Reference(features=(one,))
            for score in assess(alone, counts, Thresholds(), window=WINDOW):
                if score.p_value is not None:
                    hits[score.statistic].append(
                        score.score > score.threshold and score.p_value <= 0.05
                    )
        found = assess(known, counts, Thresholds(), window=WINDOW)
        alarms += any(one.verdict is Verdict.DRIFTED for one in found)
    return {name: float(np.mean(one)) for name, one in hits.items()}, alarms / seeds


def hold_the_null(seeds: int, rows: int, reference_rows: int) -> None:
    by_test, data_sets = flagged(seeds, rows, reference_rows)
    assert {name: share for name, share in by_test.items() if share > 0.05} == {}
    assert data_sets <= 0.01


@pytest.mark.parametrize(("seeds", "rows"), [(100, 500), (40, 5_000)])
def test_quiet_columns_raise_no_alarm(seeds: int, rows: int) -> None:
    hold_the_null(seeds, rows, rows)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rows", [500, 5_000, 100_000])
def test_500_quiet_data_sets_raise_no_alarm(rows: int) -> None:
    hold_the_null(500, rows, rows)


def test_a_p_value_is_as_rare_as_it_says() -> None:
    """Before thresholds: over 2,000 null columns each, of the continuous law that makes them."""
    generator = np.random.default_rng(7)
    for rows in (500, 5_000, 100_000):
        # Shares between the quantiles of a reference follow Dirichlet's law: no rows are needed.
        cells = np.full(20, rows / 20)
        p_values: dict[str, list[float]] = defaultdict(list)
        for _ in range(2_000):
            outer = generator.dirichlet([1, *cells[:-1], cells[-1] - 1, 1])
            window = generator.multinomial(rows, outer)
            before = np.r_[0, cells, 0]
            distance = np.abs(np.cumsum(before / rows - window / rows)).max()
            p_values["chi_squared"].append(significance.chi_squared(before, window))
            p_values["ks"].append(significance.kolmogorov_smirnov(distance, rows, rows))
            outside = int(window[0] + window[-1])
            p_values["range"].append(significance.unseen(outside, rows, 2, rows))
        for name, found in p_values.items():
            for level in (0.05, 0.01):
                chance = 3 * np.sqrt(level * (1 - level) / len(found))
                assert np.mean(np.array(found) <= level) <= level + chance, (rows, name, level)


def test_a_shift_of_a_fifth_of_a_standard_deviation_is_always_seen() -> None:
    seen = 0
    for seed in range(100):
        generator = np.random.default_rng([seed, 1])
        known = profiled(drawn(generator, 5_000))
        counts = count(known, drawn(generator, 5_000, shift=0.2))
        found = assess(known, counts, Thresholds(), window=WINDOW)
        seen += any(one.verdict is Verdict.DRIFTED and one.feature == "normal" for one in found)
    assert seen >= 99


def test_a_hundred_quiet_features_raise_no_alarm() -> None:
    for seed in range(5):
        generator = np.random.default_rng([seed, 2])
        before = generator.normal(size=(100, 500))
        now = generator.normal(size=(100, 500))
        known = Reference(
            features=tuple(number(f"x{at}", values) for at, values in enumerate(before))
        )
        counts = count(known, {f"x{at}": values for at, values in enumerate(now)})
        found = assess(known, counts, Thresholds(), window=WINDOW)
        # Their scores alone would have: of 500 rows a threshold is passed by chance.
        assert sum(one.score > one.threshold for one in found if one.score is not None) > 10
        assert not any(one.verdict is Verdict.DRIFTED for one in found)


def test_the_tests_are_scipys() -> None:
    first, second = np.array([120, 80, 40, 60]), np.array([90, 95, 60, 55])
    expected = stats.chi2_contingency(np.array([first, second]), correction=False)
    assert significance.chi_squared(first, second) == pytest.approx(expected.pvalue, abs=1e-12)
    assert significance.kolmogorov_smirnov(0.05, 3_000, 2_000) == pytest.approx(
        stats.kstwobign.sf(0.05 * np.sqrt(1_200)), abs=1e-12
    )
    # Two-sided as twice the smaller tail, which is never below Fisher's own two-sided test.
    fisher = stats.fisher_exact([[9, 491], [2, 498]]).pvalue
    assert fisher <= significance.share(9, 500, 2, 500) <= 2 * fisher
    # Of many rows a normal law stands in for the exact one.
    exact = 2 * stats.hypergeom(6_000_000, 24_000, 1_000_000).sf(4_149)
    assert significance.share(4_150, 1_000_000, 19_850, 5_000_000) == pytest.approx(exact, rel=0.1)


def test_thin_cells_are_judged_together() -> None:
    assert significance.chi_squared([5_000, 1, 0, 0, 1], [5_000, 0, 2, 1, 0]) > 0.05
    assert significance.chi_squared([100, 0], [100, 0]) == 1
    assert significance.chi_squared([100, 100], [0, 0]) == 1


def test_holm_multiplies_the_smallest_by_their_number() -> None:
    adjusted = significance.holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted.tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.holm([]).size == 0
    assert significance.holm([0.9, 0.8]).max() == 1
