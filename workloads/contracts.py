"""What a row of data may be: one class, from which every schema follows.

A contract is a frozen `msgspec.Struct` with `Annotated` constraints and descriptions. From that one
class come the Avro schema of a Pub/Sub topic, the schema of a BigQuery table, the validation in
ingestion and in serving, and the JSON Schema of the endpoint's requests.

Two wire forms are understood. Files and requests carry plain JSON. A topic with an Avro schema in
JSON encoding carries Avro JSON, in which a value of a nullable field is tagged with its type:
`{"string": "N14228"}`. `encode` writes the second, `decode` reads both.

Contracts are versioned. Adding an optional field is compatible; anything else is a new version
(`incompatibilities` tells, and a test holds every product to it).
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Literal, Union, get_args, get_origin

import msgspec

Kind = Literal["string", "integer", "number", "boolean", "timestamp"]

_KINDS: Final[dict[type, Kind]] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    datetime: "timestamp",
}
_AVRO: Final[dict[Kind, str]] = {
    "string": "string",
    "integer": "long",
    "number": "double",
    "boolean": "boolean",
    # Avro JSON has no readable instant, so an instant travels as RFC 3339 text.
    "timestamp": "string",
}
_BIGQUERY: Final[dict[Kind, str]] = {
    "string": "STRING",
    "integer": "INT64",
    "number": "FLOAT64",
    "boolean": "BOOL",
    "timestamp": "TIMESTAMP",
}
_RANGES: Final = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
_LEAST: Final = msgspec.Meta(ge=-(2**63))
_MOST: Final = msgspec.Meta(le=2**63 - 1)
"""The bounds of a 64-bit integer, which is what an integer is to Avro, BigQuery and numpy."""


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all contracts. Subclasses set the class variables and declare annotated fields.

    An integer that declares no bounds has those of 64 bits: JSON would allow it any length, and
    whatever comes after the validation would fail at it.
    """

    NAME: ClassVar[str]
    """Singular noun; the table and the topic are named after its plural."""
    PLURAL: ClassVar[str]
    VERSION: ClassVar[int]
    IDENTITY: ClassVar[str | None] = None
    """The field that tells one event from another. Two rows that share it are duplicates."""
    EVENT_TIME: ClassVar[str | None] = None
    """The field that says when it happened, which partitions the table."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # In time: msgspec reads the annotations when the contract is used first.
        for name, hint in inspect.get_annotations(cls, eval_str=True).items():
            bounded = _bounded(hint)
            if bounded is not hint:
                cls.__annotations__[name] = bounded


def _bounded(hint: Any, metas: tuple[Any, ...] = ()) -> Any:
    """The type with every integer in it held to 64 bits; the same one where that is so already."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, *extras = get_args(hint)
        inner = _bounded(base, tuple(one for one in extras if isinstance(one, msgspec.Meta)))
        return hint if inner is base else Annotated[inner, *extras]
    if origin in (Union, types.UnionType):
        args = get_args(hint)
        inner = [_bounded(one) for one in args]
        changed = any(one is not other for one, other in zip(inner, args, strict=True))
        return Union[tuple(inner)] if changed else hint  # noqa: UP007 - made of a tuple
    if hint is not int:
        return hint
    missing: list[msgspec.Meta] = []
    if all(one.ge is None and one.gt is None for one in metas):
        missing.append(_LEAST)
    if all(one.le is None and one.lt is None for one in metas):
        missing.append(_MOST)
    return Annotated[int, *missing] if missing else hint


@dataclass(frozen=True)
class Personal:
    """Marks a field that tells of a person: `Annotated[str, Meta(...), Personal()]`.

    Its column gets a policy tag in the warehouse, and only who is named in the settings
    (`access.sensitiveReaders`), or a workload that was granted it, can read it.
    """


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a contract, as the schemas need it."""

    name: str
    kind: Kind
    nullable: bool
    description: str
    choices: tuple[str, ...] | None
    allowed: str
    """What a value may be, in words, for error messages and documents."""
    personal: bool
    """Whether it tells of a person."""


class ContractViolation(Exception):
    """A row that its contract does not allow.

    Attributes name the contract and its version, the field (`$` for the whole row), the value found
    (shortened) and what is allowed.
    """

    def __init__(self, contract: type[Contract], field: str, value: object, allowed: str) -> None:
        self.contract = contract.NAME
        self.version = contract.VERSION
        self.field = field
        self.value = _shortened(value)
        self.allowed = allowed
        super().__init__(
            f"{contract.NAME} v{contract.VERSION}: field `{field}` is {self.value}; "
            f"allowed: {allowed}"
        )


@cache
def fields(contract: type[Contract]) -> tuple[Field, ...]:
    """The fields of a contract in the order of declaration.

    Raises:
        TypeError: a field has a type that no schema can express, or no description.
    """
    # `get_type_hints` keeps constraints; msgspec's own `fields` gives order and defaults.
    hints = dict[str, Any]()
    for one in reversed(contract.__mro__):
        if issubclass(one, Contract):
            # A contract may build on an older one, whose fields it then has too.
            hints |= inspect.get_annotations(one, eval_str=True)
    return tuple(_field(contract, f.name, hints[f.name]) for f in msgspec.structs.fields(contract))


def _field(contract: type[Contract], name: str, hint: Any) -> Field:
    metas: list[msgspec.Meta] = []
    nullable = False
    choices: tuple[str, ...] | None = None
    personal = False
    while True:
        origin = get_origin(hint)
        if origin is Annotated:
            base, *extras = get_args(hint)
            metas += [meta for meta in extras if isinstance(meta, msgspec.Meta)]
            personal = personal or any(isinstance(one, Personal) for one in extras)
            hint = base
        elif origin in (Union, types.UnionType):
            inner = [one for one in get_args(hint) if one is not types.NoneType]
            if len(inner) != 1:
                raise TypeError(f"{contract.__name__}.{name}: only `X | None` unions have a schema")
            nullable, hint = True, inner[0]
        elif origin is Literal:
            choices, hint = tuple(get_args(hint)), str
        else:
            break
    if hint not in _KINDS:
        raise TypeError(
            f"{contract.__name__}.{name}: {hint!r} has no schema; use one of "
            f"{', '.join(one.__name__ for one in _KINDS)}, a Literal of strings, or `X | None`"
        )
    description = next((meta.description for meta in metas if meta.description), None)
    if not description:
        raise TypeError(f"{contract.__name__}.{name}: add a description, `Meta(description=...)`")
    kind = _KINDS[hint]
    return Field(
        name=name,
        kind=kind,
        nullable=nullable,
        description=description,
        choices=choices,
        allowed=_allowed(kind, nullable, choices, metas),
        personal=personal,
    )


def personal(contract: type[Contract]) -> tuple[str, ...]:
    """The names of the fields that tell of a person."""
    return tuple(field.name for field in fields(contract) if field.personal)


def _allowed(
    kind: Kind, nullable: bool, choices: tuple[str, ...] | None, metas: list[msgspec.Meta]
) -> str:
    if choices:
        words = "one of " + ", ".join(f"`{choice}`" for choice in choices)
    else:
        words = {
            "timestamp": "an RFC 3339 timestamp with a time zone",
            "integer": "an integer",
        }.get(kind, f"a {kind}")
    limits = [
        f"{word} {value:g}"
        for key, word in _RANGES
        for meta in metas
        if meta not in (_LEAST, _MOST) and (value := getattr(meta, key)) is not None
    ]
    for meta in metas:
        if meta.pattern is not None:
            limits.append(f"matching `{meta.pattern}`")
        if meta.min_length is not None:
            limits.append(f"of at least {meta.min_length} characters")
        if meta.max_length is not None:
            limits.append(f"of at most {meta.max_length} characters")
    if _LEAST in metas or _MOST in metas:
        limits.append("of at most 64 bits")
    text = " ".join([words, " and ".join(limits)]).strip()
    return f"{text}, or null" if nullable else text


def avro_schema(contract: type[Contract]) -> dict[str, Any]:
    """The Avro record of a topic that carries this contract."""
    return {
        "type": "record",
        "name": contract.__name__,
        "namespace": f"esteira.v{contract.VERSION}",
        "doc": inspect.getdoc(contract) or "",
        "fields": [
            {
                "name": field.name,
                "type": ["null", _AVRO[field.kind]] if field.nullable else _AVRO[field.kind],
                "doc": field.description,
                **({"default": None} if field.nullable else {}),
            }
            for field in fields(contract)
        ],
    }


def bigquery_schema(contract: type[Contract]) -> list[dict[str, str]]:
    """The columns of a table that holds this contract, as BigQuery's API writes them."""
    return [
        {
            "name": field.name,
            "type": _BIGQUERY[field.kind],
            "mode": "NULLABLE" if field.nullable else "REQUIRED",
            "description": field.description,
        }
        for field in fields(contract)
    ]


def json_schema(contract: type[Contract]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one row, without references."""
    schema, definitions = msgspec.json.schema_components([contract])
    del schema
    return definitions[contract.__name__]


def encode(row: Contract) -> bytes:
    """A row as Avro JSON, as a topic with this contract's schema wants it."""
    document = msgspec.to_builtins(row)
    for field in fields(type(row)):
        if field.nullable and document[field.name] is not None:
            document[field.name] = {_AVRO[field.kind]: document[field.name]}
    return msgspec.json.encode(document)


def to_row(row: Contract) -> dict[str, Any]:
    """A row as plain JSON values, as BigQuery's API takes it."""
    return msgspec.to_builtins(row)


def decode[C: Contract](contract: type[C], data: bytes | str) -> C:
    """A row from JSON bytes, plain or Avro.

    Raises:
        ContractViolation: the bytes are no JSON object, or break the contract.
    """
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContractViolation(contract, "$", data, f"one JSON object ({error})") from None
    return convert(contract, document)


def convert[C: Contract](contract: type[C], document: object) -> C:
    """A row from a decoded JSON document, plain or Avro.

    Raises:
        ContractViolation: the document breaks the contract; its first violation is named.
    """
    if not isinstance(document, dict):
        raise ContractViolation(contract, "$", document, "one JSON object")
    untagged = _untagged(contract, document)
    try:
        return msgspec.convert(untagged, contract)
    except msgspec.ValidationError as error:
        raise _violation(contract, untagged, str(error)) from None


def kept(contract: type[Contract], documents: list[Any]) -> bool:
    """Whether every one of many plain documents keeps the contract, asked of all at once.

    Where not, `convert` says of each what it breaks; it also takes documents that Avro has tagged.
    """
    try:
        msgspec.convert(documents, list[contract])
    except msgspec.ValidationError:
        return False
    return True


def _untagged(contract: type[Contract], document: dict[str, Any]) -> dict[str, Any]:
    tags = _tags(contract)
    tagged = {
        name: value[tag]
        for name, tag in tags.items()
        if type(value := document.get(name)) is dict and len(value) == 1 and tag in value
    }
    return {**document, **tagged} if tagged else document


@cache
def _tags(contract: type[Contract]) -> dict[str, str]:
    return {f.name: _AVRO[f.kind] for f in fields(contract) if f.nullable}


def _violation(
    contract: type[Contract], document: Mapping[str, Any], message: str
) -> ContractViolation:
    """msgspec says what it expected and where; a reader also wants the value and the allowed."""
    by_name = {field.name: field for field in fields(contract)}
    for marker in ("contains unknown field `", "missing required field `"):
        if marker in message:
            name = message.split(marker, 1)[1].split("`", 1)[0]
            if name in by_name:
                return ContractViolation(contract, name, "missing", by_name[name].allowed)
            allowed = "one of the fields " + ", ".join(by_name)
            return ContractViolation(contract, name, document.get(name), allowed)
    if " - at `$." in message:
        name = message.rsplit(" - at `$.", 1)[1].rstrip("`").split(".")[0].split("[")[0]
        if name in by_name:
            return ContractViolation(contract, name, document.get(name), by_name[name].allowed)
    return ContractViolation(contract, "$", document, message)


def _shortened(value: object, limit: int = 120) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = "missing" if value == "missing" else repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def event_time(row: Contract) -> datetime:
    """When the event happened, in UTC.

    Raises:
        TypeError: the contract has no event time.
    """
    name = type(row).EVENT_TIME
    if name is None:
        raise TypeError(f"contract {type(row).NAME} has no event time")
    return getattr(row, name).astimezone(UTC)


def identity(row: Contract) -> str:
    """What tells this event from every other of its contract.

    Raises:
        TypeError: the contract has no identity.
    """
    name = type(row).IDENTITY
    if name is None:
        raise TypeError(f"contract {type(row).NAME} has no identity")
    return str(getattr(row, name))


def incompatibilities(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Why rows written under the Avro schema `new` cannot replace those of `old` in one version.

    Args:
        old, new: two results of `avro_schema`. Empty list: compatible.
    """
    before = {field["name"]: field for field in old["fields"]}
    after = {field["name"]: field for field in new["fields"]}
    found = [f"field `{name}` was removed" for name in before if name not in after]
    for name, field in after.items():
        if name not in before:
            if "default" not in field:
                found.append(f"new field `{name}` is required; make it `| None = None`")
        elif before[name]["type"] != field["type"]:
            found.append(f"field `{name}` was {before[name]['type']}, is {field['type']}")
    return found
