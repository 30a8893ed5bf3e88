"""What a backlog is made of: delivery rules, messages with their state, and ordering keys."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from localcloud.services.pubsub.consumers import Consumer
from localcloud.services.pubsub.messages import Message

READY: Final = 0  # in a queue
LEASED: Final = 1  # with a consumer, until the deadline
HELD: Final = 2  # waits out a back-off
DEAD: Final = 3  # on its way to the dead-letter topic
GONE: Final = 4  # acknowledged or expired


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the subscription's configuration says about delivery.

    Attributes:
        ordered: messages with a key are delivered in order.
        exactly_once: only the current lease may acknowledge.
        backoff: shortest and longest wait before a redelivery, seconds; none redelivers at once.
        max_attempts: deliveries before a message goes to the dead-letter topic; 0 for no end.
    """

    ordered: bool = False
    exactly_once: bool = False
    backoff: tuple[float, float] | None = None
    max_attempts: int = 0

    def wait(self, failures: int) -> float:
        """Seconds to wait after so many failed deliveries; doubles from the shortest."""
        if self.backoff is None:
            return 0.0
        shortest, longest = self.backoff
        return min(longest, shortest * 2.0 ** min(failures - 1, 60))


class Entry:
    """A message that is not yet acknowledged, and where it stands."""

    __slots__ = (
        "acknowledged",
        "consumer",
        "deadline",
        "failures",
        "key",
        "lease",
        "message",
        "state",
        "void",
    )

    def __init__(self, message: Message, failures: int, key: Key | None) -> None:
        self.message = message
        self.failures = failures
        self.key = key
        self.state = READY
        self.lease = 0
        self.deadline = 0.0
        self.consumer: Consumer | None = None
        # Leases below this number may no longer acknowledge: the message was taken back because
        # one before it in the order was refused.
        self.void = 0
        # A late acknowledgement came while the message was on its way to the dead letters.
        self.acknowledged = False


class Key:
    """The messages of one ordering key."""

    __slots__ = ("consumer", "held", "leased", "name", "place", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[Entry] = deque()
        self.leased: dict[int, Entry] = {}
        self.consumer: Consumer | None = None
        self.held = 0
        self.place: deque[Key] | None = None
