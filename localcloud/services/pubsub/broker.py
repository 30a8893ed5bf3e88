"""The heart: which topics and subscriptions exist, and how a message gets from one to the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from localcloud.home import Home
from localcloud.services.pubsub import names, wire
from localcloud.services.pubsub.checks import MICROS, micros
from localcloud.services.pubsub.delivery import Subscription
from localcloud.services.pubsub.entries import Entry
from localcloud.services.pubsub.errors import not_found
from localcloud.services.pubsub.messages import Clock, Message, Numbers
from localcloud.services.pubsub.schemas import SCHEMA_ATTRIBUTES, Schemas
from localcloud.services.pubsub.store import Statement, Store
from localcloud.services.pubsub.wire import Pb

log = logging.getLogger(__name__)

_INSERT_MESSAGE: Final = "INSERT INTO messages VALUES (?, ?, ?, ?)"


class Topic:
    """A topic and the live subscriptions that hang on it."""

    def __init__(self, uid: int, config: Pb) -> None:
        self.uid: Final = uid
        self.config = config
        self.subscriptions: dict[int, Subscription] = {}

    @property
    def retention(self) -> int:
        """Microseconds for which messages are kept whether acknowledged or not."""
        return micros(self.config.message_retention_duration)


class Broker:
    """All state of one server. Make it on the event loop, after `store.start()`.

    Args:
        home: where the endpoints of the other local services are found.
    """

    def __init__(self, home: Home, store: Store) -> None:
        self.home: Final = home
        self.store: Final = store
        self.sequence: Final = Numbers(store.run)
        ((newest,),) = store.rows("SELECT COALESCE(MAX(at), 0) FROM messages")
        self.clock: Final = Clock(newest)
        self.schemas: Final = Schemas(self)
        self.topics: dict[str, Topic] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self._topics_by_uid: dict[int, Topic] = {}
        self._committed: dict[int, int] = dict(
            store.rows("SELECT topic, MAX(id) FROM messages GROUP BY topic")
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._load()

    def _load(self) -> None:
        for uid, body in self.store.rows("SELECT uid, body FROM topics"):
            topic = Topic(uid, wire.Topic.FromString(body))
            self.topics[topic.config.name] = self._topics_by_uid[uid] = topic
        for uid, topic, birth, floor, active_at, body in self.store.rows(
            "SELECT uid, topic, birth, floor, active_at, body FROM subscriptions"
        ):
            config = wire.Subscription.FromString(body)
            subscription = Subscription(self, uid, topic, birth, floor, config)
            subscription.active_at = active_at
            self.attach(subscription)
        log.info(
            "%d topics, %d subscriptions in %s",
            len(self.topics),
            len(self.subscriptions),
            self.home.path,
        )

    # What subscriptions ask

    def last_committed(self, topic: int) -> int:
        """The newest stored message id of a topic, 0 for none."""
        return self._committed.get(topic, 0)

    def topic_retention(self, topic: int) -> int:
        """Microseconds for which a topic keeps its messages; 0 when it has gone."""
        found = self._topics_by_uid.get(topic)
        return found.retention if found else 0

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the requests, until the server stops."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a background task failed", exc_info=task.exception())

    # Topics and subscriptions

    def topic(self, name: str) -> Topic:
        """An existing topic.

        Raises:
            Fault: INVALID_ARGUMENT for a wrong name, NOT_FOUND.
        """
        found = self.topics.get(names.check("topics", name))
        if found is None:
            raise not_found(name)
        return found

    def topic_by_uid(self, uid: int) -> Topic | None:
        return self._topics_by_uid.get(uid)

    def subscription(self, name: str) -> Subscription:
        """An existing subscription.

        Raises:
            Fault: INVALID_ARGUMENT for a wrong name, NOT_FOUND.
        """
        found = self.subscriptions.get(names.check("subscriptions", name))
        if found is None:
            raise not_found(name)
        return found

    def add_topic(self, config: Pb) -> Topic:
        """A new topic, not yet stored."""
        topic = Topic(self.sequence.take(), config)
        self.topics[config.name] = self._topics_by_uid[topic.uid] = topic
        return topic

    def remove_topic(self, topic: Topic) -> list[Subscription]:
        """Take a topic away; its subscriptions keep what they have, under `_deleted-topic_`."""
        del self.topics[topic.config.name]
        del self._topics_by_uid[topic.uid]
        orphans = list(topic.subscriptions.values())
        topic.subscriptions.clear()
        for orphan in orphans:
            orphan.config.topic = names.DELETED_TOPIC
        return orphans

    def attach(self, subscription: Subscription) -> None:
        """Let a subscription exist, and receive if its topic does."""
        self.subscriptions[subscription.name] = subscription
        topic = self._topics_by_uid.get(subscription.topic)
        if topic is not None and not subscription.config.detached:
            topic.subscriptions[subscription.uid] = subscription

    def detach(self, subscription: Subscription) -> None:
        """Stop a subscription from receiving."""
        topic = self._topics_by_uid.get(subscription.topic)
        if topic is not None:
            topic.subscriptions.pop(subscription.uid, None)

    # Messages

    async def publish(self, topic: Topic, messages: Sequence[Pb], *beside: Statement) -> list[str]:
        """Store messages and hand them to the topic's subscriptions.

        Args:
            messages: Google's PubsubMessage, checked; they get their id and time here.
            beside: statements that belong in the same transaction.

        Returns:
            The ids, once the messages are on disk.
        """
        at = self.clock.now()
        first = self.sequence.take(len(messages))
        rows: list[tuple[int, int, int, bytes]] = []
        batch: list[Message] = []
        seconds, rest = divmod(at, MICROS)
        for number, pb in enumerate(messages, first):
            pb.message_id = str(number)
            pb.publish_time.seconds = seconds
            pb.publish_time.nanos = rest * 1_000
            body = pb.SerializeToString()
            rows.append((number, topic.uid, at, body))
            batch.append(Message(number, at, pb.ordering_key, body))

        def committed() -> None:
            self._committed[topic.uid] = batch[-1].id
            for subscription in list(topic.subscriptions.values()):
                subscription.offer(batch)

        await self.store.write((_INSERT_MESSAGE, rows), *beside, then=committed)
        return [str(number) for number in range(first, first + len(messages))]

    def stamp_schema(self, topic: Topic, messages: Sequence[Pb]) -> None:
        """Check messages against the topic's schema and note which revision they fit.

        Raises:
            Fault: INVALID_ARGUMENT; then none of the messages may be published.
        """
        if not topic.config.HasField("schema_settings"):
            return
        for message in messages:
            stamps = self.schemas.stamp(topic.config.schema_settings, message.data)
            for key, value in zip(SCHEMA_ATTRIBUTES, stamps, strict=True):
                message.attributes[key] = value

    async def forward_dead_letter(
        self, source: Subscription, entry: Entry, acknowledged: Statement
    ) -> None:
        """Publish an undeliverable message to the dead-letter topic.

        Raises:
            Fault: NOT_FOUND when that topic has gone, INVALID_ARGUMENT when its schema objects.
        """
        topic = self.topic(source.config.dead_letter_policy.dead_letter_topic)
        original = entry.message.parse()
        moment = datetime.fromtimestamp(entry.message.at / MICROS, UTC)
        letter = wire.PubsubMessage(data=original.data, ordering_key=original.ordering_key)
        for key, value in original.attributes.items():
            if key not in SCHEMA_ATTRIBUTES:
                letter.attributes[key] = value
        prefix = "CloudPubSubDeadLetterSource"
        letter.attributes[f"{prefix}DeliveryCount"] = str(entry.failures)
        letter.attributes[f"{prefix}Subscription"] = source.name.rsplit("/", 1)[-1]
        letter.attributes[f"{prefix}SubscriptionProject"] = names.project_of(source.name)
        letter.attributes[f"{prefix}TopicPublishTime"] = moment.isoformat(timespec="milliseconds")
        self.stamp_schema(topic, [letter])
        await self.publish(topic, [letter], acknowledged)

    async def stop(self) -> None:
        """End what runs beside the requests and raise the floors a last time."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for subscription in self.subscriptions.values():
            subscription.compact()
            subscription.close()
