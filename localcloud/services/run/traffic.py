"""How a service's traffic is divided over its revisions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from localcloud.rest.errors import InvalidArgument, NotFound

LATEST: Final = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
REVISION: Final = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
_TAG: Final = re.compile(r"[a-z]([a-z0-9-]{0,44}[a-z0-9])?")


def check_traffic(
    traffic: Sequence[Mapping[str, Any]], revisions: Collection[str]
) -> list[dict[str, Any]]:
    """The traffic targets, completed.

    Args:
        traffic: as given; empty means all to the latest ready revision.
        revisions: the names of those that exist (the one about to be made included).

    Raises:
        InvalidArgument: percentages that do not sum to 100, a tag twice, a wrong type.
        NotFound: a revision that does not exist.
    """
    if not traffic:
        return [{"type": LATEST, "percent": 100}]
    checked: list[dict[str, Any]] = []
    tags: set[str] = set()
    for index, target in enumerate(traffic):
        where = f"traffic[{index}]"
        one = dict(target)
        revision = one.get("revision")
        kind = one.get("type") or (REVISION if revision else LATEST)
        if kind == LATEST and revision:
            raise InvalidArgument(f"{where}.revision: must be empty for the type {LATEST}.")
        if kind == REVISION:
            if not revision:
                raise InvalidArgument(f"{where}.revision: is required for the type {REVISION}.")
            one["revision"] = revision = revision.rpartition("/")[2]
            if revision not in revisions:
                raise NotFound(f"{where}.revision: Revision '{revision}' does not exist.")
        one["type"] = kind
        percent = one.get("percent", 0)
        if not 0 <= percent <= 100:
            raise InvalidArgument(f"{where}.percent: {percent} is not between 0 and 100.")
        if tag := one.get("tag"):
            if not _TAG.fullmatch(tag):
                raise InvalidArgument(
                    f"{where}.tag: '{tag}' must be lowercase letters, digits and hyphens, and "
                    "start with a letter."
                )
            if tag in tags:
                raise InvalidArgument(f"{where}.tag: '{tag}' is used twice.")
            tags.add(tag)
        checked.append(one)
    total = sum(one.get("percent", 0) for one in checked)
    if total != 100:
        raise InvalidArgument(f"traffic: the percentages must sum to 100, got {total}.")
    return checked


def resolve_traffic(
    traffic: Sequence[Mapping[str, Any]], latest: str | None
) -> list[tuple[Mapping[str, Any], str]]:
    """Each target with the revision that it means now; none for "latest" while none is ready."""
    found: list[tuple[Mapping[str, Any], str]] = []
    for target in traffic:
        revision = target.get("revision") or latest
        if revision:
            found.append((target, revision))
    return found
