"""Listing of objects: prefixes, delimiters, offsets, globs, versions and pages."""

from __future__ import annotations

import base64
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from localcloud.services.storage.errors import invalid
from localcloud.services.storage.objects import COLUMNS, StoredObject, from_row

MAX_RESULTS: Final = 1000
_LAST: Final = "\U0010ffff"
_STATES: Final = {
    "live": "state = 'live'",
    "versions": "state != 'soft'",
    "soft": "state = 'soft'",
}


class _Place(msgspec.Struct, array_like=True, frozen=True):
    """Where a page ended: at a generation of an object, or behind all names with a prefix."""

    name: str
    generation: int = 0
    prefix: bool = False


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What to list."""

    bucket: str
    which: str = "live"
    """`live`, `versions` or `soft`."""
    prefix: str = ""
    delimiter: str = ""
    trailing_delimiter: bool = False
    """List an object whose name ends with the delimiter itself, beside its prefix."""
    start: str = ""
    """The first name, inclusive."""
    end: str = ""
    """The last name, exclusive."""
    glob: re.Pattern[str] | None = None
    limit: int = MAX_RESULTS
    token: str = ""


@dataclass(frozen=True)
class Page:
    """One page of a listing."""

    items: list[StoredObject]
    prefixes: list[str]
    token: str | None


def list_objects(connection: sqlite3.Connection, listing: Listing) -> Page:
    """One page, in the order of the names' UTF-8 bytes, then of generations.

    Raises:
        StorageError: 400 for a page token that is not one.
    """
    items: list[StoredObject] = []
    prefixes: list[str] = []
    place = _decode(listing.token) if listing.token else None
    after: _Place | None = place
    while True:
        jump: _Place | None = None
        for found in _scan(connection, listing, after):
            name = found.name
            if not name.startswith(listing.prefix):
                # Names begin with the prefix in one stretch, and it is over.
                break
            if listing.glob and not listing.glob.fullmatch(name):
                continue
            folder = _folder(name, listing)
            listed_twice = folder is not None and listing.trailing_delimiter and name == folder
            if len(items) + len(prefixes) >= listing.limit:
                return Page(items, prefixes, _encode(place) if place else None)
            if folder is None or listed_twice:
                items.append(found)
                place = _Place(name, found.generation)
            if folder is not None:
                if not prefixes or prefixes[-1] != folder:
                    prefixes.append(folder)
                if not listed_twice:
                    place = jump = _Place(folder, prefix=True)
                    break
        if jump is None:
            return Page(items, prefixes, None)
        # Skip what else is in the folder instead of reading it.
        after = jump


def _folder(name: str, listing: Listing) -> str | None:
    if not listing.delimiter:
        return None
    end = name.find(listing.delimiter, len(listing.prefix))
    return None if end < 0 else name[: end + len(listing.delimiter)]


def _scan(
    connection: sqlite3.Connection, listing: Listing, after: _Place | None
) -> Iterator[StoredObject]:
    conditions = ["bucket = ?", _STATES[listing.which], "name >= ?"]
    values: list[str | int] = [listing.bucket, max(listing.prefix, listing.start)]
    if listing.end:
        conditions.append("name < ?")
        values.append(listing.end)
    if after and after.prefix:
        beyond = _successor(after.name)
        if beyond is None:
            return
        conditions.append("name >= ?")
        values.append(beyond)
    elif after:
        conditions.append("(name, generation) > (?, ?)")
        values += [after.name, after.generation]
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM objects WHERE {' AND '.join(conditions)} ORDER BY name, generation",  # noqa: S608
        values,
    )
    try:
        for row in rows:
            yield from_row(row)
    finally:
        rows.close()


def _successor(prefix: str) -> str | None:
    """The first string behind all that begin with `prefix`; None when nothing can be."""
    stem = prefix.rstrip(_LAST)
    if not stem:
        return None
    point = ord(stem[-1]) + 1
    # Surrogates are no characters of UTF-8.
    return stem[:-1] + chr(0xE000 if point == 0xD800 else point)


def _encode(place: _Place) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(place)).decode()


def _decode(token: str) -> _Place:
    try:
        return msgspec.msgpack.decode(base64.urlsafe_b64decode(token), type=_Place)
    except (ValueError, msgspec.MsgspecError):
        raise invalid(f"Invalid pageToken {token!r}.", "pageToken") from None
