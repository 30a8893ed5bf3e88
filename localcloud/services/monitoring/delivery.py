"""Hands notifications to their channels: at least once, in order for each channel.

A Pub/Sub channel publishes to its topic; e-mail, Slack and webhooks, which would leave this
machine, go to the home's inbox. What cannot be delivered is tried again, with growing waits, for a
day.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

import msgspec

from localcloud.home import Home
from localcloud.rest.store import Documents, Stored
from localcloud.services.monitoring.inbox import Inbox
from localcloud.services.monitoring.policies import KINDS

log = logging.getLogger(__name__)

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
_TRIES: Final = 1_440
"""At a minute each: a day."""
_DEADLINE: Final = 10.0


class Sender:
    """Sends what incidents left behind; a delivery is dropped once its channel has it."""

    def __init__(self, home: Home, documents: Documents, inbox: Inbox) -> None:
        self._home = home
        self._documents = documents
        self._inbox = inbox
        self._told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def tell(self) -> None:
        """There may be something to send."""
        self._told.set()

    def start(self) -> None:
        """Begin with what an earlier process left."""
        self._task = asyncio.create_task(self._run(), name="notifications")

    async def stop(self) -> None:
        """Send no more; what is left is sent after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._told.clear()
            try:
                due = await self._send_all()
            except Exception:
                log.exception("notifications could not be sent")
                due = time.time() + _LONGEST_WAIT
            wait = None if due is None else min(max(due - time.time(), 0.05), _LONGEST_WAIT)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), wait)

    async def _send_all(self) -> float | None:
        """Send what is due; when the next is, None for never."""
        waiting: dict[str, float] = {}
        for stored in self._documents.list("delivery:"):
            channel = stored.value["channel"]
            if channel in waiting:
                continue  # not before an earlier one of the same channel
            if stored.value["next"] <= time.time():
                problem = await asyncio.to_thread(self._send, stored)
                if problem is None:
                    self._documents.delete(stored.key)
                    continue
                self._put_off(stored, problem)
            if (left := self._documents.get(stored.key)) is not None:
                waiting[channel] = left["next"]
        return min(waiting.values(), default=None)

    def _put_off(self, stored: Stored, problem: str) -> None:
        tries = stored.value["attempts"] + 1
        channel = stored.value["channel"]
        if tries >= _TRIES:
            log.error("notification to %s given up: %s", channel, problem)
            self._documents.delete(stored.key)
            return
        wait = min(_FIRST_WAIT * 2 ** min(tries - 1, 10), _LONGEST_WAIT)
        log.warning("notification to %s: %s; again in %g s", channel, problem, wait)
        self._documents.put(
            stored.key, {**stored.value, "attempts": tries, "next": time.time() + wait}
        )

    def _send(self, stored: Stored) -> str | None:
        """Why the channel did not take it; None where it did, or is gone or switched off."""
        channel = self._documents.get(f"channel:{stored.value['channel']}")
        if channel is None or not channel["enabled"]:
            log.info("notification to %s dropped: no such channel", stored.value["channel"])
            return None
        notice: Mapping[str, Any] = stored.value["notice"]
        if channel["type"] == "pubsub":
            return self._publish(channel["labels"]["topic"], notice)
        self._inbox.take(
            name=channel["labels"][KINDS[channel["type"]]],
            kind=channel["type"],
            body=notice,
            # The same delivery, again after a kill between taking and forgetting, is one message.
            key=stored.key,
        )
        return None

    def _publish(self, topic: str, notice: Mapping[str, Any]) -> str | None:
        from google.api_core.exceptions import GoogleAPICallError

        try:
            self._publisher.publish(
                topic=topic,
                messages=[{"data": msgspec.json.encode(notice)}],
                timeout=_DEADLINE,
                retry=None,
            )
        except GoogleAPICallError as error:
            return f"{topic}: {error.message}"
        return None

    @cached_property
    def _publisher(self) -> Any:
        # Imported when first needed: it takes a second, and most days nothing is told.
        import grpc
        from google.pubsub_v1.services.publisher import PublisherClient
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

        channel = grpc.insecure_channel(self._home.endpoints().address("pubsub"))
        return PublisherClient(transport=PublisherGrpcTransport(channel=channel))
