"""Posts alerts to a Teams channel: a Cloud Run service behind a push subscription.

A 2xx answer means that the notice is in the channel, was there before, or says nothing that anybody
has to know. Anything else lets Pub/Sub deliver the message again, each time after a longer wait,
and set it aside as a dead letter in the end; nothing is lost while the channel is down.

Cloud Run lets in only the identity that the subscription pushes with; nothing is checked here.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Final

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from workloads.notifications.card import card
from workloads.notifications.ledger import BucketLedger, Ledger
from workloads.notifications.message import Budget, NotANotification, read
from workloads.notifications.settings import RelaySecrets, RelaySettings

log: Final = logging.getLogger("esteira.notifications")

BODY_LIMIT: Final = 1024 * 1024
"""Bytes. A notice has a few thousand."""
_COMPLAINT: Final = "webhook message delivery failed"
"""With 200, and this in the body, the older webhooks of Teams say that they did not deliver."""


@dataclass(frozen=True)
class Answer:
    """What the push is told."""

    status: int
    text: str


class Relay:
    """Turns a push into a card, and posts it. Safe to call from several threads."""

    def __init__(
        self,
        settings: RelaySettings,
        secrets: RelaySecrets,
        ledger: Ledger,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`transport` stands in for the network."""
        # At INFO, httpx logs each address that it asks, and this one is the secret.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._settings = settings
        self._webhook = secrets.teams_webhook
        self._ledger = ledger
        self._client = httpx.Client(
            timeout=settings.timeout_seconds, follow_redirects=False, transport=transport
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
        key = notice.key()
        with self._lock:
            if self._ledger.has(key):
                return Answer(200, f"{key} was delivered before")
            message = msgspec.json.encode(card(notice, self._settings.environment))
            problem = self._post(message)
            if problem is not None:
                log.warning("%s is not delivered yet: %s", key, problem)
                return Answer(503, f"{key} is not delivered yet: {problem}")
            self._ledger.add(key)
        log.info("delivered %s", key)
        return Answer(200, f"delivered {key}")

    def _post(self, message: bytes) -> str | None:
        """Why Teams did not take the message; None where it did. Never the address."""
        try:
            answer = self._client.post(
                self._webhook.get_secret_value(),
                content=message,
                headers={"Content-Type": "application/json"},
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The text of an error may hold the address.
            return f"Teams cannot be reached ({type(error).__name__})"
        if not answer.is_success:
            return f"Teams answered {answer.status_code}"
        if _COMPLAINT in answer.text[:2000].lower():
            return "Teams answered 200, and that it did not deliver"
        return None


def build_app(
    settings: RelaySettings,
    secrets: RelaySecrets,
    ledger: Ledger | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Starlette:
    """The service.

    Args:
        ledger: Instead of the bucket that the settings name.
        transport: Instead of the network.
    """
    relay = Relay(settings, secrets, ledger or BucketLedger(settings.ledger), transport)

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
