"""Property values as Pulumi's wire carries them, and as the rest of the provider handles them.

On the wire a secret, an asset and an archive are maps with a signature, and a value that is not
known yet is one magic string. Inside the provider values are plain Python; `Secret` and `Asset`
wrap, `UNKNOWN` stands for what only the running deployment will tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import struct_pb2

# pulumi/runtime/rpc.py holds the same constants; they are part of Pulumi's wire protocol.
UNKNOWN_WIRE: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - a signature, no password
ASSET: Final = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE: Final = "0def7320c3a5731c473e5ecbe6d01bc7"
OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"

type Path = tuple[str | int, ...]


class _Unknown:
    """A value that is not known before the deployment runs. There is one: `UNKNOWN`."""

    def __repr__(self) -> str:
        return "(not known yet)"

    def __deepcopy__(self, memo: object) -> _Unknown:
        return self


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that must be secret wherever it appears again."""

    value: Any


@dataclass(frozen=True)
class Asset:
    """A file, text or archive given as an input.

    `form` is the wire's own map without the signature: `path`, `text`, `uri` or `assets`, `hash`.
    """

    archive: bool
    form: dict[str, Any]

    @property
    def hash(self) -> str:
        return str(self.form.get("hash", ""))


def decode(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Wire to Python. Nulls in maps are left out, as the engine does for unset properties."""
    return {
        key: _decode(value)
        for key, value in struct.fields.items()
        if value.WhichOneof("kind") != "null_value"
    }


def _decode(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return from_signed(decode(value.struct_value))
    if kind == "list_value":
        return [_decode(item) for item in value.list_value.values]
    if kind == "string_value":
        return UNKNOWN if value.string_value == UNKNOWN_WIRE else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return value.bool_value if kind == "bool_value" else None


def from_signed(fields: dict[str, Any]) -> Any:
    """A map, or what its signature says that it is."""
    match fields.get(SIGNATURE):
        case None:
            return fields
        case str() as sign if sign == SECRET:
            return Secret(fields.get("value"))
        case str() as sign if sign in (ASSET, ARCHIVE):
            rest = {key: value for key, value in fields.items() if key != SIGNATURE}
            return Asset(archive=sign == ARCHIVE, form=rest)
        case str() as sign if sign == OUTPUT:
            inner = fields.get("value", UNKNOWN)
            return Secret(inner) if fields.get("secret") else inner
        case other:
            raise ValueError(f"a value with the unknown signature {other!r}")


def encode(values: Mapping[str, Any]) -> struct_pb2.Struct:
    """Python to wire; a value of None is left out."""
    struct = struct_pb2.Struct()
    for key, value in values.items():
        if value is not None:
            struct.fields[key].CopyFrom(_encode(value))
    return struct


def _encode(value: Any) -> struct_pb2.Value:
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if value is UNKNOWN:
        return struct_pb2.Value(string_value=UNKNOWN_WIRE)
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, Secret | Asset):
        return struct_pb2.Value(struct_value=encode(to_signed(value)))
    if isinstance(value, Mapping):
        return struct_pb2.Value(struct_value=encode(value))
    items = [_encode(item) for item in value]
    return struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))


def to_signed(value: Secret | Asset) -> dict[str, Any]:
    """The map with a signature that stands for a secret or an asset on the wire."""
    if isinstance(value, Secret):
        return {SIGNATURE: SECRET, "value": value.value}
    return {SIGNATURE: ARCHIVE if value.archive else ASSET, **value.form}


def reveal(value: Any, at: Path = ()) -> tuple[Any, frozenset[Path]]:
    """The value without its wrappings, and the paths that were secret."""
    if isinstance(value, Secret):
        inner, _ = reveal(value.value, at)
        return inner, frozenset({at})
    found: set[Path] = set()
    if isinstance(value, Mapping):
        plain: dict[str, Any] = {}
        for key, item in value.items():
            plain[key], below = reveal(item, (*at, key))
            found |= below
        return plain, frozenset(found)
    if isinstance(value, list):
        items: list[Any] = []
        for index, item in enumerate(value):
            one, below = reveal(item, (*at, index))
            items.append(one)
            found |= below
        return items, frozenset(found)
    return value, frozenset()


def seal(value: Any, paths: Iterable[Path]) -> Any:
    """Wrap again what was secret. A path that no longer fits makes its last good part secret."""
    for path in paths:
        value = _seal(value, path)
    return value


def _seal(value: Any, path: Path) -> Any:
    if isinstance(value, Secret):
        return value
    if not path:
        return Secret(value)
    first, rest = path[0], path[1:]
    if isinstance(value, Mapping):
        if first not in value:
            return value
        return {**value, first: _seal(value[first], rest)}
    if isinstance(value, list) and isinstance(first, int):
        if first >= len(value):
            return Secret(value)
        return [_seal(item, rest) if n == first else item for n, item in enumerate(value)]
    return Secret(value)


def knows(value: Any) -> bool:
    """Whether nothing inside is unknown."""
    if isinstance(value, Secret):
        return knows(value.value)
    if isinstance(value, Mapping):
        return all(knows(item) for item in value.values())
    if isinstance(value, list):
        return all(knows(item) for item in value)
    return value is not UNKNOWN


def storable(value: Any) -> Any:
    """The value as JSON can hold it; `restored` is its inverse."""
    if value is UNKNOWN:
        return UNKNOWN_WIRE
    if isinstance(value, Secret | Asset):
        return storable(to_signed(value))
    if isinstance(value, Mapping):
        return {key: storable(item) for key, item in value.items()}
    return [storable(item) for item in value] if isinstance(value, list) else value


def restored(value: Any) -> Any:
    """What `storable` was given."""
    if value == UNKNOWN_WIRE:
        return UNKNOWN
    if isinstance(value, Mapping):
        return from_signed({key: restored(item) for key, item in value.items()})
    return [restored(item) for item in value] if isinstance(value, list) else value
