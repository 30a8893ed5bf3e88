"""What a window's counts are said to mean, at the edges of what can be said."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from workloads.monitoring import assessment
from workloads.monitoring.assessment import Thresholds, Verdict, assess
from workloads.monitoring.counting import MissingColumn, count, count_chunks
from workloads.monitoring.reference import (
    Histogram,
    InvalidProfile,
    Reference,
    from_profile,
    number,
    of_window,
)
from workloads.monitoring.scores import NotComparable

from .conftest import WINDOW, assessed, reference

RANDOM = np.random.default_rng(0)
NORMAL = RANDOM.normal(size=5_000)
KNOWN = reference({"x": NORMAL})
CARRIERS = from_profile(
    {"carrier": {"kind": "string", "rows": 1000, "nulls": 10, "values": {"UA": 600, "B6": 390}}}
)


def carriers(*shares: tuple[str | None, int]) -> dict[str, list[str | None]]:
    return {"carrier": [name for name, rows in shares for _ in range(rows)]}


class TestVerdicts:
    def test_large_and_significant_is_drift(self) -> None:
        found = assessed(KNOWN, {"x": RANDOM.normal(0.5, 1, 5_000)})
        assert found["x", "wasserstein"].verdict is Verdict.DRIFTED
        assert found["x", "missing"].verdict is Verdict.QUIET

    def test_large_by_chance_is_none(self) -> None:
        found = assessed(KNOWN, {"x": np.random.default_rng(3).normal(size=150)})
        score = found["x", "jensen_shannon"]
        assert score.score is not None
        assert score.score > score.threshold
        assert score.verdict is Verdict.QUIET

    def test_significant_but_small_is_none(self) -> None:
        known = reference({"x": RANDOM.normal(size=400_000)})
        score = assessed(known, {"x": RANDOM.normal(0.03, 1, 400_000)})["x", "wasserstein"]
        assert score.p_value is not None
        assert score.p_value < 1e-6
        assert score.verdict is Verdict.QUIET

    def test_a_threshold_of_its_own_goes_before_the_common_one(self) -> None:
        thresholds = Thresholds(
            statistics={"wasserstein": 0.5}, features={"x": {"wasserstein": 2.0}}
        )
        assert thresholds.of("x", "wasserstein") == 2.0
        assert thresholds.of("y", "wasserstein") == 0.5
        assert thresholds.of("y", "psi") == assessment.DEFAULTS["psi"]

    def test_a_threshold_that_is_none_is_refused(self) -> None:
        with pytest.raises(ValueError, match="statistics name 'ks'; allowed: jensen_shannon"):
            Thresholds(statistics={"ks": 0.1})
        with pytest.raises(ValueError, match=r"x.psi is nan; allowed: 0 and above"):
            Thresholds(features={"x": {"psi": math.nan}})
        with pytest.raises(ValueError, match="significance is 0"):
            Thresholds(significance=0)

    def test_a_score_can_be_read_back(self) -> None:
        scores = list(assessed(KNOWN, {"x": NORMAL}).values())
        text = msgspec.json.encode(scores)
        assert msgspec.json.decode(text, type=list[assessment.FeatureScore]) == scores


class TestWindows:
    def test_of_no_rows_are_unknown(self) -> None:
        for score in assessed(KNOWN, {"x": []}).values():
            assert (score.score, score.p_value) == (None, None)
            assert score.verdict is Verdict.UNKNOWN
            assert score.reason == "the window holds no rows"

    def test_of_few_rows_are_unknown(self) -> None:
        score = assessed(KNOWN, {"x": np.full(99, 50.0)})["x", "wasserstein"]
        assert score.verdict is Verdict.UNKNOWN
        assert "99 rows; at least 100" in score.reason

    def test_of_nulls_alone_have_no_distribution_and_too_many_missing(self) -> None:
        found = assessed(KNOWN, {"x": [None] * 500})
        assert found["x", "missing"].verdict is Verdict.DRIFTED
        assert found["x", "missing"].score == 1
        assert found["x", "psi"].verdict is Verdict.UNKNOWN
        assert "was it renamed" in found["x", "psi"].reason
        assert ("x", "out_of_range") not in found

    def test_may_lack_a_feature_that_was_renamed(self) -> None:
        with pytest.raises(MissingColumn, match=r"no column \['x'\]; there are \['xx'\]"):
            count(KNOWN, {"xx": NORMAL})
        scores = assess(KNOWN, {}, Thresholds(), window=WINDOW)
        assert {one.verdict for one in scores} == {Verdict.UNKNOWN}
        assert "was it renamed" in scores[0].reason

    def test_may_be_held_against_an_earlier_window(self) -> None:
        earlier = of_window(KNOWN, count(KNOWN, {"x": RANDOM.normal(1, 1, 3_000)}))
        same = assessed(earlier, {"x": RANDOM.normal(1, 1, 3_000)})
        assert not any(one.verdict is Verdict.DRIFTED for one in same.values())
        back = assessed(earlier, {"x": RANDOM.normal(0, 1, 3_000)})
        assert back["x", "wasserstein"].verdict is Verdict.DRIFTED

    def test_counted_in_other_cells_are_refused(self) -> None:
        with pytest.raises(NotComparable, match="3 cells; its reference has"):
            assess(KNOWN, {"x": Histogram(cells=(1, 2, 3))}, Thresholds(), window=WINDOW)


class TestValues:
    def test_a_constant_is_quiet_until_it_changes(self) -> None:
        known = reference({"x": np.full(1_000, 7.0)})
        same = assessed(known, {"x": np.full(1_000, 7.0)})
        assert {one.verdict for one in same.values()} == {Verdict.QUIET}
        other = assessed(known, {"x": np.full(1_000, 7.5)})
        assert other["x", "out_of_range"].verdict is Verdict.DRIFTED
        assert other["x", "jensen_shannon"].score == pytest.approx(1)

    def test_zeros_and_ones_are_told_apart(self) -> None:
        known = reference({"x": np.r_[np.zeros(900), np.ones(100)]})
        found = assessed(known, {"x": np.r_[np.zeros(500), np.ones(500)]})
        assert found["x", "kolmogorov_smirnov"].score == pytest.approx(0.4)
        assert found["x", "psi"].verdict is Verdict.DRIFTED

    def test_infinite_and_absurd_ones_are_out_of_range(self) -> None:
        values = np.r_[NORMAL, np.full(200, np.inf), np.full(100, -1e308), np.full(100, np.nan)]
        found = assessed(KNOWN, {"x": values})
        score = found["x", "out_of_range"]
        assert score.score == pytest.approx(300 / 5_300)
        assert score.verdict is Verdict.DRIFTED
        assert found["x", "missing"].score == pytest.approx(100 / 5_400)
        assert all(math.isfinite(one.score) for one in found.values() if one.score is not None)

    def test_huge_ones_in_training_overflow_nothing(self) -> None:
        known = reference({"x": 1.7e308 * np.linspace(-1, 1, 1_000)})
        found = assessed(known, {"x": 1.7e308 * np.linspace(0, 1, 1_000)})
        score = found["x", "wasserstein"].score
        assert score is not None
        assert math.isfinite(score)
        assert found["x", "wasserstein"].verdict is Verdict.DRIFTED

    def test_new_categories_are_named_as_such(self) -> None:
        found = assessed(CARRIERS, carriers(("UA", 550), ("B6", 350), ("ZZ", 100)))
        assert found["carrier", "new_categories"].score == pytest.approx(0.1)
        assert found["carrier", "new_categories"].verdict is Verdict.DRIFTED
        usual = assessed(CARRIERS, carriers(("UA", 605), ("B6", 384), (None, 11)))
        assert {one.verdict for one in usual.values()} == {Verdict.QUIET}

    def test_a_single_category_left_is_drift(self) -> None:
        found = assessed(CARRIERS, carriers(("UA", 1_000)))
        assert found["carrier", "l_infinity"].score == pytest.approx(390 / 990)
        assert found["carrier", "l_infinity"].verdict is Verdict.DRIFTED

    def test_a_thousand_drifting_features_are_all_named(self) -> None:
        generator = np.random.default_rng(1)
        known = Reference(
            features=tuple(number(f"x{at}", generator.normal(size=500)) for at in range(1_000))
        )
        counts = count(known, {f"x{at}": generator.normal(2, 1, 500) for at in range(1_000)})
        scores = assess(known, counts, Thresholds(), window=WINDOW)
        assert len({one.feature for one in scores if one.verdict is Verdict.DRIFTED}) == 1_000

    def test_a_feature_that_was_never_there_in_training_is_out_of_range(self) -> None:
        known = from_profile({"x": {"kind": "number", "rows": 1_000, "nulls": 1_000}})
        found = assessed(known, {"x": [None] * 900 + [1.0] * 100})
        assert found["x", "missing"].verdict is Verdict.DRIFTED
        assert found["x", "psi"].verdict is Verdict.UNKNOWN


def test_chunks_count_as_the_whole() -> None:
    chunks = [{"x": part} for part in np.array_split(NORMAL, 7)]
    assert count_chunks(KNOWN, chunks) == count(KNOWN, {"x": NORMAL})
    assert count(KNOWN, {"x": NORMAL})["x"] == KNOWN.features[0].counts


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"kind": "number", "rows": 1}, r"lacks \['nulls'\]"),
        ({"kind": "number", "rows": 4, "nulls": 0, "edges": [0, 1], "counts": [3]}, "sum"),
        ({"kind": "number", "rows": 3, "nulls": 0, "edges": [1, 0], "counts": [3]}, "rising"),
        ({"kind": "number", "rows": 3, "nulls": 0, "edges": [0, None], "counts": [3]}, "finite"),
        ({"kind": "string", "rows": 3, "nulls": 0, "values": {"a": 4}}, "counts 4 values in 3"),
    ],
)
def test_a_profile_that_makes_no_sense_is_refused(entry: dict[str, object], what: str) -> None:
    with pytest.raises(InvalidProfile, match=what):
        from_profile({"x": entry})


def test_a_feature_is_found_by_its_name() -> None:
    assert KNOWN.feature("x").kind == "number"
    assert KNOWN.only(["y"]).features == ()
    with pytest.raises(KeyError, match="no feature 'y'"):
        KNOWN.feature("y")
