"""Checks that topics, subscriptions and snapshots share: labels, durations, masks, pages."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from google.protobuf import duration_pb2, field_mask_pb2

from localcloud.services.pubsub.errors import invalid
from localcloud.services.pubsub.wire import Pb

MICROS: Final = 1_000_000
MINUTE: Final = 60
DAY: Final = 86_400
DEFAULT_PAGE: Final = 100
LARGEST_PAGE: Final = 1_000

_LABEL_KEY: Final = re.compile(r"(?=[^\W\d_])[\w\-]{1,63}")
_LABEL_VALUE: Final = re.compile(r"[\w\-]{0,63}")


def check_labels(labels: Mapping[str, str]) -> None:
    """Google's label rules: at most 64, lower case, keys that start with a letter.

    Raises:
        Fault: INVALID_ARGUMENT.
    """
    if len(labels) > 64:
        raise invalid(f"labels has {len(labels)} entries; at most 64 are allowed.")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or key != key.lower():
            raise invalid(
                f"labels has the key {key!r}; allowed are 1 to 63 lower-case letters, digits, "
                "- and _, starting with a letter."
            )
        if not _LABEL_VALUE.fullmatch(value) or value != value.lower():
            raise invalid(
                f"labels[{key!r}] is {value!r}; allowed are up to 63 lower-case letters, digits, "
                "- and _."
            )


def micros(value: duration_pb2.Duration) -> int:
    """A duration in microseconds."""
    return value.seconds * MICROS + value.nanos // 1_000


def check_duration(
    field: str, value: duration_pb2.Duration, lowest: int, highest: int
) -> duration_pb2.Duration:
    """The duration, when it lies between two bounds in seconds.

    Raises:
        Fault: INVALID_ARGUMENT.
    """
    if not lowest * MICROS <= micros(value) <= highest * MICROS:
        raise invalid(
            f"The value for {field} is out of bounds. You passed {micros(value) / MICROS:g}s in "
            f"the request, but the value must be between {lowest}s and {highest}s."
        )
    return value


def merged(
    current: Pb,
    update: Pb,
    mask: field_mask_pb2.FieldMask,
    mutable: Collection[str],
) -> Pb:
    """A copy of `current` with the masked fields of `update`.

    Raises:
        Fault: INVALID_ARGUMENT for an empty mask, an unknown field, or one that cannot change.
    """
    kind = current.DESCRIPTOR.name
    if not mask.paths:
        raise invalid(
            f"The update_mask in the Update{kind}Request must be set, and must contain a "
            "non-empty paths list."
        )
    for path in mask.paths:
        if not field_mask_pb2.FieldMask(paths=[path]).IsValidForDescriptor(current.DESCRIPTOR):
            raise invalid(
                f"Invalid update_mask provided in the Update{kind}Request: {path} is not a known "
                f"{kind} field. Note that field paths must be of the form 'push_config' rather "
                "than 'pushConfig'."
            )
        if path.split(".", 1)[0] not in mutable:
            raise invalid(
                f"Invalid update_mask provided in the Update{kind}Request: the {path} field in "
                f"the {kind} is not mutable; mutable are {', '.join(sorted(mutable))}."
            )
    result = type(current)()
    result.CopyFrom(current)
    mask.MergeMessage(update, result, True, True)
    return result


def page(names: Iterable[str], size: int, token: str) -> tuple[list[str], str]:
    """One page of names in order, and the token of the next page (empty after the last).

    Raises:
        Fault: INVALID_ARGUMENT for a negative size or a token that no page gave.
    """
    if size < 0:
        raise invalid(f"page_size is {size}; it must not be negative.")
    after = _decode_token(token) if token else ""
    rest = sorted(name for name in names if name > after)
    count = min(size or DEFAULT_PAGE, LARGEST_PAGE)
    chosen = rest[:count]
    return chosen, _encode_token(chosen[-1]) if len(rest) > count else ""


def _encode_token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _decode_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (ValueError, UnicodeDecodeError):
        raise invalid(
            f"page_token is {token!r}; use the next_page_token of the page before."
        ) from None
