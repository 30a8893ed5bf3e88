"""Scores a window's counts against a reference, and judges each feature.

A feature has drifted when a score lies above its threshold *and* the difference is more than chance
among all that was tested: of few rows large scores are chance, and of many rows the least of
differences is significant though nobody need care.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from workloads.monitoring import scores, significance
from workloads.monitoring.reference import Feature, Histogram, Kind, Reference
from workloads.monitoring.tables import JENSEN_SHANNON
from workloads.monitoring.window import Window

L_INFINITY: Final = "l_infinity"
PSI: Final = "psi"
KOLMOGOROV_SMIRNOV: Final = "kolmogorov_smirnov"
WASSERSTEIN: Final = "wasserstein"
MISSING: Final = "missing"
NEW_CATEGORIES: Final = "new_categories"
OUT_OF_RANGE: Final = "out_of_range"

STATISTICS: Final[dict[Kind, tuple[str, ...]]] = {
    "number": (
        JENSEN_SHANNON,
        PSI,
        KOLMOGOROV_SMIRNOV,
        WASSERSTEIN,
        OUT_OF_RANGE,
        MISSING,
    ),
    "text": (JENSEN_SHANNON, PSI, L_INFINITY, NEW_CATEGORIES, MISSING),
}
"""What is scored of each kind of feature."""

_CHI_SQUARED: Final = "chi_squared"
_TESTS: Final = {
    JENSEN_SHANNON: _CHI_SQUARED,
    L_INFINITY: _CHI_SQUARED,
    PSI: _CHI_SQUARED,
    KOLMOGOROV_SMIRNOV: KOLMOGOROV_SMIRNOV,
    WASSERSTEIN: KOLMOGOROV_SMIRNOV,
}
"""The test that a score goes with; the others have one of their own."""


_DISPERSION: Final[dict[Kind, float]] = {"number": 1.0, "text": 2.5}
"""Of what the reference has not seen. That of text covers categories with Zipf's law of exponents
1.1 to 2.5: the tests of the null hold it to that."""


class Verdict(StrEnum):
    """What a score means."""

    QUIET = "quiet"
    DRIFTED = "drifted"
    UNKNOWN = "unknown"
    """There are too few rows to say, or no value at all. Never taken for either of the others."""


DEFAULTS: Final[dict[str, float]] = {
    JENSEN_SHANNON: 0.02,
    L_INFINITY: 0.05,
    PSI: 0.1,
    KOLMOGOROV_SMIRNOV: 0.05,
    WASSERSTEIN: 0.1,
    MISSING: 0.02,
    NEW_CATEGORIES: 0.01,
    OUT_OF_RANGE: 0.01,
}


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """From where on a difference matters. No score is without one.

    A mean that moves by 0.2 standard deviations of a normal feature scores 0.2 Wasserstein, 0.08
    Kolmogorov-Smirnov, 0.04 PSI and 0.007 Jensen-Shannon.

    Raises:
        ValueError: a statistic that does not exist, or a number that makes no sense.
    """

    statistics: dict[str, float] = msgspec.field(default_factory=dict[str, float])
    """By statistic, beside `DEFAULTS`. Jensen-Shannon is in bits, Wasserstein in standard
    deviations of the reference; the last three are shares of rows, of which `missing` is the
    change either way."""
    features: dict[str, dict[str, float]] = msgspec.field(
        default_factory=dict[str, dict[str, float]]
    )
    """By feature and statistic, before both."""
    significance: float = 0.001
    """How likely, at most, any alarm at all is in one window in which nothing has changed."""
    least_rows: int = 100
    """A window with fewer is unknown."""

    def __post_init__(self) -> None:
        for place, table in (("statistics", self.statistics), *self.features.items()):
            for name, value in table.items():
                if name not in DEFAULTS:
                    raise ValueError(
                        f"thresholds of {place} name {name!r}; allowed: {', '.join(DEFAULTS)}"
                    )
                if not value >= 0:
                    raise ValueError(
                        f"threshold of {place}.{name} is {value}; allowed: 0 and above"
                    )
        if not 0 < self.significance < 1:
            raise ValueError(f"significance is {self.significance}; allowed: above 0, below 1")

    def of(self, feature: str, statistic: str) -> float:
        """The threshold of one score."""
        own = self.features.get(feature, {})
        return own.get(statistic, self.statistics.get(statistic, DEFAULTS[statistic]))


class FeatureScore(msgspec.Struct, frozen=True, kw_only=True):
    """One score of one feature in one window, with all that its verdict follows from."""

    feature: str
    statistic: str
    score: float | None
    """None where there is nothing to score."""
    threshold: float
    p_value: float | None
    """Of the score's test, adjusted for all tests of the window."""
    verdict: Verdict
    rows: int
    """Of the window."""
    reference_rows: int
    window: Window
    slice: str = ""
    """`column=value` where a part of the rows was scored; empty for all."""
    reason: str = ""
    """Of an unknown, in words."""


@dataclass(frozen=True)
class _Scored:
    statistic: str
    score: float | None
    test: str
    p_value: float | None
    reason: str = ""


def assess(
    reference: Reference,
    counts: Mapping[str, Histogram],
    thresholds: Thresholds,
    *,
    window: Window,
    part: str = "",
) -> list[FeatureScore]:
    """Every score of every feature of a window.

    Args:
        reference: the cells and what they held.
        counts: by feature, in the reference's cells. A feature without counts was not there.
        thresholds: what matters.
        window: that was counted.
        part: the slice that was counted, `column=value`; empty for all rows.

    Raises:
        NotComparable: counts are not in the reference's cells.
    """
    found = {one.name: _scores(one, counts.get(one.name), thresholds) for one in reference.features}
    tests = {
        (name, one.test): one.p_value
        for name, all_ in found.items()
        for one in all_
        if one.p_value is not None
    }
    adjusted = dict(zip(tests, significance.holm(list(tests.values())).tolist(), strict=True))
    result: list[FeatureScore] = []
    for feature in reference.features:
        here = counts.get(feature.name)
        for one in found[feature.name]:
            threshold = thresholds.of(feature.name, one.statistic)
            p_value = adjusted.get((feature.name, one.test)) if one.p_value is not None else None
            result.append(
                FeatureScore(
                    feature=feature.name,
                    statistic=one.statistic,
                    score=one.score,
                    threshold=threshold,
                    p_value=p_value,
                    verdict=_verdict(one.score, threshold, p_value, thresholds.significance),
                    rows=0 if here is None else here.rows,
                    reference_rows=feature.counts.rows,
                    window=window,
                    slice=part,
                    reason=one.reason,
                )
            )
    return result


def _verdict(score: float | None, threshold: float, p_value: float | None, level: float) -> Verdict:
    if score is None or p_value is None:
        return Verdict.UNKNOWN
    return Verdict.DRIFTED if score > threshold and p_value <= level else Verdict.QUIET


def _scores(feature: Feature, counts: Histogram | None, thresholds: Thresholds) -> list[_Scored]:
    before = feature.counts
    if counts is not None and len(counts.cells) != feature.size:
        raise scores.NotComparable(
            f"`{feature.name}` was counted in {len(counts.cells)} cells; its reference has "
            f"{feature.size}: count it with this reference"
        )
    reason = ""
    if counts is None:
        reason = "the window has no such column; was it renamed?"
    elif counts.rows == 0:
        reason = "the window holds no rows"
    elif counts.rows < thresholds.least_rows:
        reason = f"{counts.rows} rows; at least {thresholds.least_rows} are needed to judge"
    elif before.rows == 0:
        reason = "the reference holds no rows"
    if counts is None or reason:
        return [_Scored(one, None, one, None, reason) for one in STATISTICS[feature.kind]]
    return [*_distribution(feature, before, counts), *_shares(feature, before, counts)]


def _distribution(feature: Feature, before: Histogram, counts: Histogram) -> list[_Scored]:
    """The scores of what values there are, which those that are missing have no part in."""
    names = [one for one in STATISTICS[feature.kind] if one in _TESTS]
    empty = [
        place
        for place, one in (("the window", counts), ("the reference", before))
        if one.values == 0
    ]
    if empty:
        reason = f"no row of {' and '.join(empty)} has a value; was it renamed, or its source cut?"
        return [_Scored(one, None, _TESTS[one], None, reason) for one in names]
    p, q = before.cells, counts.cells
    values = {
        JENSEN_SHANNON: scores.jensen_shannon(p, q),
        PSI: scores.psi(p, q),
    }
    tail = feature.outside if feature.kind == "text" else ()
    tests = {_CHI_SQUARED: significance.chi_squared(p, q, tail=tail)}
    if feature.kind == "text":
        values[L_INFINITY] = scores.l_infinity(p, q)
    else:
        distance = scores.kolmogorov_smirnov(p, q)
        values[KOLMOGOROV_SMIRNOV] = distance
        tests[KOLMOGOROV_SMIRNOV] = significance.kolmogorov_smirnov(
            distance, before.values, counts.values
        )
        unit = scores.spread(feature.edges, p)
        moved = scores.wasserstein(feature.edges, p, q)
        values[WASSERSTEIN] = moved / unit if unit > 0 else 0.0
    return [_Scored(one, values[one], _TESTS[one], tests[_TESTS[one]]) for one in names]


def _shares(feature: Feature, before: Histogram, counts: Histogram) -> list[_Scored]:
    missing = counts.nulls / counts.rows - before.nulls / before.rows
    found = [
        _Scored(
            MISSING,
            abs(missing),
            MISSING,
            significance.share(counts.nulls, counts.rows, before.nulls, before.rows),
        )
    ]
    if counts.values == 0:
        return found
    name = NEW_CATEGORIES if feature.kind == "text" else OUT_OF_RANGE
    outside = sum(counts.cells[one] for one in feature.outside)
    known = sum(before.cells[one] for one in feature.outside)
    score = outside / counts.values - (known / before.values if before.values else 0.0)
    chance = significance.unseen(
        outside,
        counts.values,
        feature.rare + known,
        before.values,
        dispersion=_DISPERSION[feature.kind],
    )
    return [_Scored(name, max(0.0, score), name, chance), *found]
