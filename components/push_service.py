"""A Cloud Run service that Pub/Sub calls once for each message of a topic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts
from components.cloud_run import SERVICE_NAME, Container, service_template
from components.dead_letters import DeadLetters, DeadLettersArgs


@dataclass(frozen=True, kw_only=True)
class PushServiceArgs:
    """What a service behind a push subscription needs.

    Raises:
        InvalidArgs: at construction, when a value is out of range.
    """

    image: pulumi.Input[str]
    """By digest."""
    location: str
    service_account: pulumi.Input[str]
    """E-mail of the identity that the service runs as."""
    caller: gcp.serviceaccount.Account
    """The identity that Pub/Sub shows when it calls; it is granted just that."""
    topic: pulumi.Input[str]
    """`projects/.../topics/...` whose messages are pushed."""
    subscription: str
    """The name of the push subscription."""
    pubsub_agent: pulumi.Input[str]
    """`serviceAccount:...` of the project's Pub/Sub service agent."""
    environment: Mapping[str, pulumi.Input[str]]
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])
    """By variable, the secret of Secret Manager that fills it."""
    command: tuple[str, ...] = ()
    """Replaces the image's entry point when given."""
    path: str = "/"
    """The route that takes messages."""
    max_instances: int = 3
    timeout_seconds: int = 60
    """For one message; also the deadline after which Pub/Sub sends it again. 10 to 600."""
    max_delivery_attempts: int = 10
    """Failed deliveries after which a message is a dead letter, 5 to 100."""
    minimum_backoff_seconds: int = 10
    """The least wait before a message that failed comes again."""
    cpu: str = "1"
    memory: str = "512Mi"
    subnetwork: pulumi.Input[str] | None = None
    """Through which all traffic leaves; Google's own way out when not given."""
    kms_key: pulumi.Input[str] | None = None
    """Encrypts the service's container."""
    topic_kms_key: pulumi.Input[str] | None = None
    """Encrypts its dead letters."""
    deletion_protection: bool = False

    def __post_init__(self) -> None:
        who = "PushService"
        checks.matches(who, "subscription", self.subscription, checks.TOPIC)
        checks.between(who, "max_instances", self.max_instances, 1, 1000)
        checks.between(who, "timeout_seconds", self.timeout_seconds, 10, 600, "seconds")
        checks.between(who, "max_delivery_attempts", self.max_delivery_attempts, 5, 100)
        checks.between(
            who, "minimum_backoff_seconds", self.minimum_backoff_seconds, 0, 600, "seconds"
        )
        if not self.path.startswith("/"):
            raise checks.InvalidArgs(who, "path", self.path, "a route starting with `/`")


class PushService(pulumi.ComponentResource):
    """Cloud Run service `<name>`, called with an OIDC token; not reachable from outside."""

    service: gcp.cloudrunv2.Service
    invoker: gcp.cloudrunv2.ServiceIamMember
    dead_letters: DeadLetters
    subscription: gcp.pubsub.Subscription

    def __init__(
        self, name: str, *, args: PushServiceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        checks.matches("PushService", "name", name, SERVICE_NAME)
        super().__init__("esteira:push_service:PushService", name, {}, opts)
        self.service = self._service(name, args)
        self.invoker = gcp.cloudrunv2.ServiceIamMember(
            f"{name}-invoker",
            name=self.service.name,
            location=args.location,
            role="roles/run.invoker",
            member=args.caller.member,
            opts=child_opts(self),
        )
        tokens = gcp.serviceaccount.IAMMember(
            f"{name}-tokens",
            service_account_id=args.caller.name,
            role="roles/iam.serviceAccountTokenCreator",
            member=args.pubsub_agent,
            opts=child_opts(self),
        )
        self.dead_letters = DeadLetters(
            f"{args.subscription}-dead-letters",
            args=DeadLettersArgs(pubsub_agent=args.pubsub_agent, kms_key=args.topic_kms_key),
            opts=child_opts(self),
        )
        self.subscription = gcp.pubsub.Subscription(
            args.subscription,
            name=args.subscription,
            topic=args.topic,
            ack_deadline_seconds=args.timeout_seconds,
            expiration_policy=gcp.pubsub.SubscriptionExpirationPolicyArgs(ttl=""),
            push_config=gcp.pubsub.SubscriptionPushConfigArgs(
                push_endpoint=pulumi.Output.concat(self.service.uri, args.path),
                oidc_token=gcp.pubsub.SubscriptionPushConfigOidcTokenArgs(
                    service_account_email=args.caller.email, audience=self.service.uri
                ),
            ),
            retry_policy=gcp.pubsub.SubscriptionRetryPolicyArgs(
                minimum_backoff=f"{args.minimum_backoff_seconds}s", maximum_backoff="600s"
            ),
            dead_letter_policy=gcp.pubsub.SubscriptionDeadLetterPolicyArgs(
                dead_letter_topic=self.dead_letters.topic.id,
                max_delivery_attempts=args.max_delivery_attempts,
            ),
            opts=child_opts(self, depends_on=[self.invoker, tokens, self.dead_letters.publisher]),
        )
        gcp.pubsub.SubscriptionIAMMember(
            f"{args.subscription}-forwarder",
            subscription=self.subscription.name,
            role="roles/pubsub.subscriber",
            member=args.pubsub_agent,
            opts=child_opts(self),
        )
        self.register_outputs({"uri": self.service.uri, "subscription": self.subscription.id})

    def _service(self, name: str, args: PushServiceArgs) -> gcp.cloudrunv2.Service:
        return gcp.cloudrunv2.Service(
            name,
            name=name,
            location=args.location,
            # Push from a subscription of the same project counts as internal.
            ingress="INGRESS_TRAFFIC_INTERNAL_ONLY",
            deletion_protection=args.deletion_protection,
            template=service_template(
                Container(
                    image=args.image,
                    environment=args.environment,
                    command=args.command,
                    cpu=args.cpu,
                    memory=args.memory,
                    secrets=args.secrets,
                ),
                service_account=args.service_account,
                timeout_seconds=args.timeout_seconds,
                max_instances=args.max_instances,
                subnetwork=args.subnetwork,
                kms_key=args.kms_key,
            ),
            opts=child_opts(self),
        )
