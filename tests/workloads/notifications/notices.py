"""Notices as Cloud Monitoring sends them, and what stands around the relay in tests."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
from pydantic import SecretStr

from workloads.notifications.incident import (
    IncidentFeature,
    IncidentRecord,
    IncidentWindow,
)
from workloads.notifications.kinds import BY_NAME
from workloads.notifications.message import Incident
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


class Clock:
    """Moved by the test."""

    def __init__(self) -> None:
        self.now = 1577844121.0

    def __call__(self) -> float:
        return self.now


SETTINGS = RelaySettings(
    google_cloud_project="p", environment="prod", ledger="gs://p-alerts", settle_seconds=0
)


SECRETS = RelaySecrets(teams_webhook=SecretStr(WEBHOOK))


BOTH = RelaySecrets(
    teams_webhook=SecretStr(WEBHOOK),
    slack_webhook=SecretStr("https://hooks.slack.com/services/T/B/x"),
)


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


WORSE = msgspec.structs.replace(RECORD, kind="performance", severity="ERROR", score=0.6)


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
