"""Where a subscription sends the messages that it could not deliver, and how to look at them."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

DAY = 24 * 60 * 60


@dataclass(frozen=True, kw_only=True)
class DeadLettersArgs:
    """What dead letters need.

    Raises:
        InvalidArgs: at construction, when a value is out of range.
    """

    pubsub_agent: pulumi.Input[str]
    """`serviceAccount:...` of the project's Pub/Sub service agent, which does the forwarding."""
    retention_days: int = 31
    """How long a dead letter can be looked at. Pub/Sub allows a subscription 31 days at most."""
    kms_key: pulumi.Input[str] | None = None
    """Key that encrypts the messages; Google's own when not given."""

    def __post_init__(self) -> None:
        checks.between("DeadLetters", "retention_days", self.retention_days, 1, 31, "days")


class DeadLetters(pulumi.ComponentResource):
    """A topic `<name>` and a subscription `<name>-inspection` that holds what arrives.

    Without the subscription the messages would be gone the moment they are forwarded.
    """

    topic: gcp.pubsub.Topic
    inspection: gcp.pubsub.Subscription
    publisher: gcp.pubsub.TopicIAMMember
    """The service agent may publish here."""

    def __init__(
        self, name: str, *, args: DeadLettersArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("DeadLetters", "name", name, checks.TOPIC)
        super().__init__("esteira:dead_letters:DeadLetters", name, {}, opts)
        self.topic = gcp.pubsub.Topic(
            name, name=name, kms_key_name=args.kms_key, opts=child_opts(self)
        )
        self.inspection = gcp.pubsub.Subscription(
            f"{name}-inspection",
            name=f"{name}-inspection",
            topic=self.topic.id,
            message_retention_duration=f"{args.retention_days * DAY}s",
            # Never expires: a quiet month must not delete the place where failures show.
            expiration_policy=gcp.pubsub.SubscriptionExpirationPolicyArgs(ttl=""),
            opts=child_opts(self),
        )
        self.publisher = gcp.pubsub.TopicIAMMember(
            f"{name}-publisher",
            topic=self.topic.name,
            role="roles/pubsub.publisher",
            member=args.pubsub_agent,
            opts=child_opts(self),
        )
        self.register_outputs({"topic": self.topic.id, "inspection": self.inspection.id})
