"""Which message goes to whom, and when again: the delivery rules of one subscription.

Nothing here waits, reads a clock or touches a disk: times are seconds on any rising scale and come
as arguments, so each rule can be tested by itself.

Messages with an ordering key go through a queue per key. A key's later messages go only to the
consumer that holds the earlier ones; when one of them returns, all behind it return too.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Final

from localcloud.services.pubsub.consumers import Consumer
from localcloud.services.pubsub.entries import DEAD, GONE, HELD, LEASED, READY, Entry, Key, Rules
from localcloud.services.pubsub.messages import Message, Numbers

# How long a dead letter waits when its topic cannot take it.
BURIAL_SECONDS: Final = 10.0


class Backlog:
    """The loaded, unacknowledged messages of a subscription.

    Args:
        rules: see `Rules`; may be replaced at any time, except for `ordered`.
        sequence: gives lease numbers, unique over restarts.
    """

    def __init__(self, rules: Rules, sequence: Numbers) -> None:
        self.rules = rules
        self.pending: dict[int, Entry] = {}
        self.dead: list[Entry] = []
        self.failed: list[Entry] = []
        self.bytes = 0
        self._sequence = sequence
        self._fresh: deque[Entry] = deque()
        self._again: deque[Entry] = deque()
        self._free: deque[Key] = deque()
        self._keys: dict[str, Key] = {}
        self._deadlines: list[tuple[float, int, int]] = []
        self._holds: list[tuple[float, int, Entry | Key]] = []
        self._first_lease = 0
        self._turn = False

    def admit(self, message: Message, failures: int = 0) -> None:
        """Take in a message; call in id order."""
        key = None
        if self.rules.ordered and message.key:
            key = self._keys.get(message.key)
            if key is None:
                key = self._keys[message.key] = Key(message.key)
        entry = Entry(message, failures, key)
        self.pending[message.id] = entry
        self.bytes += len(message.body)
        if key is None:
            self._fresh.append(entry)
        else:
            key.waiting.append(entry)
            self._offer(key)

    def clear(self) -> None:
        """Forget everything, and every lease given so far: a seek."""
        for entry in self.pending.values():
            self._give_back(entry)
            entry.state = GONE
        self.pending.clear()
        self.bytes = 0
        for queue in (self._fresh, self._again, self._free, self._deadlines, self._holds):
            queue.clear()
        for key in self._keys.values():
            key.waiting.clear()
            key.leased.clear()
            key.place = None  # Consumers may still list it.
        self._keys.clear()
        self.dead.clear()
        self.failed.clear()
        self._first_lease = self._sequence.take()

    def lease(
        self, consumer: Consumer, limit: int, limit_bytes: int, until: float, horizon: int = 0
    ) -> list[Entry]:
        """Hand messages to a consumer, as many as it has room for.

        Args:
            limit_bytes: no more than this goes at once, except that one message always goes.
            until: the deadline of the leases.
            horizon: messages published before this (microseconds) have expired and are dropped.
        """
        taken: list[Entry] = []
        limit = consumer.room(limit)
        left = consumer.room_bytes(limit_bytes)
        while len(taken) < limit and left > 0:
            entry = self._next(consumer)
            if entry is None:
                break
            if entry.message.at < horizon:
                self._remove(entry)
                continue
            size = len(entry.message.body)
            if taken and size > left:
                self._put_back(entry)
                break
            entry.state = LEASED
            entry.lease = self._sequence.take()
            entry.deadline = until
            entry.consumer = consumer
            consumer.outstanding += 1
            consumer.outstanding_bytes += size
            left -= size
            heapq.heappush(self._deadlines, (until, entry.message.id, entry.lease))
            self._after_lease(entry, consumer)
            taken.append(entry)
        return taken

    def acknowledge(self, number: int, lease: int) -> bool:
        """Acknowledge a message; false when this lease may not.

        Without exactly-once delivery a late acknowledgement counts, as long as the order holds.
        """
        entry = self.pending.get(number)
        if lease < self._first_lease:
            return False
        if entry is None:
            return not self.rules.exactly_once
        if entry.state == DEAD:
            entry.acknowledged = not self.rules.exactly_once
            return entry.acknowledged
        if not (entry.state == LEASED and entry.lease == lease) and (
            self.rules.exactly_once or lease < entry.void
        ):
            return False
        self._remove(entry)
        return True

    def holds(self, number: int, lease: int) -> bool:
        """Whether a lease is still on."""
        return self._current(number, lease) is not None

    def extend(self, number: int, lease: int, until: float) -> bool:
        """Move the deadline of a lease; false when it is over."""
        entry = self._current(number, lease)
        if entry is None:
            return False
        entry.deadline = until
        heapq.heappush(self._deadlines, (until, number, lease))
        if len(self._deadlines) > 4 * len(self.pending) + 1_000:
            self._deadlines = [
                (e.deadline, e.message.id, e.lease)
                for e in self.pending.values()
                if e.state == LEASED
            ]
            heapq.heapify(self._deadlines)
        return True

    def refuse(self, number: int, lease: int, now: float) -> bool:
        """Negative acknowledgement; false when the lease is over."""
        entry = self._current(number, lease)
        if entry is None:
            return False
        self._release(entry, now, refused=True)
        return True

    def tick(self, now: float) -> None:
        """End the leases whose deadline has passed and the waits that are over."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, number, lease = heapq.heappop(self._deadlines)
            entry = self._current(number, lease)
            if entry is not None and entry.deadline <= now:
                self._release(entry, now, refused=False)
        while self._holds and self._holds[0][0] <= now:
            _, _, held = heapq.heappop(self._holds)
            if isinstance(held, Key):
                held.held -= 1
                self._offer(held)
            elif held.state == HELD:
                held.state = READY
                self._again.append(held)

    def next_time(self) -> float | None:
        """When to call `tick` next."""
        times = [heap[0][0] for heap in (self._deadlines, self._holds) if heap]
        return min(times, default=None)

    def settle_dead(self, entry: Entry, *, forwarded: bool, now: float) -> None:
        """A dead letter has left, or could not leave and waits for another try."""
        if self.pending.get(entry.message.id) is not entry:
            return
        key = entry.key
        if forwarded or entry.acknowledged:
            self._remove(entry)
            if key is not None:
                key.held -= 1
                self._offer(key)
            return
        entry.state = HELD if key is None else READY
        if key is not None:
            key.waiting.appendleft(entry)
        heapq.heappush(
            self._holds,
            (
                now + max(BURIAL_SECONDS, self.rules.wait(1)),
                self._sequence.take(),
                key or entry,
            ),
        )

    def drop_through(self, number: int) -> None:
        """Forget messages up to an id: they have expired."""
        for old in [n for n in self.pending if n <= number]:
            self._remove(self.pending[old])

    def _current(self, number: int, lease: int) -> Entry | None:
        entry = self.pending.get(number)
        if entry is None or entry.state != LEASED or entry.lease != lease:
            return None
        return entry

    def _next(self, consumer: Consumer) -> Entry | None:
        # Keys and the rest take turns, and so do redeliveries and first deliveries, so that
        # neither a busy key nor a message that is refused again and again starves the others.
        self._turn = not self._turn
        if self._turn:
            return self._next_of_keys(consumer) or self._next_of_rest()
        return self._next_of_rest() or self._next_of_keys(consumer)

    def _next_of_rest(self) -> Entry | None:
        queues = (self._again, self._fresh) if self._turn else (self._fresh, self._again)
        for queue in queues:
            while queue:
                entry = queue.popleft()
                if entry.state == READY:
                    return entry
        return None

    def _next_of_keys(self, consumer: Consumer) -> Entry | None:
        for queue in (consumer.keys, self._free):
            while queue:
                key = queue.popleft()
                if key.place is not queue:
                    continue  # It has moved elsewhere since.
                key.place = None
                if key.held or not key.waiting:
                    continue
                return key.waiting.popleft()
        return None

    def _put_back(self, entry: Entry) -> None:
        """Undo `_next`."""
        if entry.key is None:
            self._again.appendleft(entry)
        else:
            entry.key.waiting.appendleft(entry)
            self._offer(entry.key)

    def _after_lease(self, entry: Entry, consumer: Consumer) -> None:
        key = entry.key
        if key is None:
            return
        key.leased[entry.message.id] = entry
        key.consumer = consumer
        self._offer(key)

    def _offer(self, key: Key) -> None:
        """Put a key where its next message may be taken from, if it has one."""
        if not key.waiting and not key.leased and not key.held:
            self._keys.pop(key.name, None)
            key.place = None
            return
        if not key.waiting or key.held:
            key.place = None
            return
        queue = self._free
        if key.leased:
            if key.consumer is None or key.consumer.one_per_key:
                key.place = None
                return
            queue = key.consumer.keys
        if key.place is not queue:
            key.place = queue
            queue.append(key)

    def _give_back(self, entry: Entry) -> None:
        consumer = entry.consumer
        if consumer is not None:
            consumer.outstanding -= 1
            consumer.outstanding_bytes -= len(entry.message.body)
            consumer.event.set()
            entry.consumer = None

    def _remove(self, entry: Entry) -> None:
        key = entry.key
        self._give_back(entry)
        del self.pending[entry.message.id]
        self.bytes -= len(entry.message.body)
        state, entry.state = entry.state, GONE
        if key is None:
            return
        if state == LEASED:
            # Taken from the queue but not yet noted as leased when it expires in `lease`.
            key.leased.pop(entry.message.id, None)
        elif state == READY and entry in key.waiting:
            key.waiting.remove(entry)
        self._offer(key)

    def _release(self, entry: Entry, now: float, *, refused: bool) -> None:
        """End a lease without an acknowledgement."""
        entry.failures += 1
        dead = 0 < self.rules.max_attempts <= entry.failures
        if self.rules.max_attempts:
            self.failed.append(entry)
        wait = 0.0 if dead else self.rules.wait(entry.failures)
        self._give_back(entry)
        if dead:
            entry.state = DEAD
            self.dead.append(entry)
        else:
            entry.state = HELD if wait else READY
        key = entry.key
        if key is None:
            if wait:
                heapq.heappush(self._holds, (now + wait, self._sequence.take(), entry))
            elif not dead:
                self._again.append(entry)
            return
        self._return_to_key(key, entry, refused=refused, dead=dead)
        if dead:
            key.held += 1
        elif wait:
            key.held += 1
            heapq.heappush(self._holds, (now + wait, self._sequence.take(), key))
        self._offer(key)

    def _return_to_key(self, key: Key, entry: Entry, *, refused: bool, dead: bool) -> None:
        back = [] if dead else [entry]
        key.leased.pop(entry.message.id, None)
        for number in [n for n in key.leased if n > entry.message.id]:
            follower = key.leased.pop(number)
            self._give_back(follower)
            if refused:
                follower.void = follower.lease + 1
            follower.state = READY
            back.append(follower)
        if not dead:
            entry.state = READY
        back.sort(key=_number)
        if back and key.waiting and key.waiting[0].message.id < back[-1].message.id:
            # Entries released one by one come back in any order; the queue is kept in id order.
            key.waiting = deque(sorted([*back, *key.waiting], key=_number))
        else:
            key.waiting.extendleft(reversed(back))


def _number(entry: Entry) -> int:
    return entry.message.id
