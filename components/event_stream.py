"""Events of one contract: the topic that takes them in and the subscription that ingests them.

Owns the Avro schema, the topic, its dead letters and the ingestion subscription. It leaves alone
who may publish and who may read: those grants belong to the identities of the workloads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.dead_letters import DAY, DeadLetters, DeadLettersArgs


@dataclass(frozen=True, kw_only=True)
class EventStreamArgs:
    """What a stream of events needs.

    Raises:
        InvalidArgs: at construction, when a value is out of range.
    """

    avro_schema: Mapping[str, Any]
    """The Avro record of one event. Publishing anything else is refused by the topic."""
    pubsub_agent: pulumi.Input[str]
    """`serviceAccount:...` of the project's Pub/Sub service agent, which forwards dead letters."""
    location: str | None = None
    """The one region in which messages may lie; any of Google's when not given."""
    kms_key: pulumi.Input[str] | None = None
    """Key that encrypts the messages; Google's own when not given."""
    retention_days: int = 7
    """How long a message waits to be ingested, and how far back one can seek. Up to 31."""
    dead_letter_retention_days: int = 31
    """How long a dead letter waits to be looked at, up to 31."""
    ack_deadline_seconds: int = 60
    """After this long without an answer a message is delivered again. 10 to 600."""
    minimum_backoff_seconds: int = 10
    """The least wait before a message that failed comes again; it doubles up to 600 s."""
    max_delivery_attempts: int = 100
    """Deliveries after which a message is a dead letter, 5 to 100.

    The most that Pub/Sub allows: ingestion itself sets aside what breaks the contract, so only a
    message that no worker survives should end here, not one that met a few restarts.
    """

    def __post_init__(self) -> None:
        who = "EventStream"
        if self.avro_schema.get("type") != "record" or not self.avro_schema.get("fields"):
            raise checks.InvalidArgs(
                who, "avro_schema", dict(self.avro_schema), "an Avro record with fields"
            )
        checks.between(who, "retention_days", self.retention_days, 1, 31, "days")
        checks.between(
            who, "dead_letter_retention_days", self.dead_letter_retention_days, 1, 31, "days"
        )
        checks.between(who, "ack_deadline_seconds", self.ack_deadline_seconds, 10, 600, "seconds")
        checks.between(
            who, "minimum_backoff_seconds", self.minimum_backoff_seconds, 0, 600, "seconds"
        )
        checks.between(who, "max_delivery_attempts", self.max_delivery_attempts, 5, 100)


class EventStream(pulumi.ComponentResource):
    """Topic `<name>` with its schema, `<name>-ingestion` and `<name>-dead-letters`."""

    schema: gcp.pubsub.Schema
    topic: gcp.pubsub.Topic
    dead_letters: DeadLetters
    ingestion: gcp.pubsub.Subscription
    forwarder: gcp.pubsub.SubscriptionIAMMember
    """The service agent may take messages out of `ingestion` to forward them."""

    def __init__(
        self, name: str, *, args: EventStreamArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("EventStream", "name", name, checks.TOPIC)
        super().__init__("esteira:event_stream:EventStream", name, {}, opts)
        self.schema = gcp.pubsub.Schema(
            name,
            name=name,
            type="AVRO",
            definition=json.dumps(args.avro_schema),
            opts=child_opts(self),
        )
        self.topic = gcp.pubsub.Topic(
            name,
            name=name,
            schema_settings=gcp.pubsub.TopicSchemaSettingsArgs(
                schema=self.schema.id, encoding="JSON"
            ),
            message_retention_duration=f"{args.retention_days * DAY}s",
            message_storage_policy=None
            if args.location is None
            else gcp.pubsub.TopicMessageStoragePolicyArgs(
                allowed_persistence_regions=[args.location]
            ),
            kms_key_name=args.kms_key,
            opts=child_opts(self),
        )
        self.dead_letters = DeadLetters(
            f"{name}-dead-letters",
            args=DeadLettersArgs(
                pubsub_agent=args.pubsub_agent,
                retention_days=args.dead_letter_retention_days,
                kms_key=args.kms_key,
            ),
            opts=child_opts(self),
        )
        self.ingestion = gcp.pubsub.Subscription(
            f"{name}-ingestion",
            name=f"{name}-ingestion",
            topic=self.topic.id,
            ack_deadline_seconds=args.ack_deadline_seconds,
            message_retention_duration=f"{args.retention_days * DAY}s",
            expiration_policy=gcp.pubsub.SubscriptionExpirationPolicyArgs(ttl=""),
            retry_policy=gcp.pubsub.SubscriptionRetryPolicyArgs(
                minimum_backoff=f"{args.minimum_backoff_seconds}s", maximum_backoff="600s"
            ),
            dead_letter_policy=gcp.pubsub.SubscriptionDeadLetterPolicyArgs(
                dead_letter_topic=self.dead_letters.topic.id,
                max_delivery_attempts=args.max_delivery_attempts,
            ),
            opts=child_opts(self, depends_on=[self.dead_letters.publisher]),
        )
        self.forwarder = gcp.pubsub.SubscriptionIAMMember(
            f"{name}-forwarder",
            subscription=self.ingestion.name,
            role="roles/pubsub.subscriber",
            member=args.pubsub_agent,
            opts=child_opts(self),
        )
        self.register_outputs(
            {
                "topic": self.topic.id,
                "ingestion": self.ingestion.id,
                "dead_letters": self.dead_letters.topic.id,
            }
        )
