"""An alert reaches the channel once, however often it is delivered, and never with the webhook."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from starlette.testclient import TestClient as Caller

from tests.workloads.notifications.notices import (
    BOTH,
    CLOSED,
    OPEN,
    SECRETS,
    SETTINGS,
    SPENT,
    Channel,
    Clock,
    Memory,
    changed,
    ended,
    push,
)
from workloads import gcp
from workloads.notifications.blocks import slack
from workloads.notifications.channels import NoChannel
from workloads.notifications.ledger import BucketLedger
from workloads.notifications.message import Incident, read
from workloads.notifications.relay import BODY_LIMIT, Relay, build_app
from workloads.notifications.said import say
from workloads.notifications.settings import RelaySecrets


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
