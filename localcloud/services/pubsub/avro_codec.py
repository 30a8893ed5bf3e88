"""Avro schemas: what they allow, what a message says, and whether two of them go together.

The rules of the JSON encoding are those of the Avro specification: a value of a union is `null` or
an object with the branch's name as its one key (`{"string": "x"}`), bytes are text whose characters
are the bytes. Each field has to be present, defaults or not, as the service wants it; a field that
the schema does not know is passed over, as Google's own decoder does.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import avro.schema
import msgspec
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.errors import AvroException
from avro.io import BinaryDecoder, DatumReader

# Google allows 300 KB for a definition.
MAX_DEFINITION: Final = 300 * 1024

type Decode = Callable[[Any, str], Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INT: Final = (-(2**31), 2**31 - 1)
_LONG: Final = (-(2**63), 2**63 - 1)


class Mismatch(ValueError):
    """A definition or a message is wrong; the text says where and what was expected."""


def parse(definition: str) -> avro.schema.Schema:
    """The schema of a definition.

    Raises:
        Mismatch: it is not an Avro record.
    """
    if len(definition.encode()) > MAX_DEFINITION:
        raise Mismatch(f"the definition is longer than {MAX_DEFINITION} bytes")
    try:
        schema = avro.schema.parse(definition)
    except (AvroException, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Mismatch(str(error)) from None
    if not isinstance(schema, avro.schema.RecordSchema):
        raise Mismatch(f"the top level is a {schema.type}; a topic's schema must be a record")
    return schema


def compatible(one: avro.schema.Schema, other: avro.schema.Schema) -> list[str]:
    """Why messages of the one cannot be read with the other, in either direction; empty if fine."""
    found: list[str] = []
    for reader, writer in ((one, other), (other, one)):
        result = ReaderWriterCompatibilityChecker().get_compatibility(reader, writer)
        if result.compatibility is not SchemaCompatibilityType.compatible:
            found.extend(str(message) for message in result.messages)
    return sorted(set(found))


class Codec:
    """Reads messages of one schema.

    Args:
        schema: from `parse`.
        native: turn logical types in JSON into Python's dates, times and decimals, as the binary
            reader does anyway; without it they stay the numbers and bytes that carry them.
    """

    def __init__(self, schema: avro.schema.Schema, *, native: bool = False) -> None:
        self.schema = schema
        self._native = native
        self._known: dict[str, Decode] = {}
        self._decode = self._compile(schema)
        self._binary = DatumReader(schema, schema)

    def from_json(self, data: bytes) -> dict[str, Any]:
        """The record that JSON-encoded data holds, unions without their tags.

        Raises:
            Mismatch: it is not such a record.
        """
        try:
            value = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Mismatch(f"not JSON: {error}") from None
        return self._decode(value, "$")

    def from_binary(self, data: bytes) -> dict[str, Any]:
        """The record that binary data holds; logical types come as Python's dates and decimals.

        Raises:
            Mismatch: it is not such a record, or more bytes follow.
        """
        stream = io.BytesIO(data)
        try:
            value = self._binary.read(BinaryDecoder(stream))
        except Exception as error:  # noqa: BLE001 - damaged bytes break the library anywhere
            raise Mismatch(f"not Avro binary of this schema: {error}") from None
        rest = len(data) - stream.tell()
        if rest:
            raise Mismatch(f"{rest} bytes follow the record")
        if not isinstance(value, dict):
            raise Mismatch("not a record")
        return value

    # The library types a schema's properties as object, hence Any.
    def _compile(self, schema: Any) -> Decode:
        decode = self._plain(schema)
        convert = _converter(schema) if self._native else None
        if convert is None:
            return decode

        def converted(value: Any, path: str) -> Any:
            carried = decode(value, path)
            try:
                return convert(carried)
            except (ValueError, OverflowError) as error:
                raise Mismatch(f"{path} is {_shown(value)}, out of range: {error}") from None

        return converted

    def _plain(self, schema: Any) -> Decode:
        if isinstance(schema, avro.schema.RecordSchema):
            return self._record(schema)
        if isinstance(schema, avro.schema.UnionSchema):
            return self._union(schema)
        if isinstance(schema, avro.schema.ArraySchema):
            item = self._compile(schema.items)
            return lambda value, path: [
                item(one, f"{path}[{i}]") for i, one in enumerate(_of(value, list, "array", path))
            ]
        if isinstance(schema, avro.schema.MapSchema):
            inner = self._compile(schema.values)
            return lambda value, path: {
                key: inner(one, f"{path}.{key}")
                for key, one in _of(value, dict, "map", path).items()
            }
        if isinstance(schema, avro.schema.EnumSchema):
            symbols = tuple(schema.symbols)
            return lambda value, path: _symbol(value, symbols, path)
        if isinstance(schema, avro.schema.FixedSchema):
            size: Any = schema.size
            return lambda value, path: _bytes(value, path, size)
        return _PRIMITIVES[schema.type]

    def _record(self, schema: Any) -> Decode:
        name = schema.fullname
        if name in self._known:
            return self._known[name]
        fields: list[tuple[str, Decode]] = []

        def decode(value: Any, path: str) -> dict[str, Any]:
            record = _of(value, dict, f"record {name}", path)
            result = {}
            for key, inner in fields:
                if key not in record:
                    raise Mismatch(f"{path}.{key} is missing")
                result[key] = inner(record[key], f"{path}.{key}")
            return result

        self._known[name] = decode  # Before its fields, which may name it again.
        fields.extend((f.name, self._compile(f.type)) for f in schema.fields)
        return decode

    def _union(self, schema: Any) -> Decode:
        branches: dict[str, Decode] = {}
        nullable = False
        for branch in schema.schemas:
            if branch.type == "null":
                nullable = True
            elif isinstance(branch, avro.schema.NamedSchema):
                branches[str(branch.fullname)] = self._compile(branch)
            else:
                branches[str(branch.type)] = self._compile(branch)
        allowed = ", ".join(["null"] * nullable + [f'{{"{name}": ...}}' for name in branches])

        def decode(value: Any, path: str) -> Any:
            if value is None and nullable:
                return None
            if isinstance(value, dict) and len(value) == 1:
                (name, inner), *_ = value.items()
                if name in branches:
                    return branches[name](inner, path)
            raise Mismatch(f"{path} is {_shown(value)}; a union here wants one of {allowed}")

        return decode


def _converter(schema: avro.schema.Schema) -> Callable[[Any], Any] | None:
    """From the number or bytes that carry a logical type to Python's own."""
    match getattr(schema, "logical_type", None):
        case "date":
            return lambda days: date(1970, 1, 1) + timedelta(days=days)
        case "time-millis":
            return lambda millis: (_EPOCH + timedelta(milliseconds=millis)).time()
        case "time-micros":
            return lambda micros: (_EPOCH + timedelta(microseconds=micros)).time()
        case "timestamp-millis":
            return lambda millis: _EPOCH + timedelta(milliseconds=millis)
        case "timestamp-micros":
            return lambda micros: _EPOCH + timedelta(microseconds=micros)
        case "decimal":
            scale = getattr(schema, "scale", 0)
            return lambda data: Decimal(int.from_bytes(data, signed=True)).scaleb(-scale)
        case _:
            return None


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."


def _of[T](value: Any, kind: type[T], name: str, path: str) -> T:
    if not isinstance(value, kind):
        raise Mismatch(f"{path} is {_shown(value)}; expected {name}")
    return value


def _symbol(value: Any, symbols: tuple[str, ...], path: str) -> str:
    if value not in symbols:
        raise Mismatch(f"{path} is {_shown(value)}; expected one of {', '.join(symbols)}")
    return value


def _bytes(value: Any, path: str, size: int | None = None) -> bytes:
    text = _of(value, str, "text for bytes", path)
    try:
        data = text.encode("iso-8859-1")
    except UnicodeEncodeError:
        raise Mismatch(f"{path} has characters beyond \\u00ff, which are no bytes") from None
    if size is not None and len(data) != size:
        raise Mismatch(f"{path} has {len(data)} bytes; expected {size}")
    return data


def _whole(name: str, bounds: tuple[int, int]) -> Decode:
    lowest, highest = bounds

    def decode(value: Any, path: str) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not lowest <= value <= highest:
            raise Mismatch(f"{path} is {_shown(value)}; expected {name}")
        return value

    return decode


def _real(name: str) -> Decode:
    def decode(value: Any, path: str) -> float:
        if type(value) is not float and type(value) is not int:
            raise Mismatch(f"{path} is {_shown(value)}; expected {name}")
        return float(value)

    return decode


def _null(value: Any, path: str) -> None:
    if value is not None:
        raise Mismatch(f"{path} is {_shown(value)}; expected null")


_PRIMITIVES: Final[dict[str, Decode]] = {
    "null": _null,
    "boolean": lambda value, path: _of(value, bool, "boolean", path),
    "int": _whole("int", _INT),
    "long": _whole("long", _LONG),
    "float": _real("float"),
    "double": _real("double"),
    "string": lambda value, path: _of(value, str, "string", path),
    "bytes": _bytes,
}
