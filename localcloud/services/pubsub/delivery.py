"""A live subscription: its backlog, loaded page by page from the store, and who reads from it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from localcloud.services.pubsub import tokens
from localcloud.services.pubsub.backlog import Backlog
from localcloud.services.pubsub.checks import MICROS, micros
from localcloud.services.pubsub.consumers import Consumer
from localcloud.services.pubsub.entries import Entry, Rules
from localcloud.services.pubsub.errors import Fault, aborted, invalid
from localcloud.services.pubsub.filters import compile_filter
from localcloud.services.pubsub.messages import Message
from localcloud.services.pubsub.store import Statement
from localcloud.services.pubsub.wire import Pb

if TYPE_CHECKING:
    from localcloud.services.pubsub.broker import Broker

log = logging.getLogger(__name__)

# What a subscription holds in memory; the rest of its backlog stays on disk until there is room.
WINDOW_MESSAGES: Final = 50_000
WINDOW_BYTES: Final = 128 * 1024 * 1024
# Google's clients, pointed at an emulator, take no response beyond gRPC's default of 4 MiB.
BATCH_BYTES: Final = 2 * 1024 * 1024
COMPACT_AFTER: Final = 5_000

_ACK: Final = "INSERT OR IGNORE INTO acked VALUES (?, ?)"


@dataclass
class Outcome:
    """What became of acknowledgement ids.

    Attributes:
        done: those that took effect.
        invalid: those whose lease is over (only with exactly-once delivery).
        committed: done once the effect is on disk.
    """

    done: list[str] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    committed: asyncio.Future[None] | None = None


class Subscription:
    """One subscription at work. All methods run on the event loop.

    Args:
        uid: identity in the store; a subscription made anew under the same name has another.
        topic: identity of the topic; it outlives the topic's deletion.
        birth: the last message id at creation.
        floor: everything up to this id is acknowledged.
        config: Google's Subscription message.
    """

    def __init__(
        self, broker: Broker, uid: int, topic: int, birth: int, floor: int, config: Pb
    ) -> None:
        self.uid: Final = uid
        self.topic: Final = topic
        self.birth: Final = birth
        self.config = config
        self.consumers: set[Consumer] = set()
        self.closed = False
        self.active_at = broker.clock.now()
        self._broker = broker
        self._passes = compile_filter(config.filter)
        self.backlog = Backlog(self._rules(), broker.sequence)
        self._cursor = floor
        self._floor = floor
        self._caught_up = floor >= broker.last_committed(topic)
        self._epoch = 0
        self._seeking = False
        self._early: set[int] = set()
        self._since_compaction = 0
        self._filling: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def exactly_once(self) -> bool:
        return self.config.enable_exactly_once_delivery

    def configure(self, config: Pb) -> None:
        """Put a changed configuration into effect."""
        self.config = config
        self.backlog.rules = self._rules()
        self.wake()

    def _rules(self) -> Rules:
        config = self.config
        backoff = None
        if config.HasField("retry_policy"):
            policy = config.retry_policy
            backoff = (
                micros(policy.minimum_backoff) / MICROS,
                micros(policy.maximum_backoff) / MICROS,
            )
        return Rules(
            ordered=config.enable_message_ordering,
            exactly_once=config.enable_exactly_once_delivery,
            backoff=backoff,
            max_attempts=config.dead_letter_policy.max_delivery_attempts
            if config.HasField("dead_letter_policy")
            else 0,
        )

    def horizon(self) -> int:
        """Messages published before this moment (microseconds) are no longer delivered."""
        kept = max(
            micros(self.config.message_retention_duration),
            self._broker.topic_retention(self.topic),
        )
        return self._broker.clock.now() - kept

    # Messages come in

    def offer(self, batch: Sequence[Message]) -> None:
        """New messages of the topic, committed, in id order."""
        if not self._caught_up or not self._has_room():
            self._caught_up = False
            self._fill_soon()
            return
        for message in batch:
            if message.id > self._cursor:
                self._admit(message, 0)
        self._cursor = max(self._cursor, batch[-1].id)
        self.wake()

    def _admit(self, message: Message, failures: int) -> None:
        if message.id in self._early:
            self._early.discard(message.id)
            return
        if self._passes is not None and not self._passes(message.parse().attributes):
            return
        self.backlog.admit(message, failures)

    def _has_room(self) -> bool:
        backlog = self.backlog
        return len(backlog.pending) < WINDOW_MESSAGES and backlog.bytes < WINDOW_BYTES

    def _fill_soon(self) -> None:
        if self._caught_up or self.closed or not self._has_room():
            return
        if self._filling is None or self._filling.done():
            self._filling = self._loop.create_task(self._fill())

    async def _fill(self) -> None:
        ordered = self.backlog.rules.ordered
        while not self._caught_up and not self.closed and self._has_room():
            known = self._broker.last_committed(self.topic)
            after, epoch = self._cursor, self._epoch
            rows, last = await self._broker.store.page(self.uid, self.topic, after)
            if (after, epoch) != (self._cursor, self._epoch):
                continue  # A seek came between.
            for number, at, body, failures in rows:
                message = Message(number, at, "", body)
                if ordered:
                    message.key = message.parse().ordering_key
                self._admit(message, failures)
            if rows:
                self._cursor = rows[-1][0]
            if last:
                self._cursor = max(self._cursor, known)
            self._caught_up = self._cursor >= self._broker.last_committed(self.topic)
            self.wake()

    async def loaded(self) -> None:
        """Wait until what lies on disk has been brought in, as far as there is room."""
        self._fill_soon()
        if self._filling is not None and not self._filling.done():
            await asyncio.shield(self._filling)

    # Messages go out

    def attach(self, consumer: Consumer) -> None:
        """Let a consumer know of changes until it is detached."""
        self.consumers.add(consumer)
        self.active_at = self._broker.clock.now()
        consumer.event.set()
        self._fill_soon()

    def detach(self, consumer: Consumer) -> None:
        """The consumer has gone; what it holds returns when its deadlines pass."""
        self.consumers.discard(consumer)
        self.active_at = self._broker.clock.now()
        self.wake()

    def lease(
        self, consumer: Consumer, limit: int, seconds: float, limit_bytes: int = BATCH_BYTES
    ) -> list[Entry]:
        """Hand out up to `limit` messages for `seconds`."""
        until = self._loop.time() + seconds
        taken = self.backlog.lease(consumer, limit, limit_bytes, until, self.horizon())
        if not self._caught_up:
            self._fill_soon()
        self._arm()
        return taken

    def token(self, entry: Entry) -> str:
        """The acknowledgement id of a leased message."""
        return tokens.encode(self.uid, entry.message.id, entry.lease)

    def attempt(self, entry: Entry) -> int:
        """The number of this delivery, from 1; 0 without a dead-letter policy."""
        return entry.failures + 1 if self.backlog.rules.max_attempts else 0

    def acknowledge(self, ack_ids: Iterable[str], *, whole: bool = False) -> Outcome:
        """Acknowledge.

        Args:
            whole: with exactly-once delivery, do nothing when one of the ids is invalid.

        Raises:
            Fault: INVALID_ARGUMENT for an id that is not of this subscription.
        """
        outcome = Outcome()
        rows: list[tuple[int, int]] = []
        decoded = self._decoded(ack_ids)
        if whole and self.exactly_once:
            outcome.invalid = [a for a, n, lease in decoded if not self.backlog.holds(n, lease)]
            if outcome.invalid:
                return outcome
        for ack_id, number, lease in decoded:
            if not self.backlog.acknowledge(number, lease):
                if self.exactly_once:
                    outcome.invalid.append(ack_id)
                continue
            if number > self._cursor:
                # Delivered before a restart and not loaded again yet.
                self._early.add(number)
            outcome.done.append(ack_id)
            rows.append((self.uid, number))
        if rows:
            self._since_compaction += len(rows)
            outcome.committed = self._broker.store.write((_ACK, rows))
            if self._since_compaction >= COMPACT_AFTER:
                self.compact()
        self.wake()
        return outcome

    def modify(self, ack_ids: Iterable[str], seconds: float) -> Outcome:
        """Extend leases, or refuse the messages with 0 seconds.

        Raises:
            Fault: INVALID_ARGUMENT for an id that is not of this subscription.
        """
        outcome = Outcome()
        now = self._loop.time()
        for ack_id, number, lease in self._decoded(ack_ids):
            if seconds > 0:
                held = self.backlog.extend(number, lease, now + seconds)
            else:
                held = self.backlog.refuse(number, lease, now)
            if held or not self.exactly_once:
                outcome.done.append(ack_id)
            else:
                outcome.invalid.append(ack_id)
        if seconds > 0:
            self._arm()
        else:
            self._after_failures()
        return outcome

    def _decoded(self, ack_ids: Iterable[str]) -> list[tuple[str, int, int]]:
        result = []
        for ack_id in ack_ids:
            parts = tokens.decode(ack_id)
            if parts is None or parts[0] != self.uid:
                raise invalid(f"Invalid ack id (ack_id={ack_id}) for {self.name}.")
            result.append((ack_id, parts[1], parts[2]))
        return result

    # Time passes

    def wake(self) -> None:
        """Let every consumer look again."""
        for consumer in self.consumers:
            consumer.event.set()
        self._arm()

    def _arm(self) -> None:
        at = self.backlog.next_time()
        if at is None or self.closed:
            return
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self.closed:
            self.backlog.tick(self._loop.time())
            self._after_failures()

    def _after_failures(self) -> None:
        backlog = self.backlog
        if backlog.failed:
            rows = [(self.uid, e.message.id, e.failures) for e in backlog.failed]
            backlog.failed.clear()
            self._broker.store.write(("REPLACE INTO attempts VALUES (?, ?, ?)", rows))
        dead, backlog.dead = backlog.dead, []
        for entry in dead:
            self._broker.spawn(self._bury(entry))
        self.wake()

    async def _bury(self, entry: Entry) -> None:
        """Forward one message to the dead-letter topic and acknowledge it, in one transaction."""
        acknowledged: Statement = (_ACK, [(self.uid, entry.message.id)])
        try:
            await self._broker.forward_dead_letter(self, entry, acknowledged)
        except Fault as fault:
            log.warning("%s keeps message %d: %s", self.name, entry.message.id, fault.message)
            self.backlog.settle_dead(entry, forwarded=False, now=self._loop.time())
        else:
            self._since_compaction += 1
            self.backlog.settle_dead(entry, forwarded=True, now=self._loop.time())
        self.wake()

    # Bookkeeping

    def compact(self) -> None:
        """Raise the floor to the first unacknowledged message."""
        first = next(iter(self.backlog.pending), None)
        floor = self._cursor if first is None else first - 1
        self._since_compaction = 0
        if floor <= self._floor or self._seeking:
            return
        self._floor = floor
        key = [(self.uid, floor)]
        self._broker.store.write(
            ("UPDATE subscriptions SET floor = ?2 WHERE uid = ?1", key),
            ("DELETE FROM acked WHERE subscription = ? AND message <= ?", key),
            ("DELETE FROM attempts WHERE subscription = ? AND message <= ?", key),
        )

    def expire_through(self, number: int) -> None:
        """Forget messages up to an id, which are past their retention."""
        if self._seeking:
            return
        self.backlog.drop_through(number)
        self._cursor = max(self._cursor, number)
        self._since_compaction += 1
        self.compact()

    @property
    def floor(self) -> int:
        """Everything up to this id is acknowledged."""
        return self._floor

    async def seek(self, floor: int, *statements: Statement) -> None:
        """Start again behind an id.

        Args:
            statements: what makes the stored acknowledgements agree, committed with the floor.
        """
        if self._seeking:
            raise aborted(f"{self.name} is being sought by another request; try again.")

        def rewind() -> None:
            self.backlog.clear()
            self._early.clear()
            self._epoch += 1
            self._cursor = self._floor = floor
            self._caught_up = False
            self._fill_soon()
            self.wake()

        self._seeking = True
        try:
            await self._broker.store.write(
                ("UPDATE subscriptions SET floor = ? WHERE uid = ?", [(floor, self.uid)]),
                ("DELETE FROM acked WHERE subscription = ? AND message <= ?", [(self.uid, floor)]),
                *statements,
                then=rewind,
            )
        finally:
            self._seeking = False

    def close(self) -> None:
        """Stop: the subscription is deleted or the server ends."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._filling is not None:
            self._filling.cancel()
        for consumer in self.consumers:
            consumer.event.set()
