"""An alert reaches the channel once, however often it is delivered, and never with the webhook."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import SecretStr, ValidationError
from starlette.testclient import TestClient as Caller

from workloads import gcp
from workloads.monitoring.verdicts import SEVERITY
from workloads.notifications.blocks import slack
from workloads.notifications.card import SIZE, card
from workloads.notifications.channels import NoChannel
from workloads.notifications.incident import (
    IncidentFeature,
    IncidentRecord,
    IncidentWindow,
    encode,
    latest_path,
)
from workloads.notifications.kinds import BY_NAME
from workloads.notifications.ledger import BucketLedger
from workloads.notifications.message import Budget, Incident, NotANotification, read
from workloads.notifications.records import BucketRecords
from workloads.notifications.relay import BODY_LIMIT, Relay, build_app
from workloads.notifications.said import say
from workloads.notifications.settings import RelaySecrets, RelaySettings

WEBHOOK = "https://example.webhook.office.com/webhookb2/very-secret-part"
OPEN: dict[str, Any] = {
    "version": "1.2",
    "incident": {
        "incident_id": "0.opqiw61fsv7p",
        "scoping_project_id": "p",
        "scoping_project_number": 12345,
        "url": "https://console.cloud.google.com/monitoring/alerting/alerts/0.opq?project=p",
        "severity": "Error",
        "started_at": 1577840461,
        "ended_at": None,
        "state": "open",
        "summary": "Backlog of demo-events-ingestion is above 100000 with a value of 120000.",
        "observed_value": "120000",
        "threshold_value": "100000",
        "resource": {"type": "pubsub_subscription", "labels": {"subscription_id": "demo"}},
        "resource_display_name": "demo-events-ingestion",
        "metric": {"type": "pubsub.googleapis.com/subscription/num_undelivered_messages"},
        "policy_name": "demo: events pile up",
        "policy_user_labels": {"product": "demo", "owner": "team"},
        "documentation": {
            "content": "Events wait.\n\nRunbook: https://github.com/o/r/blob/main/docs/runbooks/a.md",
            "mime_type": "text/markdown",
            "subject": "demo: events pile up",
            "links": [
                {"display_name": "Runbook", "url": "https://github.com/o/r/blob/main/docs/a.md"}
            ],
        },
        "condition": {"name": "projects/p/alertPolicies/1/conditions/2"},
        "condition_name": "more than 100000 messages wait",
    },
}
SPENT: dict[str, Any] = {
    "budgetDisplayName": "esteira-prod",
    "alertThresholdExceeded": 0.9,
    "costAmount": 450.5,
    "costIntervalStart": "2026-11-01T07:00:00Z",
    "budgetAmount": 500.0,
    "budgetAmountType": "SPECIFIED_AMOUNT",
    "currencyCode": "EUR",
}


def changed(**fields: Any) -> dict[str, Any]:
    """The incident with other fields."""
    return {**OPEN, "incident": {**OPEN["incident"], **fields}}


def ended(at: float, **fields: Any) -> dict[str, Any]:
    """The incident, well again."""
    well = {
        "summary": "Backlog of demo-events-ingestion returned to normal with a value of 90000.000.",
        "observed_value": "90000.000",
    }
    return changed(state="closed", ended_at=at, **well, **fields)


CLOSED = ended(1577844121)


def push(notice: Any) -> bytes:
    """A push of Pub/Sub that carries the notice."""
    data = base64.b64encode(json.dumps(notice).encode()).decode()
    return json.dumps({"message": {"data": data, "messageId": "1"}, "subscription": "s"}).encode()


class Memory:
    """A ledger that forgets when the test ends."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.messages: list[bytes] = []
        self.states: dict[str, bytes] = {}

    def has(self, key: str) -> bool:
        return key in self.keys

    def add(self, key: str, message: bytes = b"") -> None:
        self.keys.add(key)
        self.messages.append(message)

    def state(self, name: str) -> bytes | None:
        return self.states.get(name)

    def keep(self, name: str, state: bytes) -> None:
        self.states[name] = state


class Channel:
    """Teams: takes messages, or answers as it is told."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.answer: Callable[[httpx.Request], httpx.Response] = lambda _: httpx.Response(202)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self.answer(request)
        if answer.is_success:
            self.messages.append(json.loads(request.content))
        return answer

    @property
    def titles(self) -> list[str]:
        """The heading and the title of each card."""
        return [
            " / ".join(block["text"] for block in body["body"][:2])
            for body in (one["attachments"][0]["content"] for one in self.messages)
        ]


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def ledger() -> Memory:
    return Memory()


SETTINGS = RelaySettings(
    google_cloud_project="p", environment="prod", ledger="gs://p-alerts", settle_seconds=0
)
SECRETS = RelaySecrets(teams_webhook=SecretStr(WEBHOOK))
BOTH = RelaySecrets(
    teams_webhook=SecretStr(WEBHOOK),
    slack_webhook=SecretStr("https://hooks.slack.com/services/T/B/x"),
)


@pytest.fixture
def relay(channel: Channel, ledger: Memory) -> Relay:
    return Relay(SETTINGS, SECRETS, ledger, httpx.MockTransport(channel))


class TestDelivery:
    """What the push is told, and what Teams got."""

    def test_an_incident_is_told_when_it_opens_and_when_it_closes(
        self, relay: Relay, channel: Channel
    ) -> None:
        assert relay.receive(push(OPEN)).status == 200
        assert relay.receive(push(CLOSED)).status == 200
        assert channel.titles == [
            "Alert in prod / demo: events pile up",
            "Recovered in prod / demo: events pile up",
        ]

    def test_what_is_delivered_again_is_told_once(self, relay: Relay, channel: Channel) -> None:
        for _ in range(3):
            assert relay.receive(push(OPEN)).status == 200
        # The state is written in capitals by some versions.
        assert relay.receive(push(changed(state="OPEN"))).text.endswith("delivered before")
        assert len(channel.messages) == 1

    def test_it_is_told_once_even_by_many_at_a_time(self, relay: Relay, channel: Channel) -> None:
        ready = threading.Barrier(8)

        def deliver() -> None:
            ready.wait()
            relay.receive(push(OPEN))

        threads = [threading.Thread(target=deliver) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(channel.messages) == 1

    @pytest.mark.parametrize("status", [400, 403, 404, 410, 413, 429, 500, 503, 302])
    def test_what_teams_does_not_take_comes_again(
        self, relay: Relay, channel: Channel, ledger: Memory, status: int
    ) -> None:
        channel.answer = lambda _: httpx.Response(status, headers={"Location": "https://else"})
        refused = relay.receive(push(OPEN))
        assert (refused.status, str(status) in refused.text) == (503, True)
        assert ledger.keys == set()
        channel.answer = lambda _: httpx.Response(202)
        assert relay.receive(push(OPEN)).status == 200
        assert len(channel.messages) == 1

    def test_an_older_webhook_that_says_200_and_did_not_deliver_is_believed(
        self, relay: Relay, channel: Channel
    ) -> None:
        text = "Webhook message delivery failed with error: Microsoft Teams endpoint returned 429"
        channel.answer = lambda _: httpx.Response(200, text=text)
        assert relay.receive(push(OPEN)).status == 503
        channel.answer = lambda _: httpx.Response(200, text="1")
        assert relay.receive(push(OPEN)).status == 200

    @pytest.mark.parametrize(
        "error", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError]
    )
    def test_a_channel_that_is_down_loses_nothing(
        self, relay: Relay, channel: Channel, error: type[httpx.RequestError]
    ) -> None:
        def fail(request: httpx.Request) -> httpx.Response:
            raise error(f"cannot reach {request.url}")

        channel.answer = fail
        answer = relay.receive(push(OPEN))
        assert answer.status == 503
        assert error.__name__ in answer.text
        assert "secret" not in answer.text

    def test_the_webhook_is_never_logged(
        self, channel: Channel, ledger: Memory, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        relay = Relay(SETTINGS, SECRETS, ledger, httpx.MockTransport(channel))

        def fail(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError(f"cannot reach {request.url}")

        relay.receive(push(OPEN))
        channel.answer = fail
        relay.receive(push(CLOSED))
        channel.answer = lambda _: httpx.Response(500)
        relay.receive(push(CLOSED))
        assert "delivered incident/0.opqiw61fsv7p/open" in caplog.text
        assert "very-secret-part" not in caplog.text
        assert "webhook.office.com" not in caplog.text
        assert "very-secret-part" not in repr(SECRETS)


class Clock:
    """Moved by the test."""

    def __init__(self) -> None:
        self.now = 1577844121.0

    def __call__(self) -> float:
        return self.now


class TestRecovery:
    """What comes and goes is told of once, and in order."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def relay(self, channel: Channel, ledger: Memory, clock: Clock) -> Relay:
        settings = SETTINGS.model_copy(update={"settle_seconds": 300.0})
        return Relay(settings, SECRETS, ledger, httpx.MockTransport(channel), clock=clock)

    def test_it_is_told_once_the_alert_has_been_over_for_a_while(
        self, relay: Relay, channel: Channel, clock: Clock
    ) -> None:
        assert relay.receive(push(OPEN)).status == 200
        assert relay.receive(push(CLOSED)).status == 503
        clock.now += 299
        assert relay.receive(push(CLOSED)).status == 503
        clock.now += 1
        for _ in range(2):
            assert relay.receive(push(CLOSED)).status == 200
        assert [one.split(" ")[0] for one in channel.titles] == ["Alert", "Recovered"]

    def test_an_alert_that_comes_and_goes_is_one_message_and_one_recovery(
        self, relay: Relay, channel: Channel, clock: Clock
    ) -> None:
        held: list[dict[str, Any]] = []
        for number in range(20):
            moment = 1577840461 + 60 * number
            one = {"incident_id": f"0.{number}", "started_at": moment}
            assert relay.receive(push(changed(**one))).status == 200
            clock.now += 30
            closed = ended(moment + 30, **one)
            assert relay.receive(push(closed)).status == 503
            held.append(closed)
            clock.now += 30
        # Pub/Sub delivers what was not taken again; all but the last belong to what went on.
        answers = [relay.receive(push(one)) for one in held]
        assert [one.status for one in answers] == [200] * 19 + [503]
        clock.now += 300
        assert [relay.receive(push(one)).status for one in reversed(held)] == [200] * 20
        assert [one.split(" ")[0] for one in channel.titles] == ["Alert", "Recovered"]
        facts = channel.messages[1]["attachments"][0]["content"]["body"][-1]["facts"]
        lasted = {one["title"]: one["value"] for one in facts}
        assert lasted["Since"] == "2020-01-01 01:01:01 UTC"
        assert lasted["Lasted"] == "19 min"

    def test_a_recovery_that_overtakes_its_alert_waits_for_it(
        self, relay: Relay, channel: Channel, clock: Clock
    ) -> None:
        assert relay.receive(push(CLOSED)).status == 503
        assert relay.receive(push(OPEN)).status == 200
        assert relay.receive(push(CLOSED)).status == 503
        clock.now += 300
        assert relay.receive(push(CLOSED)).status == 200
        assert [one.split(" ")[0] for one in channel.titles] == ["Alert", "Recovered"]

    def test_a_recovery_whose_alert_was_lost_is_told_in_the_end(
        self, relay: Relay, channel: Channel, clock: Clock
    ) -> None:
        clock.now += 3_600
        assert relay.receive(push(CLOSED)).status == 200
        assert [one.split(" ")[0] for one in channel.titles] == ["Recovered"]

    def test_an_alert_whose_recovery_was_lost_holds_up_no_other_for_ever(
        self, relay: Relay, channel: Channel, clock: Clock
    ) -> None:
        relay.receive(push(OPEN))
        clock.now += 7 * 86_400
        assert relay.receive(push(changed(incident_id="0.later"))).status == 200
        assert len(channel.messages) == 2

    def test_a_late_copy_of_what_is_over_opens_nothing(
        self, relay: Relay, channel: Channel, clock: Clock
    ) -> None:
        relay.receive(push(OPEN))
        relay.receive(push(CLOSED))
        clock.now += 300
        relay.receive(push(CLOSED))
        assert relay.receive(push(OPEN)).text.endswith("was delivered before")
        assert relay.receive(push(changed(incident_id="0.new"))).status == 200
        assert len(channel.messages) == 3

    @pytest.mark.parametrize("step", ["add", "keep"])
    def test_killed_between_any_two_steps_it_converges(
        self,
        channel: Channel,
        ledger: Memory,
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
        step: str,
    ) -> None:
        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        def started() -> Relay:
            return Relay(SETTINGS, SECRETS, ledger, httpx.MockTransport(channel), clock=clock)

        for notice in (OPEN, CLOSED):
            with monkeypatch.context() as patch:
                patch.setattr(ledger, step, killed)
                with pytest.raises(KeyboardInterrupt):
                    started().receive(push(notice))
            assert started().receive(push(notice)).status == 200
            assert started().receive(push(notice)).status == 200
        # Between the post and the ledger, once more is better than not at all.
        kinds = [one.split(" ")[0] for one in channel.titles]
        assert list(dict.fromkeys(kinds)) == ["Alert", "Recovered"]
        assert len(kinds) <= (4 if step == "add" else 3)
        assert started().receive(push(changed(incident_id="0.new"))).status == 200
        assert channel.titles[-1].startswith("Alert")


class TestBudget:
    """A budget speaks all day; people want to hear of it when a line is crossed."""

    def test_a_threshold_is_told_once_a_month(self, relay: Relay, channel: Channel) -> None:
        for cost in (450.5, 460.0):
            assert relay.receive(push({**SPENT, "costAmount": cost})).status == 200
        relay.receive(push({**SPENT, "alertThresholdExceeded": 1.0, "costAmount": 501}))
        relay.receive(push({**SPENT, "costIntervalStart": "2026-12-01T08:00:00Z"}))
        assert channel.titles == [
            "Budget of prod / 90% of esteira-prod has been spent",
            "Budget of prod / 100% of esteira-prod has been spent",
            "Budget of prod / 90% of esteira-prod has been spent",
        ]

    def test_an_update_that_crosses_nothing_is_passed_over(
        self, relay: Relay, channel: Channel
    ) -> None:
        quiet = {key: value for key, value in SPENT.items() if key != "alertThresholdExceeded"}
        assert relay.receive(push(quiet)).status == 200
        assert channel.messages == []

    def test_a_forecast_is_told(self, relay: Relay, channel: Channel) -> None:
        forecast = {key: value for key, value in SPENT.items() if key != "alertThresholdExceeded"}
        relay.receive(push({**forecast, "forecastThresholdExceeded": 1.0}))
        assert channel.titles == ["Budget of prod / 100% of esteira-prod is forecast to be spent"]


class TestMessage:
    """What is no notice is refused, and so becomes a dead letter in the end."""

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"\xff\xfe",
            b"[]",
            b'{"message": {"data": "not base64!"}}',
            push([]),
            push("text"),
            push({"version": "1.2"}),
            push({"version": "1.2", "incident": {}}),
            push(changed(state="acknowledged")),
            push(changed(incident_id="")),
            push({"budgetDisplayName": "b"}),
        ],
    )
    def test_it_is_refused(self, relay: Relay, channel: Channel, body: bytes) -> None:
        with pytest.raises(NotANotification):
            read(body)
        assert relay.receive(body).status == 400
        assert channel.messages == []

    @pytest.mark.parametrize(
        "field",
        [one for one in OPEN["incident"] if one not in ("incident_id", "state")],
    )
    def test_an_incident_needs_nothing_but_its_id_and_state(
        self, relay: Relay, channel: Channel, ledger: Memory, field: str
    ) -> None:
        without = {key: value for key, value in OPEN["incident"].items() if key != field}
        assert relay.receive(push({"incident": without})).status == 200
        ledger.states.clear()
        assert relay.receive(push(changed(**{field: None}, incident_id="2"))).status == 200
        assert len(channel.messages) == 2


class TestCard:
    """What people see."""

    def _content(self, notice: dict[str, Any]) -> dict[str, Any]:
        read_back = read(push(notice))
        [attachment] = card(read_back, "prod")["attachments"]
        assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
        return attachment["content"]

    def _facts(self, content: dict[str, Any]) -> dict[str, str]:
        [facts] = [one["facts"] for one in content["body"] if one["type"] == "FactSet"]
        return {one["title"]: one["value"] for one in facts}

    def test_it_says_what_how_bad_since_when_and_where_to_read_on(self) -> None:
        content = self._content(OPEN)
        assert self._facts(content) == {
            "Product": "demo",
            "Owner": "team",
            "Severity": "Error",
            "Condition": "more than 100000 messages wait",
            "Where": "demo-events-ingestion",
            "Value": "120000, limit 100000",
            "Since": "2020-01-01 01:01:01 UTC",
        }
        assert [one["title"] for one in content["actions"]] == ["Incident", "Runbook"]
        assert content["body"][0]["color"] == "attention"
        texts = [one["text"] for one in content["body"] if one["type"] == "TextBlock"]
        assert "Events wait." in texts

    def test_a_recovery_says_how_long_it_lasted(self) -> None:
        content = self._content(CLOSED)
        assert content["body"][0]["color"] == "good"
        assert self._facts(content)["Lasted"] == "1 h 1 min"

    def test_a_runbook_without_an_address_is_named(self) -> None:
        documentation = {"content": "It is so.\n\nRunbook: docs/runbooks/drift.md"}
        content = self._content(changed(documentation=documentation))
        assert self._facts(content)["Runbook"] == "docs/runbooks/drift.md"
        assert [one["title"] for one in content["actions"]] == ["Incident"]

    def test_a_link_that_is_no_https_is_left_out(self) -> None:
        content = self._content(changed(url="javascript:alert(1)", documentation=None))
        assert content["actions"] == []

    def test_it_stays_below_what_teams_takes(self) -> None:
        long = "ä" * 100_000
        notice = changed(
            summary=long, condition_name=long, policy_name=long, url=f"https://{long}",
            documentation={"content": long, "subject": long},
            resource_display_name=long, policy_user_labels={"product": long, "owner": long},
        )  # fmt: skip
        incident = read(push(notice))
        assert isinstance(incident, Incident)
        assert len(json.dumps(card(incident, "prod"), ensure_ascii=False).encode()) < SIZE

    def test_a_budget_says_what_was_spent(self) -> None:
        budget = read(push(SPENT))
        assert isinstance(budget, Budget)
        facts = self._facts(self._content(SPENT))
        assert facts["Spent"] == "450.50 EUR"


RECORD = IncidentRecord(
    product="demo",
    kind="drift",
    severity="WARNING",
    since=datetime(2013, 4, 1, tzinfo=UTC),
    window=IncidentWindow(datetime(2013, 4, 8, tzinfo=UTC), datetime(2013, 4, 9, tzinfo=UTC)),
    score=0.31,
    threshold=0.1,
    top=tuple(IncidentFeature(f"f{one}", "jensen_shannon", 0.3, 0.1) for one in range(5)),
    report="gs://p-demo-models/reports/demo/drift 1.html",
    action="a retraining run has been asked for",
)
DRIFT = changed(
    policy_user_labels={"product": "demo", "owner": "team", "alert": "drift"},
    started_at=datetime.now(UTC).timestamp(),
)


class Known:
    """Has what monitors of the product wrote."""

    def __init__(self, *records: IncidentRecord) -> None:
        self.records = records

    def of(self, incident: Incident) -> tuple[IncidentRecord, ...]:
        """All, where the incident's own kind is among them."""
        own = (incident.policy_user_labels or {}).get("alert")
        return self.records if any(one.kind == own for one in self.records) else ()


def found_by(kind: str, number: str = "", **fields: Any) -> dict[str, Any]:
    """The notice of one kind of monitor; closed, where it ended."""
    incident = {
        "incident_id": f"0.{kind}{number}",
        "policy_name": f"demo: {kind}",
        "policy_user_labels": {"product": "demo", "owner": "team", "alert": kind},
        "condition_name": "the monitor's verdict is an alarm",
        "observed_value": "1.000",
        "threshold_value": "0.5",
        "documentation": {
            "content": f"It is so.\n\nRunbook: https://github.com/o/r/docs/runbooks/{kind}.md",
            "subject": f"demo: {BY_NAME[kind].title}",
            "links": [
                {
                    "display_name": "Runbook",
                    "url": f"https://github.com/o/r/docs/runbooks/{kind}.md",
                }
            ],
        },
    }
    if "ended_at" in fields:
        fields = {"state": "closed", "observed_value": "0.000", **fields}
        fields.setdefault("summary", "m returned to normal with a value of 0.000.")
    return changed(**{**incident, **fields})


def test_monitors_and_messages_agree_on_what_is_grave() -> None:
    assert list(SEVERITY.items()) == [(one.name, one.severity) for one in BY_NAME.values()]


WORSE = msgspec.structs.replace(RECORD, kind="performance", severity="ERROR", score=0.6)
KINDS = ("drift", "performance")


class TestOneIncident:
    """All that the monitors of a product find in one window is one message, and one recovery."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def known(self) -> Known:
        return Known(WORSE, RECORD)

    @pytest.fixture
    def relay(self, channel: Channel, ledger: Memory, clock: Clock, known: Known) -> Relay:
        settings = SETTINGS.model_copy(update={"settle_seconds": 300.0})
        transport = httpx.MockTransport(channel)
        return Relay(settings, SECRETS, ledger, transport, records=known, clock=clock)

    @pytest.mark.parametrize("order", [KINDS, KINDS[::-1]], ids=" first, ".join)
    def test_two_kinds_in_one_window_are_one_card_and_one_recovery(
        self, relay: Relay, channel: Channel, clock: Clock, order: tuple[str, ...]
    ) -> None:
        for kind in (*order, *order):
            assert relay.receive(push(found_by(kind))).status == 200
        [message] = channel.messages
        content = message["attachments"][0]["content"]
        facts = {one["title"]: one["value"] for one in content["body"][-1]["facts"]}
        # Named by the gravest, whichever came first.
        assert channel.titles == ["Alert in prod / demo: the model has got worse"]
        assert facts["Severity"] == "Error"
        assert facts["Also"] == "the data has drifted"
        assert facts["Score"] == "0.6, limit 0.1"
        links = {one["title"]: one["url"] for one in content["actions"]}
        assert links["Runbook"].endswith("/performance.md")
        assert links["Runbook: the data has drifted"].endswith("/drift.md")
        assert "Report" in links
        first, last = (found_by(kind, ended_at=clock.now) for kind in order)
        # The first that ends is not told by itself, and Pub/Sub need not keep it for weeks.
        assert relay.receive(push(first)).status == 200
        clock.now += 86_400
        assert relay.receive(push(last)).status == 503
        clock.now += 300
        for notice in (last, first, last):
            assert relay.receive(push(notice)).status == 200
        assert channel.titles[1:] == ["Recovered in prod / demo: the model has got worse"]

    def test_a_kind_that_joins_later_is_told_and_the_recovery_is_one(
        self, relay: Relay, channel: Channel, clock: Clock, known: Known
    ) -> None:
        """A window is looked at again each day while its labels come."""
        known.records = (RECORD,)
        relay.receive(push(found_by("drift")))
        clock.now += 86_400
        known.records = (WORSE, RECORD)
        relay.receive(push(found_by("performance")))
        assert channel.titles == [
            "Alert in prod / demo: the data has drifted",
            "Alert in prod / demo: the model has got worse",
        ]
        for kind in KINDS:
            relay.receive(push(found_by(kind, ended_at=clock.now)))
        clock.now += 300
        for kind in KINDS:
            assert relay.receive(push(found_by(kind, ended_at=clock.now))).status == 200
        assert [one.split(" ")[0] for one in channel.titles] == ["Alert", "Alert", "Recovered"]

    def test_another_window_is_another_incident(
        self, relay: Relay, channel: Channel, clock: Clock, known: Known
    ) -> None:
        known.records = (RECORD,)
        relay.receive(push(found_by("drift")))
        clock.now += 7 * 86_400
        end = found_by("drift", ended_at=clock.now)
        relay.receive(push(end))
        clock.now += 300
        relay.receive(push(end))
        known.records = (
            msgspec.structs.replace(RECORD, report="gs://p-demo-models/reports/demo/later.html"),
        )
        relay.receive(push(found_by("drift", "later")))
        kinds = [one.split(" ")[0] for one in channel.titles]
        assert kinds == ["Alert", "Recovered", "Alert"]

    def test_a_verdict_that_comes_and_goes_with_the_windows_is_one_message(
        self, relay: Relay, channel: Channel, clock: Clock, known: Known
    ) -> None:
        for number in range(10):
            report = f"gs://p-demo-models/reports/demo/{number}.html"
            known.records = (msgspec.structs.replace(RECORD, report=report),)
            assert relay.receive(push(found_by("drift", str(number)))).status == 200
            end = found_by("drift", str(number), ended_at=clock.now)
            assert relay.receive(push(end)).status == 503
            clock.now += 60
        clock.now += 300
        for number in range(10):
            end = found_by("drift", str(number), ended_at=clock.now)
            assert relay.receive(push(end)).status == 200
        assert [one.split(" ")[0] for one in channel.titles] == ["Alert", "Recovered"]

    @pytest.mark.parametrize("step", ["add", "keep"])
    @pytest.mark.parametrize("after", range(4))
    def test_killed_anywhere_the_inbox_has_each_message_once(
        self,
        ledger: Memory,
        clock: Clock,
        known: Known,
        monkeypatch: pytest.MonkeyPatch,
        step: str,
        after: int,
    ) -> None:
        inbox: dict[str, str] = {}

        def take(request: httpx.Request) -> httpx.Response:
            title = json.loads(request.content)["attachments"][0]["content"]["body"][0]["text"]
            inbox.setdefault(request.headers["Idempotency-Key"], title)
            return httpx.Response(200)

        def started() -> Relay:
            return Relay(
                SETTINGS, SECRETS, ledger, httpx.MockTransport(take), records=known, clock=clock
            )

        def interrupted(notice: dict[str, Any]) -> None:
            calls, done = iter(range(100)), getattr(ledger, step)

            def killed(*arguments: Any) -> None:
                if next(calls) == after:
                    raise KeyboardInterrupt
                done(*arguments)

            with monkeypatch.context() as patch:
                patch.setattr(ledger, step, killed)
                with contextlib.suppress(KeyboardInterrupt):
                    started().receive(push(notice))

        opened = [found_by(kind) for kind in KINDS]
        closed = [found_by(kind, ended_at=clock.now) for kind in KINDS]
        for notices in (opened, closed):
            # Each is cut off once, in turn with the others, and then delivered again.
            for notice in notices:
                interrupted(notice)
            for _ in range(2):
                for notice in notices:
                    started().receive(push(notice))
        assert [one.split(" ")[0] for one in inbox.values()] == ["Alert", "Recovered"]


class TestClosedWithoutData:
    """Cloud Monitoring closes what it hears nothing of; that is no recovery."""

    @pytest.mark.parametrize(
        ("fields", "over"),
        [
            ({"observed_value": "0.000"}, True),
            # As Google says it of a policy that was changed.
            (
                {"summary": "m returned to normal with a value of Incident cancelled because .."},
                False,
            ),
            (
                {"summary": "m returned to normal with a value of 1.000.", "observed_value": ""},
                False,
            ),
            ({"summary": "", "observed_value": "1.000"}, False),
            ({"summary": "", "observed_value": None}, False),
            # No threshold: a log entry, a query.
            ({"summary": "", "observed_value": None, "threshold_value": None}, True),
        ],
    )
    def test_it_is_worded_as_what_it_is(
        self, relay: Relay, channel: Channel, fields: dict[str, Any], over: bool
    ) -> None:
        relay.receive(push(found_by("drift")))
        relay.receive(push(found_by("drift", ended_at=1577844121, **fields)))
        text = json.dumps(channel.messages[1])
        assert ("Recovered in prod" in text) is over
        assert ("Closed without a recovery in prod" in text) is not over
        assert ("see whether what measures it still runs" in text) is not over

    def test_what_has_to_stay_above_is_well_above(self) -> None:
        below = {"conditionThreshold": {"comparison": "COMPARISON_LT", "thresholdValue": 5}}
        for value, well in ((6, True), (4, False)):
            notice = ended(1577844121, condition=below, threshold_value="5")
            notice["incident"] |= {"summary": "", "observed_value": str(value)}
            incident = read(push(notice))
            assert isinstance(incident, Incident)
            assert incident.recovered is well


class TestRecord:
    """What the monitor knows is told with the alert."""

    def test_a_card_says_how_bad_why_and_what_happens(
        self, channel: Channel, ledger: Memory
    ) -> None:
        transport = httpx.MockTransport(channel)
        relay = Relay(SETTINGS, SECRETS, ledger, transport, records=Known(RECORD))
        assert relay.receive(push(DRIFT)).status == 200
        content = channel.messages[0]["attachments"][0]["content"]
        facts = {one["title"]: one["value"] for one in content["body"][-1]["facts"]}
        assert facts["Score"] == "0.31, limit 0.1"
        assert facts["Since"] == "2013-04-01 00:00:00 UTC"
        cause = "f0 (jensen_shannon 0.3, limit 0.1)"
        assert facts["Likely cause"].startswith(cause)
        assert facts["Likely cause"].endswith("and 2 more")
        assert facts["What happens"] == "a retraining run has been asked for"
        links = {one["title"]: one["url"] for one in content["actions"]}
        page = "https://storage.cloud.google.com/p-demo-models/reports/demo/drift%201.html"
        assert links["Report"] == page
        assert "Runbook" in links

    def test_it_is_read_from_the_bucket_of_the_product_where_it_is_of_this_incident(
        self, cloud: Any
    ) -> None:
        del cloud
        bucket = gcp.storage_client().create_bucket("relay-demo-models")
        records = BucketRecords("gs://relay-{product}-models")

        def of(notice: dict[str, Any]) -> tuple[IncidentRecord, ...]:
            incident = read(push(notice))
            assert isinstance(incident, Incident)
            return records.of(incident)

        def written(record: IncidentRecord) -> None:
            path = latest_path("demo", record.kind)
            bucket.blob(path).upload_from_string(encode(record))

        assert of(DRIFT) == ()
        written(RECORD)
        assert of(DRIFT) == (RECORD,)
        assert of(OPEN) == ()
        other = {**DRIFT["incident"]["policy_user_labels"], "alert": "performance"}
        assert of(changed(policy_user_labels=other)) == ()
        # What was found in the same window, the gravest first; of another window, it is not told.
        performance = msgspec.structs.replace(RECORD, kind="performance")
        written(performance)
        written(msgspec.structs.replace(RECORD, kind="skew", report="gs://p-demo-models/old.html"))
        assert of(DRIFT) == (performance, RECORD)
        later = {**DRIFT["incident"], "started_at": datetime.now(UTC).timestamp() + 3 * 3600}
        assert of({"incident": later}) == ()
        bucket.blob(latest_path("demo", RECORD.kind)).upload_from_string(b'{"product": 1}')
        assert of(DRIFT) == ()
        nowhere = BucketRecords("gs://relay-{product}-nowhere")
        incident = read(push(DRIFT))
        assert isinstance(incident, Incident)
        assert nowhere.of(incident) == ()

    @pytest.mark.parametrize(
        ("field", "value"),
        [("kind", "rain"), ("severity", "BAD"), ("product", "A b"), ("report", "http://x")],
    )
    def test_a_record_that_is_none_is_refused_by_name(self, field: str, value: str) -> None:
        with pytest.raises(ValueError, match=f"incident.{field}"):
            msgspec.structs.replace(RECORD, **{field: value})


class TestSlack:
    """The same message in blocks."""

    def test_both_channels_are_told_and_one_that_is_down_is_told_alone(
        self, ledger: Memory
    ) -> None:
        posted: list[str] = []
        down = {"hooks.slack.com"}

        def answer(request: httpx.Request) -> httpx.Response:
            if request.url.host in down:
                return httpx.Response(500)
            posted.append(request.url.host)
            return httpx.Response(200, text="ok")

        relay = Relay(SETTINGS, BOTH, ledger, httpx.MockTransport(answer))
        refused = relay.receive(push(OPEN))
        assert (refused.status, "Slack answered 500" in refused.text) == (503, True)
        down.clear()
        assert relay.receive(push(OPEN)).status == 200
        assert posted == ["example.webhook.office.com", "hooks.slack.com"]

    def test_a_teams_webhook_that_is_gone_for_good_silences_nobody_else(
        self, ledger: Memory
    ) -> None:
        posted: dict[str, list[str]] = {"Teams": [], "Slack": []}
        gone = True

        def answer(request: httpx.Request) -> httpx.Response:
            name = "Slack" if request.url.host == "hooks.slack.com" else "Teams"
            if name == "Teams" and gone:
                return httpx.Response(410)
            posted[name].append(request.headers["Idempotency-Key"])
            return httpx.Response(200, text="ok")

        relay = Relay(SETTINGS, BOTH, ledger, httpx.MockTransport(answer))
        for _ in range(3):
            refused = relay.receive(push(OPEN))
            assert refused.status == 503
            assert "Teams answered 410" in refused.text
        assert relay.receive(push(SPENT)).status == 503
        [first, budget] = posted["Slack"]
        assert (first, budget.partition("/")[0]) == ("incident/0.opqiw61fsv7p/open", "budget")
        # What comes and goes is one message there, though Teams has had none.
        again = {"incident_id": "0.again"}
        assert relay.receive(push(changed(**again))).status == 503
        assert posted["Slack"] == [first, budget]
        assert relay.receive(push(ended(1577844121, **again))).status == 503
        assert posted["Slack"][2:] == ["incident/0.again/closed"]
        # Once it is mended, it is told too, and nobody else again.
        gone = False
        for notice in (OPEN, SPENT, changed(**again), ended(1577844121, **again)):
            assert relay.receive(push(notice)).status == 200
        assert len(posted["Slack"]) == 3
        assert posted["Teams"] == [budget, first, "incident/0.again/closed"]

    def test_nothing_in_a_message_speaks_to_slack(self) -> None:
        incident = read(push(changed(summary="<!channel> & co", policy_user_labels=None)))
        assert isinstance(incident, Incident)
        message = slack(say(incident, "prod"))
        text = json.dumps(message)
        assert "<!channel>" not in text
        assert "&lt;!channel&gt; &amp; co" in text
        assert message["blocks"][0]["text"]["text"] == "demo: events pile up"
        assert len(message["blocks"]) < 50

    def test_with_nobody_to_tell_it_does_not_start(
        self, ledger: Memory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("MONITORING_API_ENDPOINT", raising=False)
        with pytest.raises(NoChannel, match="TEAMS_WEBHOOK"):
            Relay(SETTINGS, RelaySecrets(), ledger)


class TestService:
    """Over HTTP, as Pub/Sub calls it."""

    @pytest.fixture
    def caller(self, channel: Channel, ledger: Memory) -> Iterator[Caller]:
        app = build_app(SETTINGS, SECRETS, ledger, httpx.MockTransport(channel))
        with Caller(app) as client:
            yield client

    def test_a_push_is_delivered(self, caller: Caller, channel: Channel) -> None:
        assert caller.post("/", content=push(OPEN)).status_code == 200
        assert len(channel.messages) == 1
        assert caller.get("/health").text == "ok"

    def test_what_is_too_large_is_refused(self, caller: Caller) -> None:
        assert caller.post("/", content=b"x" * (BODY_LIMIT + 1)).status_code == 413


class TestLedger:
    """What was delivered is remembered outside of the service."""

    def test_in_a_bucket(self, cloud: Any) -> None:
        del cloud
        bucket = gcp.storage_client().create_bucket("relay-alerts")
        ledger = BucketLedger(f"gs://{bucket.name}")
        key = "incident/0.x/open"
        assert not ledger.has(key)
        ledger.add(key)
        ledger.add(key)
        assert BucketLedger(f"gs://{bucket.name}").has(key)
        assert not ledger.has("incident/0.x/closed")

    def test_it_remembers_what_was_said_and_what_people_know(self, cloud: Any) -> None:
        del cloud
        bucket = gcp.storage_client().create_bucket("relay-told")
        ledger = BucketLedger(f"gs://{bucket.name}")
        assert ledger.told(10) == []
        assert ledger.state("group") is None
        for number in range(3):
            ledger.add(f"incident/{number}/open", json.dumps({"key": number}).encode())
        # Of one that belonged to another, nothing was said.
        ledger.add("incident/3/open")
        assert [one["key"] for one in ledger.told(2)] == [1, 2]
        for state in (b"{}", b'{"told": true}'):
            ledger.keep("group", state)
            assert ledger.state("group") == state

    def test_a_bucket_that_is_gone_holds_up_no_alert(
        self, cloud: Any, channel: Channel, caplog: pytest.LogCaptureFixture
    ) -> None:
        del cloud
        ledger = BucketLedger("gs://relay-nowhere")
        relay = Relay(SETTINGS, SECRETS, ledger, httpx.MockTransport(channel))
        assert relay.receive(push(OPEN)).status == 200
        assert len(channel.messages) == 1
        assert "cannot write down what was delivered: NotFound" in caplog.text
        assert "cannot write down what people know: NotFound" in caplog.text
        # The alert cannot be found to have been told, and its end is told all the same.
        assert relay.receive(push(CLOSED)).status == 200
        assert len(channel.messages) == 2


class TestSettings:
    """A secret that holds something else is found when the service starts, and not shown."""

    @pytest.mark.parametrize("address", ["", "hunter2", "http://example.com/hook", "ftp://x"])
    def test_a_webhook_that_is_none_is_refused_unseen(self, address: str) -> None:
        with pytest.raises(ValidationError) as refused:
            RelaySecrets(teams_webhook=SecretStr(address))
        assert address == "" or address not in str(refused.value)

    def test_one_on_this_machine_may_be_plain(self) -> None:
        RelaySecrets(teams_webhook=SecretStr("http://127.0.0.1:8080/hook"))
