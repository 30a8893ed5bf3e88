"""What is watched, who is told, what is shown and kept."""

from __future__ import annotations

import pulumi
import pulumi_gcp as gcp

from components.alert_policy import AlertPolicy, AlertPolicyArgs, Threshold
from components.custom_metric import CustomMetric, CustomMetricArgs
from components.dashboard import Chart, Dashboard, DashboardArgs, Line, Logs, Note, Promql
from components.log_metric import LogMetric, LogMetricArgs
from components.log_sink import LogSink, LogSinkArgs
from components.notification_channels import NotificationChannels, NotificationChannelsArgs
from components.teams_relay import TeamsRelay, TeamsRelayArgs
from components.uptime_check import UptimeCheck, UptimeCheckArgs
from examples.components.given import AGENT, IMAGE, KEY, WAITING, alone


def alert_policy(opts: pulumi.ResourceOptions) -> AlertPolicy:
    """More than a hundred messages waiting for a minute."""
    return AlertPolicy(
        "demo-backlog",
        args=AlertPolicyArgs(
            title="demo: messages pile up",
            conditions=[Threshold(title="many wait", series=WAITING, above=100, for_seconds=60)],
            severity="WARNING",
            summary="Too slow.",
            runbook="https://github.com/acme/ml/blob/main/docs/runbooks/stream-backlog.md",
            channels=["projects/acme-ml/notificationChannels/1"],
            labels={"product": "demo"},
            remind_seconds=3600,
        ),
        opts=opts,
    )


def notification_channels(opts: pulumi.ResourceOptions) -> NotificationChannels:
    """A topic, one e-mail address and one Slack channel."""
    return NotificationChannels(
        "alerts",
        args=NotificationChannelsArgs(
            project="acme-ml",
            project_number="123456789012",
            emails=["a@example.com"],
            slack_channel="alerts",
            slack_token_secret="slack-token",  # noqa: S106 - its name
            kms_key=KEY,
        ),
        opts=opts,
    )


def teams_relay(opts: pulumi.ResourceOptions) -> TeamsRelay:
    """From the topic of alerts to one channel of Teams."""
    plain = alone(opts)
    return TeamsRelay(
        "alerts-to-teams",
        args=TeamsRelayArgs(
            project="acme-ml",
            location="us-central1",
            image=IMAGE,
            images=gcp.artifactregistry.Repository(
                "images",
                repository_id="images",
                format="DOCKER",
                opts=plain,
            ),
            topic="projects/acme-ml/topics/alerts",
            webhooks={"TEAMS_WEBHOOK": "teams-webhook"},
            environment={"ENVIRONMENT": "test"},
            ledger_variable="LEDGER",
            bucket="acme-ml-alerts",
            account_id="alerts-to-teams",
            pubsub_agent=AGENT,
            kms_key=KEY,
        ),
        opts=opts,
    )


def custom_metric(opts: pulumi.ResourceOptions) -> CustomMetric:
    """A number of our own, by product."""
    return CustomMetric(
        "score",
        args=CustomMetricArgs(
            type="custom.googleapis.com/demo/score",
            title="Score",
            description="How much",
            labels=[("product", "Which")],
        ),
        opts=opts,
    )


def log_metric(opts: pulumi.ResourceOptions) -> LogMetric:
    """Errors, counted by job."""
    return LogMetric(
        "demo-failures",
        args=LogMetricArgs(
            metric="esteira/demo/failures",
            description="Failures",
            filter="severity>=ERROR",
            labels={"job": "EXTRACT(resource.labels.job_name)"},
        ),
        opts=opts,
    )


def log_sink(opts: pulumi.ResourceOptions) -> LogSink:
    """Logs of jobs, kept in BigQuery but for debug messages."""
    return LogSink(
        "demo-logs",
        args=LogSinkArgs(
            project="acme-ml",
            location="us-central1",
            dataset="logs",
            description="Logs",
            filter='resource.type="cloud_run_job"',
            exclusions={"debug": "severity=DEBUG"},
            kms_key=KEY,
        ),
        opts=opts,
    )


def uptime_check(opts: pulumi.ResourceOptions) -> UptimeCheck:
    """Whether one address answers."""
    return UptimeCheck(
        "demo-api",
        args=UptimeCheckArgs(
            project="acme-ml", title="demo", host="api.example.com", labels={"product": "demo"}
        ),
        opts=opts,
    )


def dashboard(opts: pulumi.ResourceOptions) -> Dashboard:
    """A note, two charts and the latest warnings."""
    return Dashboard(
        "demo-stream",
        args=DashboardArgs(
            title="demo: stream",
            panels=[
                Note(content="**demo**"),
                Chart(title="Waiting", unit="messages", lines=[Line(series=WAITING, legend="a")]),
                Promql(title="Set aside", query="sum(up)", unit="messages"),
                Logs(title="Warnings", filter="severity>=WARNING"),
            ],
        ),
        opts=opts,
    )
