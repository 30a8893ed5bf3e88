"""A growing pause after failures, shared by whatever delivers by itself."""

from __future__ import annotations

import asyncio


class Pause:
    """Waits that double with each failure in a row.

    Args:
        shortest: the first wait, seconds.
        longest: where doubling ends, seconds.
    """

    def __init__(self, shortest: float, longest: float) -> None:
        self._shortest = shortest
        self._longest = longest
        self._wait = 0.0
        self._until = 0.0

    def lengthen(self) -> None:
        """Something failed. Failures of requests sent before the last pause count once."""
        now = asyncio.get_running_loop().time()
        if now < self._until:
            return
        self._wait = min(self._longest, max(self._shortest, self._wait * 2))
        self._until = now + self._wait

    def reset(self) -> None:
        """Something succeeded."""
        self._wait = 0.0

    async def over(self) -> None:
        """Wait for the end of the pause, if there is one."""
        left = self._until - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)
