"""What the monitors of a product find in one window is told once, whatever is killed."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import httpx
import msgspec
import pytest

from tests.workloads.notifications.notices import (
    RECORD,
    SECRETS,
    SETTINGS,
    WORSE,
    Channel,
    Clock,
    Known,
    Memory,
    found_by,
    push,
)
from workloads.notifications.relay import Relay

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
