"""Who is told of alerts: a topic, always, and the people who asked for it.

The topic is what the platform itself reads, and what the relay to Teams, which has no channel of
its own in Cloud Monitoring, takes its messages from.

Slack's token stays in Secret Manager: it is read when the stack is deployed, is a Pulumi secret
from there on, and goes to Google through a write-only property. The state holds it encrypted among
the inputs, as it does every secret, and not among the outputs. Whoever deploys needs
`roles/secretmanager.secretAccessor` on that one secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

DAY: Final = 86_400
AGENT: Final = "serviceAccount:service-{0}@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
"""By cloud.google.com/monitoring/support/notification-options#pubsub, by the project's number."""


@dataclass(frozen=True, kw_only=True)
class NotificationChannelsArgs:
    """Who is told.

    Raises:
        InvalidArgs: at construction, when an address is none or the token of Slack is missing.
    """

    project: str
    project_number: pulumi.Input[str]
    """Names the agent that publishes alerts."""
    emails: Sequence[str] = ()
    """Addresses that get every alert."""
    slack_channel: str | None = None
    """`#name`, or the name alone."""
    slack_token_secret: str | None = None
    """The secret of Secret Manager that holds Slack's token."""
    retention_days: int = 7
    """How long an alert waits in the inbox to be looked at, up to 31."""
    kms_key: pulumi.Input[str] | None = None
    """Key that encrypts the messages; Google's own when not given."""

    def __post_init__(self) -> None:
        who = "NotificationChannels"
        for email in self.emails:
            if "@" not in email:
                raise checks.InvalidArgs(who, "emails", email, "e-mail addresses")
        if len(set(self.emails)) != len(self.emails):
            raise checks.InvalidArgs(who, "emails", self.emails, "each address once")
        if self.slack_channel and not self.slack_token_secret:
            raise checks.InvalidArgs(
                who, "slack_token_secret", None, "the secret that holds Slack's token"
            )
        checks.between(who, "retention_days", self.retention_days, 1, 31, "days")


class NotificationChannels(pulumi.ComponentResource):
    """Topic `<name>`, subscription `<name>-inbox`, and a channel for each who is told."""

    topic: gcp.pubsub.Topic
    inbox: gcp.pubsub.Subscription
    """Keeps what was published until somebody has looked: `esteira alerts` reads it."""
    channels: dict[str, gcp.monitoring.NotificationChannel]
    """By what they reach: `topic`, `slack`, and each e-mail address."""
    publisher: gcp.pubsub.TopicIAMMember
    """Cloud Monitoring may publish to the topic."""

    def __init__(
        self,
        name: str,
        *,
        args: NotificationChannelsArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        checks.matches("NotificationChannels", "name", name, checks.TOPIC)
        super().__init__("esteira:notification_channels:NotificationChannels", name, {}, opts)
        self.topic = gcp.pubsub.Topic(
            name,
            name=name,
            message_retention_duration=f"{args.retention_days * DAY}s",
            kms_key_name=args.kms_key,
            opts=child_opts(self),
        )
        self.inbox = gcp.pubsub.Subscription(
            f"{name}-inbox",
            name=f"{name}-inbox",
            topic=self.topic.id,
            message_retention_duration=f"{args.retention_days * DAY}s",
            # Never expires: a quiet month must not delete the place where alerts show.
            expiration_policy=gcp.pubsub.SubscriptionExpirationPolicyArgs(ttl=""),
            opts=child_opts(self),
        )
        channel = gcp.monitoring.NotificationChannel
        self.channels = {
            "topic": channel(
                f"{name}-topic",
                type="pubsub",
                display_name=f"Topic {name}",
                labels={"topic": self.topic.id},
                opts=child_opts(self),
            )
        }
        for email in args.emails:
            self.channels[email] = channel(
                f"{name}-{email}",
                type="email",
                display_name=email,
                labels={"email_address": email},
                opts=child_opts(self),
            )
        if args.slack_channel and args.slack_token_secret:
            self.channels["slack"] = self._slack(
                name, args.project, args.slack_channel, args.slack_token_secret
            )
        self.publisher = gcp.pubsub.TopicIAMMember(
            f"{name}-publisher",
            topic=self.topic.name,
            role="roles/pubsub.publisher",
            member=pulumi.Output.format(AGENT, args.project_number),
            # Google makes the agent with the project's first channel of this kind.
            opts=child_opts(self, depends_on=[self.channels["topic"]]),
        )
        self.register_outputs({"topic": self.topic.id, "inbox": self.inbox.id})

    @property
    def ids(self) -> list[pulumi.Output[str]]:
        """`projects/.../notificationChannels/...` of all."""
        return [one.name for one in self.channels.values()]

    def _slack(
        self, name: str, project: str, channel: str, secret: str
    ) -> gcp.monitoring.NotificationChannel:
        token = gcp.secretmanager.get_secret_version_access_output(
            project=project, secret=secret, opts=pulumi.InvokeOutputOptions(parent=self)
        )
        monitoring = gcp.monitoring
        return monitoring.NotificationChannel(
            f"{name}-slack",
            type="slack",
            display_name=f"Slack #{channel.removeprefix('#')}",
            labels={"channel_name": f"#{channel.removeprefix('#')}"},
            sensitive_labels=monitoring.NotificationChannelSensitiveLabelsArgs(
                auth_token_wo=pulumi.Output.secret(token.secret_data),
                # A new version of the secret is what makes Google be told the new token.
                auth_token_wo_version=token.version,
            ),
            opts=child_opts(self),
        )
