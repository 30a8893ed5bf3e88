"""Seeking to a moment and to a snapshot, and how long messages are kept."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.protobuf.duration_pb2 import Duration

from localcloud.services.pubsub.messages import Clock

if TYPE_CHECKING:
    from localcloud.home import Home
    from tests.localcloud.pubsub.conftest import PubSub

DAY = Duration(seconds=86_400)


def seek(pubsub: PubSub, subscription: str, **target: Any) -> None:
    pubsub.subscriber.seek(request={"subscription": subscription, **target})


def snapshot(pubsub: PubSub, subscription: str, **settings: Any) -> Any:
    request = {"name": pubsub.name("snapshots"), "subscription": subscription, **settings}
    return pubsub.subscriber.create_snapshot(request=request)


def sent_at(received: list[Any]) -> list[datetime]:
    return [r.message.publish_time for r in received]


def publish_apart(pubsub: PubSub, topic: str, *texts: str) -> None:
    """One request each, so that the publish times differ."""
    for text in texts:
        pubsub.publish(topic, text)


def test_seeking_forward_skips_what_was_published_before(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    publish_apart(pubsub, topic, "a", "b", "c")
    times = sent_at(pubsub.pull(subscription))
    seek(pubsub, subscription, time=times[2])
    assert pubsub.texts(subscription) == ["c"], "and its lease is forgotten"
    seek(pubsub, subscription, time=times[2] + timedelta(days=1))
    assert pubsub.texts(subscription) == []
    pubsub.publish(topic, "new")
    assert pubsub.texts(subscription) == ["new"]


def test_seeking_back_brings_acknowledged_messages_only_where_they_are_retained(
    pubsub: PubSub,
) -> None:
    topic = pubsub.topic()
    forgets = pubsub.subscription(topic)
    retains = pubsub.subscription(topic, retain_acked_messages=True)
    publish_apart(pubsub, topic, "a", "b", "c")
    for subscription, back in ((forgets, ["c"]), (retains, ["b", "c"])):
        received = pubsub.pull(subscription)
        times = sent_at(received)
        pubsub.ack(subscription, received[:2])
        seek(pubsub, subscription, time=times[1])
        assert pubsub.texts(subscription) == back


def test_the_topics_retention_lets_a_new_subscription_see_the_past(pubsub: PubSub) -> None:
    topic = pubsub.topic(message_retention_duration=DAY)
    first = pubsub.subscription(topic)
    publish_apart(pubsub, topic, "a", "b")
    (start, _) = sent_at(pubsub.take(first, 2))
    later = pubsub.subscription(topic)
    assert pubsub.texts(later) == []
    for subscription in (first, later):
        seek(pubsub, subscription, time=start)
        assert pubsub.texts(subscription) == ["a", "b"]


def test_a_subscription_never_sees_the_past_of_a_topic_that_retains_nothing(
    pubsub: PubSub,
) -> None:
    topic = pubsub.topic()
    first = pubsub.subscription(topic, retain_acked_messages=True)
    publish_apart(pubsub, topic, "a")
    later = pubsub.subscription(topic, retain_acked_messages=True)
    publish_apart(pubsub, topic, "b")
    (start, _) = sent_at(pubsub.pull(first))
    seek(pubsub, later, time=start)
    assert pubsub.texts(later) == ["b"]


def test_a_snapshot_brings_back_what_was_unacknowledged_and_all_since(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription, other = pubsub.subscription(topic), pubsub.subscription(topic)
    publish_apart(pubsub, topic, "a", "b", "c")
    received = pubsub.pull(subscription)
    pubsub.ack(subscription, [received[0], received[2]])
    made = snapshot(pubsub, subscription, labels={"for": "test"})
    pubsub.ack(subscription, [received[1]])
    pubsub.publish(topic, "d")
    pubsub.take(subscription, 1)
    assert pubsub.texts(subscription) == []
    for target in (subscription, other):
        seek(pubsub, target, snapshot=made.name)
        assert pubsub.texts(target) == ["b", "d"]


def test_snapshots_are_resources(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    made = snapshot(pubsub, subscription, labels={"a": "b"})
    assert made.topic == topic
    lifetime = made.expire_time.timestamp() - datetime.now().astimezone().timestamp()
    assert lifetime == pytest.approx(7 * 86_400, abs=60)
    assert list(pubsub.publisher.list_topic_snapshots(topic=topic)) == [made.name]
    names = [s.name for s in pubsub.subscriber.list_snapshots(project="projects/test-project")]
    assert made.name in names
    changed = pubsub.subscriber.update_snapshot(
        request={
            "snapshot": {"name": made.name, "labels": {"c": "d"}},
            "update_mask": {"paths": ["labels"]},
        }
    )
    assert dict(changed.labels) == {"c": "d"}
    assert pubsub.subscriber.get_snapshot(snapshot=made.name) == changed
    with pytest.raises(exceptions.AlreadyExists):
        snapshot(pubsub, subscription, name=made.name)
    pubsub.publisher.delete_topic(topic=topic)
    assert pubsub.subscriber.get_snapshot(snapshot=made.name).topic == "_deleted-topic_"
    pubsub.subscriber.delete_snapshot(snapshot=made.name)
    with pytest.raises(exceptions.NotFound):
        pubsub.subscriber.get_snapshot(snapshot=made.name)


def test_wrong_targets_are_refused(pubsub: PubSub) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    elsewhere = snapshot(pubsub, pubsub.subscription(pubsub.topic()))
    with pytest.raises(exceptions.FailedPrecondition, match="another topic"):
        seek(pubsub, subscription, snapshot=elsewhere.name)
    with pytest.raises(exceptions.NotFound):
        seek(pubsub, subscription, snapshot=pubsub.name("snapshots"))
    with pytest.raises(exceptions.InvalidArgument, match="time or snapshot"):
        seek(pubsub, subscription)


def test_what_nobody_can_ask_for_is_deleted_and_nothing_else(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days pass by moving the server's clock, with the handlers called directly."""
    from localcloud.services.pubsub import wire
    from localcloud.services.pubsub.broker import Broker
    from localcloud.services.pubsub.cleaning import Cleaner
    from localcloud.services.pubsub.consumers import Consumer
    from localcloud.services.pubsub.exporters import LocalExporters
    from localcloud.services.pubsub.snapshots import Snapshots
    from localcloud.services.pubsub.store import Store
    from localcloud.services.pubsub.subscriptions import Subscriptions
    from localcloud.services.pubsub.topics import Publisher

    ahead = 0
    real = Clock.now
    monkeypatch.setattr(Clock, "now", lambda self: real(self) + ahead * 86_400_000_000)

    async def scenario() -> None:
        nonlocal ahead
        store = Store(home.folder("pubsub") / "pubsub.sqlite3")
        store.start()
        broker = Broker(home, store)
        snapshots = Snapshots(broker)
        subscriptions = Subscriptions(broker, LocalExporters(broker))
        publisher = Publisher(broker, snapshots)
        cleaner = Cleaner(broker, subscriptions, snapshots)
        topic = await publisher.create_topic(wire.Topic(name="projects/p/topics/kept"))
        config = wire.Subscription(name="projects/p/subscriptions/one-day", topic=topic.name)
        config.message_retention_duration.seconds = 86_400
        await subscriptions.create_subscription(config)
        config = wire.Subscription(name="projects/p/subscriptions/week", topic=topic.name)
        await subscriptions.create_subscription(config)

        async def publish(text: str) -> None:
            request = wire.request("Publish")(topic=topic.name)
            request.messages.add(data=text.encode())
            await publisher.publish(request)

        async def stored() -> int:
            await cleaner.clean()
            ((count,),) = await store.read("SELECT COUNT(*) FROM messages")
            return count

        def leased(name: str) -> list[bytes]:
            subscription = broker.subscription(f"projects/p/subscriptions/{name}")
            taken = subscription.lease(Consumer(), 10, 600)
            subscription.acknowledge([subscription.token(e) for e in taken])
            subscription.compact()
            return [e.message.parse().data for e in taken]

        await publish("old")
        assert await stored() == 1
        ahead = 2
        await publish("new")
        assert leased("one-day") == [b"new"], "a day has passed for the other"
        assert await stored() == 2
        await snapshots.create_snapshot(
            wire.request("CreateSnapshot")(
                name="projects/p/snapshots/keeps", subscription="projects/p/subscriptions/week"
            )
        )
        assert leased("week") == [b"old", b"new"]
        assert await stored() == 2, "the snapshot still wants both"
        ahead = 8  # A week after the older message: the snapshot is over.
        assert await stored() == 0
        assert snapshots.of_topic(broker.topic(topic.name).uid) == []
        ahead = 40
        await cleaner.clean()
        assert broker.subscriptions == {}, "unused for a month, they have expired"
        await broker.stop()
        await asyncio.to_thread(store.stop)

    asyncio.run(scenario())
