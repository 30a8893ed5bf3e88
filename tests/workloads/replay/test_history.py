"""Files of history: the same every time, and nothing between them is lost."""

from __future__ import annotations

import dataclasses
import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from workloads import contracts, product
from workloads.replay import history

PRODUCT = product.load("flight-delay")
JANUARY, FEBRUARY, MARCH = (datetime(2013, month, 1, tzinfo=UTC) for month in (1, 2, 3))


def test_the_same_files_every_time(tmp_path: Path) -> None:
    one = history.write(PRODUCT, tmp_path / "a", JANUARY, FEBRUARY)
    two = history.write(PRODUCT, tmp_path / "b", JANUARY, FEBRUARY)
    assert [file.sha256 for file in one] == [file.sha256 for file in two]
    assert [file.name for file in one] == [
        f"{plural}/2013-01-01T0000Z_2013-02-01T0000Z.jsonl.gz"
        for plural in ("flights", "arrivals", "weather", "aircraft")
    ]
    for file in one:
        data = gzip.decompress(file.path.read_bytes())
        contract = PRODUCT.source(file.contract).contract
        rows = [contracts.decode(contract, line) for line in data.splitlines()]
        assert len(rows) == file.rows
        assert all(JANUARY <= contracts.event_time(row) < FEBRUARY for row in rows)


def test_ranges_meet_without_gap_or_overlap(tmp_path: Path) -> None:
    ranges = ((JANUARY, FEBRUARY), (FEBRUARY, MARCH), (JANUARY, MARCH))
    first, second, both = (
        sum(file.rows for file in history.write(PRODUCT, tmp_path, *one, only=["arrivals"]))
        for one in ranges
    )
    assert first + second == both


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (FEBRUARY, JANUARY, "the start must be before the end"),
        (JANUARY, JANUARY, "the start must be before the end"),
        (JANUARY.replace(tzinfo=None), FEBRUARY, "start is .*; give it a time zone"),
    ],
)
def test_a_range_that_is_none(tmp_path: Path, start: datetime, end: datetime, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        history.write(PRODUCT, tmp_path, start, end)


def test_a_product_without_data_is_told_what_to_add() -> None:
    other = dataclasses.replace(PRODUCT, name="parcels")
    with pytest.raises(history.NoDataset, match=r"add workloads/products/parcels/dataset\.py"):
        history.frame(other, PRODUCT.sources[0].contract)
