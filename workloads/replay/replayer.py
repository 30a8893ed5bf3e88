"""Publishes a product's past as if it happened now, with the faults of a real stream among it.

Events go out in the order in which they happened: a flight when the question is asked, its arrival
when it lands. The payload keeps the true times; the attribute `event_timestamp` says when it
happens on the replay's own clock, which starts when the replay does and runs `speed` times as fast.

Among the events go, deterministically chosen: poison (the topic's schema takes it, the contract
does not), duplicates (the same event again), late ones (an event again, stamped longer ago than
the source allows) and unfit ones (the topic itself refuses them; they are never published). All of
them are copies, so that every true event is ingested once.

A replay that was cut off goes on where it was. What it had published in its last request may go out
again; it carries the same idempotency key and counts once.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from workloads import contracts, gcp, product
from workloads.contracts import Contract
from workloads.ingestion.judging import EVENT_TIMESTAMP, IDEMPOTENCY_KEY, rfc3339
from workloads.product import Product, Source
from workloads.replay import history, poison

REQUEST: Final = 500
"""Messages in one request; Pub/Sub takes 1,000."""

Kind = Literal["event", "poison", "duplicate", "late", "unfit"]


class InvalidPlan(ValueError):
    """A replay that cannot be. Names the field, the value and what is allowed."""


class TopicRefused(RuntimeError):
    """A topic refused a valid event: its schema is not the contract's."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to replay.

    Raises:
        InvalidPlan: at construction.
    """

    product: str
    start: datetime
    """The first moment that is replayed, with a time zone."""
    end: datetime
    """The first that is not."""
    speed: float = 0
    """How many times faster than it happened; 0: as fast as it goes."""
    poison: int = 0
    duplicates: int = 0
    late: int = 0
    unfit: int = 0
    seed: int = 2013

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            if getattr(self, name).tzinfo is None:
                raise InvalidPlan(f"{name} is {getattr(self, name)}; allowed: with a time zone")
        if self.start >= self.end:
            raise InvalidPlan(f"start is {self.start}; allowed: before end ({self.end})")
        if self.speed and self.speed < 1:
            raise InvalidPlan(f"speed is {self.speed}; allowed: 0 (as fast as it goes) or 1 up")
        for name in ("poison", "duplicates", "late", "unfit"):
            if getattr(self, name) < 0:
                raise InvalidPlan(f"{name} is {getattr(self, name)}; allowed: 0 or more")


class Planned(msgspec.Struct, frozen=True):
    """One message of a replay."""

    at: datetime
    """When it goes out, in the time that is replayed."""
    happened: datetime
    """When its event happened, in the time that is replayed."""
    contract: str
    """Plural."""
    kind: Kind
    data: bytes


@dataclass(kw_only=True)
class Published:
    """Exactly what a replay has published so far."""

    by_contract: dict[str, dict[str, int]] = field(default_factory=dict)
    """Plural -> kind -> messages."""
    refused: int = 0
    """Messages that a topic refused; they are not published."""

    def count(self, kind: Kind | None = None, contract: str = "") -> int:
        """Messages published, of one kind or all, of one contract or all."""
        return sum(
            number
            for plural, kinds in self.by_contract.items()
            for one, number in kinds.items()
            if kind in (None, one) and contract in ("", plural)
        )

    def add(self, contract: str, kind: Kind) -> None:
        """One more."""
        kinds = self.by_contract.setdefault(contract, {})
        kinds[kind] = kinds.get(kind, 0) + 1

    @property
    def total(self) -> int:
        """All messages published."""
        return self.count()

    def to_dict(self) -> dict[str, Any]:
        """As JSON wants it."""
        kinds = Counter[str]()
        for one in self.by_contract.values():
            kinds.update(one)
        return {
            "total": self.total,
            "refused": self.refused,
            "by_kind": dict(kinds),
            "by_contract": self.by_contract,
        }


class _Checkpoint(msgspec.Struct):
    """How far a replay has come."""

    run: str
    plan: dict[str, Any]
    next: int = 0
    by_contract: dict[str, dict[str, int]] = {}
    refused: int = 0


def schedule(plan: Plan) -> list[Planned]:
    """All messages of a replay in the order in which they go out; the same plan gives the same.

    Raises:
        NoDataset, InvalidProduct: there is nothing to replay.
    """
    declared = product.load(plan.product)
    events = [one for source in declared.streams for one in _events(declared, source, plan)]
    events.sort(key=lambda one: (one.at, one.contract, one.data))
    if not events:
        return []
    choose = random.Random(plan.seed)
    by_plural = {source.contract.PLURAL: source.contract for source in declared.streams}
    extra = list[Planned]()

    def copies(number: int, kind: Kind, change: Callable[[Contract], bytes] | None) -> None:
        for _ in range(number):
            one = choose.choice(events)
            after = one.at + timedelta(seconds=choose.uniform(1, 600))
            data = (
                change(contracts.decode(by_plural[one.contract], one.data)) if change else one.data
            )
            extra.append(Planned(after, one.happened, one.contract, kind, data))

    copies(plan.poison, "poison", lambda row: poison.broken(row, choose))
    copies(plan.duplicates, "duplicate", None)
    copies(plan.late, "late", None)
    copies(plan.unfit, "unfit", lambda row: poison.unfit(row, choose))
    # A stable sort: a copy never goes out before what it copies.
    return sorted([*events, *extra], key=lambda one: one.at)


def _events(declared: Product, source: Source, plan: Plan) -> Iterator[Planned]:
    contract = source.contract
    rows = history.between(history.frame(declared, contract), contract, plan.start, plan.end)
    for line in history.lines(rows, contract).splitlines():
        row = contracts.decode(contract, line)
        at = contracts.event_time(row)
        yield Planned(at, at, contract.PLURAL, "event", contracts.encode(row))


def replay(
    plan: Plan,
    checkpoint: Path | None = None,
    progress: Callable[[Published, int], None] | None = None,
    stop: threading.Event | None = None,
) -> Published:
    """Publish a plan's messages to the product's topics.

    Args:
        checkpoint: file that remembers how far it came. A replay of the same plan goes on from
            there; one that had ended publishes nothing and returns what it did then.
        progress: called after each request with what was published and how many there are.
        stop: set it to have the replay return early.

    Raises:
        InvalidPlan: the checkpoint belongs to another plan.
        TopicRefused: a topic's schema refuses a valid event.
        NoDataset, InvalidProduct: there is nothing to replay.
    """
    messages = schedule(plan)
    state = _resume(plan, checkpoint)
    published = Published(by_contract=state.by_contract, refused=state.refused)
    stopped = stop or threading.Event()
    declared = product.load(plan.product)
    lateness = {one.contract.PLURAL: one.allowed_lateness for one in declared.streams}
    publisher = gcp.publisher()
    topic = {
        plural: publisher.topic_path(gcp.project(), f"{declared.name}-{plural}")
        for plural in lateness
    }
    begin = messages[state.next].at if state.next < len(messages) else plan.start
    clock = _Clock(begin, plan.speed)
    while state.next < len(messages) and not stopped.is_set():
        due = _due(messages, state.next, clock, stopped)
        sequences = range(state.next, state.next + len(due))
        groups = dict[tuple[str, int], list[tuple[Planned, dict[str, Any]]]]()
        for sequence, one in zip(sequences, due, strict=True):
            stamp = clock.now_of(one.happened)
            if one.kind == "late":
                stamp = datetime.now(UTC) - lateness[one.contract] - timedelta(minutes=5)
            attributes = {
                EVENT_TIMESTAMP: rfc3339(stamp),
                IDEMPOTENCY_KEY: f"{state.run}-{sequence}",
            }
            message = {"data": one.data, "attributes": attributes}
            # Alone, because a topic refuses the whole request for one message.
            alone = sequence if one.kind == "unfit" else -1
            groups.setdefault((one.contract, alone), []).append((one, message))
        for (plural, alone), group in groups.items():
            _send(publisher, topic[plural], group, published, may_be_refused=alone >= 0)
        state.next += len(due)
        state.refused = published.refused
        _save(state, checkpoint)
        if progress:
            progress(published, len(messages))
    return published


class _Clock:
    """The replay's clock: when, now, something that happened then happens."""

    def __init__(self, begin: datetime, speed: float) -> None:
        self._begin = begin
        self._speed = speed
        self._started = datetime.now(UTC)

    def now_of(self, then: datetime) -> datetime:
        passed = then - self._begin
        if self._speed:
            return self._started + passed / self._speed
        # As fast as it goes, all of it happens now, but still in order: a day takes a millisecond.
        return self._started + passed / 86_400_000

    def wait_for(self, then: datetime, stopped: threading.Event) -> None:
        if self._speed:
            stopped.wait(max(0.0, (self.now_of(then) - datetime.now(UTC)).total_seconds()))

    def has_come(self, then: datetime) -> bool:
        return not self._speed or self.now_of(then) <= datetime.now(UTC)


def _due(
    messages: list[Planned], start: int, clock: _Clock, stopped: threading.Event
) -> list[Planned]:
    """The next messages whose time has come, at least one, at most a request's worth."""
    clock.wait_for(messages[start].at, stopped)
    if stopped.is_set():
        return []
    due = list[Planned]()
    for one in messages[start : start + REQUEST]:
        if due and not clock.has_come(one.at):
            break
        due.append(one)
    return due


def _send(
    publisher: Any,
    topic: str,
    group: list[tuple[Planned, dict[str, Any]]],
    published: Published,
    *,
    may_be_refused: bool,
) -> None:
    from google.api_core import exceptions

    try:
        gcp.publish(publisher, topic, [message for _, message in group])
    except exceptions.InvalidArgument as error:
        if may_be_refused:
            published.refused += len(group)
            return
        raise TopicRefused(
            f"{topic} refuses a valid event ({error.message}); its schema is not that of the "
            "contract: deploy the platform again"
        ) from error
    for one, _ in group:
        published.add(one.contract, one.kind)


def _resume(plan: Plan, checkpoint: Path | None) -> _Checkpoint:
    described = msgspec.to_builtins(asdict(plan))
    if checkpoint is None or not checkpoint.exists():
        return _Checkpoint(run=uuid.uuid4().hex[:16], plan=described, by_contract={})
    state = msgspec.json.decode(checkpoint.read_bytes(), type=_Checkpoint)
    if state.plan != described:
        raise InvalidPlan(
            f"checkpoint is {checkpoint}, which belongs to another plan; allowed: the same plan, "
            "or another file"
        )
    return state


def _save(state: _Checkpoint, checkpoint: Path | None) -> None:
    """Atomic, so that a replay killed while it saves finds the one before."""
    if checkpoint is None:
        return
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    draft = checkpoint.with_suffix(f".{time.monotonic_ns()}")
    draft.write_bytes(msgspec.json.encode(state))
    draft.replace(checkpoint)
