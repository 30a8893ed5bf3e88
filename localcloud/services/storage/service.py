"""The state behind the API: database, contents, and what keeps them in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.services.storage import database
from localcloud.services.storage.buckets import Buckets
from localcloud.services.storage.clock import Clock, wall_clock
from localcloud.services.storage.content import Contents
from localcloud.services.storage.lifecycle import Lifecycle
from localcloud.services.storage.notifications import Notifications
from localcloud.services.storage.objects import Objects
from localcloud.services.storage.publisher import Publisher
from localcloud.services.storage.uploads import Uploads

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """One call of a method of the JSON API, checked against the discovery document."""

    method: str
    """Such as `storage.objects.get`."""
    path: Mapping[str, str]
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    body: dict[str, Any]
    """Normalised; a null stays a null, because a patch removes by it."""


Handler = Callable[[Call], Awaitable[dict[str, Any] | None]]


class CloudStorage:
    """One Cloud Storage. All its work on the database happens in the event loop's thread.

    Args:
        folder: where the state is kept; made when it is not there.
        base_url: where the service is reached, for links.
        pubsub: gives `host:port` of Pub/Sub, asked when the first notification is made.
        clock: the present.
        sweep_every: seconds between two rounds of lifecycle rules.
    """

    def __init__(
        self,
        folder: Path,
        base_url: str,
        pubsub: Callable[[], str],
        *,
        clock: Clock = wall_clock,
        sweep_every: float = 60,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "storage.sqlite"
        self.base_url = base_url
        self.clock = clock
        self.connection = database.connect(file)
        self.contents = Contents(folder / "contents")
        self.publisher = Publisher(file, pubsub, clock)
        self.notifications = Notifications(self.connection, clock, base_url, self._wake)
        self.buckets = Buckets(self.connection, clock)
        self.objects = Objects(self.connection, clock, self.notifications)
        self.uploads = Uploads(self.connection, self.contents, clock)
        self.lifecycle = Lifecycle(
            self.connection, clock, self.buckets, self.objects, self.uploads, self.contents
        )
        self._sweep_every = sweep_every
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Clear what a killed process left, deliver what it did not, and begin to sweep."""
        strays = self.contents.sweep(self.connection)
        if strays:
            log.info("removed %d contents that a killed process left unfinished", strays)
        self.publisher.start()
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Close everything."""
        if self._sweeper:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper
        await asyncio.to_thread(self.publisher.stop)
        self.connection.close()

    def _wake(self) -> None:
        # Not before the transaction under way is committed: transactions never await.
        asyncio.get_running_loop().call_soon(self.publisher.wake)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._sweep_every)
            try:
                await self.lifecycle.sweep()
            except Exception:
                log.exception("lifecycle rules could not be applied; they are tried again")
