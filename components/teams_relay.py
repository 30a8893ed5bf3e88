"""Takes alerts from their topic to channels of Microsoft Teams and Slack.

Cloud Monitoring has no notification channel for Teams, and its own for Slack knows nothing of what
our monitors know; so a Cloud Run service of ours posts to the channels' webhooks. A webhook's
address is whatever its secret holds: it is read by the service when it starts, and neither the
program nor the state ever sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.push_service import PushService, PushServiceArgs
from components.workload_identity import Grant, WorkloadIdentity, WorkloadIdentityArgs

REMEMBERED_DAYS: Final = 62
"""A budget repeats itself until the month ends, and for some days after."""


@dataclass(frozen=True, kw_only=True)
class TeamsRelayArgs:
    """What the relay needs.

    Raises:
        InvalidArgs: at construction, when a name does not fit.
    """

    project: str
    location: str
    image: pulumi.Input[str]
    """By digest."""
    images: gcp.artifactregistry.Repository
    """Where the image is pulled from."""
    topic: pulumi.Input[str]
    """`projects/.../topics/...` of the alerts."""
    webhooks: Mapping[str, str]
    """By the variable that the service reads it from, the secret of Secret Manager that holds a
    webhook's address. Empty: the service posts to the inbox of the local cloud."""
    environment: Mapping[str, pulumi.Input[str]]
    """Beside the webhooks, and without the bucket."""
    ledger_variable: str
    """The variable that names the bucket, `gs://...`."""
    bucket: str
    """The name of the bucket that remembers what was delivered."""
    minimum_backoff_seconds: int = 10
    """The least wait before an alert that a channel refused is tried again."""
    account_id: str
    """Of the identity that it runs as; `<account_id>-call` is that of its caller."""
    pubsub_agent: pulumi.Input[str]
    """`serviceAccount:...` of the project's Pub/Sub service agent."""
    kms_key: pulumi.Input[str] | None = None
    topic_kms_key: pulumi.Input[str] | None = None
    bucket_kms_key: pulumi.Input[str] | None = None
    access_log: pulumi.Input[str] | None = None
    """Bucket that keeps a log of who touched the ledger."""
    deletion_protection: bool = False
    force_destroy: bool = False
    """Whether destroying the stack deletes the bucket while it remembers something."""
    protect: bool = False

    def __post_init__(self) -> None:
        who = "TeamsRelay"
        checks.matches(who, "bucket", self.bucket, checks.BUCKET)
        checks.matches(who, "account_id", f"{self.account_id}-call", checks.ACCOUNT)


class TeamsRelay(pulumi.ComponentResource):
    """Service `<name>` behind the push subscription `<name>`."""

    ledger: gcp.storage.Bucket
    identity: WorkloadIdentity
    caller: WorkloadIdentity
    readers: list[gcp.secretmanager.SecretIamMember]
    """The identity may read the secrets, and no other."""
    push: PushService

    def __init__(
        self, name: str, *, args: TeamsRelayArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:teams_relay:TeamsRelay", name, {}, opts)
        self.ledger = self._bucket(name, args)
        self.identity = WorkloadIdentity(
            name,
            args=WorkloadIdentityArgs(
                account_id=args.account_id,
                description="Posts alerts to Teams",
                grants=[
                    Grant(role="roles/storage.objectUser", on=self.ledger, label="remember"),
                    Grant(
                        role="roles/artifactregistry.reader", on=args.images, label="pull-images"
                    ),
                ],
            ),
            opts=child_opts(self),
        )
        self.caller = WorkloadIdentity(
            f"{name}-call",
            args=WorkloadIdentityArgs(
                account_id=f"{args.account_id}-call",
                description="Hands alerts to the relay to Teams",
            ),
            opts=child_opts(self),
        )
        self.readers = [
            gcp.secretmanager.SecretIamMember(
                f"{name}-{variable.lower().replace('_', '-')}",
                project=args.project,
                secret_id=secret,
                role="roles/secretmanager.secretAccessor",
                member=self.identity.member,
                opts=child_opts(self),
            )
            for variable, secret in sorted(args.webhooks.items())
        ]
        # Cloud Run reads the secrets when it makes the service: not before the identity may.
        account: pulumi.Output[str] = pulumi.Output.all(
            self.identity.email, *(one.urn for one in self.readers)
        ).apply(lambda known: str(known[0]))
        self.push = PushService(
            name,
            args=PushServiceArgs(
                image=args.image,
                location=args.location,
                service_account=account,
                caller=self.caller.account,
                topic=args.topic,
                subscription=name,
                pubsub_agent=args.pubsub_agent,
                environment={**args.environment, args.ledger_variable: self.ledger.url},
                secrets=args.webhooks,
                # Teams takes few messages a second, and one instance keeps them in order.
                max_instances=1,
                # Ten minutes apart in the end: a channel may be down for half a day.
                max_delivery_attempts=100,
                minimum_backoff_seconds=args.minimum_backoff_seconds,
                # Teams is outside: traffic leaves by Google's own way, not through the network.
                subnetwork=None,
                kms_key=args.kms_key,
                topic_kms_key=args.topic_kms_key,
                deletion_protection=args.deletion_protection,
            ),
            opts=child_opts(self),
        )
        self.register_outputs(
            {"uri": self.push.service.uri, "dead_letters": self.push.dead_letters.topic.id}
        )

    def _bucket(self, name: str, args: TeamsRelayArgs) -> gcp.storage.Bucket:
        storage = gcp.storage
        return storage.Bucket(
            f"{name}-delivered",
            name=args.bucket,
            location=args.location.upper(),
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning=storage.BucketVersioningArgs(enabled=True),
            lifecycle_rules=[
                storage.BucketLifecycleRuleArgs(
                    action=storage.BucketLifecycleRuleActionArgs(type="Delete"),
                    condition=storage.BucketLifecycleRuleConditionArgs(age=REMEMBERED_DAYS),
                )
            ],
            encryption=None
            if args.bucket_kms_key is None
            else storage.BucketEncryptionArgs(default_kms_key_name=args.bucket_kms_key),
            logging=None
            if args.access_log is None
            else storage.BucketLoggingArgs(
                log_bucket=args.access_log, log_object_prefix=args.bucket
            ),
            force_destroy=args.force_destroy,
            opts=child_opts(self, protect=args.protect),
        )
