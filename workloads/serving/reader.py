"""The quick reading of a request: one pass of a decoder that was compiled for the contract.

It takes what the thorough reading takes, nothing more; whatever it does not take, whether wrong or
only unusual (7.0 for an integer, Avro's tags), the thorough reading judges.
"""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from workloads.contracts import Contract
from workloads.serving.request import Parameters, Question, Unresolved, parse

_UNUSUAL: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Reader:
    """Reads requests of one contract.

    Args:
        contract: of a row.
        max_rows: in one request.
        entity: the name by which a row may be asked for by its entity alone; none where features
            are not looked up.
    """

    def __init__(self, contract: type[Contract], max_rows: int, entity: str | None = None) -> None:
        self.contract = contract
        self.max_rows = max_rows
        self.entity = entity
        self._objects: msgspec.json.Decoder[Any] = _decoder(contract, max_rows)
        self._arrays: msgspec.json.Decoder[Any] = _decoder(_array(contract), max_rows)

    def read(self, body: bytes) -> Question | Unresolved:
        """The rows of a request.

        Raises:
            BadRequest: it breaks the contract; see `workloads.serving.request.parse`.
        """
        for decoder in (self._objects, self._arrays):
            try:
                found = decoder.decode(body)
            except _UNUSUAL:
                continue
            return Question(found.instances, found.parameters)
        return parse(body, self.contract, self.max_rows, self.entity)


def _decoder(row: type[Any], max_rows: int) -> msgspec.json.Decoder[Any]:
    body = msgspec.defstruct(
        "Body",
        [
            ("instances", Annotated[list[row], Meta(min_length=1, max_length=max_rows)]),
            ("parameters", Parameters | None, None),
        ],
        forbid_unknown_fields=True,
        gc=False,
    )
    return msgspec.json.Decoder(body)


def _array(contract: type[Contract]) -> type[Any]:
    """The contract's row as an array, in the order of its fields."""
    hints: dict[str, Any] = {}
    for one in reversed(contract.__mro__):
        if issubclass(one, Contract):
            hints |= inspect.get_annotations(one, eval_str=True)
    members: list[Any] = [
        (found.name, hints[found.name])
        if found.default is msgspec.NODEFAULT
        else (found.name, hints[found.name], found.default)
        for found in msgspec.structs.fields(contract)
    ]
    return msgspec.defstruct(
        f"{contract.__name__}Array",
        members,
        array_like=True,
        forbid_unknown_fields=True,
        frozen=True,
        kw_only=False,
    )
