"""The Publisher service: topics, and publishing to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from localcloud.services.pubsub import checks, names, wire
from localcloud.services.pubsub.errors import already_exists, invalid
from localcloud.services.pubsub.refusals import refuse_topic
from localcloud.services.pubsub.wire import Pb

if TYPE_CHECKING:
    from localcloud.services.pubsub.broker import Broker, Topic
    from localcloud.services.pubsub.snapshots import Snapshots

# https://cloud.google.com/pubsub/quotas#resource_limits
MAX_REQUEST_MESSAGES: Final = 1_000
MAX_BYTES: Final = 10_000_000
MAX_ATTRIBUTES: Final = 100
MAX_KEY_BYTES: Final = 256
MAX_VALUE_BYTES: Final = 1_024
MAX_ORDERING_KEY_BYTES: Final = 1_024

_MUTABLE: Final = frozenset(
    {
        "labels",
        "message_storage_policy",
        "kms_key_name",
        "schema_settings",
        "message_retention_duration",
        "ingestion_data_source_settings",
        "message_transforms",
    }
)


class Publisher:
    """Handlers of `google.pubsub.v1.Publisher`."""

    def __init__(self, broker: Broker, snapshots: Snapshots) -> None:
        self._broker = broker
        self._snapshots = snapshots

    async def create_topic(self, request: Pb) -> Pb:
        names.check("topics", request.name)
        if request.name in self._broker.topics:
            raise already_exists(request.name)
        config = wire.Topic()
        config.CopyFrom(request)
        self._check(config)
        topic = self._broker.add_topic(config)
        await self._broker.store.write(
            (
                "INSERT INTO topics VALUES (?, ?, ?)",
                [(topic.uid, config.name, config.SerializeToString())],
            )
        )
        return topic.config

    async def update_topic(self, request: Pb) -> Pb:
        topic = self._broker.topic(request.topic.name)
        config = checks.merged(topic.config, request.topic, request.update_mask, _MUTABLE)
        self._check(config)
        topic.config = config
        await self._broker.store.write(
            ("UPDATE topics SET body = ? WHERE uid = ?", [(config.SerializeToString(), topic.uid)])
        )
        return config

    async def get_topic(self, request: Pb) -> Pb:
        return self._shown(self._broker.topic(request.topic))

    async def list_topics(self, request: Pb) -> Pb:
        project = names.check_project(request.project)
        mine = [name for name in self._broker.topics if name.startswith(f"{project}/")]
        chosen, token = checks.page(mine, request.page_size, request.page_token)
        return wire.ListTopicsResponse(
            topics=[self._shown(self._broker.topics[name]) for name in chosen],
            next_page_token=token,
        )

    async def list_topic_subscriptions(self, request: Pb) -> Pb:
        topic = self._broker.topic(request.topic)
        chosen, token = checks.page(
            [s.name for s in topic.subscriptions.values()], request.page_size, request.page_token
        )
        return wire.ListTopicSubscriptionsResponse(subscriptions=chosen, next_page_token=token)

    async def list_topic_snapshots(self, request: Pb) -> Pb:
        topic = self._broker.topic(request.topic)
        chosen, token = checks.page(
            self._snapshots.of_topic(topic.uid), request.page_size, request.page_token
        )
        return wire.ListTopicSnapshotsResponse(snapshots=chosen, next_page_token=token)

    async def delete_topic(self, request: Pb) -> None:
        topic = self._broker.topic(request.topic)
        orphans = self._broker.remove_topic(topic)
        await self._broker.store.write(
            ("DELETE FROM topics WHERE uid = ?", [(topic.uid,)]),
            ("DELETE FROM policies WHERE resource = ?", [(topic.config.name,)]),
            (
                "UPDATE subscriptions SET body = ? WHERE uid = ?",
                [(orphan.config.SerializeToString(), orphan.uid) for orphan in orphans],
            ),
            *self._snapshots.orphan(topic.uid),
        )

    async def detach_subscription(self, request: Pb) -> Pb:
        subscription = self._broker.subscription(request.subscription)
        config = wire.Subscription()
        config.CopyFrom(subscription.config)
        config.detached = True
        self._broker.detach(subscription)
        subscription.configure(config)
        # A detached subscription loses its backlog.
        floor = self._broker.sequence.last
        await subscription.seek(
            floor,
            (
                "UPDATE subscriptions SET body = ? WHERE uid = ?",
                [(config.SerializeToString(), subscription.uid)],
            ),
        )
        return wire.DetachSubscriptionResponse()

    async def publish(self, request: Pb) -> Pb:
        topic = self._broker.topic(request.topic)
        messages = request.messages
        check_messages(messages)
        if request.ByteSize() > MAX_BYTES + len(request.topic) + 16:
            raise invalid(
                f"The request has {request.ByteSize()} bytes; at most {MAX_BYTES} are allowed."
            )
        self._broker.stamp_schema(topic, messages)
        return wire.PublishResponse(message_ids=await self._broker.publish(topic, messages))

    def _check(self, config: Pb) -> None:
        refuse_topic(config)
        checks.check_labels(config.labels)
        if config.HasField("message_retention_duration"):
            checks.check_duration(
                "message_retention_duration",
                config.message_retention_duration,
                10 * checks.MINUTE,
                31 * checks.DAY,
            )
        if config.HasField("schema_settings"):
            if not config.schema_settings.schema:
                config.ClearField("schema_settings")
            else:
                self._broker.schemas.check_settings(config.schema_settings)
        config.state = wire.ACTIVE

    def _shown(self, topic: Topic) -> Pb:
        config = topic.config
        if config.HasField("schema_settings") and not self._broker.schemas.exists(
            config.schema_settings.schema
        ):
            shown = wire.Topic()
            shown.CopyFrom(config)
            shown.schema_settings.schema = names.DELETED_SCHEMA
            return shown
        return config


def check_messages(messages: Sequence[Pb]) -> None:
    """Google's limits on what may be published.

    Raises:
        Fault: INVALID_ARGUMENT naming the message by its place in the request.
    """
    if not messages:
        raise invalid("The request has no messages; at least one is needed.")
    if len(messages) > MAX_REQUEST_MESSAGES:
        raise invalid(
            f"The request has {len(messages)} messages; at most {MAX_REQUEST_MESSAGES} are allowed."
        )
    for at, message in enumerate(messages):
        attributes = message.attributes
        if not message.data and not attributes:
            raise invalid(
                f"messages[{at}] is empty; a message must have data or at least one attribute."
            )
        if len(message.data) > MAX_BYTES:
            raise invalid(
                f"messages[{at}].data has {len(message.data)} bytes; at most {MAX_BYTES} are "
                "allowed."
            )
        if message.ordering_key and len(message.ordering_key.encode()) > MAX_ORDERING_KEY_BYTES:
            raise invalid(
                f"messages[{at}].ordering_key is longer than {MAX_ORDERING_KEY_BYTES} bytes."
            )
        if attributes:
            _check_attributes(at, attributes)


def _check_attributes(at: int, attributes: Pb) -> None:
    if len(attributes) > MAX_ATTRIBUTES:
        raise invalid(
            f"messages[{at}] has {len(attributes)} attributes; at most {MAX_ATTRIBUTES} are "
            "allowed."
        )
    for key, value in attributes.items():
        if not key or len(key.encode()) > MAX_KEY_BYTES:
            raise invalid(
                f"messages[{at}] has the attribute key {key[:40]!r}; keys have 1 to "
                f"{MAX_KEY_BYTES} bytes."
            )
        # The clients' own keys (tracing) start with googclient_ and are let through.
        if key.startswith("goog") and not key.startswith("googclient_"):
            raise invalid(
                f"messages[{at}] has the attribute key {key!r}; keys must not start with goog."
            )
        if len(value.encode()) > MAX_VALUE_BYTES:
            raise invalid(
                f"messages[{at}].attributes[{key!r}] is longer than {MAX_VALUE_BYTES} bytes."
            )
