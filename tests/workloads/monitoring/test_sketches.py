"""Sketches of a stream, merged or not, are right within their bound."""

from __future__ import annotations

from collections import Counter
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.testing.util import assert_that

from workloads.monitoring.assessment import Thresholds, Verdict, assess
from workloads.monitoring.counting import count
from workloads.monitoring.reference import Histogram, Reference, from_profile, number
from workloads.monitoring.sketch_combiner import CombineSketches, SketchesCoder
from workloads.monitoring.sketches import Sketches

from .conftest import WINDOW

ROWS = 20_000


def columns(seed: int, shift: float = 0.0) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    numbers = generator.lognormal(shift, 1, ROWS)
    numbers[:100] = np.nan
    numbers[100:110] = np.inf
    return {"x": numbers, "carrier": generator.choice(["UA", "B6", "AA"], ROWS, p=[0.6, 0.3, 0.1])}


def known() -> Reference:
    before = columns(0)
    values = dict(Counter(before["carrier"].tolist()).most_common(2))
    entry = {"kind": "string", "rows": ROWS, "nulls": 0, "values": values}
    finite = np.where(np.isfinite(before["x"]), before["x"], np.nan)
    return Reference(features=(number("x", finite), *from_profile({"carrier": entry}).features))


REFERENCE = known()


def rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(table, one, strict=True)) for one in zip(*table.values(), strict=True)]


def sketched(part: list[dict[str, Any]]) -> Sketches:
    made = Sketches(REFERENCE)
    for row in part:
        made.add(row)
    return made


def hold_to_the_bound(found: Histogram, exact: Histogram, error: float) -> None:
    assert found.rows == exact.rows
    assert found.nulls == exact.nulls
    off = np.abs(np.cumsum(found.cells) - np.cumsum(exact.cells)).max() / exact.values
    assert off <= error


def test_one_sketch_and_many_merged_are_within_the_bound() -> None:
    table = columns(1)
    exact = count(REFERENCE, table)
    everything = rows(table)
    single = sketched(everything)
    merged = Sketches(REFERENCE)
    for part in range(16):
        merged.merge(sketched(everything[part::16]))

    for one in (single, merged):
        error = one.rank_error("x")
        assert error < 0.008
        hold_to_the_bound(one.histograms()["x"], exact["x"], error)
        assert one.histograms()["carrier"] == exact["carrier"]
    apart = np.abs(
        np.cumsum(single.histograms()["x"].cells) - np.cumsum(merged.histograms()["x"].cells)
    )
    assert apart.max() / exact["x"].values <= single.rank_error("x") + merged.rank_error("x")


def test_a_sketch_is_small_and_survives_a_trip() -> None:
    made = sketched(rows(columns(2)))
    packed = made.pack()
    assert len(packed) < 20_000
    assert Sketches.unpack(REFERENCE, packed).histograms() == made.histograms()
    coder = SketchesCoder(REFERENCE)
    assert coder.decode(coder.encode(made)).histograms() == made.histograms()


def test_nothing_sketched_is_nothing_counted() -> None:
    assert Sketches(REFERENCE).histograms() == count(REFERENCE, {"x": [], "carrier": []})


def test_verdicts_from_sketches_are_those_from_rows() -> None:
    for shift, drifted in ((0.0, False), (0.3, True)):
        counts = sketched(rows(columns(3, shift))).histograms()
        found = assess(REFERENCE, counts, Thresholds(), window=WINDOW)
        named = {one.feature for one in found if one.verdict is Verdict.DRIFTED}
        assert named == ({"x"} if drifted else set())


def test_beam_combines_them() -> None:
    table = {name: values[:2_000] for name, values in columns(4).items()}
    exact = count(REFERENCE, table)

    def right(found: list[dict[str, Histogram]]) -> None:
        (histograms,) = found
        hold_to_the_bound(histograms["x"], exact["x"], 0.008)
        assert histograms["carrier"] == exact["carrier"]

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        found = (
            pipeline
            | "rows" >> beam.Create(rows(table))
            | "sketch" >> beam.CombineGlobally(CombineSketches(REFERENCE))
        )
        assert_that(found, right)
