"""The Subscriber service's traffic: Pull, StreamingPull, Acknowledge, ModifyAckDeadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import grpc

from localcloud.services.pubsub import wire
from localcloud.services.pubsub.consumers import Consumer
from localcloud.services.pubsub.delivery import Outcome, Subscription
from localcloud.services.pubsub.errors import Fault, failed_precondition, invalid, not_found
from localcloud.services.pubsub.wire import Pb

if TYPE_CHECKING:
    from localcloud.services.pubsub.broker import Broker
    from localcloud.services.pubsub.entries import Entry

# How long a pull with nothing to give waits. Google bounds it without saying how; Beam's
# DirectRunner, which pulls in its own threads, stands still meanwhile.
PULL_SECONDS: Final = 1.0
MAX_PULL: Final = 1_000
STREAM_BATCH: Final = 500
MAX_DEADLINE: Final = 600
# Why an acknowledgement id failed, in the words that Google's clients look for.
INVALID_ACK_ID: Final = "PERMANENT_FAILURE_INVALID_ACK_ID"
NOT_YET: Final = "TRANSIENT_FAILURE_REQUEST_NOT_DONE"
# gRPC clients take 8 KiB of trailing metadata; an id left out counts as failed.
MAX_REASONS: Final = 60


class Pulling:
    """Handlers that deliver messages to whoever asks."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def pull(self, request: Pb) -> Pb:
        subscription = self._pullable(request.subscription)
        if request.max_messages < 1:
            raise invalid(f"max_messages is {request.max_messages}; it must be at least 1.")
        limit = min(request.max_messages, MAX_PULL)
        consumer = Consumer()
        subscription.attach(consumer)
        response = wire.PullResponse()
        try:
            await subscription.loaded()
            entries = self._lease(subscription, consumer, limit)
            loop = asyncio.get_running_loop()
            end = loop.time() + (0.0 if request.return_immediately else PULL_SECONDS)
            while not entries and (left := end - loop.time()) > 0:
                await consumer.wait(left)
                if subscription.closed:
                    raise not_found(subscription.name)
                entries = self._lease(subscription, consumer, limit)
        finally:
            subscription.detach(consumer)
        _write_messages(response.received_messages, subscription, entries)
        return response

    async def acknowledge(self, request: Pb) -> None:
        subscription = self._pullable(request.subscription)
        if not request.ack_ids:
            raise invalid("ack_ids is empty; at least one is needed.")
        # A request with one invalid id is refused whole, and says which ids to send again: with a
        # part of it done, Google's Python client would report that part as failed for good.
        outcome = subscription.acknowledge(request.ack_ids, whole=True)
        if outcome.committed is not None:
            await outcome.committed
        again = set(request.ack_ids) - set(outcome.invalid) if outcome.invalid else ()
        _raise_invalid(outcome, again)

    async def modify_ack_deadline(self, request: Pb) -> None:
        subscription = self._pullable(request.subscription)
        if not request.ack_ids:
            raise invalid("ack_ids is empty; at least one is needed.")
        _check_deadline("ack_deadline_seconds", request.ack_deadline_seconds, lowest=0)
        _raise_invalid(subscription.modify(request.ack_ids, request.ack_deadline_seconds))

    async def streaming_pull(self, requests: AsyncIterator[Pb], write: Any) -> None:
        """Serve one stream until the client ends it.

        Args:
            requests: what the client sends.
            write: awaitable that sends one response.
        """
        first = await anext(requests, None)
        if first is None:
            return
        subscription = self._pullable(first.subscription)
        _check_deadline("stream_ack_deadline_seconds", first.stream_ack_deadline_seconds, lowest=10)
        if first.max_outstanding_messages < 0 or first.max_outstanding_bytes < 0:
            raise invalid("max_outstanding_messages and _bytes must not be negative.")
        consumer = Consumer(
            max_messages=first.max_outstanding_messages, max_bytes=first.max_outstanding_bytes
        )
        stream = _Stream(subscription, consumer, write, first.stream_ack_deadline_seconds)
        await stream.take(first)
        subscription.attach(consumer)
        reader = asyncio.create_task(stream.read(requests))
        writer = asyncio.create_task(stream.deliver())
        try:
            done, _ = await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            reader.cancel()
            writer.cancel()
            subscription.detach(consumer)
            await asyncio.gather(reader, writer, return_exceptions=True)

    def _pullable(self, name: str) -> Subscription:
        subscription = self._broker.subscription(name)
        check_pullable(subscription)
        return subscription

    @staticmethod
    def _lease(subscription: Subscription, consumer: Consumer, limit: int) -> list[Entry]:
        return subscription.lease(consumer, limit, subscription.config.ack_deadline_seconds)


class _Stream:
    def __init__(
        self, subscription: Subscription, consumer: Consumer, write: Any, seconds: int
    ) -> None:
        self._subscription = subscription
        self._consumer = consumer
        self._write = write
        self._seconds = seconds
        self._writing = asyncio.Lock()

    async def read(self, requests: AsyncIterator[Pb]) -> None:
        async for request in requests:
            if request.subscription:
                raise invalid("subscription may be set only in the first request of a stream.")
            await self.take(request)
            self._consumer.event.set()

    async def take(self, request: Pb) -> None:
        """Acknowledgements, deadlines and a new stream deadline from one request."""
        subscription = self._subscription
        if request.stream_ack_deadline_seconds:
            _check_deadline(
                "stream_ack_deadline_seconds", request.stream_ack_deadline_seconds, lowest=10
            )
            self._seconds = request.stream_ack_deadline_seconds
        if len(request.modify_deadline_seconds) != len(request.modify_deadline_ack_ids):
            raise invalid(
                f"modify_deadline_seconds has {len(request.modify_deadline_seconds)} values and "
                f"modify_deadline_ack_ids {len(request.modify_deadline_ack_ids)}; they go in pairs."
            )
        modified = Outcome()
        for seconds, ack_id in zip(
            request.modify_deadline_seconds, request.modify_deadline_ack_ids, strict=True
        ):
            _check_deadline("modify_deadline_seconds", seconds, lowest=0)
            outcome = subscription.modify([ack_id], seconds)
            modified.done.extend(outcome.done)
            modified.invalid.extend(outcome.invalid)
        acknowledged = Outcome()
        if request.ack_ids:
            acknowledged = subscription.acknowledge(request.ack_ids)
        if subscription.exactly_once and (request.ack_ids or request.modify_deadline_ack_ids):
            if acknowledged.committed is not None:
                await acknowledged.committed
            await self._confirm(acknowledged, modified)

    async def _confirm(self, acknowledged: Outcome, modified: Outcome) -> None:
        response = self._response()
        if acknowledged.done or acknowledged.invalid:
            response.acknowledge_confirmation.ack_ids.extend(acknowledged.done)
            response.acknowledge_confirmation.invalid_ack_ids.extend(acknowledged.invalid)
        if modified.done or modified.invalid:
            response.modify_ack_deadline_confirmation.ack_ids.extend(modified.done)
            response.modify_ack_deadline_confirmation.invalid_ack_ids.extend(modified.invalid)
        await self._send(response)

    async def deliver(self) -> None:
        subscription, consumer = self._subscription, self._consumer
        while True:
            await consumer.wait()
            while True:
                if subscription.closed:
                    raise not_found(subscription.name)
                check_pullable(subscription)
                entries = subscription.lease(consumer, STREAM_BATCH, self._seconds)
                if not entries:
                    break
                response = self._response()
                _write_messages(response.received_messages, subscription, entries)
                await self._send(response)
                # A write may finish without giving way; the other streams want their turn.
                await asyncio.sleep(0)

    async def _send(self, response: Pb) -> None:
        async with self._writing:
            await self._write(response)

    def _response(self) -> Pb:
        config = self._subscription.config
        response = wire.StreamingPullResponse()
        properties = response.subscription_properties
        properties.exactly_once_delivery_enabled = config.enable_exactly_once_delivery
        properties.message_ordering_enabled = config.enable_message_ordering
        return response


def check_pullable(subscription: Subscription) -> None:
    """Refuse to pull where Google refuses.

    Raises:
        Fault: FAILED_PRECONDITION.
    """
    config = subscription.config
    if config.detached:
        raise failed_precondition(
            f"{config.name} is detached from its topic; delete it and create it again."
        )
    if config.HasField("push_config") or config.HasField("bigquery_config"):
        raise failed_precondition(
            f"This method is not supported for this subscription type ({config.name} "
            "delivers its messages by itself)."
        )


def _write_messages(into: Any, subscription: Subscription, entries: Sequence[Entry]) -> None:
    for entry in entries:
        received = into.add()
        received.ack_id = subscription.token(entry)
        received.message.MergeFromString(entry.message.body)
        received.delivery_attempt = subscription.attempt(entry)


def _check_deadline(field: str, seconds: int, *, lowest: int) -> None:
    if not lowest <= seconds <= MAX_DEADLINE:
        raise invalid(f"{field} is {seconds}; it must be {lowest} to {MAX_DEADLINE}.")


def _raise_invalid(outcome: Outcome, again: Iterable[str] = ()) -> None:
    if outcome.invalid:
        reasons = dict.fromkeys(outcome.invalid, INVALID_ACK_ID) | dict.fromkeys(again, NOT_YET)
        raise Fault(
            grpc.StatusCode.INVALID_ARGUMENT,
            "Some acknowledgement ids in the request were invalid. This could be because the "
            "acknowledgement ids have expired or the acknowledgement ids were malformed.",
            reason="EXACTLY_ONCE_ACKID_FAILURE",
            metadata=dict(islice(reasons.items(), MAX_REASONS)),
        )
