"""Names and identifiers of Cloud Run resources."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

from localcloud.rest.errors import Aborted, InvalidArgument

_ID: Final = re.compile(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?")
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
KIND: Final = "type.googleapis.com/google.cloud.run.v2."


def check_id(field: str, value: str | None) -> str:
    """The id of a new service or job.

    Raises:
        InvalidArgument: it is missing or malformed.
    """
    if not value:
        raise InvalidArgument(f"{field}: must be given as a query parameter.")
    if not _ID.fullmatch(value):
        raise InvalidArgument(
            f"{field}: '{value}' must be fewer than 50 characters long, start with a letter, hold "
            "only lowercase letters, digits and hyphens, and not end with a hyphen."
        )
    return value


def suffix(length: int = 5) -> str:
    """Random letters and digits that spell no words, as Cloud Run appends to names."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def short(name: str) -> str:
    """The last segment of a resource name."""
    return name.rpartition("/")[2]


def project_of(name: str) -> str:
    """The project in a resource name."""
    return name.split("/")[1]


def location_parent(name: str) -> str:
    """`projects/p/locations/l` of any resource below it."""
    return "/".join(name.split("/")[:4])


def process_name(name: str) -> str:
    """A resource name as the name of a process: short enough to be a file's."""
    parts = name.split("/")
    return "run." + ".".join([parts[1], parts[3], parts[-1]])


def public(document: Mapping[str, Any]) -> dict[str, Any]:
    """A stored document as the API shows it: what starts with an underscore is ours."""
    return {key: value for key, value in document.items() if not key.startswith("_")}


def check_etag(document: Mapping[str, Any], etag: str | None) -> None:
    """Refuse a change that was made from an older state.

    Raises:
        Aborted: the etag given is not the current one.
    """
    if etag and etag != document["etag"]:
        raise Aborted(
            f"Conflict for resource '{short(document['name'])}': version '{etag}' was specified "
            f"but current version is '{document['etag']}'."
        )
