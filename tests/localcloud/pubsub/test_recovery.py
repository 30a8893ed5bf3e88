"""The server as a process: killed at any moment, it loses nothing that it acknowledged."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud.pubsub import PublisherClient, SubscriberClient, types

from localcloud.home import Home

if TYPE_CHECKING:
    from subprocess import Popen

CHECKOUT = Path(__file__).resolve().parents[3]
TOPIC = "projects/p/topics/events"
SUBSCRIPTION = "projects/p/subscriptions/events"

type Until = Callable[..., Any]


class Process:
    """`python -m localcloud.services.pubsub` on one home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.port = home.endpoints().ports["pubsub"]
        self.process: Popen[bytes] | None = None

    def start(self) -> None:
        with (self.home.path / "pubsub.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "localcloud.services.pubsub", "--home", str(self.home.path)],
                cwd=CHECKOUT,
                stderr=log,
            )
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None, self.log()
                assert time.monotonic() < end, self.log()
                time.sleep(0.02)

    def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(15)

    def kill(self) -> None:
        assert self.end(signal.SIGKILL) == -signal.SIGKILL

    def log(self) -> str:
        return (self.home.path / "pubsub.log").read_text()


@pytest.fixture
def process(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    made = Process(home)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{made.port}")
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGKILL)


def pull(subscriber: SubscriberClient, limit: int = 1_000) -> list[Any]:
    request = {"subscription": SUBSCRIPTION, "max_messages": limit}
    return list(subscriber.pull(request=request).received_messages)


def acknowledge(subscriber: SubscriberClient, received: list[Any]) -> None:
    subscriber.acknowledge(
        request={"subscription": SUBSCRIPTION, "ack_ids": [r.ack_id for r in received]}
    )


@pytest.mark.long
def test_no_acknowledged_publish_is_lost_when_the_server_is_killed_again_and_again(
    process: Process, until: Until
) -> None:
    publisher = PublisherClient(types.BatchSettings(max_messages=50, max_latency=0.005))
    with SubscriberClient() as subscriber:
        publisher.create_topic(name=TOPIC)
        subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
        confirmed: set[str] = set()
        received: dict[str, str] = {}
        stop = threading.Event()

        def publish() -> None:
            number = 0
            while not stop.is_set():
                sent = {
                    str(n): publisher.publish(TOPIC, str(n).encode())
                    for n in range(number, number + 100)
                }
                number += 100
                for text, future in sent.items():
                    future.result(60)  # The client tries again while the server is away.
                    confirmed.add(text)

        def callback(message: Any) -> None:
            received[message.message_id] = message.data.decode()
            message.ack()

        publishing = threading.Thread(target=publish)
        publishing.start()
        streaming = subscriber.subscribe(SUBSCRIPTION, callback)
        for _ in range(3):
            before = len(confirmed)
            until(lambda before=before: len(confirmed) > before + 200, 30)
            time.sleep(random.uniform(0, 0.05))
            process.kill()
            process.start()
        stop.set()
        publishing.join(60)
        until(lambda: confirmed <= set(received.values()), 60)
        streaming.cancel()
        streaming.result(10)
        assert len(confirmed) > 600


def test_state_survives_a_kill(process: Process, until: Until) -> None:
    publisher = PublisherClient()
    with SubscriberClient() as subscriber:
        publisher.create_topic(request={"name": TOPIC, "labels": {"a": "b"}})
        subscriber.create_subscription(
            request={
                "name": SUBSCRIPTION,
                "topic": TOPIC,
                "enable_message_ordering": True,
                "filter": "NOT attributes:skip",
                "dead_letter_policy": {"dead_letter_topic": TOPIC, "max_delivery_attempts": 5},
            }
        )
        made = subscriber.get_subscription(subscription=SUBSCRIPTION)
        for number in range(10):
            publisher.publish(TOPIC, str(number).encode()).result(10)
        publisher.publish(TOPIC, b"filtered", skip="").result(10)
        received = pull(subscriber)
        acknowledge(subscriber, [r for r in received if int(r.message.data) % 2])
        refused = [r for r in received if r.message.data == b"4"]
        subscriber.modify_ack_deadline(
            request={
                "subscription": SUBSCRIPTION,
                "ack_ids": [r.ack_id for r in refused],
                "ack_deadline_seconds": 0,
            }
        )
        publisher.publish(TOPIC, b"11", skip="").result(10)  # Behind the refusal in the file.
        snapshot = "projects/p/snapshots/taken"
        subscriber.create_snapshot(request={"name": snapshot, "subscription": SUBSCRIPTION})
        process.kill()
        process.start()
        assert dict(publisher.get_topic(topic=TOPIC).labels) == {"a": "b"}
        assert subscriber.get_subscription(subscription=SUBSCRIPTION) == made
        again = pull(subscriber)
        assert sorted(r.message.data for r in again) == [b"0", b"2", b"4", b"6", b"8"]
        attempts = {r.message.data: r.delivery_attempt for r in again}
        assert attempts[b"4"] == 2
        assert attempts[b"0"] == 1
        old = [r for r in received if r.message.data in (b"0", b"2", b"4", b"6")]
        acknowledge(subscriber, old)  # Leases from before the kill still count.
        process.kill()
        process.start()
        assert [r.message.data for r in pull(subscriber)] == [b"8"]
        subscriber.seek(request={"subscription": SUBSCRIPTION, "snapshot": snapshot})
        assert len(pull(subscriber)) == 5


def test_ids_are_not_given_twice_over_restarts(process: Process) -> None:
    publisher = PublisherClient()
    publisher.create_topic(name=TOPIC)
    ids = []
    for _ in range(3):
        ids.append(int(publisher.publish(TOPIC, b"x").result(30)))
        process.kill()
        process.start()
    assert ids == sorted(set(ids))


def test_sigterm_ends_it_at_once_though_streams_are_open(process: Process, until: Until) -> None:
    publisher = PublisherClient()
    with SubscriberClient() as subscriber:
        publisher.create_topic(name=TOPIC)
        subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
        held: list[Any] = []
        streaming = subscriber.subscribe(SUBSCRIPTION, held.append)
        publisher.publish(TOPIC, b"x").result(10)
        until(lambda: held)
        started = time.monotonic()
        assert process.end(signal.SIGTERM) == 0
        assert time.monotonic() - started < 3
        process.start()  # The stream connects again by itself.
        publisher.publish(TOPIC, b"y").result(30)
        until(lambda: b"y" in {m.data for m in held}, 60)
        streaming.cancel()
        streaming.result(10)


def test_a_taken_port_is_an_error_and_not_a_second_server(process: Process, tmp_path: Path) -> None:
    second = Home(tmp_path / "second")
    second.write(process.home.endpoints())
    ended = subprocess.run(
        [sys.executable, "-m", "localcloud.services.pubsub", "--home", str(second.path)],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | {"GRPC_VERBOSITY": "NONE"},
    )
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{process.port}" in ended.stderr


def test_without_endpoints_it_says_how_to_get_them(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "localcloud.services.pubsub", "--home", str(tmp_path)],
        cwd=CHECKOUT,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 1
    assert "esteira local start" in ended.stderr


def test_a_large_backlog_is_delivered_whole_after_a_restart(process: Process) -> None:
    publisher = PublisherClient(types.BatchSettings(max_messages=1_000, max_latency=0.05))
    with SubscriberClient() as subscriber:
        publisher.create_topic(name=TOPIC)
        subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
        sent = [publisher.publish(TOPIC, str(n).encode()) for n in range(12_000)]
        for future in sent:
            future.result(60)
        process.kill()
        process.start()
        seen: set[bytes] = set()
        while len(seen) < 12_000:
            received = pull(subscriber)
            assert received, f"{len(seen)} of 12000"
            seen.update(r.message.data for r in received)
            acknowledge(subscriber, received)
        assert pull(subscriber) == []
        with pytest.raises(exceptions.NotFound):
            subscriber.get_subscription(subscription="projects/p/subscriptions/other")
