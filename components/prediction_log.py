"""The log of what models answered: a topic that servers publish to, and BigQuery behind it.

Owns the Avro schema, the topic, and the subscription by which Pub/Sub itself writes the table, with
its dead letters. It leaves alone the table, which is the warehouse's, and who may publish.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import checks, dataset_access
from components.child_opts import child_opts
from components.dead_letters import DAY, DeadLetters, DeadLettersArgs


@dataclass(frozen=True, kw_only=True)
class PredictionLogArgs:
    """What a prediction log needs.

    Raises:
        InvalidArgs: at construction, when a value is out of range.
    """

    avro_schema: Mapping[str, Any]
    """The Avro record of one predicted row."""
    table: pulumi.Input[str]
    """`project.dataset.table` with the fields of that record for columns, known once it is made."""
    dataset_id: pulumi.Input[str]
    """The id of its dataset, which Pub/Sub is let write to."""
    pubsub_agent: pulumi.Input[str]
    """`serviceAccount:...` of the project's Pub/Sub service agent, which does the writing."""
    location: str | None = None
    """The one region in which messages may lie; any of Google's when not given."""
    kms_key: pulumi.Input[str] | None = None
    """Key that encrypts the messages; Google's own when not given."""
    retention_days: int = 7
    """How long a row waits to be written. Up to 31."""
    dead_letter_retention_days: int = 31
    """How long a dead letter waits to be looked at, up to 31."""
    max_delivery_attempts: int = 10
    """Failed writes after which a row is a dead letter, 5 to 100."""

    def __post_init__(self) -> None:
        who = "PredictionLog"
        if self.avro_schema.get("type") != "record" or not self.avro_schema.get("fields"):
            raise checks.InvalidArgs(
                who, "avro_schema", dict(self.avro_schema), "an Avro record with fields"
            )
        checks.between(who, "retention_days", self.retention_days, 1, 31, "days")
        checks.between(
            who, "dead_letter_retention_days", self.dead_letter_retention_days, 1, 31, "days"
        )
        checks.between(who, "max_delivery_attempts", self.max_delivery_attempts, 5, 100)


class PredictionLog(pulumi.ComponentResource):
    """Topic `<name>` with its schema, and the subscription `<name>-bigquery`."""

    schema: gcp.pubsub.Schema
    topic: gcp.pubsub.Topic
    dead_letters: DeadLetters
    subscription: gcp.pubsub.Subscription

    def __init__(
        self, name: str, *, args: PredictionLogArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("PredictionLog", "name", name, checks.TOPIC)
        super().__init__("esteira:prediction_log:PredictionLog", name, {}, opts)
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
            message_storage_policy=None
            if args.location is None
            else gcp.pubsub.TopicMessageStoragePolicyArgs(
                allowed_persistence_regions=[args.location]
            ),
            kms_key_name=args.kms_key,
            opts=child_opts(self),
        )
        written = f"{name}-bigquery"
        self.dead_letters = DeadLetters(
            f"{written}-dead-letters",
            args=DeadLettersArgs(
                pubsub_agent=args.pubsub_agent,
                retention_days=args.dead_letter_retention_days,
                kms_key=args.kms_key,
            ),
            opts=child_opts(self),
        )
        writer = dataset_access.member(
            f"{written}-writer",
            dataset_id=args.dataset_id,
            role="roles/bigquery.dataEditor",
            member=args.pubsub_agent,
            opts=child_opts(self),
        )
        self.subscription = gcp.pubsub.Subscription(
            written,
            name=written,
            topic=self.topic.id,
            bigquery_config=gcp.pubsub.SubscriptionBigqueryConfigArgs(
                table=args.table,
                # The columns follow from the schema, so that a row needs no unpacking in queries.
                use_topic_schema=True,
            ),
            message_retention_duration=f"{args.retention_days * DAY}s",
            expiration_policy=gcp.pubsub.SubscriptionExpirationPolicyArgs(ttl=""),
            retry_policy=gcp.pubsub.SubscriptionRetryPolicyArgs(
                minimum_backoff="10s", maximum_backoff="600s"
            ),
            dead_letter_policy=gcp.pubsub.SubscriptionDeadLetterPolicyArgs(
                dead_letter_topic=self.dead_letters.topic.id,
                max_delivery_attempts=args.max_delivery_attempts,
            ),
            opts=child_opts(self, depends_on=[writer, self.dead_letters.publisher]),
        )
        gcp.pubsub.SubscriptionIAMMember(
            f"{written}-forwarder",
            subscription=self.subscription.name,
            role="roles/pubsub.subscriber",
            member=args.pubsub_agent,
            opts=child_opts(self),
        )
        self.register_outputs({"topic": self.topic.id, "subscription": self.subscription.id})
