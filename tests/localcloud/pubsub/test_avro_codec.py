"""Avro's JSON and binary encodings, and which schemas go together."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import avro.io
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.services.pubsub.avro_codec import Codec, Mismatch, compatible, parse


def record(*fields: dict[str, Any], **more: Any) -> str:
    return json.dumps({"type": "record", "name": "R", "fields": list(fields), **more})


def one(kind: Any) -> Codec:
    return Codec(parse(record({"name": "v", "type": kind})))


ENUM = {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}
FIXED = {"type": "fixed", "name": "Four", "size": 4}
INNER = {"type": "record", "name": "Inner", "fields": [{"name": "n", "type": "long"}]}
ARRAY = {"type": "array", "items": "long"}
MAP = {"type": "map", "values": ["null", "string"]}
STAMP = {"type": "long", "logicalType": "timestamp-micros"}


@pytest.mark.parametrize(
    ("kind", "written", "read"),
    [
        ("string", "x", "x"),
        ("int", 3, 3),
        ("int", 3.0, 3),
        ("long", 2**62, 2**62),
        ("double", 1, 1.0),
        ("double", 1.5, 1.5),
        ("boolean", True, True),
        ("null", None, None),
        ("bytes", "\u00ff\u0000", b"\xff\x00"),
        (FIXED, "abcd", b"abcd"),
        (ENUM, "RED", "RED"),
        (ARRAY, [1, 2], [1, 2]),
        (INNER, {"n": 1}, {"n": 1}),
        (["null", "string"], None, None),
        (["null", "string"], {"string": "x"}, "x"),
        (["null", INNER], {"Inner": {"n": 1}}, {"n": 1}),
        (["null", ENUM, ARRAY], {"array": [1]}, [1]),
        (["null", STAMP], {"long": 5}, 5),
        (MAP, {"a": None, "b": {"string": "x"}}, {"a": None, "b": "x"}),
    ],
)
def test_reads_json(kind: Any, written: Any, read: Any) -> None:
    assert one(kind).from_json(json.dumps({"v": written}).encode()) == {"v": read}


@pytest.mark.parametrize(
    ("kind", "written", "expected"),
    [
        ("string", 1, r"\$\.v is 1; expected string"),
        ("string", None, "expected string"),
        ("int", "3", "expected int"),
        ("int", 1.5, "expected int"),
        ("int", True, "expected int"),
        ("int", 2**31, "expected int"),
        ("long", 2**63, "expected long"),
        ("double", "NaN", "expected double"),
        ("boolean", 1, "expected boolean"),
        ("bytes", "\u0100", "no bytes"),
        (FIXED, "abc", "has 3 bytes; expected 4"),
        (ENUM, "GREEN", "one of RED, BLUE"),
        (ARRAY, [1, "x"], r"\$\.v\[1\]"),
        (INNER, {}, r"\$\.v\.n is missing"),
        (INNER, [], "expected record Inner"),
        (["null", "string"], "x", r'one of null, \{"string": ...\}'),
        (["null", "string"], {"long": 1}, "a union here wants"),
        (["string", "long"], None, "a union here wants"),
    ],
)
def test_refuses_json_and_says_where(kind: Any, written: Any, expected: str) -> None:
    with pytest.raises(Mismatch, match=expected):
        one(kind).from_json(json.dumps({"v": written}).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{} {}", b"\xff", b'{"v": NaN}', b"{}"])
def test_refuses_what_is_no_json_object_of_the_schema(data: bytes) -> None:
    with pytest.raises(Mismatch):
        one("double").from_json(data)


def test_a_field_must_be_there_even_with_a_default_and_an_unknown_one_is_passed_over() -> None:
    codec = Codec(parse(record({"name": "v", "type": "int", "default": 1})))
    with pytest.raises(Mismatch, match="v is missing"):
        codec.from_json(b"{}")
    assert codec.from_json(b'{"v": 2, "other": 3}') == {"v": 2}


def test_a_record_may_contain_itself() -> None:
    codec = Codec(parse(record({"name": "next", "type": ["null", "R"]})))
    assert codec.from_json(b'{"next": {"R": {"next": null}}}') == {"next": {"next": None}}


def test_logical_types_become_pythons_own_when_asked() -> None:
    definition = record(
        {"name": "at", "type": STAMP},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {
            "name": "price",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
        },
        {"name": "maybe", "type": ["null", STAMP]},
    )
    data = b'{"at": 1000000, "day": 1, "price": "\\u0004\\u00d2", "maybe": {"long": 0}}'
    assert Codec(parse(definition), native=True).from_json(data) == {
        "at": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        "day": date(1970, 1, 2),
        "price": Decimal("12.34"),
        "maybe": datetime(1970, 1, 1, tzinfo=UTC),
    }
    with pytest.raises(Mismatch, match="out of range"):
        Codec(parse(record({"name": "v", "type": STAMP})), native=True).from_json(
            b'{"v": 9000000000000000000}'
        )


SAMPLE = parse(record({"name": "n", "type": "long"}, {"name": "s", "type": ["null", "string"]}))


@given(st.integers(-(2**63), 2**63 - 1), st.none() | st.text())
def test_binary_and_json_say_the_same(number: int, text: str | None) -> None:
    stream = io.BytesIO()
    value = {"n": number, "s": text}
    avro.io.DatumWriter(SAMPLE).write(value, avro.io.BinaryEncoder(stream))
    codec = Codec(SAMPLE)
    assert codec.from_binary(stream.getvalue()) == value
    tagged = {"n": number, "s": None if text is None else {"string": text}}
    assert codec.from_json(json.dumps(tagged).encode()) == value


@given(st.binary(max_size=40))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    codec = Codec(SAMPLE)
    for read in (codec.from_binary, codec.from_json):
        try:
            read(data)
        except Mismatch:
            continue


def test_bytes_behind_a_binary_record_are_refused() -> None:
    assert Codec(SAMPLE).from_binary(b"\x02\x00") == {"n": 1, "s": None}
    with pytest.raises(Mismatch, match="1 bytes follow"):
        Codec(SAMPLE).from_binary(b"\x02\x00\x00")


@pytest.mark.parametrize(
    "definition",
    [
        "",
        "{",
        "[]",
        '"string"',
        '{"type": "recor"}',
        '{"type": "record", "name": "R"}',
        "null",
        "7",
    ],
)
def test_refuses_a_definition_that_is_no_record(definition: str) -> None:
    with pytest.raises(Mismatch):
        parse(definition)


@pytest.mark.parametrize(
    ("change", "fine"),
    [
        ({"name": "new", "type": ["null", "string"], "default": None}, True),
        ({"name": "new", "type": "int", "default": 3}, True),
        ({"name": "new", "type": "string"}, False),
    ],
)
def test_fields_may_come_and_go_only_with_a_default(change: dict[str, Any], fine: bool) -> None:
    base = {"name": "v", "type": "string"}
    before, after = parse(record(base)), parse(record(base, change))
    assert (compatible(before, after) == []) is fine
    assert (compatible(after, before) == []) is fine


def test_a_changed_type_is_not_compatible_even_where_one_direction_would_be() -> None:
    narrow, wide = (parse(record({"name": "v", "type": kind})) for kind in ("int", "long"))
    assert compatible(narrow, wide)
