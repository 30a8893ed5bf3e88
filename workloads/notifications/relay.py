"""Posts alerts to the channels of Teams and Slack: a Cloud Run service behind a push subscription.

A 2xx answer means that the notice is in every channel, was there before, or says nothing that
anybody has to know. Anything else lets Pub/Sub deliver the message again, each time after a longer
wait, and set it aside as a dead letter in the end; nothing is lost while a channel is down. The
same way a recovery waits until the alert has been over for a while, so that one that comes and goes
is told of once. All that the monitors of a product found in one window is one message.

Each channel is told by itself: one that refuses, for a minute or for good, holds up no other.

A kill between posting and writing it down posts once more: neither Teams nor Slack can be told that
two messages are one. Cloud Run lets in only the identity that the subscription pushes with; nothing
is checked here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import httpx
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from workloads.notifications.channels import channels
from workloads.notifications.conversation import Answer, Conversation
from workloads.notifications.ledger import BucketLedger, Ledger
from workloads.notifications.message import Budget, Incident, NotANotification, read
from workloads.notifications.records import BucketRecords, NoRecords, Records
from workloads.notifications.said import say
from workloads.notifications.settings import RelaySecrets, RelaySettings

log: Final = logging.getLogger("esteira.notifications")

BODY_LIMIT: Final = 1024 * 1024
"""Bytes. A notice has a few thousand."""


class Relay:
    """Turns a push into messages, and posts them. Safe to call from several threads."""

    def __init__(
        self,
        settings: RelaySettings,
        secrets: RelaySecrets,
        ledger: Ledger,
        transport: httpx.BaseTransport | None = None,
        records: Records | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`transport` stands in for the network.

        Raises:
            NoChannel: there is nobody to tell.
        """
        client = httpx.Client(
            timeout=settings.timeout_seconds, follow_redirects=False, transport=transport
        )
        self._environment = settings.environment
        self._conversations = [
            Conversation(
                channel=channel,
                ledger=ledger,
                client=client,
                clock=clock,
                environment=settings.environment,
                settle_seconds=settings.settle_seconds,
            )
            for channel in channels(secrets)
        ]
        self._records = records or (
            BucketRecords(settings.records) if settings.records else NoRecords()
        )
        # One at a time: two deliveries of one message would both find that neither was there.
        self._lock = threading.Lock()

    def receive(self, body: bytes) -> Answer:
        """Handle one push."""
        try:
            notice = read(body)
        except NotANotification as error:
            log.warning("not delivered: %s", error)
            return Answer(400, f"not delivered: {error}")
        if isinstance(notice, Budget) and not notice.crossed:
            return Answer(200, "no threshold of the budget was crossed")
        with self._lock:
            return _together(self._told(notice))

    def _told(self, notice: Incident | Budget) -> list[Answer]:
        """What comes of it in each channel: one that refuses keeps nothing from the others."""
        if isinstance(notice, Budget):
            said = say(notice, self._environment)
            return [one.deliver(notice.key(), said) for one in self._conversations]
        found = self._records.of(notice)
        if notice.closed:
            return [one.closed(notice, found) for one in self._conversations]
        return [one.opened(notice, found) for one in self._conversations]


def _together(answers: Sequence[Answer]) -> Answer:
    """One answer: the message comes again until no channel wants it any more."""
    waiting = [one for one in answers if one.status != 200]
    return Answer(
        waiting[0].status if waiting else 200,
        "; ".join(dict.fromkeys(one.text for one in waiting or answers)),
    )


def build_app(
    settings: RelaySettings,
    secrets: RelaySecrets,
    ledger: Ledger | None = None,
    transport: httpx.BaseTransport | None = None,
    records: Records | None = None,
) -> Starlette:
    """The service.

    Args:
        ledger: Instead of the bucket that the settings name.
        transport: Instead of the network.
        records: Instead of those in the buckets that the settings name.
    """
    relay = Relay(settings, secrets, ledger or BucketLedger(settings.ledger), transport, records)

    async def push(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > BODY_LIMIT:
                return PlainTextResponse(f"more than {BODY_LIMIT} bytes", 413)
        answer = await run_in_threadpool(relay.receive, body)
        return PlainTextResponse(answer.text, answer.status)

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(
        routes=[
            Route("/", push, methods=["POST"]),
            Route("/health", healthy, methods=["GET"]),
        ]
    )
