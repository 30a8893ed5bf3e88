"""Housekeeping: messages, snapshots and subscriptions whose time is over."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from localcloud.services.pubsub.checks import micros

if TYPE_CHECKING:
    from localcloud.services.pubsub.broker import Broker
    from localcloud.services.pubsub.snapshots import Snapshots
    from localcloud.services.pubsub.subscriptions import Subscriptions

log = logging.getLogger(__name__)

COMPACT_SECONDS: Final = 2.0
CLEAN_SECONDS: Final = 30.0
# Deletes go in pieces, so that a publish never waits long for the writer.
PIECE: Final = 5_000

_DELETE: Final = (
    "DELETE FROM messages WHERE id IN (SELECT id FROM messages "
    "WHERE topic = ? AND id <= ? AND at < ? ORDER BY id LIMIT ?)"
)


class Cleaner:
    """Runs beside the requests; each round may also be called by itself."""

    def __init__(self, broker: Broker, subscriptions: Subscriptions, snapshots: Snapshots) -> None:
        self._broker = broker
        self._subscriptions = subscriptions
        self._snapshots = snapshots

    async def run(self) -> None:
        """Clean until cancelled."""
        loop = asyncio.get_running_loop()
        next_clean = loop.time() + CLEAN_SECONDS
        while True:
            await asyncio.sleep(COMPACT_SECONDS)
            for subscription in self._broker.subscriptions.values():
                subscription.compact()
            if loop.time() >= next_clean:
                next_clean = loop.time() + CLEAN_SECONDS
                try:
                    await self.clean()
                except Exception:  # The next round tries again.
                    log.exception("cleaning failed")

    async def clean(self) -> None:
        """One full round."""
        await self._expire_resources()
        await self._expire_messages()
        await self._delete_messages()

    async def _expire_resources(self) -> None:
        now = self._broker.clock.now()
        for name in self._snapshots.expired(now):
            log.info("%s has expired", name)
            await self._snapshots.remove(name)
        active: list[tuple[int, int]] = []
        for subscription in list(self._broker.subscriptions.values()):
            if subscription.consumers:
                subscription.active_at = now
            policy = subscription.config.expiration_policy
            if policy.HasField("ttl") and now - subscription.active_at > micros(policy.ttl):
                log.info("%s has expired: nobody used it", subscription.name)
                await self._subscriptions.remove(subscription)
            else:
                active.append((subscription.active_at, subscription.uid))
        await self._broker.store.write(
            ("UPDATE subscriptions SET active_at = ? WHERE uid = ?", active)
        )

    async def _expire_messages(self) -> None:
        for subscription in list(self._broker.subscriptions.values()):
            last = await self._last_before(subscription.topic, subscription.horizon())
            if last > subscription.floor:
                subscription.expire_through(last)

    async def _delete_messages(self) -> None:
        """Delete what no subscription and no snapshot can ask for any more."""
        now = self._broker.clock.now()
        for topic, newest in await self._broker.store.read(
            "SELECT topic, MAX(id) FROM messages GROUP BY topic"
        ):
            floors = [newest]
            for subscription in list(self._broker.subscriptions.values()):
                if subscription.topic != topic or subscription.config.detached:
                    continue
                floors.append(subscription.floor)
                if subscription.config.retain_acked_messages:
                    kept = micros(subscription.config.message_retention_duration)
                    behind = await self._last_before(topic, now - kept)
                    floors.append(max(behind, subscription.birth))
            for (floor,) in await self._broker.store.read(
                "SELECT floor FROM snapshots WHERE topic = ?", (topic,)
            ):
                floors.append(floor)
            bound = (topic, min(floors), now - self._broker.topic_retention(topic), PIECE)
            while await self._count(topic, bound[1], bound[2]):
                await self._broker.store.write((_DELETE, [bound]))

    async def _last_before(self, topic: int, moment: int) -> int:
        found = await self._broker.store.read(
            "SELECT id FROM messages WHERE topic = ? AND at < ? ORDER BY id DESC LIMIT 1",
            (topic, moment),
        )
        return found[0][0] if found else 0

    async def _count(self, topic: int, through: int, before: int) -> int:
        found = await self._broker.store.read(
            "SELECT 1 FROM messages WHERE topic = ? AND id <= ? AND at < ? LIMIT 1",
            (topic, through, before),
        )
        return len(found)
