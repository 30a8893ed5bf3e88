"""The Subscriber service's resources: creating, changing, listing and deleting subscriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from localcloud.services.pubsub import checks, names, wire
from localcloud.services.pubsub.delivery import Subscription
from localcloud.services.pubsub.errors import already_exists, invalid
from localcloud.services.pubsub.filters import compile_filter
from localcloud.services.pubsub.refusals import refuse_subscription
from localcloud.services.pubsub.wire import Pb

if TYPE_CHECKING:
    from localcloud.services.pubsub.broker import Broker

# Defaults and bounds: the Subscription message's own comments in google/pubsub/v1/pubsub.proto.
DEFAULT_ACK_DEADLINE: Final = 10
DEFAULT_RETENTION: Final = 7 * checks.DAY
DEFAULT_TTL: Final = 31 * checks.DAY
DEFAULT_BACKOFF: Final = (10, 600)
DEFAULT_ATTEMPTS: Final = 5

_MUTABLE: Final = frozenset(
    {
        "push_config",
        "bigquery_config",
        "cloud_storage_config",
        "bigtable_config",
        "ack_deadline_seconds",
        "retain_acked_messages",
        "message_retention_duration",
        "labels",
        "expiration_policy",
        "dead_letter_policy",
        "retry_policy",
        "enable_exactly_once_delivery",
        "message_transforms",
    }
)


class Exporter(Protocol):
    """What delivers a subscription's messages by itself: a pusher, a BigQuery writer."""

    def stop(self) -> None: ...


class Exporters(Protocol):
    """Starts the exporter that a configuration asks for."""

    async def check(self, config: Pb) -> None:
        """Raise a Fault when the destination cannot take the topic's messages."""
        ...

    def start(self, subscription: Subscription) -> Exporter | None: ...


class Subscriptions:
    """Handlers for the subscriptions themselves; `streaming.py` has those that pull.

    Args:
        exporters: how push and BigQuery subscriptions deliver.
    """

    def __init__(self, broker: Broker, exporters: Exporters) -> None:
        self._broker = broker
        self._exporters = exporters
        self._running: dict[int, Exporter] = {}
        for subscription in broker.subscriptions.values():
            self._restart(subscription)

    async def create_subscription(self, request: Pb) -> Pb:
        names.check("subscriptions", request.name)
        if request.name in self._broker.subscriptions:
            raise already_exists(request.name)
        topic = self._broker.topic(request.topic)
        config = wire.Subscription()
        config.CopyFrom(request)
        config.detached = False
        self._check(config)
        await self._exporters.check(config)
        if request.name in self._broker.subscriptions:
            raise already_exists(request.name)  # Someone was faster.
        birth = self._broker.sequence.last
        uid = self._broker.sequence.take()
        subscription = Subscription(self._broker, uid, topic.uid, birth, birth, config)
        self._broker.attach(subscription)
        await self._broker.store.write(
            (
                "INSERT INTO subscriptions VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        uid,
                        config.name,
                        topic.uid,
                        birth,
                        birth,
                        subscription.active_at,
                        config.SerializeToString(),
                    )
                ],
            )
        )
        self._restart(subscription)
        return self._shown(subscription)

    async def get_subscription(self, request: Pb) -> Pb:
        return self._shown(self._broker.subscription(request.subscription))

    async def update_subscription(self, request: Pb) -> Pb:
        subscription = self._broker.subscription(request.subscription.name)
        config = checks.merged(
            subscription.config, request.subscription, request.update_mask, _MUTABLE
        )
        await self._change(subscription, config)
        return self._shown(subscription)

    async def modify_push_config(self, request: Pb) -> None:
        subscription = self._broker.subscription(request.subscription)
        config = wire.Subscription()
        config.CopyFrom(subscription.config)
        config.push_config.CopyFrom(request.push_config)
        await self._change(subscription, config)

    async def list_subscriptions(self, request: Pb) -> Pb:
        project = names.check_project(request.project)
        mine = [name for name in self._broker.subscriptions if name.startswith(f"{project}/")]
        chosen, token = checks.page(mine, request.page_size, request.page_token)
        return wire.ListSubscriptionsResponse(
            subscriptions=[self._shown(self._broker.subscriptions[name]) for name in chosen],
            next_page_token=token,
        )

    async def delete_subscription(self, request: Pb) -> None:
        await self.remove(self._broker.subscription(request.subscription))

    async def remove(self, subscription: Subscription) -> None:
        """Delete a subscription and all that is kept for it."""
        del self._broker.subscriptions[subscription.name]
        self._broker.detach(subscription)
        self._stop(subscription)
        subscription.close()
        key = [(subscription.uid,)]
        await self._broker.store.write(
            ("DELETE FROM subscriptions WHERE uid = ?", key),
            ("DELETE FROM acked WHERE subscription = ?", key),
            ("DELETE FROM attempts WHERE subscription = ?", key),
            ("DELETE FROM policies WHERE resource = ?", [(subscription.name,)]),
        )

    async def _change(self, subscription: Subscription, config: Pb) -> None:
        self._check(config)
        await self._exporters.check(config)
        delivery_changed = any(
            getattr(config, field) != getattr(subscription.config, field)
            for field in ("push_config", "bigquery_config", "ack_deadline_seconds")
        )
        config.topic = subscription.config.topic  # It may have been deleted meanwhile.
        subscription.configure(config)
        await self._broker.store.write(
            (
                "UPDATE subscriptions SET body = ? WHERE uid = ?",
                [(config.SerializeToString(), subscription.uid)],
            )
        )
        if delivery_changed:
            self._restart(subscription)

    def _restart(self, subscription: Subscription) -> None:
        self._stop(subscription)
        exporter = self._exporters.start(subscription)
        if exporter is not None:
            self._running[subscription.uid] = exporter

    def _stop(self, subscription: Subscription) -> None:
        exporter = self._running.pop(subscription.uid, None)
        if exporter is not None:
            exporter.stop()

    def _shown(self, subscription: Subscription) -> Pb:
        retention = self._broker.topic_retention(subscription.topic)
        if not retention:
            return subscription.config
        shown = wire.Subscription()
        shown.CopyFrom(subscription.config)
        shown.topic_message_retention_duration.FromMicroseconds(retention)
        return shown

    def _check(self, config: Pb) -> None:
        """Judge a configuration and fill in the defaults.

        Raises:
            Fault: INVALID_ARGUMENT, NOT_FOUND or UNIMPLEMENTED.
        """
        refuse_subscription(config)
        checks.check_labels(config.labels)
        compile_filter(config.filter)
        config.state = wire.ACTIVE
        config.ack_deadline_seconds = config.ack_deadline_seconds or DEFAULT_ACK_DEADLINE
        if not 10 <= config.ack_deadline_seconds <= 600:
            raise invalid(
                f"ack_deadline_seconds is {config.ack_deadline_seconds}; it must be 10 to 600."
            )
        if not config.HasField("message_retention_duration"):
            config.message_retention_duration.FromSeconds(DEFAULT_RETENTION)
        checks.check_duration(
            "message_retention_duration",
            config.message_retention_duration,
            10 * checks.MINUTE,
            31 * checks.DAY,
        )
        self._check_expiration(config)
        self._check_retry(config)
        self._check_dead_letters(config)
        _check_destination(config)

    def _check_expiration(self, config: Pb) -> None:
        if not config.HasField("expiration_policy"):
            config.expiration_policy.ttl.FromSeconds(DEFAULT_TTL)
            return
        # A policy without ttl means that the subscription never expires.
        if config.expiration_policy.HasField("ttl"):
            ttl = config.expiration_policy.ttl
            if checks.micros(ttl) == 0:
                config.expiration_policy.ClearField("ttl")
            elif checks.micros(ttl) < checks.DAY * checks.MICROS:
                raise invalid(
                    f"expiration_policy.ttl is {ttl.seconds}s; it must be at least one day "
                    f"({checks.DAY}s), or unset for a subscription that never expires."
                )

    def _check_retry(self, config: Pb) -> None:
        if not config.HasField("retry_policy"):
            return
        policy = config.retry_policy
        for field, default in zip(
            ("minimum_backoff", "maximum_backoff"), DEFAULT_BACKOFF, strict=True
        ):
            if not policy.HasField(field):
                getattr(policy, field).FromSeconds(default)
            checks.check_duration(f"retry_policy.{field}", getattr(policy, field), 0, 600)
        if checks.micros(policy.maximum_backoff) < checks.micros(policy.minimum_backoff):
            raise invalid(
                f"retry_policy.maximum_backoff is {policy.maximum_backoff.seconds}s; it must not "
                f"be below minimum_backoff, {policy.minimum_backoff.seconds}s."
            )

    def _check_dead_letters(self, config: Pb) -> None:
        if not config.HasField("dead_letter_policy"):
            return
        policy = config.dead_letter_policy
        if not policy.dead_letter_topic:
            config.ClearField("dead_letter_policy")
            return
        self._broker.topic(policy.dead_letter_topic)
        policy.max_delivery_attempts = policy.max_delivery_attempts or DEFAULT_ATTEMPTS
        if not 5 <= policy.max_delivery_attempts <= 100:
            raise invalid(
                f"dead_letter_policy.max_delivery_attempts is {policy.max_delivery_attempts}; it "
                "must be 5 to 100."
            )


def _check_destination(config: Pb) -> None:
    push = config.push_config
    pushes = bool(push.push_endpoint)
    if not pushes and (push.HasField("oidc_token") or push.WhichOneof("wrapper")):
        raise invalid("push_config.push_endpoint is missing; give the URL to push to.")
    if not pushes:
        config.ClearField("push_config")
    else:
        parts = urlsplit(push.push_endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise invalid(
                f"push_config.push_endpoint is {push.push_endpoint!r}; it must be an http or "
                "https URL."
            )
    exports = config.HasField("bigquery_config") and bool(config.bigquery_config.table)
    if not exports:
        config.ClearField("bigquery_config")
    if not (pushes or exports):
        return
    if pushes and exports:
        raise invalid("Set push_config or bigquery_config, not both.")
    if config.enable_exactly_once_delivery:
        raise invalid(
            "enable_exactly_once_delivery is only for pull subscriptions; leave it out together "
            "with push_config or bigquery_config."
        )
    if exports and config.bigquery_config.table.count(".") != 2:
        raise invalid(
            f"bigquery_config.table is {config.bigquery_config.table!r}; expected "
            "PROJECT.DATASET.TABLE."
        )
    if (
        exports
        and config.bigquery_config.use_topic_schema
        and config.bigquery_config.use_table_schema
    ):
        raise invalid("bigquery_config.use_topic_schema and use_table_schema cannot both be true.")
