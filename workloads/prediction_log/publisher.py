"""Sends the prediction log to Pub/Sub, off the path of the requests.

Whoever answers requests hands over what was answered and goes on: nothing here blocks it, ever.
What cannot be kept is counted, never lost in silence: when more rows wait than may, when the topic
refuses rows, and when the process has to end before they are sent.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from workloads import gcp
from workloads.prediction_log.contract import Variant

log: Final = logging.getLogger(__name__)

GATHER_SECONDS: Final = 0.2
"""How long rows wait for others, so that a busy server makes few requests."""
MOST_ROWS: Final = 1000
MOST_BYTES: Final = 4_000_000
"""In one request: Pub/Sub takes 1,000 messages and 10 MB."""
LONGEST_PAUSE: Final = 30.0
_SECONDS: Final = 10.0
REFUSED: Final = frozenset({400, 413})
"""Statuses by which the topic says that it will never take these rows."""

type Publish = Callable[[list[dict[str, Any]]], object]
"""Sends messages as one request, which the topic takes whole or refuses whole."""


def deployed(vertex: str, revision: str, version: str) -> str:
    """Who answered, as the log says it: Vertex AI's id, else the revision and the version in it."""
    return vertex or (f"{revision}/{version}" if revision else "")


@dataclass(slots=True, kw_only=True)
class Entry:
    """The rows of one request, and what became of them. Cheap to make: it is made on the path of
    the request, and read elsewhere.
    """

    at: float
    """When it was answered, seconds since 1970."""
    model_version: str
    model_run: str
    variant: Variant
    status: int
    latency_ms: float
    rows: Sequence[Any] = ()
    """Rows of the request contract; empty where the request was refused."""
    value: Sequence[float] | None = None
    lower: Sequence[float] | None = None
    upper: Sequence[float] | None = None
    threshold: float | None = None
    """From which value the answer is yes; none for a regression."""
    key: str | None = None
    entities: Sequence[str] | None = None

    def __len__(self) -> int:
        """The rows of the log that it becomes."""
        return len(self.rows) or 1


class Publisher:
    """The prediction log of one server. `add` is safe on any thread, and returns at once.

    Args:
        product: name of the ML product.
        topic: full name, `projects/.../topics/...`; empty: nothing is logged.
        deployed_model_id: Vertex AI's, empty elsewhere.
        revision: of Cloud Run or KServe, empty elsewhere; with the version it says who answered,
            since a server that follows an alias answers with more than one.
        most_waiting: rows that may wait to be sent; more are dropped, and counted.
        publish: instead of Pub/Sub.
    """

    def __init__(
        self,
        product: str,
        topic: str,
        *,
        deployed_model_id: str = "",
        revision: str = "",
        most_waiting: int = 20_000,
        publish: Publish | None = None,
    ) -> None:
        self.on = bool(topic)
        self.dropped = 0
        """Rows that were answered and will be in no table."""
        self.sent = 0
        self.waiting = 0
        """Rows not sent yet."""
        self._product = product
        self._topic = topic
        self._deployed = deployed_model_id
        self._revision = revision
        self._most = most_waiting
        self._publish = publish
        self._process = uuid.uuid4().hex[:20]
        self._made = 0
        self._queue: deque[Entry] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send. Until then rows wait."""
        if self.on and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
            self._thread.start()

    def add(self, entry: Entry) -> None:
        """Have the rows of a request logged, or count them as dropped."""
        if not self.on:
            return
        rows = len(entry)
        with self._lock:
            if self.waiting + rows > self._most or self._ending.is_set():
                self.dropped += rows
                return
            self.waiting += rows
            self._queue.append(entry)
        if not self._wake.is_set():
            self._wake.set()

    def close(self, seconds: float) -> None:
        """Send what waits, for so long; then count the rest as dropped."""
        if not self.on:
            return
        self.start()
        self._ending.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)
        with self._lock:
            lost, self.waiting = self.waiting, 0
            self.dropped += lost
        if self.dropped:
            log.error(
                "%d predictions of %s are not in the log, %d are",
                self.dropped,
                self._product,
                self.sent,
            )

    def _run(self) -> None:
        publish = self._publish or self._connected()
        while publish is not None:
            self._wake.wait()
            self._wake.clear()
            # More may come meanwhile; who ends the process does not wait for that.
            self._ending.wait(GATHER_SECONDS)
            for messages in _requests(self._taken()):
                self._send(publish, messages)
            if self._ending.is_set() and not self._queue:
                return

    def _connected(self) -> Publish | None:
        """What sends, once there is a client of Pub/Sub; none where the process ends before."""
        pause = 0.1
        while True:
            try:
                return self._connect()
            except Exception:
                # Whatever it is, the server goes on, and so does this thread.
                log.exception("the prediction log has no client of Pub/Sub yet")
            if self._ending.wait(pause):
                return None
            pause = min(pause * 2, LONGEST_PAUSE)

    def _connect(self) -> Publish:
        client = gcp.publisher()
        # Tried again here, where the end of the process is heard of.
        return lambda messages: gcp.publish(
            client, self._topic, messages, retry=None, timeout=_SECONDS
        )

    def _taken(self) -> Iterator[dict[str, Any]]:
        """The messages of what waits now."""
        while True:
            try:
                entry = self._queue.popleft()
            except IndexError:
                return
            try:
                messages = list(self._messages(entry))
            except Exception:
                # One request that cannot be written must not end the log of all others.
                log.exception("%d predictions cannot be written to the log", len(entry))
                with self._lock:
                    self.dropped += len(entry)
                    self.waiting = max(0, self.waiting - len(entry))
                continue
            yield from messages

    def _send(self, publish: Publish, messages: list[dict[str, Any]]) -> None:
        """Until the topic takes them, or says that it never will, or the process ends."""
        pause, failures = 0.1, 0
        while True:
            try:
                publish(messages)
            except Exception as error:  # noqa: BLE001 - whatever it is, the server goes on
                failures += 1
                if getattr(error, "code", None) in REFUSED:
                    log.error("the topic refuses %d predictions: %s", len(messages), error)
                    break
                if failures == 1:
                    log.warning("the prediction log is not sent yet: %s", error)
                if self._ending.is_set() and failures > 1:
                    break
                self._ending.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            with self._lock:
                self.sent += len(messages)
                self.waiting = max(0, self.waiting - len(messages))
            return
        with self._lock:
            self.dropped += len(messages)
            self.waiting = max(0, self.waiting - len(messages))

    def _messages(self, entry: Entry) -> Iterator[dict[str, Any]]:
        """The rows of a request as Avro JSON, which is what `contracts.encode` makes of a
        `PredictionLogged`; written here because it is done for every prediction.
        """
        common = {
            "predicted_at": datetime.fromtimestamp(entry.at, UTC),
            "product": self._product,
            "model_version": entry.model_version,
            "model_run": entry.model_run,
            "deployed_model_id": deployed(self._deployed, self._revision, entry.model_version),
            "variant": entry.variant,
            "status": entry.status,
            "latency_ms": entry.latency_ms,
            "key": None if entry.key is None else {"string": entry.key},
        }
        for position in range(len(entry)):
            value = _at(entry.value, position)
            answer = None
            if value is not None and entry.threshold is not None:
                answer = {"boolean": value >= entry.threshold}
            self._made += 1
            row = {
                "prediction_id": f"{self._process}-{self._made}",
                **common,
                "entity": _tagged("string", _at(entry.entities, position) or None),
                "value": _tagged("double", value),
                "lower": _tagged("double", _at(entry.lower, position)),
                "upper": _tagged("double", _at(entry.upper, position)),
                "answer": answer,
                "features": {"string": _object(entry.rows[position])} if entry.rows else None,
            }
            yield {"data": msgspec.json.encode(row)}


def _tagged(kind: str, value: str | float | None) -> dict[str, str | float] | None:
    return None if value is None else {kind: value}


def _at[T](values: Sequence[T] | None, position: int) -> T | None:
    if values is None or position >= len(values):
        return None
    found = values[position]
    # Neither Avro in JSON nor BigQuery takes a number that is none.
    return None if isinstance(found, float) and found - found != 0 else found


def _object(row: Any) -> str:
    """A row as JSON under the names of its fields, even where it came as an array."""
    values = msgspec.structs.astuple(row)
    return msgspec.json.encode(dict(zip(row.__struct_fields__, values, strict=True))).decode()


def _requests(messages: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The messages, as many together as one request may carry."""
    together: list[dict[str, Any]] = []
    size = 0
    for message in messages:
        if together and (len(together) == MOST_ROWS or size + len(message["data"]) > MOST_BYTES):
            yield together
            together, size = [], 0
        together.append(message)
        size += len(message["data"])
    if together:
        yield together
