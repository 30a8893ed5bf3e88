"""`ifGenerationMatch` and its kin: what must hold for a request to be carried out.

https://cloud.google.com/storage/docs/request-preconditions
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from localcloud.services.storage.errors import condition_not_met, invalid, not_modified


class Versioned(Protocol):
    """What has a generation and a metageneration: an object or a bucket."""

    @property
    def generation(self) -> int: ...
    @property
    def metageneration(self) -> int: ...


_SUFFIXES: Final = (
    "GenerationMatch",
    "GenerationNotMatch",
    "MetagenerationMatch",
    "MetagenerationNotMatch",
)
NAMES: Final = frozenset(f"if{suffix}" for suffix in _SUFFIXES)


def check(
    query: Mapping[str, Any],
    current: Versioned | None,
    *,
    reading: bool = False,
    prefix: str = "if",
) -> None:
    """Check the preconditions of a request.

    Args:
        query: the request's parameters.
        current: what is there now; None when nothing is, which counts as generation 0.
        reading: whether a "not match" that fails means that the reader's copy is fresh.
        prefix: `if`, or `ifSource` for the source of a copy.

    Raises:
        StorageError: 412, or 304 for a reader.
    """
    generation = current.generation if current else 0
    metageneration = current.metageneration if current else None
    for suffix, actual in (
        ("GenerationMatch", generation),
        ("MetagenerationMatch", metageneration),
    ):
        wanted = _number(query, prefix + suffix)
        if wanted is not None and wanted != actual:
            raise condition_not_met()
    for suffix, actual in (
        ("GenerationNotMatch", generation),
        ("MetagenerationNotMatch", metageneration),
    ):
        unwanted = _number(query, prefix + suffix)
        if unwanted is not None and unwanted == actual:
            raise not_modified() if reading else condition_not_met("If-None-Match")


def check_etag(headers: Mapping[str, str], etag: str, *, reading: bool) -> None:
    """Check `If-Match` and `If-None-Match`, which name etags rather than generations.

    Raises:
        StorageError: 412, or 304 for a reader.
    """
    wanted = _etags(headers.get("if-match"))
    if wanted and "*" not in wanted and etag not in wanted:
        raise condition_not_met()
    unwanted = _etags(headers.get("if-none-match"))
    if unwanted and ("*" in unwanted or etag in unwanted):
        raise not_modified() if reading else condition_not_met("If-None-Match")


def _etags(header: str | None) -> set[str]:
    return {one.strip().strip('"') for one in header.split(",")} if header else set()


def _number(query: Mapping[str, Any], name: str) -> int | None:
    value = query.get(name)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise invalid(f"Invalid value for {name}: {value!r} is not a generation.", name) from None
