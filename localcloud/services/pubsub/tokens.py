"""Acknowledgement ids: opaque to clients, they name a subscription, a message and a lease."""

from __future__ import annotations

import base64
import struct
from typing import Final

_FORM: Final = struct.Struct(">QQQ")


def encode(subscription: int, message: int, lease: int) -> str:
    """The acknowledgement id of a lease."""
    return base64.urlsafe_b64encode(_FORM.pack(subscription, message, lease)).decode()


def decode(token: str) -> tuple[int, int, int] | None:
    """Subscription, message and lease; none when no server of ours gave this id."""
    try:
        return _FORM.unpack(base64.urlsafe_b64decode(token))
    except (ValueError, struct.error):
        return None
