"""What people are told of a notice."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest

from tests.workloads.notifications.notices import (
    CLOSED,
    DRIFT,
    OPEN,
    RECORD,
    SECRETS,
    SETTINGS,
    SPENT,
    Channel,
    Known,
    Memory,
    changed,
    ended,
    found_by,
    push,
)
from workloads import gcp
from workloads.monitoring.verdicts import SEVERITY
from workloads.notifications.card import SIZE, card
from workloads.notifications.incident import (
    IncidentRecord,
    encode,
    latest_path,
)
from workloads.notifications.kinds import BY_NAME
from workloads.notifications.message import Budget, Incident, NotANotification, read
from workloads.notifications.records import BucketRecords
from workloads.notifications.relay import Relay


def test_monitors_and_messages_agree_on_what_is_grave() -> None:
    assert list(SEVERITY.items()) == [(one.name, one.severity) for one in BY_NAME.values()]


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
