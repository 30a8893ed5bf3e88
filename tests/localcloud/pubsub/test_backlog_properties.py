"""Whatever consumers do, each message is taken in the end, and keys keep their order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.services.pubsub.backlog import Backlog
from localcloud.services.pubsub.consumers import Consumer
from localcloud.services.pubsub.entries import LEASED, Entry, Rules
from localcloud.services.pubsub.messages import Message, Numbers

STEP = st.one_of(
    st.tuples(st.just("lease"), st.integers(0, 2), st.integers(1, 4)),
    st.tuples(st.just("ack"), st.integers(0, 12), st.just(0)),
    st.tuples(st.just("nack"), st.integers(0, 12), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([1, 6, 11]), st.just(0)),
    st.tuples(st.just("bury"), st.booleans(), st.just(0)),
)


class Play:
    """Three consumers on one backlog, and what they have seen."""

    def __init__(self, keys: list[str], rules: Rules) -> None:
        self.backlog = Backlog(rules, Numbers(1))
        self.keys = dict(enumerate(keys, 1))
        self.consumers = [
            Consumer(max_messages=3),
            Consumer(one_per_key=True),
            Consumer(max_bytes=40),
        ]
        self.now = 0.0
        self.given: list[tuple[Entry, int]] = []
        self.taken: dict[str, list[int]] = {}
        self.done: set[int] = set()
        for number, key in self.keys.items():
            self.backlog.admit(Message(number, number, key, b"x" * 10))

    def lease(self, which: int, limit: int) -> list[Entry]:
        held = {e.message.id for e in self.backlog.pending.values() if e.state == LEASED}
        fresh = self.backlog.lease(self.consumers[which], limit, 10**6, self.now + 10)
        for entry in fresh:
            assert entry.message.id not in held, "two leases on one message"
            assert entry.message.id not in self.done, "taken messages never return"
            self.given.append((entry, entry.lease))
        return fresh

    def ack(self, entry: Entry, lease: int) -> None:
        before = entry.message.id in self.backlog.pending
        if self.backlog.acknowledge(entry.message.id, lease) and before:
            self.note(entry)

    def note(self, entry: Entry) -> None:
        self.done.add(entry.message.id)
        self.taken.setdefault(entry.message.key, []).append(entry.message.id)

    def bury(self, fine: bool) -> None:
        dead, self.backlog.dead = self.backlog.dead, []
        for entry in dead:
            self.backlog.settle_dead(entry, forwarded=fine, now=self.now)
            if fine:
                self.note(entry)

    def step(self, word: str, number: int, limit: int) -> None:
        match word:
            case "lease":
                self.lease(number, limit)
            case "ack" | "nack" if self.given:
                entry, lease = self.given[number % len(self.given)]
                if word == "ack":
                    self.ack(entry, lease)
                else:
                    self.backlog.refuse(entry.message.id, lease, self.now)
            case "wait":
                self.now += number
                self.backlog.tick(self.now)
            case "bury":
                self.bury(bool(number))
        self.check()

    def check(self) -> None:
        for consumer in self.consumers:
            mine = [e for e in self.backlog.pending.values() if e.consumer is consumer]
            assert consumer.outstanding == len(mine)
            assert consumer.outstanding_bytes == 10 * len(mine)
        assert self.backlog.bytes == 10 * len(self.backlog.pending)
        assert self.done | set(self.backlog.pending) == set(self.keys), "none is lost"

    def drain(self) -> list[tuple[str, int]]:
        """Let one well-behaved consumer take all that is left; (key, id) as delivered."""
        order: list[tuple[str, int]] = []
        for _ in range(20 * len(self.keys) + 40):
            self.now += 700
            self.backlog.tick(self.now)
            self.bury(True)
            for entry in self.lease(0, 100):
                order.append((entry.message.key, entry.message.id))
                self.ack(entry, entry.lease)
            self.check()
        assert self.backlog.pending == {}
        return order


RULES = st.builds(
    Rules,
    ordered=st.booleans(),
    exactly_once=st.booleans(),
    backoff=st.sampled_from([None, (0.0, 0.0), (5.0, 60.0)]),
    max_attempts=st.sampled_from([0, 0, 2]),
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", ""]), min_size=2, max_size=8),
    RULES,
    st.lists(STEP, min_size=6, max_size=40),
)
def test_nothing_is_lost_or_taken_twice(
    keys: list[str], rules: Rules, steps: list[tuple[str, int, int]]
) -> None:
    play = Play(keys, rules)
    for word, number, limit in steps:
        play.step(word, number, limit)
    order = play.drain()
    if rules.ordered:
        for key in "ab":
            mine = [number for of, number in order if of == key]
            assert mine == sorted(mine), "one consumer sees a key in publish order"
