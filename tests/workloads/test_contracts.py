"""A contract is one class; its schemas follow, and what breaks it is told precisely."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import fastavro
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from workloads import contracts, product, schemas
from workloads.contracts import Contract, ContractViolation
from workloads.products.flight_delay.contracts import Flight, Weather

FLIGHT: dict[str, Any] = {
    "flight_id": "2013-01-01-UA-1545-EWR-0515",
    "asked_at": "2013-01-01T08:15:00Z",
    "scheduled_departure": "2013-01-01T10:15:00Z",
    "scheduled_arrival_minute": 499,
    "carrier": "UA",
    "flight_number": 1545,
    "origin": "EWR",
    "destination": "IAH",
    "distance": 1400,
    "tail_number": "N14228",
}


class Parcel(Contract, frozen=True):
    """A parcel on its way."""

    NAME: ClassVar[str] = "parcel"
    PLURAL: ClassVar[str] = "parcels"
    VERSION: ClassVar[int] = 3
    IDENTITY: ClassVar[str | None] = "parcel_id"
    EVENT_TIME: ClassVar[str | None] = "seen_at"

    parcel_id: Annotated[str, Meta(min_length=1, max_length=8, description="Id")]
    seen_at: Annotated[datetime, Meta(tz=True, description="When it was seen")]
    weight: Annotated[float, Meta(gt=0, le=30, description="Weight, kg")]
    size: Annotated[Literal["small", "large"], Meta(description="Size")]
    insured: Annotated[bool, Meta(description="Whether it is insured")]
    pieces: Annotated[int, Meta(ge=1, description="Pieces")] | None = None


seconds = st.floats(-2e9, 4e9).map(lambda one: datetime.fromtimestamp(one, UTC))
parcels = st.builds(
    Parcel,
    parcel_id=st.text("abc é✈", min_size=1, max_size=8),
    seen_at=seconds,
    weight=st.floats(0.001, 30),
    size=st.sampled_from(["small", "large"]),
    insured=st.booleans(),
    pieces=st.none() | st.integers(1, 2**40),
)


class TestWireForms:
    @given(parcels)
    def test_what_is_encoded_decodes_to_the_same_row(self, parcel: Parcel) -> None:
        assert contracts.decode(Parcel, contracts.encode(parcel)) == parcel

    @given(parcels)
    def test_plain_json_and_avro_json_mean_the_same(self, parcel: Parcel) -> None:
        plain = msgspec.json.encode(parcel)
        assert contracts.decode(Parcel, plain) == contracts.decode(Parcel, contracts.encode(parcel))

    @given(parcels)
    def test_every_row_fits_the_avro_schema_of_its_topic(self, parcel: Parcel) -> None:
        schema = fastavro.parse_schema(contracts.avro_schema(Parcel))
        record = msgspec.to_builtins(parcel)
        assert fastavro.validate(record, schema, raise_errors=True)

    def test_a_value_that_may_be_null_is_tagged_for_the_topic(self) -> None:
        row = contracts.convert(Flight, FLIGHT)
        assert json.loads(contracts.encode(row))["tail_number"] == {"string": "N14228"}


class Count(Contract, frozen=True):
    """Whole numbers, bounded on no side, on one, and as no value at all."""

    NAME: ClassVar[str] = "count"
    PLURAL: ClassVar[str] = "counts"
    VERSION: ClassVar[int] = 1

    whole: Annotated[int, Meta(description="Any")] = 0
    some: Annotated[int, Meta(ge=1, description="Some")] | None = None
    other: Annotated[int | None, Meta(description="Other")] = None
    share: Annotated[float, Meta(description="Share")] = 0.5


class TestIntegers:
    """JSON knows no longest integer; Avro, BigQuery and numpy do."""

    @pytest.mark.parametrize(
        ("field", "value", "allowed"),
        [
            ("whole", 2**63, "an integer of at most 64 bits"),
            ("whole", -(10**400), "an integer of at most 64 bits"),
            ("some", 10**400, "an integer at least 1 and of at most 64 bits, or null"),
            ("other", -(10**400), "an integer of at most 64 bits, or null"),
        ],
        # Not by their values, one of which has 400 digits.
        ids=["too large", "far too small", "bounded on one side", "in a union"],
    )
    def test_one_of_more_than_64_bits_is_none(self, field: str, value: int, allowed: str) -> None:
        for read in (
            lambda: contracts.convert(Count, {field: value}),
            lambda: contracts.decode(Count, json.dumps({field: value})),
        ):
            with pytest.raises(ContractViolation) as found:
                read()
            assert (found.value.field, found.value.allowed) == (field, allowed)

    def test_one_of_64_bits_is_taken(self) -> None:
        most = contracts.convert(Count, {"whole": -(2**63), "some": 2**63 - 1, "other": -1})
        assert (most.whole, most.some) == (-(2**63), 2**63 - 1)

    def test_those_who_ask_are_told(self) -> None:
        told = contracts.json_schema(Count)["properties"]
        assert (told["whole"]["minimum"], told["whole"]["maximum"]) == (-(2**63), 2**63 - 1)
        assert told["some"]["anyOf"][0]["maximum"] == 2**63 - 1
        assert "minimum" not in told["share"]


class TestSchemas:
    def test_bigquery_columns(self) -> None:
        columns = {column["name"]: column for column in contracts.bigquery_schema(Parcel)}
        assert {name: (one["type"], one["mode"]) for name, one in columns.items()} == {
            "parcel_id": ("STRING", "REQUIRED"),
            "seen_at": ("TIMESTAMP", "REQUIRED"),
            "weight": ("FLOAT64", "REQUIRED"),
            "size": ("STRING", "REQUIRED"),
            "insured": ("BOOL", "REQUIRED"),
            "pieces": ("INT64", "NULLABLE"),
        }
        assert columns["weight"]["description"] == "Weight, kg"

    def test_json_schema_holds_the_constraints(self) -> None:
        schema = contracts.json_schema(Parcel)
        assert schema["properties"]["weight"]["exclusiveMinimum"] == 0
        assert schema["additionalProperties"] is False
        assert "pieces" not in schema["required"]

    def test_a_contract_may_build_on_an_older_one(self) -> None:
        class ParcelWithNote(Parcel, frozen=True):
            VERSION: ClassVar[int] = 4
            note: Annotated[str, Meta(description="Note")] | None = None

        old, new = contracts.avro_schema(Parcel), contracts.avro_schema(ParcelWithNote)
        assert [one["name"] for one in new["fields"]][-1] == "note"
        assert contracts.incompatibilities(old, new) == []

    def test_a_field_without_description_has_no_schema(self) -> None:
        class Mute(Contract, frozen=True):
            NAME: ClassVar[str] = "mute"
            PLURAL: ClassVar[str] = "mutes"
            VERSION: ClassVar[int] = 1
            silent: int

        with pytest.raises(TypeError, match=r"Mute.silent: add a description"):
            contracts.fields(Mute)

    def test_a_type_without_schema_is_refused_by_name(self) -> None:
        class Odd(Contract, frozen=True):
            NAME: ClassVar[str] = "odd"
            PLURAL: ClassVar[str] = "odds"
            VERSION: ClassVar[int] = 1
            many: Annotated[list[int], Meta(description="Several")]

        with pytest.raises(TypeError, match=r"Odd.many: .* has no schema; use one of str, int"):
            contracts.fields(Odd)


class TestViolations:
    @pytest.mark.parametrize(
        ("change", "field", "value", "allowed"),
        [
            ({"carrier": "ua"}, "carrier", "'ua'", "a string matching `^[0-9A-Z]{2}$`"),
            ({"distance": 0}, "distance", "0", "an integer at least 1 and at most 10000"),
            ({"distance": "far"}, "distance", "'far'", "an integer at least 1"),
            ({"distance": 12.5}, "distance", "12.5", "an integer at least 1"),
            ({"distance": None}, "distance", "None", "an integer at least 1"),
            (
                {"asked_at": "2013-01-01T08:15:00"},
                "asked_at",
                "'2013-01-01T08:15:00'",
                "an RFC 3339 timestamp with a time zone",
            ),
            ({"tail_number": {"long": 5}}, "tail_number", "{'long': 5}", ", or null"),
            ({"delay": 3}, "delay", "3", "one of the fields flight_id, asked_at"),
        ],
    )
    def test_the_field_the_value_and_the_allowed_are_named(
        self, change: dict[str, Any], field: str, value: str, allowed: str
    ) -> None:
        with pytest.raises(ContractViolation) as caught:
            contracts.convert(Flight, FLIGHT | change)
        violation = caught.value
        assert violation.field == field
        assert violation.value == value
        assert allowed in violation.allowed
        assert str(violation).startswith(f"flight v1: field `{field}` is {value}; allowed: ")

    def test_a_missing_field_is_missing(self) -> None:
        row = {name: value for name, value in FLIGHT.items() if name != "origin"}
        with pytest.raises(ContractViolation, match=r"field `origin` is missing; allowed: a str"):
            contracts.convert(Flight, row)

    @pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"17", b'"text"', b'{"a": 1', b"NaN"])
    def test_bytes_that_are_no_json_object(self, data: bytes) -> None:
        with pytest.raises(ContractViolation) as caught:
            contracts.decode(Flight, data)
        assert caught.value.field == "$"

    def test_a_long_value_is_shortened(self) -> None:
        with pytest.raises(ContractViolation) as caught:
            contracts.convert(Flight, FLIGHT | {"carrier": "x" * 10_000})
        assert len(caught.value.value) <= 120

    @given(st.binary(max_size=200))
    def test_no_bytes_do_anything_but_violate(self, data: bytes) -> None:
        with pytest.raises(ContractViolation):
            contracts.decode(Weather, data)

    @given(
        st.sampled_from(sorted(FLIGHT)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
        ),
    )
    def test_whatever_a_field_holds_the_row_is_taken_or_refused(
        self, name: str, value: Any
    ) -> None:
        try:
            row = contracts.convert(Flight, FLIGHT | {name: value})
        except ContractViolation as violation:
            found = violation.field
        else:
            found = name
            assert contracts.decode(Flight, contracts.encode(row)) == row
        assert found == name

    def test_many_are_held_to_it_at_once(self) -> None:
        assert contracts.kept(Flight, [FLIGHT] * 3)
        assert not contracts.kept(Flight, [FLIGHT, FLIGHT | {"distance": 0}])
        assert not contracts.kept(Flight, [{"unknown": 1}])


class TestCompatibility:
    def test_an_optional_field_may_be_added(self) -> None:
        old = contracts.avro_schema(Parcel)
        new = json.loads(json.dumps(old))
        new["fields"].append({"name": "note", "type": ["null", "string"], "default": None})
        assert contracts.incompatibilities(old, new) == []

    def test_anything_else_is_a_new_version(self) -> None:
        old = contracts.avro_schema(Parcel)
        required = {**old, "fields": [*old["fields"], {"name": "note", "type": "string"}]}
        removed = {**old, "fields": old["fields"][1:]}
        changed = {
            **old,
            "fields": [
                one | {"type": "string"} if one["name"] == "weight" else one
                for one in old["fields"]
            ],
        }
        assert "make it `| None = None`" in contracts.incompatibilities(old, required)[0]
        assert contracts.incompatibilities(old, removed) == ["field `parcel_id` was removed"]
        assert contracts.incompatibilities(old, changed) == ["field `weight` was double, is string"]

    @pytest.mark.parametrize("name", product.names())
    def test_each_product_stays_compatible_with_what_is_deployed(self, name: str) -> None:
        assert schemas.faults(product.load(name)) == []

    def test_what_no_topic_would_take_is_told_and_never_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        declared = product.load("flight-delay")
        deployed = tmp_path / schemas.NAME
        monkeypatch.setattr(schemas, "file", lambda _: deployed)
        told = schemas.faults(declared)
        assert len(told) == len(declared.own)
        assert all("esteira product check flight-delay --write" in one for one in told)

        schemas.write(declared)
        assert schemas.faults(declared) == []
        known = json.loads(deployed.read_text())
        versions = known["weather"]
        versions["1"]["fields"] = [
            {**one, "type": "string"} if one["name"] == "humidity" else one
            for one in versions["1"]["fields"]
        ]
        versions["0"] = {"older": True}
        deployed.write_text(json.dumps(known))

        schemas.write(declared)
        (fault,) = schemas.faults(declared)
        assert "field `humidity` was string" in fault
        assert "give weather a new VERSION" in fault
        assert json.loads(deployed.read_text())["weather"]["0"] == {"older": True}
