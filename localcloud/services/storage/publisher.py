"""Carries notifications from the outbox to Pub/Sub, in a thread of its own.

Delivery is at least once and in order per topic. A topic that cannot be reached is tried again
with growing pauses, for seven days as Cloud Storage does, and holds up no other topic.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from localcloud.home import NotStarted
from localcloud.services.storage import database
from localcloud.services.storage.clock import DAY, Clock
from localcloud.services.storage.errors import StorageError, forbidden

log = logging.getLogger(__name__)

_KEEP: Final = 7 * DAY
_BATCH: Final = 100
_FIRST_PAUSE: Final = 0.1  # seconds
_LONGEST_PAUSE: Final = 10.0
_TIMEOUT: Final = 10.0


class Publisher:
    """The thread that publishes.

    Args:
        file: the database, which it opens for itself.
        address: `host:port` of Pub/Sub, asked for when first needed.
        clock: the present.
    """

    def __init__(self, file: Path, address: Callable[[], str], clock: Clock) -> None:
        self._file = file
        self._address = address
        self._clock = clock
        self._news = threading.Event()
        self._stopping = False
        self._client: Any = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)

    def start(self) -> None:
        """Begin to publish, with what an earlier process left."""
        self._news.set()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is not delivered stays in the outbox."""
        self._stopping = True
        self._news.set()
        self._thread.join(timeout=1)

    def wake(self) -> None:
        """Say that the outbox has something new."""
        self._news.set()

    def check_topic(self, topic: str, agent: str) -> None:
        """Check that a topic exists, as Cloud Storage does before it accepts a notification.

        Blocking.

        Args:
            topic: `projects/P/topics/T`.
            agent: the service account that would publish, for the message.

        Raises:
            StorageError: 403 when there is no such topic, 503 when Pub/Sub cannot be asked.
        """
        from google.api_core import exceptions

        try:
            self._publisher().get_topic(topic=topic, timeout=_TIMEOUT, retry=None)
        except exceptions.NotFound:
            raise forbidden(
                "forbidden",
                f"The service account '{agent}' does not have permission to publish messages to "
                f"the Cloud Pub/Sub topic '//pubsub.googleapis.com/{topic}', or that topic does "
                "not exist.",
            ) from None
        except (exceptions.GoogleAPICallError, NotStarted) as error:
            raise StorageError(
                503,
                "backendError",
                f"Pub/Sub cannot be asked for {topic}: {error}. Is it running? "
                "(`esteira local status`)",
            ) from None

    def _publisher(self) -> Any:
        # Importing Google's client takes half a second: only those pay who use notifications.
        with self._lock:
            if self._client is None:
                import grpc
                from google.pubsub_v1.services.publisher import PublisherClient
                from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

                # The default pause between attempts grows to two minutes, far too long for a
                # Pub/Sub that is restarted next door.
                channel = grpc.insecure_channel(
                    self._address(), options=[("grpc.max_reconnect_backoff_ms", 1000)]
                )
                self._client = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
            return self._client

    def _run(self) -> None:
        connection = database.connect(self._file)
        failures: dict[str, int] = {}
        due: dict[str, float] = {}
        while not self._stopping:
            self._news.clear()
            now = time.monotonic()
            for topic in _topics(connection):
                if self._stopping or due.get(topic, 0) > now:
                    continue
                try:
                    self._drain(connection, topic)
                    failures.pop(topic, None)
                    due.pop(topic, None)
                except Exception as error:  # noqa: BLE001 - tried again, whatever it is
                    count = failures[topic] = failures.get(topic, 0) + 1
                    pause = min(_FIRST_PAUSE * 2 ** min(count, 20), _LONGEST_PAUSE)
                    due[topic] = time.monotonic() + pause
                    if count == 1:
                        log.warning("notifications for %s wait: %s", topic, error)
                    self._expire(connection, topic)
            waiting = [due.get(topic, 0.0) for topic in _topics(connection)]
            pause = max(0.0, min(waiting) - time.monotonic()) if waiting else None
            self._news.wait(pause)
        connection.close()

    def _drain(self, connection: sqlite3.Connection, topic: str) -> None:
        from google.pubsub_v1.types import PubsubMessage

        while not self._stopping:
            rows = connection.execute(
                "SELECT id, data, attributes FROM outbox WHERE topic = ? ORDER BY id LIMIT ?",
                (topic, _BATCH),
            ).fetchall()
            if not rows:
                return
            messages = [
                PubsubMessage(data=row["data"], attributes=msgspec.json.decode(row["attributes"]))
                for row in rows
            ]
            self._publisher().publish(topic=topic, messages=messages, timeout=_TIMEOUT, retry=None)
            connection.execute(
                "DELETE FROM outbox WHERE topic = ? AND id <= ?", (topic, rows[-1]["id"])
            )

    def _expire(self, connection: sqlite3.Connection, topic: str) -> None:
        gone = connection.execute(
            "DELETE FROM outbox WHERE topic = ? AND created < ?", (topic, self._clock() - _KEEP)
        ).rowcount
        if gone:
            log.error("%d notifications for %s given up after seven days", gone, topic)


def _topics(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT DISTINCT topic FROM outbox")]
