"""Whoever takes messages from a subscription: a stream, one pull call, a pusher, an exporter."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localcloud.services.pubsub.entries import Key


class Consumer:
    """Flow control and key affinity of one reader.

    Args:
        max_messages: outstanding messages it accepts; 0 for any number.
        max_bytes: outstanding bytes it accepts; 0 for any number.
        one_per_key: true where a key's next message has to wait for the acknowledgement of the one
            before (push), false where the reader itself keeps the order (streams).
    """

    def __init__(
        self, *, max_messages: int = 0, max_bytes: int = 0, one_per_key: bool = False
    ) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.one_per_key = one_per_key
        self.outstanding = 0
        self.outstanding_bytes = 0
        self.keys: deque[Key] = deque()
        self.event = asyncio.Event()

    def room(self, limit: int) -> int:
        """How many of `limit` messages fit now."""
        if self.max_bytes and self.outstanding_bytes >= self.max_bytes:
            return 0
        if self.max_messages:
            return max(0, min(limit, self.max_messages - self.outstanding))
        return limit

    def room_bytes(self, limit: int) -> int:
        """How many of `limit` bytes fit now."""
        if self.max_bytes:
            return max(0, min(limit, self.max_bytes - self.outstanding_bytes))
        return limit

    async def wait(self, seconds: float | None = None) -> bool:
        """Wait until something may have changed; false when the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self.event.wait()
        except TimeoutError:
            return False
        self.event.clear()
        return True

    def __repr__(self) -> str:
        return f"Consumer(outstanding={self.outstanding}, keys={len(self.keys)})"
