"""Alert policies, notification channels and metrics of our own on the real engine."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from pulumi_gcp import monitoring

from localcloud.provider.clients import Clients

from .conftest import Cloud, Deployment, changes

pytestmark = pytest.mark.engine

METRIC = "custom.googleapis.com/esteira/drift"


def program(threshold: float = 0.5, *, absent: bool = False) -> None:
    descriptor = monitoring.MetricDescriptor(
        "drift",
        type=METRIC,
        metric_kind="GAUGE",
        value_type="DOUBLE",
        display_name="Drift",
        description="How far the data has drifted",
        unit="1",
        labels=[{"key": "product", "value_type": "STRING", "description": "Which"}],
    )
    channel = monitoring.NotificationChannel(
        "people",
        type="email",
        display_name="people",
        labels={"email_address": "ops@example.com"},
    )
    aggregation: Any = {"alignment_period": "3600s", "per_series_aligner": "ALIGN_NEXT_OLDER"}
    condition: Any = {
        "condition_absent": {
            "filter": f'metric.type = "{METRIC}"',
            "aggregations": [aggregation],
            "duration": "3600s",
        }
    }
    if not absent:
        condition = {
            "condition_threshold": {
                "filter": f'metric.type = "{METRIC}"',
                "aggregations": [aggregation],
                "comparison": "COMPARISON_GT",
                "threshold_value": threshold,
                "duration": "0s",
                "trigger": {"count": 1},
            }
        }
    conditions: Any = [{"display_name": "drift", **condition}]
    policy = monitoring.AlertPolicy(
        "drift",
        display_name="drift",
        combiner="OR",
        severity="WARNING",
        conditions=conditions,
        documentation={
            "subject": "drift",
            "content": "It is so.",
            "links": [{"display_name": "Runbook", "url": "https://example.com/drift"}],
        },
        alert_strategy={"auto_close": "86400s"},
        notification_channels=[channel.name],
        user_labels={"product": "flights"},
        opts=pulumi.ResourceOptions(depends_on=[descriptor]),
    )
    pulumi.export("policy", policy.name)
    pulumi.export("channel", channel.name)


def test_a_policy_lives_with_its_channel_and_its_metric(deploy: Deployment, cloud: Cloud) -> None:
    cloud.start("rest")
    clients = Clients(cloud.home)
    made = deploy.up(program)
    name, channel = (made.outputs[one] for one in ("policy", "channel"))
    kept = clients.rest.get(f"/v3/{name}")
    [condition] = kept["conditions"]
    assert condition["conditionThreshold"]["thresholdValue"] == 0.5
    assert kept["notificationChannels"] == [channel]
    assert changes(deploy.up(program)) == {}
    assert set(deploy.refresh()) == {"same"}
    assert changes(deploy.up(lambda: program(0.7))) == {"update": 1}
    [changed] = clients.rest.get(f"/v3/{name}")["conditions"]
    assert changed["conditionThreshold"]["thresholdValue"] == 0.7
    assert changed["name"] == condition["name"]
    assert changes(deploy.up(lambda: program(absent=True))) == {"update": 1}
    clients.rest.call("DELETE", f"/v3/{name}")
    assert deploy.refresh()["delete"] == 1
    assert changes(deploy.up(program))["create"] == 1
    deploy.destroy()
    assert clients.rest.find(f"/v3/{channel}") is None
