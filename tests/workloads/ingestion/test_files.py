"""Objects of lines: which contract claims them, how they are cut, what each line becomes."""

from __future__ import annotations

import base64
import gzip
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads import product
from workloads.ingestion.files import (
    LINE_LIMIT,
    Chunk,
    LandedObject,
    UnknownObject,
    chunks,
    judge_chunk,
)

PRODUCT = product.load("flight-delay")
WRITTEN = datetime(2026, 5, 4, tzinfo=UTC)
WEATHER = {
    "observation_id": "EWR-2013-01-01T06Z",
    "origin": "EWR",
    "observed_at": "2013-01-01T06:00:00Z",
    "wind_speed": 10.4,
}


def landed(name: str) -> LandedObject:
    return LandedObject("landing", name, 7)


def cut(data: bytes, name: str = "weather/a.jsonl", size: int = 3) -> list[Chunk]:
    return list(chunks(io.BytesIO(data), landed(name), WRITTEN, size))


def judged(*lines: bytes, first: int = 1) -> tuple[list[Any], list[Any]]:
    chunk = Chunk("gs://landing/weather/a.jsonl#7", WRITTEN, 0, first, lines)
    found = judge_chunk(PRODUCT.source("weather"), chunk, WRITTEN)
    rows, dead = (
        [json.loads(line) for line in part.splitlines()] for part in (found.rows, found.dead)
    )
    assert (len(rows), len(dead)) == (found.row_count, found.dead_count)
    return rows, dead


class TestWhoClaimsAnObject:
    def test_the_folder_names_the_contract(self) -> None:
        assert landed("weather/2013/a.jsonl.gz").source(PRODUCT).contract.NAME == "weather"
        assert landed("flights/a.jsonl").source(PRODUCT).contract.NAME == "flight"

    @pytest.mark.parametrize(
        ("name", "allowed"),
        [
            ("trains/a.jsonl", "`flights/`, `arrivals/`, `weather/`, `aircraft/`"),
            ("weather.jsonl", "`flights/`"),
            ("Weather/a.jsonl", "`flights/`"),
            ("weather/photo.png", ".jsonl, .jsonl.gz"),
        ],
    )
    def test_what_nobody_claims_is_told_what_is_allowed(self, name: str, allowed: str) -> None:
        with pytest.raises(UnknownObject) as caught:
            landed(name).source(PRODUCT)
        assert caught.value.value == name
        assert allowed in caught.value.allowed

    def test_text_and_object_are_one(self) -> None:
        text = "gs://landing/weather/a b#c.jsonl#1700000000000001"
        assert str(LandedObject.parse(text)) == text

    @pytest.mark.parametrize("text", ["", "gs://b/o", "gs://b/o#", "gs://b/o#x", "s3://b/o#1"])
    def test_what_is_no_object(self, text: str) -> None:
        with pytest.raises(UnknownObject):
            LandedObject.parse(text)


class TestCutting:
    @given(st.lists(st.binary(max_size=40).filter(lambda one: b"\n" not in one)), st.booleans())
    def test_no_line_is_lost_and_each_keeps_its_number(
        self, lines: list[bytes], zipped: bool
    ) -> None:
        data = b"\n".join(lines)
        name = "weather/a.jsonl.gz" if zipped else "weather/a.jsonl"
        found = cut(gzip.compress(data) if zipped else data, name)
        numbered = [
            (chunk.first_line + offset, line)
            for chunk in found
            for offset, line in enumerate(chunk.lines)
        ]
        expected = data.split(b"\n")
        if expected[-1] == b"":
            expected.pop()
        assert numbered == list(enumerate(expected, 1))
        assert [chunk.number for chunk in found] == list(range(len(found)))

    def test_a_gzip_of_several_members_is_one_object(self) -> None:
        data = gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n")
        (chunk,) = cut(data, "weather/a.jsonl.gz", size=10)
        assert chunk.lines == (b"a", b"bc", b"d")

    @pytest.mark.parametrize("keep", [5, 40, -3])
    def test_a_gzip_cut_short_gives_what_it_holds_and_the_reason(self, keep: int) -> None:
        whole = gzip.compress(b"".join(b"%d\n" % (n * 7919 % 10007) for n in range(50)))
        found = cut(whole[:keep], "weather/a.jsonl.gz", size=1000)
        assert "gzip" in found[-1].broken

    def test_no_gzip_at_all(self) -> None:
        (chunk,) = cut(b"plain text", "weather/a.jsonl.gz")
        assert chunk.lines == ()
        assert "gzip" in chunk.broken

    def test_a_small_gzip_of_endless_zeros_does_not_fill_memory(self) -> None:
        found = cut(gzip.compress(bytes(20 * LINE_LIMIT)), "weather/a.jsonl.gz", size=2)
        assert max(len(line) for chunk in found for line in chunk.lines) <= LINE_LIMIT
        assert sum(len(line) for chunk in found for line in chunk.lines) == 20 * LINE_LIMIT


class TestJudging:
    def test_a_valid_line_becomes_a_row_that_knows_its_line(self) -> None:
        rows, dead = judged(json.dumps(WEATHER).encode(), first=41)
        assert dead == []
        assert rows[0]["source"] == rows[0]["message_id"] == "gs://landing/weather/a.jsonl#7:41"
        assert rows[0]["wind_speed"] == 10.4
        assert rows[0]["temperature"] is None
        assert rows[0]["publish_time"] == rows[0]["ingested_at"] == "2026-05-04T00:00:00Z"

    def test_a_broken_line_is_dead_and_the_others_live(self) -> None:
        good = json.dumps(WEATHER).encode()
        storm = json.dumps(WEATHER | {"wind_speed": 1048.36}).encode()
        rows, dead = judged(good, storm, b"not json", b"", good)
        assert [row["source"].rsplit(":", 1)[1] for row in rows] == ["1", "5"]
        assert [row["source"].rsplit(":", 1)[1] for row in dead] == ["2", "3"]
        assert (dead[0]["field"], dead[0]["value"]) == ("wind_speed", "1048.36")
        assert base64.b64decode(dead[0]["raw"]) == storm

    def test_avro_json_is_read_too(self) -> None:
        rows, dead = judged(json.dumps(WEATHER | {"wind_speed": {"double": 3.5}}).encode())
        assert dead == []
        assert rows[0]["wind_speed"] == 3.5

    def test_where_an_object_breaks_off_is_a_dead_letter(self) -> None:
        chunk = Chunk("gs://b/weather/a.jsonl.gz#7", WRITTEN, 0, 1, (), "it ends too soon")
        found = judge_chunk(PRODUCT.source("weather"), chunk, WRITTEN)
        assert json.loads(found.dead)["reason"] == "it ends too soon"
