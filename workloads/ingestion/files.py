"""Objects of lines: which contract they carry, how they are read in chunks, what a line becomes."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Final

import msgspec

from workloads import contracts
from workloads.contracts import Contract, ContractViolation
from workloads.ingestion.judging import Row, dead_letter, raw_row, refused, rfc3339
from workloads.product import Product, Source

SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")
LINE_LIMIT: Final = 1024 * 1024
"""Bytes of one line. A longer one is no row of any contract, and is dead-lettered in pieces."""
_BLOCK: Final = 1024 * 1024
_OBJECT: Final = re.compile(r"gs://(?P<bucket>[^/|]+)/(?P<name>[^|]+)#(?P<generation>[0-9]+)")


class UnknownObject(ValueError):
    """An object that no contract of the product claims. Names it and what is allowed."""

    def __init__(self, field: str, value: str, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(f"{field} is {value!r}; allowed: {allowed}")


@dataclass(frozen=True, order=True)
class LandedObject:
    """One generation of one object."""

    bucket: str
    name: str
    generation: int

    @classmethod
    def parse(cls, text: str) -> LandedObject:
        """From `gs://bucket/name#generation`.

        Raises:
            UnknownObject: the text is none.
        """
        match = _OBJECT.fullmatch(text)
        if not match:
            raise UnknownObject(
                "object", text, "gs://bucket/folder/name#generation, without `|` in the name"
            )
        return cls(match["bucket"], match["name"], int(match["generation"]))

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.name}#{self.generation}"

    def source(self, product: Product) -> Source:
        """The source of the product that the object's folder names.

        Raises:
            UnknownObject: the folder is no contract's plural, or the name has another ending.
        """
        folder = self.name.split("/", 1)[0]
        folders = ", ".join(f"`{one.contract.PLURAL}/`" for one in product.own)
        known = {one.contract.PLURAL: one for one in product.own}
        if "/" not in self.name or folder not in known:
            raise UnknownObject("objectId", self.name, f"a name in one of the folders {folders}")
        if not self.name.endswith(SUFFIXES):
            endings = ", ".join(SUFFIXES)
            raise UnknownObject("objectId", self.name, f"a name that ends in one of {endings}")
        return known[folder]


@dataclass(frozen=True)
class Chunk:
    """Some lines of an object, in order."""

    object: str
    """As `str(LandedObject)`."""
    written_at: datetime
    number: int
    """Of this chunk in its object, from 0. With the object it names the load job."""
    first_line: int
    """Of the lines, as an editor counts: the object's first is 1."""
    lines: tuple[bytes, ...]
    broken: str = ""
    """Why the object cannot be read further than these lines, if so."""


def chunks(
    stream: BinaryIO, landed: LandedObject, written_at: datetime, size: int
) -> Iterator[Chunk]:
    """Read an object, gzipped or not, in chunks of `size` lines.

    The same object gives the same chunks every time. Blank lines count as lines and say nothing.
    An object that breaks off (a gzip stream cut short) gives what could be read, and the reason.
    """
    number, first, lines, broken = 0, 1, list[bytes](), ""
    reading = _lines(_unzipped(stream) if landed.name.endswith(".gz") else _blocks(stream))
    while True:
        try:
            line = next(reading)
        except StopIteration:
            break
        except zlib.error as error:
            broken = f"the gzip stream cannot be read on: {error}"
            break
        lines.append(line)
        if len(lines) == size:
            yield Chunk(str(landed), written_at, number, first, tuple(lines))
            number, first, lines = number + 1, first + size, []
    if lines or broken:
        yield Chunk(str(landed), written_at, number, first, tuple(lines), broken)


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(_BLOCK):
        yield block


def _unzipped(stream: BinaryIO) -> Iterator[bytes]:
    """All members of a gzip stream. A small file that unpacks to a huge one is read piecewise."""
    decompressor, fed = zlib.decompressobj(wbits=31), False
    for block in _blocks(stream):
        while block:
            yield decompressor.decompress(block, _BLOCK)
            fed = True
            if decompressor.eof:
                block = decompressor.unused_data  # noqa: PLW2901 - the next member of the stream
                decompressor, fed = zlib.decompressobj(wbits=31), False
            else:
                block = decompressor.unconsumed_tail  # noqa: PLW2901 - what did not fit
    if fed and not decompressor.eof:
        raise zlib.error("it ends before its end marker")


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
        while len(rest) > LINE_LIMIT:
            yield rest[:LINE_LIMIT]
            rest = rest[LINE_LIMIT:]
    if rest:
        yield rest


@dataclass(frozen=True)
class Loadable:
    """A judged chunk: newline-delimited JSON for two load jobs."""

    chunk: Chunk
    contract: str
    """Plural, which is the table."""
    rows: bytes
    dead: bytes
    row_count: int
    dead_count: int


def judge_chunk(source: Source, chunk: Chunk, now: datetime) -> Loadable:
    """Hold every line of a chunk to the contract, one decode a line."""
    contract = source.contract
    # What is the same for all rows of a chunk is encoded once and put before the closing brace.
    shared = _members({"publish_time": rfc3339(chunk.written_at), "ingested_at": rfc3339(now)})
    decode: Callable[[bytes], Contract] = msgspec.json.Decoder(contract).decode
    encode = msgspec.json.Encoder().encode
    rows: list[bytes] = []
    dead: list[bytes] = []
    for line, data in enumerate(chunk.lines, chunk.first_line):
        if not data or data.isspace():
            continue
        place = f"{chunk.object}:{line}"
        try:
            try:
                row = decode(data)
            except msgspec.DecodeError:
                # Slower: it reads Avro JSON as well, and says what is wrong.
                row = contracts.decode(contract, data)
        except ContractViolation as violation:
            dead.append(encode(_dead(violation, chunk, place, data)))
            continue
        at = encode(place)
        rows.append(encode(row)[:-1] + shared + b',"message_id":' + at + b',"source":' + at + b"}")
    if chunk.broken:
        dead.append(encode(_broken(contract, chunk)))
    return Loadable(
        chunk=chunk,
        contract=contract.PLURAL,
        rows=b"\n".join(rows),
        dead=b"\n".join(dead),
        row_count=len(rows),
        dead_count=len(dead),
    )


def _members(document: dict[str, Any]) -> bytes:
    return b"," + msgspec.json.encode(document)[1:-1]


def _dead(violation: ContractViolation, chunk: Chunk, place: str, data: bytes) -> Row:
    return dead_letter(
        message_id=place,
        received_at=chunk.written_at,
        source=place,
        raw=data,
        attributes={},
        violation=violation,
    )


def _broken(contract: type[Contract], chunk: Chunk) -> Row:
    place = f"{chunk.object}:{chunk.first_line + len(chunk.lines)}"
    return refused(
        message_id=place,
        received_at=chunk.written_at,
        source=place,
        raw=b"",
        attributes={},
        field="$",
        value="the rest of the object",
        reason=chunk.broken,
        contract=contract.NAME,
        version=contract.VERSION,
    )


def replayed_row(contract: Contract, message_id: str, received_at: datetime, now: datetime) -> Row:
    """The row of a line that failed once and is allowed now."""
    return raw_row(contract, message_id, received_at, now, message_id)
