"""From a gauge to the channel: Cloud Monitoring, Pub/Sub and the relay, in one process."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from localcloud.home import Home
from localcloud.rest.app import build_app as build_rest
from localcloud.services.monitoring import service
from localcloud.services.pubsub.server import PubSubServer
from workloads import gcp, telemetry
from workloads.notifications.incident import (
    IncidentFeature,
    IncidentRecord,
    IncidentWindow,
)
from workloads.notifications.kinds import BY_NAME
from workloads.notifications.message import Incident
from workloads.notifications.relay import build_app as build_relay
from workloads.notifications.settings import RelaySecrets, RelaySettings

PROJECT = "projects/p"
TOPIC = f"{PROJECT}/topics/alerts"
DEAD = f"{PROJECT}/topics/dead"
RELAY = f"{PROJECT}/subscriptions/relay"
KEPT = f"{PROJECT}/subscriptions/kept"
BOTH = "flight-delay: two kinds"
METRIC = telemetry.MONITOR_ALARM.type


@contextlib.contextmanager
def served(app: Starlette, port: int = 0) -> Iterator[str]:
    """The application on a port of its own; its address."""
    listening = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {condition}")
        time.sleep(0.02)
    return value


class Ledger:
    """Remembers as long as the test."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def has(self, key: str) -> bool:
        return key in self.kept

    def add(self, key: str, message: bytes = b"") -> None:
        self.kept[key] = message

    def state(self, name: str) -> bytes | None:
        return self.kept.get(name)

    def keep(self, name: str, state: bytes) -> None:
        self.kept[name] = state


class World:
    """All that a notice goes through, and the channel at its end."""

    def __init__(self) -> None:
        self.down = False
        self.refused = 0
        self.cards: list[dict[str, Any]] = []
        self.ledger = Ledger()

    async def channel(self, request: Request) -> Response:
        if self.down:
            self.refused += 1
            return PlainTextResponse("down", 500)
        self.cards.append(json.loads(await request.body()))
        return PlainTextResponse("1", 202)

    @property
    def titles(self) -> list[str]:
        return [
            " / ".join(one["text"] for one in card["attachments"][0]["content"]["body"][:2])
            for card in self.cards
        ]

    def write(self, value: float, **labels: str) -> None:
        """What a monitor does at the end of its run."""
        now = datetime.now(UTC).isoformat()
        series = {
            "metric": {
                "type": METRIC,
                "labels": {"product": "flight-delay", "kind": "drift", **labels},
            },
            "resource": {"type": "global", "labels": {"project_id": "p"}},
            "metricKind": "GAUGE",
            "valueType": "DOUBLE",
            "points": [{"interval": {"endTime": now}, "value": {"doubleValue": value}}],
        }
        body = {"timeSeries": [series]}
        gcp.monitoring().projects().timeSeries().create(name=PROJECT, body=body).execute()

    def policy(self, condition: dict[str, Any], topic: str, kind: str, title: str) -> None:
        api = gcp.monitoring().projects()
        body: dict[str, Any] = {"type": "pubsub", "displayName": "t", "labels": {"topic": topic}}
        made = api.notificationChannels().create(name=PROJECT, body=body).execute()
        body = {
            "displayName": title,
            "combiner": "OR",
            "severity": "WARNING",
            "conditions": [{"displayName": "the monitor's verdict is an alarm", **condition}],
            "documentation": {
                "subject": f"flight-delay: {BY_NAME[kind].title}",
                "content": "It is so.\n\nRunbook: docs/runbooks/drift.md",
            },
            "notificationChannels": [made["name"]],
            "userLabels": {"product": "flight-delay", "alert": kind},
        }
        api.alertPolicies().create(name=PROJECT, body=body).execute()

    def drifting(
        self,
        topic: str = TOPIC,
        kind: str = "drift",
        title: str = "flight-delay: the data has drifted",
    ) -> None:
        """The policy of drift, or of another kind, as the stack makes it."""
        self.write(0.0, kind=kind)
        self.policy(
            {
                "conditionThreshold": {
                    "filter": f'metric.type = "{METRIC}" AND resource.type = "global" '
                    f'AND metric.labels.kind = "{kind}"',
                    "aggregations": [
                        {
                            "alignmentPeriod": "3600s",
                            "perSeriesAligner": "ALIGN_NEXT_OLDER",
                            "crossSeriesReducer": "REDUCE_MAX",
                        }
                    ],
                    "comparison": "COMPARISON_GT",
                    "thresholdValue": 0.5,
                    "duration": "0s",
                    "trigger": {"count": 1},
                }
            },
            topic,
            kind,
            title,
        )

    def open(self) -> int:
        """How many incidents are open."""
        api = gcp.monitoring().projects().alerts()
        found = api.list(parent=PROJECT, filter='state="OPEN"').execute()
        return len(found.get("alerts", []))


class Known:
    """The record of every incident."""

    def of(self, incident: Incident) -> tuple[IncidentRecord, ...]:
        day = datetime(2013, 4, 1, tzinfo=UTC)
        record = IncidentRecord(
            product="flight-delay",
            kind="drift",
            severity="WARNING",
            since=day,
            window=IncidentWindow(day, day),
            score=0.31,
            threshold=0.1,
            top=(IncidentFeature("temperature", "jensen_shannon", 0.31, 0.1),),
            report="gs://p-flight-delay-models/reports/flight-delay/a.html",
            action="a retraining run has been asked for",
        )
        worse = msgspec.structs.replace(record, kind="performance", severity="ERROR")
        return (worse, record) if incident.policy_name == BOTH else (record,)


@pytest.fixture(scope="module")
def pubsub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PubSubServer]:
    server = PubSubServer(Home(tmp_path_factory.mktemp("path"))).start()
    yield server
    server.stop()


@pytest.fixture
def world(pubsub: PubSubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.address)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    one = World()
    settings = RelaySettings(
        google_cloud_project="p", environment="test", ledger="gs://p-alerts", settle_seconds=0
    )
    publisher, subscriber = gcp.publisher(), gcp.subscriber()
    home = Home(tmp_path)
    home.write(pubsub.home.endpoints())
    with contextlib.ExitStack() as stack:
        channel = stack.enter_context(
            served(Starlette(routes=[Route("/hook", one.channel, methods=["POST"])]))
        )
        secrets = RelaySecrets(teams_webhook=SecretStr(f"{channel}/hook"))
        relay = stack.enter_context(
            served(build_relay(settings, secrets, one.ledger, records=Known()))
        )
        rest = stack.enter_context(served(build_rest([service(home)])))
        monkeypatch.setenv("MONITORING_API_ENDPOINT", rest)
        for topic in (TOPIC, DEAD):
            publisher.create_topic(name=topic)
        subscriber.create_subscription(name=KEPT, topic=DEAD)
        subscriber.create_subscription(
            request={
                "name": RELAY,
                "topic": TOPIC,
                "push_config": {"push_endpoint": relay},
                "retry_policy": {"minimum_backoff": "0.1s", "maximum_backoff": "0.2s"},
                "dead_letter_policy": {"dead_letter_topic": DEAD, "max_delivery_attempts": 5},
            }
        )
        yield one
        for name in (RELAY, KEPT):
            subscriber.delete_subscription(subscription=name)
        for topic in (TOPIC, DEAD):
            publisher.delete_topic(topic=topic)
        subscriber.close()


def test_a_verdict_is_told_with_all_that_is_known_and_so_is_the_recovery(world: World) -> None:
    world.drifting()
    world.write(1.0)
    until(lambda: world.cards)
    assert world.open() == 1
    content = world.cards[0]["attachments"][0]["content"]
    facts = {one["title"]: one["value"] for one in content["body"][-1]["facts"]}
    assert facts["Score"] == "0.31, limit 0.1"
    assert facts["Likely cause"].startswith("temperature")
    assert facts["What happens"] == "a retraining run has been asked for"
    assert facts["Runbook"] == "docs/runbooks/drift.md"
    world.write(0.0)
    until(lambda: len(world.cards) == 2)
    assert world.titles == [
        "Alert in test / flight-delay: the data has drifted",
        "Recovered in test / flight-delay: the data has drifted",
    ]
    assert world.open() == 0


def test_what_two_monitors_found_in_one_window_is_one_card_and_one_recovery(world: World) -> None:
    kinds = ("drift", "performance")
    for kind in kinds:
        world.drifting(kind=kind, title=BOTH)
    for kind in kinds:
        world.write(1.0, kind=kind)
    until(lambda: world.open() == 2)
    # Both notices have come to the relay, and one message to people.
    until(lambda: sum(one.endswith("/open/Teams") for one in world.ledger.kept) == 2)
    assert len(world.cards) == 1
    for kind in kinds:
        world.write(0.0, kind=kind)
    until(lambda: len(world.cards) == 2)
    assert world.open() == 0
    assert world.titles == [
        "Alert in test / flight-delay: the model has got worse",
        "Recovered in test / flight-delay: the model has got worse",
    ]


def test_a_channel_that_is_down_for_a_while_is_told_later_once(world: World) -> None:
    world.drifting()
    world.down = True
    world.write(1.0)
    until(lambda: world.refused >= 2)
    world.down = False
    until(lambda: world.cards)
    world.write(0.0)
    until(lambda: len(world.cards) == 2)
    assert [one.split(" ")[0] for one in world.titles] == ["Alert", "Recovered"]


def test_what_was_given_up_is_a_dead_letter_and_can_be_told_again(world: World) -> None:
    world.drifting()
    world.down = True
    world.write(1.0)
    subscriber = gcp.subscriber()

    def letters() -> list[Any]:
        request = {"subscription": KEPT, "max_messages": 10}
        return list(subscriber.pull(request=request).received_messages)

    [letter] = until(letters)
    world.down = False
    data = letter.message.data
    assert json.loads(data)["incident"]["state"] == "open"
    gcp.publish(gcp.publisher(), TOPIC, [{"data": data}, {"data": data}])
    until(lambda: world.cards)
    world.write(0.0)
    until(lambda: len(world.cards) == 2)
    assert [one.split(" ")[0] for one in world.titles] == ["Alert", "Recovered"]
    subscriber.close()


def test_mail_and_posts_end_in_the_inbox(world: World) -> None:
    api = gcp.monitoring().projects()
    body: dict[str, Any] = {"type": "email", "labels": {"email_address": "ops@example.com"}}
    mail = api.notificationChannels().create(name=PROJECT, body=body).execute()["name"]
    world.drifting()
    [policy] = api.alertPolicies().list(name=PROJECT).execute()["alertPolicies"]
    policy["notificationChannels"].append(mail)
    api.alertPolicies().patch(name=policy["name"], body=policy).execute()
    world.write(1.0)
    inbox = gcp.alert_inbox()
    assert inbox is not None
    [message] = until(lambda: httpx.get(inbox).json()["messages"])
    assert (message["to"], message["kind"]) == ("ops@example.com", "email")
    until(lambda: world.cards)


def test_a_topic_that_is_not_there_yet_is_told_later_in_order(world: World) -> None:
    late = f"{PROJECT}/topics/late"
    world.drifting(late)
    world.write(1.0)
    until(lambda: world.open() == 1)
    world.write(0.0)
    until(lambda: world.open() == 0)
    publisher, subscriber = gcp.publisher(), gcp.subscriber()
    publisher.create_topic(name=late)
    name = f"{PROJECT}/subscriptions/late"
    subscriber.create_subscription(name=name, topic=late)
    states: list[str] = []

    def both() -> bool:
        request = {"subscription": name, "max_messages": 10}
        received = list(subscriber.pull(request=request).received_messages)
        states.extend(json.loads(one.message.data)["incident"]["state"] for one in received)
        return len(states) >= 2

    until(both)
    assert states == ["open", "closed"]
    subscriber.delete_subscription(subscription=name)
    publisher.delete_topic(topic=late)
    subscriber.close()
