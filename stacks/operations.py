"""The layer that watches: who is told of what, what is shown, what is kept of the logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

import pulumi
import pulumi_gcp as gcp

from components.api_gateway import ApiGateway
from components.custom_metric import CustomMetric, CustomMetricArgs
from components.dashboard import Dashboard
from components.image import Image, ImageArgs
from components.log_sink import LogSink
from components.notification_channels import NotificationChannels, NotificationChannelsArgs
from components.teams_relay import TeamsRelay, TeamsRelayArgs
from components.uptime_check import UptimeCheck, UptimeCheckArgs
from stacks import alerts, dashboards, logs, security
from stacks.alerts import platform as platform_alerts
from stacks.alerts import serving as serving_alerts
from stacks.alerts.desk import Desk, Watched, runbook
from stacks.commons import Commons
from stacks.data import Data
from stacks.environment import environment, variable
from stacks.foundation import ROOT, Foundation
from stacks.ingestion import Ingestion
from stacks.model import Model
from stacks.options import AlertScope
from stacks.prediction_api import PredictionApi
from stacks.release import Release
from stacks.settings import Environment
from stacks.tracking import Tracking
from workloads import telemetry
from workloads.notifications.records import PRODUCT
from workloads.notifications.settings import RelaySecrets, RelaySettings
from workloads.product import Product
from workloads.serving.gateway import HEALTH

ALERTS: Final = "alerts"
RELAY: Final = "alerts-to-teams"
STARTER_LATENCY_MS: Final = 30_000
"""The starter waits for Dataflow to take a job: half of what its push subscription allows it."""
TRACKING_LATENCY_MS: Final = 10_000
"""Lists of many runs take MLflow seconds."""


@dataclass(kw_only=True)
class Operations:
    """What watches. Each is None or empty where the stack's settings leave it out."""

    foundation: Foundation
    channels: NotificationChannels | None
    relay: TeamsRelay | None
    sink: LogSink | None
    desk: Desk | None
    """Puts alerts and dashboards together."""
    watched: list[Watched] = field(default_factory=list[Watched])
    dashboards: dict[str, Dashboard] = field(default_factory=dict[str, Dashboard])
    """Of what products share."""


def lay(foundation: Foundation, commons: Commons) -> Operations:
    """Make what products share: channels, the way to Teams, the sink, the budget.

    Args:
        foundation: Of this stack.
        commons: Log who touches what the relay remembers.
    """
    settings = foundation.settings
    channels = _channels(foundation) if settings.alerts.enabled else None
    security.budget(
        settings,
        foundation.agents.number,
        foundation.opts,
        channels=[]
        if channels is None
        else [channels.channels[email].name for email in settings.alerts.emails],
        topic=None if channels is None else channels.topic.id,
    )
    desk = None
    if settings.alerts.enabled or settings.alerts.dashboards:
        desk = _desk(foundation, channels)
    relay = None
    webhooks = {
        variable(RelaySecrets, field): secret
        for field, secret in (
            ("teams_webhook", settings.alerts.teams_webhook_secret),
            ("slack_webhook", settings.alerts.slack_webhook_secret),
        )
        if secret
    }
    # The local cloud has an inbox instead of webhooks.
    told = bool(webhooks) or settings.environment is Environment.LOCAL
    if channels is not None and desk is not None and told:
        relay = _relay(foundation, commons, channels, webhooks)
        if settings.alerts.scope is AlertScope.ALL:
            platform_alerts.undelivered(relay.push.subscription.name, desk, foundation.opts)
    return Operations(
        foundation=foundation,
        channels=channels,
        relay=relay,
        sink=logs.sink(foundation) if settings.alerts.log_sink else None,
        desk=desk,
    )


def watch(
    operations: Operations,
    product: Product,
    data: Data,
    ingestion: Ingestion,
    model: Model,
    api: PredictionApi | None,
    release: Release | None,
    opts: pulumi.ResourceOptions,
) -> dict[str, Any]:
    """Make the alerts, metrics and dashboards of one product, and tell its outputs.

    Args:
        operations: What products share.
        product: The declaration.
        data, ingestion, model, api, release: What is watched.
        opts: Carry the product's provider.
    """
    settings = operations.foundation.settings
    desk = operations.desk
    if desk is None:
        return {"dashboards": {}}
    intake = ingestion.intake
    stream = None if intake is None else intake.stream
    about = Watched(
        project=settings.project,
        product=product.name,
        owner=product.owner,
        cost_center=product.cost_center,
        subscriptions={
            source.contract.PLURAL: data.streams[source.contract.NAME].ingestion.name
            for source in product.streams
        },
        topics={
            source.contract.PLURAL: data.streams[source.contract.NAME].topic.name
            for source in product.streams
        },
        streaming_job=None if stream is None or stream.job is None else stream.job.job.name,
        batch_jobs=None if intake is None else f"{product.name}-batch-",
        jobs={
            "batch-prediction": model.batch.job.name,
            "monitor": model.monitoring.job.name,
            **({} if model.retraining is None else {"retraining": model.retraining.job.job.name}),
            **({} if release is None else {"release": release.job.job.name}),
        },
        services={
            **(
                {}
                if intake is None
                else {"ingestion-starter": (intake.starter.service.name, STARTER_LATENCY_MS)}
            ),
            **(
                {}
                if api is None
                else {"prediction-api": (api.web.service.name, settings.alerts.latency_ms)}
            ),
        },
        endpoint=model.endpoint.number,
        private=settings.security.private_endpoint,
        processors=serving_alerts.processors(product.serving.machine_type),
        stale_hours=product.monitoring.stale_after / timedelta(hours=1),
        reports=f"{_models(settings.project, product.name)}/reports/{product.name}",
    )
    if operations.relay is not None:
        # What the monitor knows of an incident lies beside the models.
        gcp.storage.BucketIAMMember(
            f"{product.name}-{RELAY}-records",
            bucket=data.landing.models.name,
            role="roles/storage.objectViewer",
            member=operations.relay.identity.member,
            opts=opts,
        )
    if settings.alerts.scope is AlertScope.ALL:
        logs.metrics(about, opts)
    if settings.alerts.enabled:
        alerts.lay(about, desk, opts)
        if api is not None and api.gateway is not None and settings.alerts.uptime_checks:
            about = replace(about, uptime_check=_uptime(about, desk, api.gateway, opts))
    operations.watched.append(about)
    shown = dashboards.lay(about, desk, opts) if settings.alerts.dashboards else {}
    return {"dashboards": {what: one.dashboard.id for what, one in shown.items()}}


def finish(operations: Operations, tracking: Tracking) -> dict[str, Any]:
    """Make what all products have to be known for, and tell the outputs of what they share.

    Args:
        operations: With every product watched.
        tracking: Has the database and MLflow's server, as far as the stack does.
    """
    foundation, desk = operations.foundation, operations.desk
    settings = foundation.settings
    shown: dict[str, Dashboard] = {}
    if desk is not None and settings.alerts.dashboards:
        shown["cost"] = dashboards.cost(operations.watched, desk, foundation.opts)
    instance = (
        None
        if tracking.database is None
        else pulumi.Output.concat(settings.project, ":", tracking.database.instance.name)
    )
    if desk is not None and settings.alerts.dashboards and instance is not None:
        shown["database"] = dashboards.database(instance, operations.watched, foundation.opts)
    if desk is not None and settings.alerts.enabled and settings.alerts.scope is AlertScope.ALL:
        if instance is not None:
            platform_alerts.database(instance, desk, foundation.opts)
        if tracking.server is not None:
            server = {"mlflow": (tracking.server.web.service.name, TRACKING_LATENCY_MS)}
            serving_alerts.services(server, None, desk, foundation.opts)
    channels, sink = operations.channels, operations.sink
    return {
        "alerts_topic": None if channels is None else channels.topic.id,
        "alerts_inbox": None if channels is None else channels.inbox.id,
        "logs": None if sink is None else f"{settings.project}.{logs.DATASET}",
        "dashboards": {what: one.dashboard.id for what, one in shown.items()},
    }


def _channels(foundation: Foundation) -> NotificationChannels:
    settings = foundation.settings
    slack = settings.alerts.slack_channel
    return NotificationChannels(
        ALERTS,
        args=NotificationChannelsArgs(
            project=settings.project,
            project_number=foundation.agents.number,
            emails=settings.alerts.emails,
            slack_channel=slack,
            slack_token_secret=None if slack is None else settings.alerts.slack_token_secret,
            kms_key=foundation.key("pubsub"),
        ),
        opts=foundation.opts,
    )


def _desk(foundation: Foundation, channels: NotificationChannels | None) -> Desk:
    """Declare our own metrics, and put together who is told."""
    settings = foundation.settings
    if settings.environment is not Environment.LOCAL and not runbook(settings, "").startswith(
        "https"
    ):
        pulumi.log.warn(
            "alerts link no runbook: set esteira:alerts.runbooks to where the pages of "
            "docs/runbooks are read, or esteira:github.repository"
        )
    declared = [
        CustomMetric(
            metric.type.rpartition("/")[2].replace("_", "-"),
            args=CustomMetricArgs(
                type=metric.type,
                title=metric.title,
                description=metric.description,
                labels=metric.labels,
                unit=metric.unit,
            ),
            opts=foundation.opts,
        )
        for metric in telemetry.CUSTOM_METRICS
    ]
    by_type = {one.metric.type: one.metric for one in declared}
    return Desk(
        settings=foundation.settings,
        channels=[] if channels is None else channels.ids,
        drift=by_type[telemetry.DRIFT_SCORE.type],
        age=by_type[telemetry.MODEL_AGE.type],
        alarm=by_type[telemetry.MONITOR_ALARM.type],
        held=by_type[telemetry.RETRAINING_HELD.type],
        prediction_drift=by_type[telemetry.PREDICTION_DRIFT.type],
        performance=by_type[telemetry.PERFORMANCE.type],
        error_growth=by_type[telemetry.ERROR_GROWTH.type],
        table_age=by_type[telemetry.TABLE_AGE.type],
        declared=[one.descriptor for one in declared],
    )


def _relay(
    foundation: Foundation,
    commons: Commons,
    channels: NotificationChannels,
    webhooks: Mapping[str, str],
) -> TeamsRelay:
    settings = foundation.settings
    image = Image(
        "notifications",
        args=ImageArgs(
            repository=foundation.repository.url,
            dockerfile=ROOT / "workloads" / "images" / "notifications" / "Dockerfile",
            context=ROOT,
        ),
        opts=foundation.opts,
    )
    bucket = f"{settings.project}-{ALERTS}"
    values: dict[str, pulumi.Input[str]] = {
        "google_cloud_project": settings.project,
        "environment": settings.environment.value,
        "ledger": f"gs://{bucket}",
        "records": _models(settings.project, PRODUCT),
        "settle_seconds": str(settings.alerts.settle_seconds),
    }
    ledger = variable(RelaySettings, "ledger")
    return TeamsRelay(
        RELAY,
        args=TeamsRelayArgs(
            project=settings.project,
            location=settings.location,
            image=image.ref,
            images=foundation.repository.repository,
            topic=channels.topic.id,
            webhooks=webhooks,
            # Locally an alert that is over is told of within seconds.
            minimum_backoff_seconds=min(10, settings.streaming.minimum_backoff_seconds),
            environment={
                name: value
                for name, value in environment(RelaySettings, values).items()
                if name != ledger
            },
            ledger_variable=ledger,
            bucket=bucket,
            account_id=RELAY,
            pubsub_agent=foundation.agents.members["pubsub"],
            kms_key=foundation.key("run"),
            topic_kms_key=foundation.key("pubsub"),
            bucket_kms_key=foundation.key("storage"),
            access_log=None if commons.access_log is None else commons.access_log.name,
            deletion_protection=settings.security.deletion_protection,
            force_destroy=settings.security.force_destroy,
            protect=settings.security.protect,
        ),
        opts=foundation.opts,
    )


def _models(project: str, product: str) -> str:
    """The bucket of a product's models, beside which monitors write what they found."""
    return f"gs://{project}-{product}-models"


def _uptime(
    about: Watched, desk: Desk, gateway: ApiGateway, opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """Ask the API from outside; the id of the check."""
    check = UptimeCheck(
        f"{about.product}-api",
        args=UptimeCheckArgs(
            project=about.project,
            title=f"{about.product}: prediction API",
            host=gateway.gateway.default_hostname,
            path=HEALTH,
            # The check has no token, and whoever asks for one is there.
            statuses=(200, 401),
            labels=desk.labels(about.product, about.owner, about.cost_center),
        ),
        opts=opts,
    )
    serving_alerts.unreachable(about, check.check.uptime_check_id, desk, opts)
    return check.check.uptime_check_id
