"""Messages that are wrong on purpose, made from right ones by a contract's own rules."""

from __future__ import annotations

import random
from typing import Any, Final

import msgspec

from workloads import contracts
from workloads.contracts import Contract, ContractViolation, Field

_EXTREME: Final[dict[str, tuple[Any, ...]]] = {
    "string": ("", "?", "x" * 300),
    "integer": (-(10**9), 10**9),
    "number": (-1e9, 1e9),
    "timestamp": ("yesterday", "2013-02-30T00:00:00Z", "2013-01-01T00:00:00"),
    "boolean": (),
}
_WRONG_TYPE: Final[dict[str, Any]] = {
    "string": 17,
    "timestamp": 17,
    "integer": "seventeen",
    "number": "seventeen",
    "boolean": "maybe",
}


class Unbreakable(ValueError):
    """The contract forbids nothing that its Avro schema lets through."""


def broken(row: Contract, choose: random.Random) -> bytes:
    """The row with one field that its Avro schema takes and the contract does not.

    Raises:
        Unbreakable: there is no such field.
    """
    contract = type(row)
    document = msgspec.json.decode(contracts.encode(row))
    fields = list(contracts.fields(contract))
    choose.shuffle(fields)
    for field in fields:
        extremes = list(_EXTREME[field.kind])
        choose.shuffle(extremes)
        for value in extremes:
            data = msgspec.json.encode(document | {field.name: _tagged(field, value)})
            try:
                contracts.decode(contract, data)
            except ContractViolation:
                return data
    raise Unbreakable(f"contract {contract.NAME} allows whatever its Avro schema does")


def _tagged(field: Field, value: Any) -> Any:
    avro = {"timestamp": "string", "integer": "long", "number": "double"}
    return {avro.get(field.kind, field.kind): value} if field.nullable else value


def unfit(row: Contract, choose: random.Random) -> bytes:
    """Bytes that the topic's Avro schema itself refuses."""
    contract = type(row)
    document: dict[str, Any] = msgspec.json.decode(contracts.encode(row))
    required = [field for field in contracts.fields(contract) if not field.nullable]
    field = choose.choice(required)
    kind = choose.randrange(3)
    if kind == 0:
        return b"\xff not JSON"
    if kind == 1:
        del document[field.name]
        return msgspec.json.encode(document)
    return msgspec.json.encode(document | {field.name: _WRONG_TYPE[field.kind]})
