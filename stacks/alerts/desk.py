"""What is watched of a product, who is told, and how an alert is put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi

from components.alert_policy import AlertPolicy, AlertPolicyArgs, LogMatch, Query, Threshold
from components.metric_types import MetricType
from stacks.settings import Settings

RUNBOOKS: Final = "docs/runbooks"
MINUTES: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400


def runbook(settings: Settings, alert: str) -> str:
    """Where it says how to mend what an alert tells of: where the settings say that such pages are
    read, or on GitHub; only a path where they say neither."""
    github = settings.github
    folder = settings.alerts.runbooks or RUNBOOKS
    if settings.alerts.runbooks is None and github.repository is not None:
        folder = f"https://github.com/{github.repository}/blob/{github.branch}/{RUNBOOKS}"
    return f"{folder}/{alert}.md"


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What of a product is watched, by the names that Cloud Monitoring knows it by."""

    project: str
    product: str
    owner: str
    cost_center: str
    subscriptions: Mapping[str, pulumi.Input[str]]
    """Of ingestion, by the plural of the contract."""
    topics: Mapping[str, pulumi.Input[str]]
    """The same streams' topics."""
    streaming_job: pulumi.Input[str] | None
    """None where nothing comes through Pub/Sub."""
    batch_jobs: str | None
    """What the names of batch ingestion jobs start with; None where nothing is taken in."""
    jobs: Mapping[str, pulumi.Input[str]]
    """Cloud Run jobs, by what they do."""
    services: Mapping[str, tuple[pulumi.Input[str], int]]
    """Cloud Run services by what they do, with the milliseconds that 99 of 100 answers may take."""
    endpoint: pulumi.Input[str]
    """The number of the prediction endpoint."""
    private: bool
    """Whether it is a private one."""
    processors: int | None
    """Of a replica behind it; None where the machine's name does not say."""
    stale_hours: float
    """Hours after which a table to which nothing has come is stale."""
    reports: str
    """`gs://...`: the folder of what the monitors write."""
    uptime_check: pulumi.Input[str] | None = None
    """Of the API, where one asks from outside."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Who is told, and how an alert is put together. One for the stack."""

    settings: Settings
    channels: Sequence[pulumi.Input[str]]
    drift: MetricType
    age: MetricType
    alarm: MetricType
    """Of the monitors, by kind."""
    held: MetricType
    """Of retraining, by reason."""
    prediction_drift: MetricType
    performance: MetricType
    """By score, and by whether it was estimated."""
    error_growth: MetricType
    table_age: MetricType
    """By table."""
    declared: Sequence[pulumi.Resource]
    """The descriptors of all, without which Google refuses an alert on them."""

    def runbook(self, alert: str) -> str:
        """Where it says how to mend it."""
        return runbook(self.settings, alert)

    def labels(self, product: str, owner: str, cost_center: str) -> dict[str, str]:
        """What the provider puts on everything else."""
        return {
            "environment": self.settings.environment.value,
            "product": product,
            "owner": owner,
            "cost-center": cost_center,
            "managed-by": "pulumi",
        }

    def policy(
        self,
        alert: str,
        about: Watched | None,
        conditions: Sequence[Threshold | Query | LogMatch],
        *,
        severity: str,
        summary: str,
        title: str,
        part: str = "",
        auto_close_seconds: int = DAY,
        notes: str = "",
        links: Mapping[str, str] | None = None,
        opts: pulumi.ResourceOptions,
        after: Sequence[pulumi.Resource] = (),
    ) -> AlertPolicy:
        """Make one alert.

        Args:
            alert: Its name, and that of its runbook.
            about: The product; what products share when not given.
            conditions: See AlertPolicyArgs.
            severity: See AlertPolicyArgs.
            summary: See AlertPolicyArgs.
            title: What is wrong; the product's name goes before it.
            part: Tells alerts of one name apart: a contract, a service.
            auto_close_seconds: See AlertPolicyArgs.
            notes: See AlertPolicyArgs.
            links: See AlertPolicyArgs.
            opts: Carry the provider.
            after: What has to be there first.
        """
        product = about.product if about else "platform"
        owner = about.owner if about else self.settings.owner
        cost_center = about.cost_center if about else self.settings.cost_center
        return AlertPolicy(
            "-".join(one for one in (product, part, alert) if one),
            args=AlertPolicyArgs(
                title=f"{product}: {title}",
                conditions=conditions,
                severity=severity,
                summary=summary,
                runbook=self.runbook(alert),
                channels=self.channels,
                # The relay tells by it what an incident is about.
                labels={**self.labels(product, owner, cost_center), "alert": alert},
                auto_close_seconds=auto_close_seconds,
                enabled=not self.settings.lifetime.rest,
                notes=notes,
                links=links or {},
                after=after,
            ),
            opts=opts,
        )
