"""Resource names of Vertex AI and the ids in them."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Final, NamedTuple

from localcloud.rest.errors import InvalidArgument

LABEL_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE: Final = re.compile(r"[a-z0-9_-]{0,63}")
MAX_LABELS: Final = 64
MAX_DISPLAY_NAME: Final = 128
_RESOURCE: Final = re.compile(
    r"(?P<parent>projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+))"
    r"/(?P<kind>[a-zA-Z]+)/(?P<id>[^/@]+)(?:@(?P<version>[^/@]+))?"
)


class Resource(NamedTuple):
    """A parsed name; `version` is the version id or alias after `@`, or empty."""

    parent: str
    project: str
    location: str
    kind: str
    id: str
    version: str

    @property
    def name(self) -> str:
        """Without the version."""
        return f"{self.parent}/{self.kind}/{self.id}"


def parse(name: str, kind: str) -> Resource:
    """The parts of `projects/P/locations/L/<kind>/ID[@VERSION]`.

    Raises:
        InvalidArgument: it is not such a name.
    """
    found = _RESOURCE.fullmatch(name)
    if found is None or found["kind"] != kind:
        raise InvalidArgument(
            f"Invalid resource name '{name}': expected "
            f"projects/PROJECT/locations/LOCATION/{kind}/ID."
        )
    return Resource(
        found["parent"],
        found["project"],
        found["location"],
        kind,
        found["id"],
        found["version"] or "",
    )


def new_id() -> str:
    """A 19-digit id, as Google gives its resources."""
    return str(secrets.randbelow(8 * 10**18) + 10**18)


def project_number(project: str) -> str:
    """The number that stands for a project, the same at each start; 12 digits."""
    if project.isdigit():
        return project
    digest = hashlib.sha256(project.encode()).digest()
    return str(10**11 + int.from_bytes(digest[:8]) % (9 * 10**11))


def check_display_name(value: str | None) -> None:
    """
    Raises:
        InvalidArgument: it is missing or longer than 128 characters.
    """
    if not value:
        raise InvalidArgument("The display_name is required and must not be empty.")
    if len(value) > MAX_DISPLAY_NAME:
        raise InvalidArgument(
            f"The display_name must be at most {MAX_DISPLAY_NAME} characters long, "
            f"got {len(value)}."
        )


def check_labels(labels: Mapping[str, str] | None) -> None:
    """
    Raises:
        InvalidArgument: too many labels, or one that breaks Google's rules.
    """
    if not labels:
        return
    if len(labels) > MAX_LABELS:
        raise InvalidArgument(f"At most {MAX_LABELS} labels are allowed, got {len(labels)}.")
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key):
            raise InvalidArgument(
                f"Invalid label key '{key}': 1 to 63 lower-case letters, digits, _ and -, "
                "beginning with a letter."
            )
        if not LABEL_VALUE.fullmatch(value):
            raise InvalidArgument(
                f"Invalid value '{value}' of label '{key}': at most 63 lower-case letters, "
                "digits, _ and -."
            )
