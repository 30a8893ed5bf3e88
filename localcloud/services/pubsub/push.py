"""Push subscriptions: each message is POSTed to an endpoint until it answers with success."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any, Final

import httpx

from localcloud.services.pubsub.consumers import Consumer
from localcloud.services.pubsub.delivery import Subscription
from localcloud.services.pubsub.entries import Entry
from localcloud.services.pubsub.pauses import Pause
from localcloud.services.pubsub.wire import Pb

if TYPE_CHECKING:
    from localcloud.services.pubsub.broker import Broker

log = logging.getLogger(__name__)

# https://cloud.google.com/pubsub/docs/push: what counts as an acknowledgement.
SUCCESS: Final = frozenset({102, 200, 201, 202, 204})
FIRST_WINDOW: Final = 4
LARGEST_WINDOW: Final = 64
# The lease outlives the request, so that a message is not sent twice at once.
SLACK_SECONDS: Final = 5.0
AGENT: Final = "CloudPubSub-Google"
# The issuer of the identity tokens sent here; they are unsigned, so no verifier takes them for
# Google's, but a receiver that only reads them finds its audience and caller.
ISSUER: Final = "https://localcloud.invalid"

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]*")


class Pusher:
    """Delivers one subscription, several requests at a time.

    The number of requests at a time grows with successes and halves with each failure. After a
    failure a subscription without a retry policy pauses as a whole, from 0.1 s to 60 s; with one,
    the message waits by itself.
    """

    def __init__(self, broker: Broker, subscription: Subscription) -> None:
        self._subscription = subscription
        self._consumer = Consumer(one_per_key=True)
        self._window = float(FIRST_WINDOW)
        self._pause = Pause(0.1, 60.0)
        self._posts: set[asyncio.Task[None]] = set()
        self._task = broker.spawn(self._run())

    def stop(self) -> None:
        """End; what is under way is delivered again by whoever comes next."""
        self._task.cancel()

    async def _run(self) -> None:
        subscription, consumer = self._subscription, self._consumer
        subscription.attach(consumer)
        # No proxy from the environment: the endpoint is most likely on this machine.
        client = httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=None))
        try:
            async with client:
                while not subscription.closed:
                    await consumer.wait()
                    await self._pause.over()
                    room = int(self._window) - len(self._posts)
                    seconds = subscription.config.ack_deadline_seconds + SLACK_SECONDS
                    for entry in subscription.lease(consumer, max(room, 0), seconds):
                        task = asyncio.create_task(self._deliver(client, entry))
                        self._posts.add(task)
                        task.add_done_callback(self._posted)
        finally:
            subscription.detach(consumer)
            for task in self._posts:
                task.cancel()

    def _posted(self, task: asyncio.Task[None]) -> None:
        self._posts.discard(task)
        self._consumer.event.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("push to %s failed", self._subscription.name, exc_info=task.exception())

    async def _deliver(self, client: httpx.AsyncClient, entry: Entry) -> None:
        subscription = self._subscription
        token = subscription.token(entry)
        problem = await self._post(client, entry)
        if not problem:
            self._window = min(LARGEST_WINDOW, self._window + 1)
            self._pause.reset()
            subscription.acknowledge([token])
            return
        log.info("%s: message %d not taken: %s", subscription.name, entry.message.id, problem)
        self._window = max(1.0, self._window / 2)
        if subscription.backlog.rules.backoff is None:
            self._pause.lengthen()
        subscription.modify([token], 0)

    async def _post(self, client: httpx.AsyncClient, entry: Entry) -> str:
        """Send one message; an empty answer is success, any other says what went wrong."""
        subscription = self._subscription
        config = subscription.config.push_config
        message = entry.message.parse()
        headers = {"User-Agent": AGENT}
        if config.HasField("oidc_token"):
            headers["Authorization"] = f"Bearer {identity_token(config)}"
        if config.HasField("no_wrapper"):
            body = message.data
            headers["Content-Type"] = "application/octet-stream"
            if config.no_wrapper.write_metadata:
                headers |= metadata_headers(message, subscription.name)
        else:
            body = json.dumps(wrapped(message, subscription, entry)).encode()
            headers["Content-Type"] = "application/json"
        try:
            response = await client.post(
                config.push_endpoint,
                content=body,
                headers=headers,
                timeout=subscription.config.ack_deadline_seconds,
            )
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return f"{type(error).__name__} {error}".strip()
        return "" if response.status_code in SUCCESS else f"status {response.status_code}"


def wrapped(message: Pb, subscription: Subscription, entry: Entry) -> dict[str, Any]:
    """The JSON body of a wrapped push, with both spellings of the names that Google sends twice."""
    published = message.publish_time.ToJsonString()
    inner: dict[str, Any] = {
        "data": base64.b64encode(message.data).decode(),
        "messageId": message.message_id,
        "message_id": message.message_id,
        "publishTime": published,
        "publish_time": published,
    }
    if message.attributes:
        inner["attributes"] = dict(message.attributes)
    if message.ordering_key:
        inner["orderingKey"] = message.ordering_key
    body: dict[str, Any] = {"message": inner, "subscription": subscription.name}
    if attempt := subscription.attempt(entry):
        body["deliveryAttempt"] = attempt
    return body


def metadata_headers(message: Pb, subscription: str) -> dict[str, str]:
    """The headers of an unwrapped push that carry what the body leaves out.

    Attributes that HTTP cannot carry as a header are left out.
    """
    headers = {
        key: value
        for key, value in message.attributes.items()
        if _HEADER_NAME.fullmatch(key) and _HEADER_VALUE.fullmatch(value)
    }
    headers["x-goog-pubsub-subscription-name"] = subscription
    headers["x-goog-pubsub-message-id"] = message.message_id
    headers["x-goog-pubsub-publish-time"] = message.publish_time.ToJsonString()
    if message.ordering_key and _HEADER_VALUE.fullmatch(message.ordering_key):
        headers["x-goog-pubsub-ordering-key"] = message.ordering_key
    return headers


def identity_token(config: Pb) -> str:
    """An unsigned JWT that says which service account the subscription pushes as."""
    now = int(time.time())
    parts = (
        {"alg": "none", "typ": "JWT"},
        {
            "iss": ISSUER,
            "aud": config.oidc_token.audience or config.push_endpoint,
            "email": config.oidc_token.service_account_email,
            "email_verified": True,
            "sub": config.oidc_token.service_account_email,
            "iat": now,
            "exp": now + 3_600,
        },
    )
    encoded = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
    )
    return ".".join(encoded) + "."
