"""Cloud Monitoring as Google's own client sees it, over kills."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from googleapiclient.errors import HttpError

PROJECT = "projects/p"
METRIC = "custom.googleapis.com/esteira/monitor_alarm"


class Monitoring:
    """Google's client. A new one for each call: a restart breaks the connection of an old one."""

    def __init__(self, rest: Any) -> None:
        self.rest = rest

    def call(self, collection: str, method: str, **arguments: Any) -> Any:
        api = self.rest.client("monitoring", "v3").projects()
        return getattr(getattr(api, collection)(), method)(**arguments).execute()

    def describe(self) -> None:
        self.call(
            "metricDescriptors",
            "create",
            name=PROJECT,
            body={
                "type": METRIC,
                "metricKind": "GAUGE",
                "valueType": "DOUBLE",
                "labels": [{"key": "product"}, {"key": "kind"}],
            },
        )

    def channel(self, kind: str = "email", **labels: str) -> str:
        labels = labels or {"email_address": "ops@example.com"}
        body = {"type": kind, "displayName": "people", "labels": labels}
        return self.call("notificationChannels", "create", name=PROJECT, body=body)["name"]

    def policy(self, channel: str, **fields: Any) -> dict[str, Any]:
        body = {
            "displayName": "flights: the data has drifted",
            "combiner": "OR",
            "severity": "WARNING",
            "userLabels": {"product": "flights", "alert": "drift"},
            "documentation": {"content": "It is so.", "subject": "drift"},
            "notificationChannels": [channel],
            "conditions": [
                {
                    "displayName": "alarm",
                    "conditionThreshold": {
                        "filter": f'metric.type = "{METRIC}" AND metric.labels.kind = "drift"',
                        "aggregations": [
                            {"alignmentPeriod": "3600s", "perSeriesAligner": "ALIGN_NEXT_OLDER"}
                        ],
                        "comparison": "COMPARISON_GT",
                        "thresholdValue": 0.5,
                        "duration": "0s",
                    },
                }
            ],
            **fields,
        }
        return self.call("alertPolicies", "create", name=PROJECT, body=body)

    def write(self, value: float, *, ago: float = 0.0, **labels: str) -> None:
        end = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat()
        series = {
            "metric": {"type": METRIC, "labels": {"product": "flights", "kind": "drift", **labels}},
            "resource": {"type": "global"},
            "points": [{"interval": {"endTime": end}, "value": {"doubleValue": value}}],
        }
        self.call("timeSeries", "create", name=PROJECT, body={"timeSeries": [series]})

    def points(self, **query: Any) -> list[list[float]]:
        now = datetime.now(UTC)
        found = self.call(
            "timeSeries",
            "list",
            name=PROJECT,
            filter=f'metric.type = "{METRIC}"',
            interval_startTime=(now - timedelta(hours=2)).isoformat(),
            interval_endTime=(now + timedelta(minutes=1)).isoformat(),
            **query,
        )
        return [
            [one["value"]["doubleValue"] for one in series["points"]]
            for series in found.get("timeSeries", [])
        ]

    def inbox(self) -> list[dict[str, Any]]:
        return httpx.get(f"{self.rest.url}/inbox").json()["messages"]

    def states(self) -> list[str]:
        return [one["body"]["incident"]["state"] for one in self.inbox()]

    def refused(self, code: int, said: str, call: Callable[[], Any]) -> None:
        with pytest.raises(HttpError) as refused:
            call()
        assert refused.value.status_code == code
        assert said in json.loads(refused.value.content)["error"]["message"]


@pytest.fixture
def monitoring(rest_process: Callable[[str], Any]) -> Monitoring:
    return Monitoring(rest_process("monitoring"))


def test_an_incident_is_told_once_though_the_service_is_killed(
    monitoring: Monitoring, until: Callable[..., Any]
) -> None:
    monitoring.describe()
    made = monitoring.policy(monitoring.channel())
    monitoring.write(1.0, ago=10)
    until(lambda: monitoring.states() == ["open"])
    [alert] = monitoring.call("alerts", "list", parent=PROJECT, filter='state="OPEN"')["alerts"]
    assert alert["policy"]["name"] == made["name"]
    assert monitoring.call("alerts", "get", name=alert["name"]) == alert

    monitoring.rest.kill()
    monitoring.rest.start()
    assert monitoring.call("alertPolicies", "get", name=made["name"]) == made
    assert monitoring.points() == [[1.0]]
    monitoring.write(0.0)
    until(lambda: monitoring.states() == ["open", "closed"])
    incident = monitoring.inbox()[0]["body"]["incident"]
    assert monitoring.inbox()[0]["body"]["version"] == "1.2"
    assert (incident["severity"], incident["observed_value"]) == ("Warning", "1.000")
    assert incident["policy_user_labels"] == {"product": "flights", "alert": "drift"}
    assert incident["metric"]["labels"] == {"product": "flights", "kind": "drift"}
    found = monitoring.call("alerts", "list", parent=PROJECT)["alerts"]
    assert [(one["name"], one["state"]) for one in found] == [(alert["name"], "CLOSED")]


def test_policies_channels_and_descriptors_live_as_on_google_cloud(monitoring: Monitoring) -> None:
    channel = monitoring.channel()
    monitoring.refused(404, "Cannot find metric", lambda: monitoring.policy(channel))
    monitoring.describe()
    monitoring.refused(404, "does not exist", lambda: monitoring.policy(f"{channel}0"))
    made = monitoring.policy(channel)
    body = {**made, "displayName": "another"}
    changed = monitoring.call(
        "alertPolicies", "patch", name=made["name"], body=body, updateMask="display_name"
    )
    assert changed == {**made, "displayName": "another"}
    unknown = {**made, "surprise": 1}
    monitoring.refused(
        400,
        "surprise",
        lambda: monitoring.call("alertPolicies", "patch", name=made["name"], body=unknown),
    )
    monitoring.refused(
        400, "is used by", lambda: monitoring.call("notificationChannels", "delete", name=channel)
    )
    monitoring.call("alertPolicies", "delete", name=made["name"])
    monitoring.call("notificationChannels", "delete", name=channel)
    monitoring.refused(
        404, made["name"], lambda: monitoring.call("alertPolicies", "get", name=made["name"])
    )
    monitoring.refused(501, "pagerduty", lambda: monitoring.channel("pagerduty", service_key="k"))
    monitoring.refused(400, "topic", lambda: monitoring.channel("pubsub", subject="t"))
    name = f"{PROJECT}/metricDescriptors/{METRIC}"
    assert monitoring.call("metricDescriptors", "get", name=name)["valueType"] == "DOUBLE"
    monitoring.write(1.0)
    monitoring.call("metricDescriptors", "delete", name=name)
    assert monitoring.points() == []


def test_points_are_written_in_order_and_aggregated_as_they_are_read(
    monitoring: Monitoring,
) -> None:
    monitoring.write(1.0, ago=60)
    monitoring.write(4.0, ago=30)
    monitoring.write(2.0, ago=30, kind="skew")
    monitoring.refused(400, "in order", lambda: monitoring.write(3.0, ago=45))
    monitoring.refused(400, "25h in the past", lambda: monitoring.write(3.0, ago=26 * 3600))
    monitoring.refused(400, "5 minutes in the future", lambda: monitoring.write(3.0, ago=-3600))
    monitoring.refused(400, "metric labels: slice", lambda: monitoring.write(3.0, slice="x"))
    assert monitoring.points() == [[4.0, 1.0], [2.0]]
    hourly = {"aggregation_alignmentPeriod": "10800s", "aggregation_perSeriesAligner": "ALIGN_SUM"}
    assert monitoring.points(**hourly) == [[5.0], [2.0]]
    assert monitoring.points(**hourly, aggregation_crossSeriesReducer="REDUCE_MEAN") == [[3.5]]


def test_the_inbox_takes_a_message_once(monitoring: Monitoring) -> None:
    address = f"{monitoring.rest.url}/inbox/teams"
    for key in ("a", "a", "b"):
        answer = httpx.post(address, json={"text": key}, headers={"Idempotency-Key": key})
        assert answer.status_code == 200
    assert httpx.post(address, content=b"no json").status_code == 400
    assert [(one["to"], one["body"]) for one in monitoring.inbox()] == [
        ("teams", {"text": "a"}),
        ("teams", {"text": "b"}),
    ]
