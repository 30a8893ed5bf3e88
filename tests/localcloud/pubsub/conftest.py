"""A local Pub/Sub in this process, and Google's clients on it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.cloud.pubsub import PublisherClient, SchemaServiceClient, SubscriberClient
from google.pubsub_v1 import PublisherClient as GeneratedPublisher

from localcloud.home import Home
from localcloud.services.pubsub.server import PubSubServer

PROJECT = "projects/test-project"


@dataclass
class PubSub:
    """Google's clients, and fresh resources under names of their own."""

    address: str
    publisher: PublisherClient = field(init=False)
    subscriber: SubscriberClient = field(init=False)
    schemas: SchemaServiceClient = field(init=False)

    def __post_init__(self) -> None:
        self.publisher = PublisherClient()
        self.subscriber = SubscriberClient()
        self.schemas = SchemaServiceClient()

    def name(self, kind: str) -> str:
        return f"{PROJECT}/{kind}/t-{uuid.uuid4().hex[:12]}"

    def topic(self, **settings: Any) -> str:
        return self.publisher.create_topic(request={"name": self.name("topics"), **settings}).name

    def subscription(self, topic: str, **settings: Any) -> str:
        request = {"name": self.name("subscriptions"), "topic": topic, **settings}
        return self.subscriber.create_subscription(request=request).name

    def schema(self, definition: str) -> str:
        request = {
            "parent": PROJECT,
            "schema_id": f"s-{uuid.uuid4().hex[:12]}",
            "schema": {"type_": "AVRO", "definition": definition},
        }
        return self.schemas.create_schema(request=request).name

    def publish(self, topic: str, *data: str, key: str = "", **attributes: str) -> list[str]:
        """Publish texts in one request, in order; the message ids."""
        messages = [
            {"data": text.encode(), "ordering_key": key, "attributes": attributes} for text in data
        ]
        return list(self.publish_raw(topic, messages).message_ids)

    def publish_raw(self, topic: str, messages: list[Any]) -> Any:
        """One request; the client's own `publish` takes one message at a time."""
        request = {"topic": topic, "messages": messages}
        return GeneratedPublisher.publish(self.publisher, request=request)

    def pull(self, subscription: str, limit: int = 100) -> list[Any]:
        response = self.subscriber.pull(
            request={"subscription": subscription, "max_messages": limit}
        )
        return list(response.received_messages)

    def texts(self, subscription: str, limit: int = 100) -> list[str]:
        """Pull once; what the messages say. They stay unacknowledged."""
        return [r.message.data.decode() for r in self.pull(subscription, limit)]

    def take(self, subscription: str, count: int, seconds: float = 20) -> list[Any]:
        """Pull and acknowledge until `count` messages have come."""
        taken: list[Any] = []

        def more() -> bool:
            received = self.pull(subscription, count - len(taken))
            self.ack(subscription, received)
            taken.extend(received)
            return len(taken) >= count

        _until(more, seconds)
        return taken

    def ack(self, subscription: str, received: list[Any]) -> None:
        if received:
            self.subscriber.acknowledge(
                request={"subscription": subscription, "ack_ids": [r.ack_id for r in received]}
            )

    def deadline(self, subscription: str, received: list[Any], seconds: int) -> None:
        self.subscriber.modify_ack_deadline(
            request={
                "subscription": subscription,
                "ack_ids": [r.ack_id for r in received],
                "ack_deadline_seconds": seconds,
            }
        )

    def nack(self, subscription: str, received: list[Any]) -> None:
        self.deadline(subscription, received, 0)

    def close(self) -> None:
        self.publisher.transport.close()
        self.subscriber.close()
        self.schemas.transport.close()


def _until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not so after {seconds} s: {condition}")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PubSubServer]:
    running = PubSubServer(Home(tmp_path_factory.mktemp("home"))).start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def pubsub(server: PubSubServer) -> Iterator[PubSub]:
    patch = pytest.MonkeyPatch()
    patch.setenv("PUBSUB_EMULATOR_HOST", server.address)
    clients = PubSub(server.address)
    yield clients
    clients.close()
    patch.undo()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    fresh = Home(tmp_path / "home")
    fresh.reserve()
    return fresh
