"""Delivery rules by themselves: times are numbers, nothing waits."""

from __future__ import annotations

import pytest

from localcloud.services.pubsub.backlog import Backlog
from localcloud.services.pubsub.consumers import Consumer
from localcloud.services.pubsub.entries import Entry, Rules
from localcloud.services.pubsub.messages import Message, Numbers

EVERYTHING = 10_000_000


class Desk:
    """A backlog with messages 1..n, and short words for what happens to it."""

    def __init__(self, keys: str | int, **rules: object) -> None:
        names = list(keys) if isinstance(keys, str) else [""] * keys
        ordered = isinstance(keys, str)
        self.backlog = Backlog(Rules(ordered=ordered, **rules), Numbers(1))  # type: ignore[arg-type]
        for number, key in enumerate(names, 1):
            self.backlog.admit(Message(number, number, key.strip("-"), b"x" * 10))
        self.now = 0.0

    def lease(self, consumer: Consumer | None = None, limit: int = 100) -> list[Entry]:
        consumer = consumer or Consumer()
        return self.backlog.lease(consumer, limit, EVERYTHING, self.now + 10)

    def numbers(self, consumer: Consumer | None = None, limit: int = 100) -> list[int]:
        return [e.message.id for e in self.lease(consumer, limit)]

    def ack(self, entry: Entry, lease: int | None = None) -> bool:
        return self.backlog.acknowledge(entry.message.id, lease or entry.lease)

    def nack(self, entry: Entry) -> bool:
        return self.backlog.refuse(entry.message.id, entry.lease, self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.backlog.tick(self.now)


def test_a_message_is_with_one_consumer_at_a_time_and_returns_after_its_deadline() -> None:
    desk = Desk(3)
    first = desk.lease()
    assert [e.message.id for e in first] == [1, 2, 3]
    assert desk.numbers() == []
    desk.ack(first[1])
    desk.wait(9.9)
    assert desk.numbers() == []
    desk.wait(0.2)
    assert sorted(desk.numbers()) == [1, 3]


def test_an_extended_lease_outlives_its_first_deadline() -> None:
    desk = Desk(1)
    (entry,) = desk.lease()
    desk.wait(8)
    assert desk.backlog.extend(1, entry.lease, until=desk.now + 10)
    desk.wait(9)
    assert desk.numbers() == []
    desk.wait(2)
    assert desk.numbers() == [1]


def test_a_late_acknowledgement_counts_unless_delivery_is_exactly_once() -> None:
    for exactly_once in (False, True):
        desk = Desk(1, exactly_once=exactly_once)
        (entry,) = desk.lease()
        stale = entry.lease
        desk.wait(11)
        assert desk.ack(entry, stale) is not exactly_once
        assert desk.numbers() == ([1] if exactly_once else [])


def test_with_exactly_once_only_the_current_lease_acknowledges_and_only_once() -> None:
    desk = Desk(1, exactly_once=True)
    (entry,) = desk.lease()
    stale = entry.lease
    desk.wait(11)
    (again,) = desk.lease()
    assert not desk.ack(again, stale)
    assert desk.ack(again)
    assert not desk.ack(again)


@pytest.mark.parametrize(
    ("failures", "wait"), [(1, 10), (2, 20), (3, 40), (6, 320), (7, 600), (60, 600), (2000, 600)]
)
def test_back_off_doubles_up_to_the_longest_wait(failures: int, wait: float) -> None:
    assert Rules(backoff=(10, 600)).wait(failures) == wait


def test_a_refused_message_waits_out_its_back_off() -> None:
    desk = Desk(2, backoff=(10.0, 600.0))
    first, _ = desk.lease()
    desk.nack(first)
    assert desk.numbers() == []
    desk.wait(9.5)
    assert desk.numbers() == []
    desk.backlog.acknowledge(2, 0)
    desk.wait(1)
    assert desk.numbers() == [1]


def test_a_message_refused_often_enough_is_a_dead_letter_and_is_not_delivered_again() -> None:
    desk = Desk(1, max_attempts=5)
    for attempt in range(5):
        (entry,) = desk.lease()
        assert entry.failures == attempt
        desk.nack(entry)
    assert [e.message.id for e in desk.backlog.dead] == [1]
    assert desk.numbers() == []
    desk.backlog.settle_dead(entry, forwarded=True, now=desk.now)
    assert desk.backlog.pending == {}


def test_a_dead_letter_that_cannot_leave_is_delivered_again_later() -> None:
    desk = Desk(1, max_attempts=1)
    (entry,) = desk.lease()
    desk.nack(entry)
    desk.backlog.dead.clear()
    desk.backlog.settle_dead(entry, forwarded=False, now=desk.now)
    assert desk.numbers() == []
    desk.wait(11)
    assert desk.numbers() == [1]


def test_a_late_acknowledgement_takes_a_dead_letter_that_cannot_leave() -> None:
    desk = Desk(1, max_attempts=1)
    (entry,) = desk.lease()
    desk.nack(entry)
    desk.backlog.dead.clear()
    assert desk.backlog.acknowledge(1, entry.lease)
    desk.backlog.settle_dead(entry, forwarded=False, now=desk.now)
    desk.wait(11)
    assert desk.numbers() == []


def test_flow_control_counts_what_is_outstanding() -> None:
    desk = Desk(10)
    consumer = Consumer(max_messages=3)
    held = desk.lease(consumer)
    assert len(held) == 3
    assert desk.numbers(consumer) == []
    desk.ack(held[0])
    desk.nack(held[1])
    assert len(desk.numbers(consumer)) == 2

    by_size = Consumer(max_bytes=25)
    assert len(desk.numbers(by_size)) == 2  # 10 bytes each
    assert len(desk.numbers(by_size)) == 1, "one always goes while there is any room"
    assert desk.numbers(by_size) == []


def test_expired_messages_are_dropped_when_their_turn_comes() -> None:
    desk = Desk(3)
    taken = desk.backlog.lease(Consumer(), 100, EVERYTHING, 10, horizon=3)
    assert [e.message.id for e in taken] == [3]
    assert list(desk.backlog.pending) == [3]


def test_a_message_refused_again_and_again_does_not_starve_the_others() -> None:
    desk = Desk(6)
    seen = []
    for _ in range(12):
        (entry,) = desk.lease(limit=1)
        seen.append(entry.message.id)
        if entry.message.id == 1:
            desk.nack(entry)
        else:
            desk.ack(entry)
    assert set(seen) == {1, 2, 3, 4, 5, 6}


class TestOrder:
    def test_messages_of_a_key_come_in_order_to_the_one_who_holds_it(self) -> None:
        desk = Desk("aabba")
        one, two = Consumer(), Consumer()
        assert desk.numbers(one, limit=1) == [1]
        assert sorted(desk.numbers(two)) == [3, 4]  # key a is with the other consumer
        assert desk.numbers(one) == [2, 5]

    def test_after_a_refusal_all_behind_it_come_again_in_order(self) -> None:
        desk = Desk("aaa")
        consumer = Consumer()
        first, second, _ = desk.lease(consumer)
        old = second.lease
        desk.nack(first)
        assert not desk.ack(second, old), "it was taken back, so its order is undone"
        assert desk.numbers(consumer) == [1, 2, 3]

    def test_refusing_the_middle_leaves_what_is_before_it(self) -> None:
        desk = Desk("aaa")
        consumer = Consumer()
        first, second, _ = desk.lease(consumer)
        desk.nack(second)
        assert desk.numbers(consumer) == [2, 3]
        assert desk.ack(first)

    def test_returned_one_by_one_from_the_back_they_still_come_in_order(self) -> None:
        desk = Desk("aaaa")
        consumer = Consumer()
        for entry in reversed(desk.lease(consumer)):
            desk.nack(entry)
        assert desk.numbers(consumer) == [1, 2, 3, 4]

    def test_a_key_is_free_for_others_once_all_is_acknowledged(self) -> None:
        desk = Desk("aaa")
        one, two = Consumer(), Consumer()
        (first,) = desk.lease(one, limit=1)
        assert desk.numbers(two) == []
        desk.ack(first)
        assert desk.numbers(two) == [2, 3]

    def test_a_key_of_a_consumer_that_vanished_is_free_after_the_deadline(self) -> None:
        desk = Desk("aa")
        desk.lease(Consumer(), limit=1)
        assert desk.numbers(Consumer()) == []
        desk.wait(11)
        assert desk.numbers(Consumer()) == [1, 2]

    def test_one_per_key_waits_for_each_acknowledgement(self) -> None:
        desk = Desk("aab")
        pusher = Consumer(one_per_key=True)
        held = desk.lease(pusher)
        assert [e.message.id for e in held] == [1, 3]
        assert desk.numbers(pusher) == []
        desk.ack(held[0])
        assert desk.numbers(pusher) == [2]

    def test_back_off_of_one_message_holds_its_key_and_no_other(self) -> None:
        desk = Desk("aab", backoff=(10.0, 600.0))
        consumer = Consumer()
        first = desk.lease(consumer, limit=1)[0]
        desk.nack(first)
        assert desk.numbers(consumer) == [3]
        desk.wait(10.5)
        assert desk.numbers(consumer) == [1, 2], "3 timed out just now and waits by itself"

    def test_a_dead_letter_holds_its_key_until_it_has_left(self) -> None:
        desk = Desk("aa", max_attempts=1)
        consumer = Consumer()
        first = desk.lease(consumer, limit=1)[0]
        desk.nack(first)
        assert desk.numbers(consumer) == []
        desk.backlog.settle_dead(first, forwarded=True, now=desk.now)
        assert desk.numbers(consumer) == [2]

    def test_messages_without_a_key_are_not_held_up(self) -> None:
        desk = Desk("a-a-")
        one, two = Consumer(), Consumer()
        desk.lease(one, limit=1)
        assert set(desk.numbers(two)) <= {2, 4}

    def test_a_seek_forgets_every_lease(self) -> None:
        desk = Desk("ab")
        consumer = Consumer()
        entry, _ = desk.lease(consumer)
        lease = entry.lease
        desk.backlog.clear()
        assert consumer.outstanding == 0
        assert not desk.backlog.acknowledge(entry.message.id, lease)
        desk.backlog.admit(Message(1, 1, "a", b"x"))
        assert desk.numbers(consumer) == [1]
