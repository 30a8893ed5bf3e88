"""A stored message, and the one sequence from which ids and lease numbers come."""

from __future__ import annotations

import time
from typing import Final

from localcloud.services.pubsub.wire import Pb, PubsubMessage

# Numbers of one run of the server start at run * 2**36, so that no number is ever given twice,
# though nothing is written when one is taken.
RUN_BITS: Final = 36


class Message:
    """A published message: the id orders it within the server, the body is what travels.

    Attributes:
        id: unique and rising in publish order.
        at: publish time, microseconds since the epoch; never falls as ids rise.
        key: ordering key, empty for none.
        body: a serialised `PubsubMessage`.
    """

    __slots__ = ("at", "body", "id", "key")

    def __init__(self, number: int, at: int, key: str, body: bytes) -> None:
        self.id = number
        self.at = at
        self.key = key
        self.body = body

    def parse(self) -> Pb:
        """The message in Google's class."""
        return PubsubMessage.FromString(self.body)


class Numbers:
    """Rising numbers, unique over all runs of one home."""

    def __init__(self, run: int) -> None:
        self._last = run << RUN_BITS

    @property
    def last(self) -> int:
        """The number given last."""
        return self._last

    def take(self, count: int = 1) -> int:
        """The first of `count` consecutive new numbers."""
        first = self._last + 1
        self._last += count
        return first


class Clock:
    """Wall time in microseconds that never runs backwards."""

    def __init__(self, floor: int = 0) -> None:
        self._last = floor

    def now(self) -> int:
        """Microseconds since the epoch."""
        self._last = max(self._last, time.time_ns() // 1_000)
        return self._last
