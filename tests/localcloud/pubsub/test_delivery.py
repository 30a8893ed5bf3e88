"""How messages reach pulling and streaming subscribers, through Google's client."""

from __future__ import annotations

import queue
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud.pubsub import types
from google.cloud.pubsub_v1.subscriber.exceptions import AcknowledgeError
from google.cloud.pubsub_v1.types import FlowControl
from google.protobuf.duration_pb2 import Duration

if TYPE_CHECKING:
    from tests.localcloud.pubsub.conftest import PubSub

type Until = Callable[..., Any]


def stream(pubsub: PubSub, subscription: str, callback: Callable[[Any], None], **more: Any) -> Any:
    return pubsub.subscriber.subscribe(subscription, callback, **more)


def finish(future: Any) -> None:
    future.cancel()
    future.result(10)


def test_each_subscription_gets_each_message_once_it_acknowledges(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    one, two = pubsub.subscription(topic), pubsub.subscription(topic)
    pubsub.publish(topic, "a", "b", "c")
    for subscription in (one, two):
        received = pubsub.pull(subscription)
        assert [r.message.data for r in received] == [b"a", b"b", b"c"]
        assert pubsub.texts(subscription) == [], "they are leased"
        pubsub.ack(subscription, received)
        assert pubsub.texts(subscription) == []


def test_a_subscription_sees_nothing_from_before_it(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    pubsub.publish(topic, "before")
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "after")
    assert pubsub.texts(subscription) == ["after"]


def test_a_refused_message_comes_again_at_once(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "a")
    pubsub.nack(subscription, pubsub.pull(subscription))
    assert pubsub.texts(subscription) == ["a"]


def test_a_message_comes_again_when_its_deadline_passes(pubsub: PubSub, until: Until) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    pubsub.publish(topic, "a")
    received = pubsub.pull(subscription)
    pubsub.deadline(subscription, received, 1)
    until(lambda: pubsub.texts(subscription) == ["a"], 5)
    pubsub.ack(subscription, received)  # Late, and it counts all the same.
    pubsub.nack(subscription, received)
    assert pubsub.texts(subscription) == []


def test_a_waiting_pull_is_woken_by_a_publish(pubsub: PubSub, until: Until) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    found: list[str] = []

    def wait() -> None:
        while not found:
            found.extend(pubsub.texts(subscription))

    waiting = threading.Thread(target=wait)
    waiting.start()
    pubsub.publish(topic, "a")
    waiting.join(10)
    assert found == ["a"]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"max_messages": 0}, "max_messages is 0"),
        ({"max_messages": -1}, "max_messages is -1"),
    ],
)
def test_a_pull_asks_for_something(pubsub: PubSub, request_: dict[str, int], expected: str) -> None:
    subscription = pubsub.subscription(pubsub.topic())
    with pytest.raises(exceptions.InvalidArgument, match=expected):
        pubsub.subscriber.pull(request={"subscription": subscription, **request_})


def test_wrong_acknowledgements_are_refused(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    subscription, other = pubsub.subscription(topic), pubsub.subscription(topic)
    pubsub.publish(topic, "a")
    received = pubsub.pull(subscription)
    with pytest.raises(exceptions.InvalidArgument, match="Invalid ack id"):
        pubsub.ack(other, received)
    with pytest.raises(exceptions.InvalidArgument, match="ack_ids is empty"):
        pubsub.subscriber.acknowledge(request={"subscription": subscription, "ack_ids": []})
    with pytest.raises(exceptions.InvalidArgument, match="0 to 600"):
        pubsub.deadline(subscription, received, 601)
    with pytest.raises(exceptions.NotFound):
        pubsub.ack(pubsub.name("subscriptions"), received)


@pytest.mark.parametrize(
    ("text", "passing"),
    [
        ('attributes.kind = "flight"', ["f"]),
        ('attributes.kind != "flight"', ["a", "n"]),
        ("NOT attributes:kind", ["n"]),
        ('hasPrefix(attributes.kind, "arr") OR NOT attributes:kind', ["a", "n"]),
    ],
)
def test_a_filter_keeps_back_what_does_not_match(
    pubsub: PubSub, text: str, passing: list[str]
) -> None:
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic, filter=text)
    pubsub.publish(topic, "f", kind="flight")
    pubsub.publish(topic, "a", kind="arrival")
    pubsub.publish(topic, "n")
    assert [r.message.data.decode() for r in pubsub.take(subscription, len(passing))] == passing
    assert pubsub.texts(subscription) == []


class TestStream:
    def test_streams_share_a_subscription(self, pubsub: PubSub) -> None:
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic)
        counts: Counter[str] = Counter()
        by: defaultdict[int, int] = defaultdict(int)
        lock, done = threading.Lock(), threading.Event()

        def receive(number: int) -> Callable[[Any], None]:
            def callback(message: Any) -> None:
                with lock:
                    counts[message.message_id] += 1
                    by[number] += 1
                    if len(counts) == 600:
                        done.set()
                message.ack()

            return callback

        flow = FlowControl(max_messages=20)
        streams = [stream(pubsub, subscription, receive(i), flow_control=flow) for i in range(3)]
        for _ in range(6):
            pubsub.publish(topic, *("x" * 100 for _ in range(100)))
        assert done.wait(30)
        for one in streams:
            finish(one)
        assert set(counts.values()) == {1}
        assert len(by) == 3
        assert pubsub.texts(subscription) == []

    def test_flow_control_limits_what_is_outstanding(self, pubsub: PubSub, until: Until) -> None:
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic)
        pubsub.publish(topic, *(str(i) for i in range(20)))
        held: list[Any] = []
        future = stream(pubsub, subscription, held.append, flow_control=FlowControl(max_messages=5))
        until(lambda: len(held) == 5)
        assert len(pubsub.pull(subscription)) == 15, "the rest is there for others"
        assert len(held) == 5
        for message in held:
            message.ack()
        finish(future)

    def test_a_callback_that_takes_long_keeps_its_lease(self, pubsub: PubSub, until: Until) -> None:
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic, ack_deadline_seconds=10)
        seen: list[str] = []
        release = threading.Event()

        def callback(message: Any) -> None:
            seen.append(message.message_id)
            release.wait(30)
            message.ack()

        future = stream(pubsub, subscription, callback)
        pubsub.publish(topic, "slow")
        until(lambda: seen)
        assert not release.wait(10.5), "longer than the first deadline"
        release.set()
        finish(future)
        assert len(seen) == 1
        assert pubsub.texts(subscription) == []

    def test_a_stream_ends_when_its_subscription_is_deleted(self, pubsub: PubSub) -> None:
        subscription = pubsub.subscription(pubsub.topic())
        future = stream(pubsub, subscription, lambda _: None)
        with pytest.raises(TimeoutError):
            future.result(0.5)
        pubsub.subscriber.delete_subscription(subscription=subscription)
        with pytest.raises(exceptions.NotFound):
            future.result(10)


class TestOrder:
    def test_a_streaming_subscriber_gets_each_key_in_order_even_after_refusals(
        self, pubsub: PubSub, until: Until
    ) -> None:
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic, enable_message_ordering=True)
        acked: defaultdict[str, list[int]] = defaultdict(list)
        refused: set[tuple[str, int]] = set()
        lock = threading.Lock()

        def callback(message: Any) -> None:
            key, number = message.ordering_key, int(message.data)
            with lock:
                if number % 7 == 3 and (key, number) not in refused:
                    refused.add((key, number))
                    message.nack()
                    return
                acked[key].append(number)
                message.ack()

        def settled() -> bool:
            # Google's client goes on with the next message after a refusal, and the server sends
            # those again: taken for the last time, they are complete and in order.
            with lock:
                last = [list(dict.fromkeys(reversed(acked[k])))[::-1] for k in "abc"]
            return last == [list(range(30))] * 3

        future = stream(pubsub, subscription, callback)
        for number in range(30):
            for key in "abc":
                pubsub.publish(topic, str(number), key=key)
        until(settled, 60)
        finish(future)
        assert pubsub.texts(subscription) == []

    def test_pulls_get_a_keys_next_messages_only_after_the_ones_before(
        self, pubsub: PubSub
    ) -> None:
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic, enable_message_ordering=True)
        pubsub.publish(topic, "1", "2", "3", key="k")
        pubsub.publish(topic, "other", key="l")
        first = pubsub.pull(subscription, 1)
        assert [r.message.data for r in first] == [b"1"]
        assert pubsub.texts(subscription) == ["other"]
        pubsub.ack(subscription, first)
        rest = pubsub.pull(subscription)
        assert [r.message.data for r in rest] == [b"2", b"3"]
        pubsub.nack(subscription, rest[:1])
        assert pubsub.texts(subscription) == ["2", "3"], "what follows comes again, too"


class TestExactlyOnce:
    def test_an_acknowledgement_is_confirmed(self, pubsub: PubSub) -> None:
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
        confirmed: list[Future[Any]] = []
        done = threading.Event()

        def callback(message: Any) -> None:
            confirmed.append(message.ack_with_response())
            if len(confirmed) == 20:
                done.set()

        future = stream(pubsub, subscription, callback)
        pubsub.publish(topic, *(str(i) for i in range(20)))
        assert done.wait(20)
        assert {one.result(10).name for one in confirmed} == {"SUCCESS"}
        finish(future)

    def test_an_expired_lease_no_longer_acknowledges(self, pubsub: PubSub, until: Until) -> None:
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
        pubsub.publish(topic, "a")
        stale = pubsub.pull(subscription)
        pubsub.deadline(subscription, stale, 1)
        fresh: list[Any] = []
        until(lambda: fresh.extend(pubsub.pull(subscription)) or fresh, 5)
        with pytest.raises(exceptions.InvalidArgument) as refused:
            pubsub.ack(subscription, stale)
        assert refused.value.reason == "EXACTLY_ONCE_ACKID_FAILURE"
        assert refused.value.metadata == {stale[0].ack_id: "PERMANENT_FAILURE_INVALID_ACK_ID"}
        pubsub.ack(subscription, fresh)
        assert pubsub.texts(subscription) == []

    def test_a_stream_confirms_what_is_sent_on_it(self, pubsub: PubSub) -> None:
        topic = pubsub.topic()
        subscription = pubsub.subscription(
            topic, enable_exactly_once_delivery=True, enable_message_ordering=True
        )
        pubsub.publish(topic, "a")
        requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
        requests.put({"subscription": subscription, "stream_ack_deadline_seconds": 60})
        responses = pubsub.subscriber.streaming_pull(
            requests=(types.StreamingPullRequest(r) for r in iter(requests.get, None))
        )
        first = next(iter(responses))
        assert first.subscription_properties.exactly_once_delivery_enabled
        assert first.subscription_properties.message_ordering_enabled
        ack_id = first.received_messages[0].ack_id
        requests.put({"modify_deadline_ack_ids": [ack_id], "modify_deadline_seconds": [30]})
        assert list(next(responses).modify_ack_deadline_confirmation.ack_ids) == [ack_id]
        requests.put({"ack_ids": [ack_id]})
        assert list(next(responses).acknowledge_confirmation.ack_ids) == [ack_id]
        requests.put({"ack_ids": [ack_id]})
        assert list(next(responses).acknowledge_confirmation.invalid_ack_ids) == [ack_id]
        requests.put({"stream_ack_deadline_seconds": 5})
        with pytest.raises(exceptions.InvalidArgument, match="10 to 600"):
            next(responses)
        requests.put(None)

    def test_beside_an_invalid_id_the_valid_ones_are_to_be_sent_again(self, pubsub: PubSub) -> None:
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
        pubsub.publish(topic, *(str(i) for i in range(300)))
        received = pubsub.pull(subscription, 300)
        pubsub.ack(subscription, received[:1])
        with pytest.raises(exceptions.InvalidArgument) as refused:
            pubsub.ack(subscription, received)
        reasons = refused.value.metadata
        assert reasons[received[0].ack_id].startswith("PERMANENT_")
        others = {reason.partition("_")[0] for ack, reason in reasons.items()} - {"PERMANENT"}
        assert others == {"TRANSIENT"}
        pubsub.ack(subscription, received[1:])
        assert pubsub.texts(subscription) == []

    def test_googles_client_reports_a_lost_lease(self, pubsub: PubSub, until: Until) -> None:
        topic = pubsub.topic()
        subscription = pubsub.subscription(topic, enable_exactly_once_delivery=True)
        held: list[Any] = []
        future = stream(pubsub, subscription, held.append)
        pubsub.publish(topic, "a")
        until(lambda: held)
        pubsub.subscriber.acknowledge(
            request={"subscription": subscription, "ack_ids": [held[0].ack_id]}
        )
        with pytest.raises(AcknowledgeError, match="INVALID_ACK_ID"):
            held[0].ack_with_response().result(10)
        finish(future)


class TestFailures:
    def test_a_retry_policy_holds_a_refused_message_back(
        self, pubsub: PubSub, until: Until
    ) -> None:
        topic = pubsub.topic()
        backoff = Duration(seconds=2)
        subscription = pubsub.subscription(
            topic, retry_policy={"minimum_backoff": backoff, "maximum_backoff": backoff}
        )
        pubsub.publish(topic, "a")
        pubsub.nack(subscription, pubsub.pull(subscription))
        assert pubsub.texts(subscription) == []
        until(lambda: pubsub.texts(subscription) == ["a"], 5)

    def test_an_undeliverable_message_goes_to_the_dead_letters(self, pubsub: PubSub) -> None:
        topic, letters = pubsub.topic(), pubsub.topic()
        subscription = pubsub.subscription(
            topic,
            dead_letter_policy={"dead_letter_topic": letters, "max_delivery_attempts": 5},
            enable_message_ordering=True,
        )
        inspection = pubsub.subscription(letters)
        sent = pubsub.publish(topic, "poison", key="k", origin="sensor")
        pubsub.publish(topic, "behind", key="k")
        for attempt in range(1, 6):
            received = pubsub.pull(subscription, 1)
            assert [(r.message.data, r.delivery_attempt) for r in received] == [
                (b"poison", attempt)
            ]
            pubsub.nack(subscription, received)
        (letter,) = pubsub.take(inspection, 1)
        assert letter.message.data == b"poison"
        assert letter.message.ordering_key == "k"
        assert letter.message.message_id not in sent
        attributes = dict(letter.message.attributes)
        assert attributes.pop("CloudPubSubDeadLetterSourceTopicPublishTime").endswith("+00:00")
        assert attributes == {
            "origin": "sensor",
            "CloudPubSubDeadLetterSourceDeliveryCount": "5",
            "CloudPubSubDeadLetterSourceSubscription": subscription.rsplit("/", 1)[-1],
            "CloudPubSubDeadLetterSourceSubscriptionProject": "test-project",
        }
        assert pubsub.texts(subscription) == ["behind"]

    def test_without_its_dead_letter_topic_a_message_stays(
        self, pubsub: PubSub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("localcloud.services.pubsub.backlog.BURIAL_SECONDS", 0.5)
        topic, letters = pubsub.topic(), pubsub.topic()
        subscription = pubsub.subscription(
            topic, dead_letter_policy={"dead_letter_topic": letters, "max_delivery_attempts": 5}
        )
        pubsub.publish(topic, "poison")
        pubsub.publisher.delete_topic(topic=letters)
        for _ in range(5):
            pubsub.nack(subscription, pubsub.pull(subscription))
        pubsub.take(subscription, 1, seconds=20)
