"""Snapshots, and seeking to one or to a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from localcloud.services.pubsub import checks, names, wire
from localcloud.services.pubsub.checks import MICROS, micros
from localcloud.services.pubsub.delivery import Subscription
from localcloud.services.pubsub.errors import (
    already_exists,
    failed_precondition,
    invalid,
    not_found,
)
from localcloud.services.pubsub.store import Statement
from localcloud.services.pubsub.wire import Pb

if TYPE_CHECKING:
    from localcloud.services.pubsub.broker import Broker

# A snapshot lives for a week less the age of the oldest message it holds, and must live an hour.
LIFETIME: Final = 7 * checks.DAY * MICROS
SHORTEST: Final = 3_600 * MICROS

_COPY: Final = "INSERT INTO snapshots SELECT ?, ?, topic, floor, ? FROM subscriptions WHERE uid = ?"


class Snapshots:
    """Handlers for snapshots and Seek."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._snapshots: dict[str, tuple[int, int, Pb]] = {
            name: (uid, topic, wire.Snapshot.FromString(body))
            for uid, name, topic, body in broker.store.rows(
                "SELECT uid, name, topic, body FROM snapshots"
            )
        }

    def exists(self, name: str) -> bool:
        return name in self._snapshots

    def of_topic(self, topic: int) -> list[str]:
        """The names of a topic's snapshots."""
        return [name for name, (_, of, _) in self._snapshots.items() if of == topic]

    def orphan(self, topic: int) -> list[Statement]:
        """The topic has gone: its snapshots stay, under `_deleted-topic_`."""
        statements: list[Statement] = []
        for uid, of, config in self._snapshots.values():
            if of == topic:
                config.topic = names.DELETED_TOPIC
                statements.append(_update(uid, config))
        return statements

    def expired(self, now: int) -> list[str]:
        """The names of snapshots whose time is over; microseconds."""
        return [
            name
            for name, (_, _, config) in self._snapshots.items()
            if config.expire_time.ToMicroseconds() <= now
        ]

    async def create_snapshot(self, request: Pb) -> Pb:
        name = names.check("snapshots", request.name)
        subscription = self._broker.subscription(request.subscription)
        checks.check_labels(request.labels)
        if name in self._snapshots:
            raise already_exists(name)
        subscription.compact()
        oldest = await self._broker.store.read(
            "SELECT MIN(m.at) FROM messages m WHERE m.topic = ?1 AND m.id > ?2 AND m.at >= ?4 AND "
            "NOT EXISTS (SELECT 1 FROM acked a WHERE a.subscription = ?3 AND a.message = m.id)",
            (subscription.topic, subscription.floor, subscription.uid, subscription.horizon()),
        )
        now = self._broker.clock.now()
        expires = (oldest[0][0] or now) + LIFETIME
        if expires - now < SHORTEST:
            raise failed_precondition(
                "The snapshot would expire in less than an hour, because the subscription's "
                "oldest unacknowledged message is almost a week old; acknowledge it first."
            )
        config = wire.Snapshot(name=name, topic=subscription.config.topic)
        config.expire_time.FromMicroseconds(expires)
        for key, value in request.labels.items():
            config.labels[key] = value
        uid = self._broker.sequence.take()
        self._snapshots[name] = (uid, subscription.topic, config)
        # Acknowledgements given so far are in the queue before these statements, so the copy
        # holds exactly them.
        await self._broker.store.write(
            (
                _COPY,
                [(uid, name, config.SerializeToString(), subscription.uid)],
            ),
            (
                "INSERT INTO snapshot_acked SELECT ?, message FROM acked WHERE subscription = ?",
                [(uid, subscription.uid)],
            ),
        )
        return config

    async def get_snapshot(self, request: Pb) -> Pb:
        return self._found(request.snapshot)[2]

    async def list_snapshots(self, request: Pb) -> Pb:
        project = names.check_project(request.project)
        mine = [name for name in self._snapshots if name.startswith(f"{project}/")]
        chosen, token = checks.page(mine, request.page_size, request.page_token)
        return wire.ListSnapshotsResponse(
            snapshots=[self._snapshots[name][2] for name in chosen], next_page_token=token
        )

    async def update_snapshot(self, request: Pb) -> Pb:
        uid, topic, current = self._found(request.snapshot.name)
        config = checks.merged(
            current, request.snapshot, request.update_mask, frozenset({"labels", "expire_time"})
        )
        checks.check_labels(config.labels)
        self._snapshots[config.name] = (uid, topic, config)
        await self._broker.store.write(_update(uid, config))
        return config

    async def delete_snapshot(self, request: Pb) -> None:
        self._found(request.snapshot)
        await self.remove(request.snapshot)

    async def remove(self, name: str) -> None:
        """Delete a snapshot that exists."""
        uid, _, _ = self._snapshots.pop(name)
        await self._broker.store.write(
            ("DELETE FROM snapshots WHERE uid = ?", [(uid,)]),
            ("DELETE FROM snapshot_acked WHERE snapshot = ?", [(uid,)]),
            ("DELETE FROM policies WHERE resource = ?", [(name,)]),
        )

    async def seek(self, request: Pb) -> Pb:
        subscription = self._broker.subscription(request.subscription)
        if subscription.config.detached:
            raise failed_precondition(f"{subscription.name} is detached; it cannot be sought.")
        if request.HasField("snapshot"):
            await self._seek_snapshot(subscription, request.snapshot)
        elif request.HasField("time"):
            await self._seek_time(subscription, request.time.ToMicroseconds())
        else:
            raise invalid("Set time or snapshot.")
        return wire.SeekResponse()

    async def _seek_snapshot(self, subscription: Subscription, name: str) -> None:
        uid, topic, _ = self._found(name)
        if topic != subscription.topic:
            raise failed_precondition(
                f"{name} was made from another topic than that of {subscription.name}."
            )
        ((floor,),) = await self._broker.store.read(
            "SELECT floor FROM snapshots WHERE uid = ?", (uid,)
        )
        await subscription.seek(
            floor,
            ("DELETE FROM acked WHERE subscription = ?", [(subscription.uid,)]),
            (
                "INSERT INTO acked SELECT ?, message FROM snapshot_acked WHERE snapshot = ?",
                [(subscription.uid, uid)],
            ),
        )

    async def _seek_time(self, subscription: Subscription, moment: int) -> None:
        """Acknowledge what was published before; bring back what was not and is still kept.

        An acknowledged message is kept for the topic's retention, and for the subscription's when
        it retains acknowledged messages.
        """
        subscription.compact()
        now = self._broker.clock.now()
        target = await self._last_before(subscription.topic, moment)
        returnable: list[int] = []
        if kept := self._broker.topic_retention(subscription.topic):
            returnable.append(await self._last_before(subscription.topic, now - kept))
        if subscription.config.retain_acked_messages:
            kept = micros(subscription.config.message_retention_duration)
            behind = await self._last_before(subscription.topic, now - kept)
            returnable.append(max(behind, subscription.birth))
        floor = max(target, min([subscription.floor, *returnable]))
        statements: list[Statement] = []
        if returnable:
            statements.append(
                (
                    "DELETE FROM acked WHERE subscription = ? AND message > ?",
                    [(subscription.uid, min(returnable))],
                )
            )
        await subscription.seek(floor, *statements)

    async def _last_before(self, topic: int, moment: int) -> int:
        """The id of a topic's last message published before a moment, 0 for none."""
        found = await self._broker.store.read(
            "SELECT id FROM messages WHERE topic = ? AND at < ? ORDER BY id DESC LIMIT 1",
            (topic, moment),
        )
        return found[0][0] if found else 0

    def _found(self, name: str) -> tuple[int, int, Pb]:
        names.check("snapshots", name)
        if name not in self._snapshots:
            raise not_found(name)
        return self._snapshots[name]


def _update(uid: int, config: Pb) -> Statement:
    return (
        "UPDATE snapshots SET body = ? WHERE uid = ?",
        [(config.SerializeToString(), uid)],
    )
