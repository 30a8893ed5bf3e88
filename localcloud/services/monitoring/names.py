"""Names, instants and spans as Cloud Monitoring writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from localcloud.rest.errors import InvalidArgument
from localcloud.rest.operations import seconds

CUSTOM: Final = "custom.googleapis.com/"
PROJECT: Final = re.compile(r"projects/[^/]+")


def project_parent(name: str) -> str:
    """The project that a request is about.

    Raises:
        InvalidArgument: it names none.
    """
    if not PROJECT.fullmatch(name):
        raise InvalidArgument(f"Name '{name}' must be projects/PROJECT_ID.")
    return name


def instant(text: str | None, field: str) -> float:
    """Seconds since 1970 of an instant of RFC 3339.

    Raises:
        InvalidArgument: it is none.
    """
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidArgument(
            f"Field {field} had an invalid value '{text or ''}': write an instant of RFC 3339, "
            "such as 2026-11-21T10:00:00Z."
        )
    return moment.timestamp()


def written(moment: float) -> str:
    """An instant as Google writes it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def whole_minutes(value: Mapping[str, Any], name: str, field: str, least: float) -> float:
    """A span of whole minutes, in seconds.

    Raises:
        InvalidArgument: it is shorter, longer than 25 hours, or not of whole minutes.
    """
    span = seconds(value.get(name) or "0s")
    if span % 60 or not least <= span <= 90_000:
        raise InvalidArgument(
            f"Field {field}.{name} had an invalid value of '{value.get(name, '')}': must be whole "
            f"minutes, from {least:g}s to 90000s."
        )
    return span
