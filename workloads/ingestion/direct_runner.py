"""Makes Beam's DirectRunner acknowledge a message only after its outcome has been written.

The runner acknowledges as soon as it has pulled, so that whatever was under way when it is killed
is lost, and it pulls ten at a time. `install` replaces, in this process only, the evaluator of its
Pub/Sub read and watches its BigQuery writes: a message is outstanding from the moment it is handed
to the pipeline until a row that carries its id has been accepted by BigQuery, and only then is it
acknowledged. A message whose outcome never arrives is delivered again.

It is installed where an emulator of Pub/Sub answers. Dataflow has guarantees of its own.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from apache_beam import pvalue
from apache_beam.io.gcp import bigquery
from apache_beam.io.gcp.bigquery_tools import BigQueryWrapper
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.runners.direct import transform_evaluator
from apache_beam.runners.direct.util import TransformResult
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.timestamp import Timestamp
from google.api_core import exceptions

from workloads import gcp
from workloads.ingestion.judging import origin_id

log: Final = logging.getLogger("esteira.ingestion")

BATCH: Final = 1000
"""Messages in one pull, and so in one bundle; a bundle has a price, however small it is."""
_IDLE: Final = 0.1
"""Seconds that an idle read waits for a message before it lets the runner look at its timers."""


class Outstanding:
    """Messages that were handed to the pipeline and whose outcome is not written yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ack_ids: dict[str, list[tuple[str, str]]] = {}
        self._written: dict[str, list[str]] = defaultdict(list)

    def add(self, message_id: str, subscription: str, ack_id: str) -> None:
        """A message is on its way. `message_id` is the one that its outcome will carry."""
        with self._lock:
            self._ack_ids.setdefault(message_id, []).append((subscription, ack_id))

    def confirm(self, message_ids: Iterable[str]) -> None:
        """A row for each of these ids is in BigQuery.

        Each message leaves one row. Two under way with one id (a redelivery, or a publisher's
        second attempt) need a row each, lest both be acknowledged for a copy that was set aside.
        """
        with self._lock:
            for message_id in message_ids:
                waiting = self._ack_ids.get(message_id)
                if not waiting:
                    continue
                subscription, ack_id = waiting.pop(0)
                self._written[subscription].append(ack_id)
                if not waiting:
                    del self._ack_ids[message_id]

    def take_written(self, subscription: str) -> list[str]:
        """The acknowledgements that are due, each once."""
        with self._lock:
            return self._written.pop(subscription, [])

    def __len__(self) -> int:
        with self._lock:
            return sum(len(waiting) for waiting in self._ack_ids.values())


class Puller:
    """Pulls one subscription in a thread of its own, a little ahead of the pipeline."""

    def __init__(self, subscription: str, arrived: threading.Condition) -> None:
        self.subscription = subscription
        self._client = gcp.subscriber()
        self._arrived = arrived
        # Few, so that no message waits here past its acknowledgement deadline.
        self._batches: queue.Queue[list[Any]] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()
        self._failure: Exception | None = None
        threading.Thread(target=self._pull, name=f"pull {subscription}", daemon=True).start()

    def _pull(self) -> None:
        request = {"subscription": self.subscription, "max_messages": BATCH}
        while not self._stopped.is_set():
            try:
                response = self._client.pull(request=request, timeout=30)
            except exceptions.DeadlineExceeded:
                continue
            except (exceptions.ServiceUnavailable, exceptions.Aborted) as error:
                log.warning("cannot reach %s, trying again: %s", self.subscription, error)
                self._stopped.wait(1)
                continue
            except Exception as error:  # noqa: BLE001 - the pipeline fails with it
                self._failure = error
                self._notify()
                return
            if response.received_messages and not self._stopped.is_set():
                self._batches.put(list(response.received_messages))
                self._notify()

    def _notify(self) -> None:
        with self._arrived:
            self._arrived.notify_all()

    def take(self) -> list[Any]:
        """The messages that are there, perhaps none.

        Raises:
            Exception: what ended the pulling, such as a subscription that does not exist.
        """
        if self._failure:
            raise self._failure
        try:
            return self._batches.get_nowait()
        except queue.Empty:
            return []

    def acknowledge(self, ack_ids: list[str]) -> None:
        """Tell Pub/Sub. If that fails the messages come again, which is harmless."""
        try:
            self._client.acknowledge(
                request={"subscription": self.subscription, "ack_ids": ack_ids}
            )
        except exceptions.GoogleAPICallError as error:
            log.warning(
                "%d acknowledgements to %s failed: %s", len(ack_ids), self.subscription, error
            )

    def stop(self) -> None:
        """Pull no more."""
        self._stopped.set()


_outstanding: Final = Outstanding()
_arrived: Final = threading.Condition()
_pullers: Final[dict[str, Puller]] = {}


def _puller(subscription: str) -> Puller:
    if subscription not in _pullers:
        _pullers[subscription] = Puller(subscription, _arrived)
    return _pullers[subscription]


class ConfirmedReadEvaluator(transform_evaluator._PubSubReadEvaluator):
    """The runner's Pub/Sub read, with acknowledgement after the outcome.

    The runner evaluates it again and again; each time it hands over what has arrived since.
    """

    def finish_bundle(self) -> TransformResult:
        puller = _puller(self._sub_name)
        if due := _outstanding.take_written(self._sub_name):
            puller.acknowledge(due)
        messages = puller.take()
        if not messages:
            with _arrived:
                _arrived.wait(_IDLE)
            messages = puller.take()
        bundles = []
        if messages:
            bundle = self._evaluation_context.create_bundle(next(iter(self._outputs)))
            for received in messages:
                message = PubsubMessage._from_message(received.message)
                message_id = origin_id(message.attributes or {}, message.message_id or "")
                _outstanding.add(message_id, self._sub_name, received.ack_id)
                published = Timestamp.from_utc_datetime(_utc(received.message.publish_time))
                value = message if self.source.with_attributes else message.data
                bundle.output(GlobalWindows.windowed_value(value, timestamp=published))
            bundles.append(bundle)
        transform: Any = self._applied_ptransform.transform
        again = self._evaluation_context.create_bundle(
            pvalue.PBegin(transform.pipeline)  # pyright: ignore[reportArgumentType]
        )
        return TransformResult(self, bundles, [again], None, {None: Timestamp.of(time.time())})


def _utc(instant: datetime) -> datetime:
    return datetime.fromtimestamp(instant.timestamp(), UTC)


def _wire_size(row: Any) -> int:
    return len(msgspec.json.encode(row))


def install() -> None:
    """Replace the runner's Pub/Sub read, and watch what Beam writes to BigQuery."""
    if transform_evaluator._PubSubReadEvaluator is ConfirmedReadEvaluator:
        return
    transform_evaluator._PubSubReadEvaluator = ConfirmedReadEvaluator
    # Beam holds each row against the limit of a request by walking the globals of every module
    # that is loaded, 1 ms a row. The limit is one of bytes on the wire.
    setattr(bigquery, "get_deep_size", _wire_size)  # noqa: B010 - Beam does not export it
    insert_rows = BigQueryWrapper.insert_rows

    def insert_and_confirm(
        self: BigQueryWrapper,
        project_id: str,
        dataset_id: str,
        table_id: str,
        rows: list[dict[str, Any]],
        *args: Any,
        **kwargs: Any,
    ) -> tuple[bool, Any]:
        passed, errors = insert_rows(self, project_id, dataset_id, table_id, rows, *args, **kwargs)
        failed = {entry["index"] for entry in errors}
        _outstanding.confirm(
            row["message_id"] for index, row in enumerate(rows) if index not in failed
        )
        return passed, errors

    BigQueryWrapper.insert_rows = insert_and_confirm


def drain(patience: timedelta) -> int:
    """Pull no more, and let what is under way end.

    Returns:
        How many messages were still under way when patience ended.
    """
    for puller in _pullers.values():
        puller.stop()
    deadline = time.monotonic() + patience.total_seconds()
    while len(_outstanding) and time.monotonic() < deadline:
        with _arrived:
            _arrived.wait(_IDLE)
    for subscription, puller in _pullers.items():
        if due := _outstanding.take_written(subscription):
            puller.acknowledge(due)
    return len(_outstanding)
