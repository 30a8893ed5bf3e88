"""Topics and subscriptions of Pub/Sub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from policies.checks import at, is_set, no_public_member
from policies.rule import HOUSE, Level, Resource, Rule, Severity, StackRule

TOPIC: Final = "gcp:pubsub/topic:Topic"
SUBSCRIPTION: Final = "gcp:pubsub/subscription:Subscription"


def _dead_letters(subscriptions: Sequence[Resource]) -> Iterator[tuple[Resource, str]]:
    """Every subscription has a dead-letter policy, but those that read dead letters.

    Which ones do is told by where values come from: the topics' names are not known before they
    are made.
    """
    graves = {
        urn
        for one in subscriptions
        for name, urns in one.made_from.items()
        if name.startswith("deadLetterPolicy")
        for urn in urns
    }
    for one in subscriptions:
        reads = {urn for name, urns in one.made_from.items() if name == "topic" for urn in urns}
        named = "deadLetterPolicy" in one.props.keys()  # noqa: SIM118 - reads no value
        if not reads & graves and not (named and at(one.props, "deadLetterPolicy")):
            yield one, "`deadLetterPolicy` is not set: what cannot be delivered is lost"


RULES: Final = (
    Rule(
        name="topic-customer-key",
        description="Messages are encrypted with a key of our own.",
        remedy="Set `kmsKeyName` (setting `security.customerManagedKeys`).",
        references=("CKV_GCP_83",),
        level=Level.IN_PROD,
        severity=Severity.HIGH,
        types=(TOPIC,),
        checks=(is_set("kmsKeyName"),),
    ),
    Rule(
        name="pubsub-no-public-member",
        description="No role on a topic or subscription is granted to everyone.",
        remedy="Grant the role to the service account that publishes or reads.",
        references=("CKV_GCP_99",),
        level=Level.MANDATORY,
        severity=Severity.CRITICAL,
        types=(
            "gcp:pubsub/topicIAMMember:TopicIAMMember",
            "gcp:pubsub/topicIAMBinding:TopicIAMBinding",
            "gcp:pubsub/topicIAMPolicy:TopicIAMPolicy",
            "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember",
            "gcp:pubsub/subscriptionIAMBinding:SubscriptionIAMBinding",
            "gcp:pubsub/subscriptionIAMPolicy:SubscriptionIAMPolicy",
        ),
        checks=(no_public_member,),
    ),
    StackRule(
        name="subscription-dead-letters",
        description="A message that cannot be delivered is kept, and not tried for ever.",
        remedy="Set `deadLetterPolicy`, and subscribe to its topic (component EventStream).",
        references=(HOUSE,),
        level=Level.ADVISORY,
        severity=Severity.MEDIUM,
        types=(SUBSCRIPTION,),
        check=_dead_letters,
    ),
)
