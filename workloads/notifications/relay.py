"""Posts alerts to the channels of Teams and Slack: a Cloud Run service behind a push subscription.

A 2xx answer means that the notice is in every channel, was there before, or says nothing that
anybody has to know. Anything else lets Pub/Sub deliver the message again, each time after a longer
wait, and set it aside as a dead letter in the end; nothing is lost while a channel is down. The
same way a recovery waits until the alert has been over for a while, so that one that comes and goes
is told of once.

A kill between posting and writing it down posts once more: neither Teams nor Slack can be told that
two messages are one. Cloud Run lets in only the identity that the subscription pushes with; nothing
is checked here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from workloads.notifications.card import teams
from workloads.notifications.channels import Channel, channels, mark
from workloads.notifications.grouping import FORGOTTEN, WAITED, Group, group_of
from workloads.notifications.ledger import BucketLedger, Ledger
from workloads.notifications.message import Budget, Incident, NotANotification, read
from workloads.notifications.records import BucketRecords, NoRecords, Records
from workloads.notifications.said import Said, say
from workloads.notifications.settings import RelaySecrets, RelaySettings

log: Final = logging.getLogger("esteira.notifications")

BODY_LIMIT: Final = 1024 * 1024
"""Bytes. A notice has a few thousand."""


@dataclass(frozen=True)
class Answer:
    """What the push is told."""

    status: int
    text: str


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
        self._settings = settings
        self._channels = channels(secrets)
        self._ledger = ledger
        self._records = records or (
            BucketRecords(settings.records) if settings.records else NoRecords()
        )
        self._clock = clock
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
        with self._lock:
            if isinstance(notice, Budget):
                if not notice.crossed:
                    return Answer(200, "no threshold of the budget was crossed")
                return self._deliver(notice.key(), say(notice, self._settings.environment))
            return self._closed(notice) if notice.closed else self._opened(notice)

    def _opened(self, incident: Incident) -> Answer:
        key, name = incident.key(), group_of(incident)
        group = self._group(name)
        if self._delivered(key):
            # Killed before it was written that people know.
            if not group.told and not self._delivered(_closing(incident.incident_id)):
                self._knows(name, incident)
            return Answer(200, f"{key} was delivered before")
        if group.told and self._clock() - group.told_at < FORGOTTEN:
            # Nobody is told that the earlier one is over: it goes on with this one.
            self._mark(_closing(group.incident))
            self._mark(key)
            changed = msgspec.structs.replace(group, incident=incident.incident_id, calm=None)
            self._keep(name, changed)
            return Answer(200, f"{key} belongs to what people know")
        answer = self._deliver(key, self._said(incident))
        if answer.status == 200:
            self._knows(name, incident)
        return answer

    def _closed(self, incident: Incident) -> Answer:
        key, name, now = incident.key(), group_of(incident), self._clock()
        group = self._group(name)
        current = group.told and group.incident == incident.incident_id
        if self._delivered(key):
            if current:
                # Killed before it was written that people know.
                self._keep(name, Group())
            return Answer(200, f"{key} was delivered before")
        if not current:
            if now - (incident.ended_at or now) < WAITED:
                return Answer(503, f"{key} waits for its alert to be told")
            return self._deliver(key, self._said(incident))
        if group.calm is None:
            group = msgspec.structs.replace(group, calm=now)
            self._keep(name, group)
        left = self._settings.settle_seconds - (now - (group.calm or now))
        if left > 0:
            return Answer(503, f"{key} is told once it has been over for {left:.0f} s more")
        whole = msgspec.structs.replace(incident, started_at=group.since or incident.started_at)
        answer = self._deliver(key, self._said(whole))
        if answer.status == 200:
            self._keep(name, Group())
        return answer

    def _said(self, incident: Incident) -> Said:
        return say(incident, self._settings.environment, self._records.of(incident))

    def _deliver(self, key: str, said: Said) -> Answer:
        """Post to each channel that does not have it yet."""
        posted = False
        for channel in self._channels:
            told = mark(key, channel.name)
            if self._ledger.has(told):
                continue
            problem = channel.post(self._client, said, key)
            if problem is not None:
                log.warning("%s is not delivered yet: %s", key, problem)
                return Answer(503, f"{key} is not delivered yet: {problem}")
            self._ledger.add(told, self._record(key, channel, said))
            posted = True
        if not posted:
            return Answer(200, f"{key} was delivered before")
        log.info("delivered %s", key)
        return Answer(200, f"delivered {key}")

    def _record(self, key: str, channel: Channel, said: Said) -> bytes:
        """What the ledger keeps: never the address."""
        received = datetime.fromtimestamp(self._clock(), UTC)
        return msgspec.json.encode(
            {"key": key, "to": channel.name, "received": received, "body": teams(said)}
        )

    def _delivered(self, key: str) -> bool:
        """Whether every channel has it."""
        return all(self._ledger.has(mark(key, channel.name)) for channel in self._channels)

    def _mark(self, key: str) -> None:
        """Remember a notice that needs no message."""
        for channel in self._channels:
            self._ledger.add(mark(key, channel.name))

    def _group(self, name: str) -> Group:
        state = self._ledger.state(name)
        try:
            return Group() if state is None else msgspec.json.decode(state, type=Group)
        except msgspec.DecodeError as error:
            log.warning("what people know is not readable: %s", error)
            return Group()

    def _keep(self, name: str, group: Group) -> None:
        self._ledger.keep(name, msgspec.json.encode(group))

    def _knows(self, name: str, incident: Incident) -> None:
        group = Group(
            told=True,
            told_at=self._clock(),
            since=incident.started_at,
            incident=incident.incident_id,
        )
        self._keep(name, group)


def _closing(incident: str) -> str:
    return Incident(incident_id=incident, state="closed").key()


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
