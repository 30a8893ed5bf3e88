"""Topics and publishing, through Google's client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.pubsub import SubscriberClient, types
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

if TYPE_CHECKING:
    from tests.localcloud.pubsub.conftest import PubSub

PROJECT = "projects/test-project"
RETENTION = Duration(seconds=3_600)


def test_a_topic_is_created_read_changed_and_deleted(pubsub: PubSub) -> None:
    name = pubsub.topic(labels={"team": "data"}, message_retention_duration=RETENTION)
    found = pubsub.publisher.get_topic(topic=name)
    assert dict(found.labels) == {"team": "data"}
    assert found.message_retention_duration.seconds == 3_600

    changed = pubsub.publisher.update_topic(
        request={
            "topic": {"name": name, "labels": {"team": "ml"}},
            "update_mask": {"paths": ["labels"]},
        }
    )
    assert dict(changed.labels) == {"team": "ml"}
    assert changed.message_retention_duration.seconds == 3_600, "only the mask changes"

    pubsub.publisher.delete_topic(topic=name)
    with pytest.raises(exceptions.NotFound, match="Resource not found"):
        pubsub.publisher.get_topic(topic=name)


def test_a_topic_that_exists_cannot_be_created_again(pubsub: PubSub) -> None:
    name = pubsub.topic()
    with pytest.raises(exceptions.AlreadyExists):
        pubsub.publisher.create_topic(name=name)


@pytest.mark.parametrize(
    "name",
    [
        "ab",
        "projects/p/topics/ab",
        "projects/p/topics/1abc",
        "projects/p/topics/goog-abc",
        "projects/p/topics/" + "a" * 256,
        "projects/p/topics/with space",
        "projects/p/subscriptions/abc",
        "projects//topics/abc",
    ],
)
def test_a_wrong_name_is_refused(pubsub: PubSub, name: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="Invalid resource name given"):
        pubsub.publisher.create_topic(name=name)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"labels": {"Team": "x"}}, "labels has the key"),
        ({"labels": {"team": "X"}}, "labels"),
        ({"message_retention_duration": Duration(seconds=60)}, "between 600s and 2678400s"),
        ({"message_retention_duration": Duration(seconds=32 * 86_400)}, "out of bounds"),
    ],
)
def test_wrong_settings_are_refused(
    pubsub: PubSub, settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=expected):
        pubsub.topic(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"ingestion_data_source_settings": {"cloud_storage": {"bucket": "b"}}},
        {"message_transforms": [{"javascript_udf": {"function_name": "f", "code": "x"}}]},
    ],
)
def test_what_is_not_supported_is_refused_by_name(pubsub: PubSub, settings: dict[str, Any]) -> None:
    (field,) = settings
    with pytest.raises(exceptions.MethodNotImplemented, match=field):
        pubsub.topic(**settings)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [([], "must be set"), (["colour"], "not a known Topic field"), (["name"], "not mutable")],
)
def test_a_wrong_mask_is_refused(pubsub: PubSub, paths: list[str], expected: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=expected):
        pubsub.publisher.update_topic(
            request={"topic": {"name": pubsub.topic()}, "update_mask": {"paths": paths}}
        )


def test_lists_come_in_pages_of_one_project(pubsub: PubSub) -> None:
    project = "projects/paged-project"
    made = sorted(f"{project}/topics/topic-{i}" for i in range(5))
    for name in made:
        pubsub.publisher.create_topic(name=name)
    pager = pubsub.publisher.list_topics(request={"project": project, "page_size": 2})
    pages = [[topic.name for topic in page.topics] for page in pager.pages]
    assert pages == [made[:2], made[2:4], made[4:]]
    for wrong in ({"page_size": -1}, {"page_token": "zz"}):
        with pytest.raises(exceptions.InvalidArgument, match=next(iter(wrong))):
            pubsub.publisher.list_topics(request={"project": project, **wrong})


def test_subscriptions_outlive_their_topic_with_what_they_hold(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "kept")
    assert list(pubsub.publisher.list_topic_subscriptions(topic=topic)) == [subscription]
    pubsub.publisher.delete_topic(topic=topic)
    found = pubsub.subscriber.get_subscription(subscription=subscription)
    assert found.topic == "_deleted-topic_"
    pubsub.publisher.create_topic(name=topic)
    pubsub.publish(topic, "of another topic under the same name")
    assert pubsub.texts(subscription) == ["kept"]
    assert list(pubsub.publisher.list_topic_subscriptions(topic=topic)) == []


def test_a_detached_subscription_loses_its_messages_and_refuses_to_deliver(
    pubsub: PubSub,
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "lost")
    pubsub.publisher.detach_subscription(request={"subscription": subscription})
    assert pubsub.subscriber.get_subscription(subscription=subscription).detached
    assert list(pubsub.publisher.list_topic_subscriptions(topic=topic)) == []
    with pytest.raises(exceptions.FailedPrecondition, match="detached"):
        pubsub.pull(subscription)


def test_what_is_published_arrives_as_it_was(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    data = bytes(range(256))
    sent = pubsub.publisher.publish(topic, data, origin="sensor", empty="").result(10)
    (received,) = pubsub.take(subscription, 1)
    assert received.message.data == data
    assert dict(received.message.attributes) == {"origin": "sensor", "empty": ""}
    assert received.message.message_id == sent
    assert received.message.publish_time.timestamp() > 0
    assert received.delivery_attempt == 0


def test_ids_are_unique_and_times_do_not_fall(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    ids = [number for _ in range(5) for number in pubsub.publish(topic, "a", "b", "c")]
    assert len(set(ids)) == 15
    received = pubsub.take(subscription, 15)
    by_id = sorted(received, key=lambda r: int(r.message.message_id))
    times = [r.message.publish_time for r in by_id]
    assert times == sorted(times)


def test_publishing_to_a_topic_that_is_not_there_fails(pubsub: PubSub) -> None:
    with pytest.raises(exceptions.NotFound):
        pubsub.publisher.publish(pubsub.name("topics"), b"x").result(10)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, "is empty"),
        ({"data": b"x", "attributes": {"goog-x": "1"}}, "must not start with goog"),
        ({"data": b"x", "attributes": {"": "1"}}, "attribute key"),
        ({"data": b"x", "attributes": {"k" * 257: "1"}}, "1 to 256 bytes"),
        ({"data": b"x", "attributes": {"k": "v" * 1_025}}, "longer than 1024"),
        ({"data": b"x", "attributes": {f"k{i}": "" for i in range(101)}}, "at most 100"),
        ({"data": b"x", "ordering_key": "k" * 1_025}, "longer than 1024"),
        ({"data": b"x" * 10_000_001}, "at most 10000000"),
    ],
)
def test_limits_of_a_message(pubsub: PubSub, message: dict[str, Any], expected: str) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    with pytest.raises(exceptions.InvalidArgument, match=expected):
        pubsub.publish_raw(topic, [{"data": b"good"}, message])
    assert pubsub.texts(subscription) == [], "a request is published whole or not at all"


@pytest.mark.parametrize(
    ("count", "size", "expected"), [(0, 0, "no messages"), (1_001, 1, "1001"), (11, 10**6, "bytes")]
)
def test_limits_of_a_request(pubsub: PubSub, count: int, size: int, expected: str) -> None:
    messages = [types.PubsubMessage(data=b"x" * size)] * count
    with pytest.raises(exceptions.InvalidArgument, match=expected):
        pubsub.publish_raw(pubsub.topic(), messages)


def test_attributes_alone_make_a_message_and_ten_megabytes_pass(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish_raw(topic, [{"attributes": {"a": "b"}}])
    pubsub.publish_raw(topic, [{"data": b"x" * 9_999_000}])
    # Google's client takes 4 MiB from an emulator; with a channel of one's own it takes all.
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(pubsub.address, options) as channel:
        wide = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        sizes: list[int] = []
        while len(sizes) < 2:
            response = wide.pull(request={"subscription": subscription, "max_messages": 2})
            sizes += [len(r.message.data) for r in response.received_messages]
    assert sorted(sizes) == [0, 9_999_000]
