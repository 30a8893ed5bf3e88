"""Resource names: `projects/P/topics/T` and its relatives."""

from __future__ import annotations

import re
from typing import Final

from localcloud.services.pubsub.errors import invalid

DELETED_TOPIC: Final = "_deleted-topic_"
DELETED_SCHEMA: Final = "_deleted-schema_"
HELP: Final = "https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names"

_PROJECT: Final = re.compile(r"projects/([a-z0-9:.\-]+)")
# Letter first; then letters, digits and these marks; 3 to 255 characters; not "goog" in front.
_ID: Final = r"(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}"
_RESOURCE: Final = {
    kind: re.compile(rf"projects/[a-z0-9:.\-]+/{kind}/{_ID}")
    for kind in ("topics", "subscriptions", "snapshots", "schemas")
}


def check(kind: str, name: str) -> str:
    """The name, when it is one of `kind` ("topics", "subscriptions", "snapshots", "schemas").

    Raises:
        Fault: INVALID_ARGUMENT.
    """
    if not _RESOURCE[kind].fullmatch(name):
        raise invalid(
            f"Invalid resource name given (name={name}); expected projects/PROJECT/{kind}/ID, "
            "where ID starts with a letter, has 3 to 255 letters, digits or -_.~+% and does not "
            f"start with goog. Refer to {HELP} for more information."
        )
    return name


def check_project(name: str) -> str:
    """The name, when it is `projects/P`.

    Raises:
        Fault: INVALID_ARGUMENT.
    """
    if not _PROJECT.fullmatch(name):
        raise invalid(f"Invalid project name given (name={name}); expected projects/PROJECT.")
    return name


def schema_and_revision(name: str) -> tuple[str, str]:
    """`projects/P/schemas/S@R` in two parts; the revision is empty when none is named.

    Raises:
        Fault: INVALID_ARGUMENT.
    """
    schema, _, revision = name.partition("@")
    return check("schemas", schema), revision


def project_of(name: str) -> str:
    """The bare project id of a resource name."""
    return name.split("/", 2)[1]
