"""BigQuery subscriptions: each message becomes a row, written by streaming insert.

What a row looks like follows https://cloud.google.com/pubsub/docs/bigquery: with neither schema
the payload goes to the column `data`; with the topic's schema or the table's own, each field goes
to the column of its name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.cloud.bigquery import Client, SchemaField
from requests.exceptions import RequestException

from localcloud.home import NotStarted
from localcloud.services.pubsub import wire
from localcloud.services.pubsub.avro_codec import Mismatch
from localcloud.services.pubsub.consumers import Consumer
from localcloud.services.pubsub.delivery import Subscription
from localcloud.services.pubsub.entries import Entry
from localcloud.services.pubsub.errors import Fault, invalid, not_found, unavailable
from localcloud.services.pubsub.pauses import Pause
from localcloud.services.pubsub.rows import Rows
from localcloud.services.pubsub.wire import Pb

if TYPE_CHECKING:
    from localcloud.services.pubsub.broker import Broker

log = logging.getLogger(__name__)

BATCH_MESSAGES: Final = 500
BATCH_BYTES: Final = 5 * 1024 * 1024
# A lease spans the slowest insert, so that no row is written twice by us.
LEASE_SECONDS: Final = 600.0
TIMEOUT_SECONDS: Final = 60.0
SCHEMA_SECONDS: Final = 60.0
# The writer has its own pauses; inside a request there is nothing to try again.
NEVER: Final = Retry(predicate=lambda _: False)


def client(broker: Broker, table: str) -> Client:
    """Google's BigQuery client, pointed at the local BigQuery.

    Raises:
        Fault: UNAVAILABLE when no local cloud was ever started.
    """
    try:
        url = broker.home.endpoints().url("bigquery")
    except NotStarted as error:
        raise unavailable(str(error)) from None
    return Client(
        project=table.split(".", 1)[0],
        credentials=AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=url),
    )


async def check_destination(broker: Broker, config: Pb) -> None:
    """Judge whether the table can take the topic's messages.

    Raises:
        Fault: NOT_FOUND for the table, INVALID_ARGUMENT where the schemas do not go together,
            UNAVAILABLE when BigQuery does not answer.
    """
    table = config.bigquery_config.table
    rows = await _rows(broker, config, await _columns(client(broker, table), table))
    problem = rows.problem()
    if problem:
        raise invalid(f"Incompatible schema between the topic and the table {table}: {problem}.")


async def _columns(bigquery: Client, table: str) -> Sequence[SchemaField]:
    try:
        found = await asyncio.to_thread(
            bigquery.get_table, table, retry=NEVER, timeout=TIMEOUT_SECONDS
        )
    except NotFound:
        raise not_found(table) from None
    except (GoogleAPICallError, RequestException) as error:
        raise unavailable(f"BigQuery does not answer for {table}: {error}") from None
    return found.schema


async def _rows(broker: Broker, config: Pb, columns: Sequence[SchemaField]) -> Rows:
    schema = None
    encoding = wire.JSON
    if config.bigquery_config.use_topic_schema:
        topic = broker.topics.get(config.topic)
        if topic is None or not topic.config.HasField("schema_settings"):
            raise invalid(
                f"bigquery_config.use_topic_schema is true, but {config.topic} has no schema."
            )
        settings = topic.config.schema_settings
        schema = broker.schemas.codec(settings.schema, settings.last_revision_id).schema
        encoding = settings.encoding
    return Rows(config, columns, schema, encoding)


class Writer:
    """Writes one subscription's messages, a batch at a time."""

    def __init__(self, broker: Broker, subscription: Subscription) -> None:
        self._broker = broker
        self._subscription = subscription
        self._table = subscription.config.bigquery_config.table
        self._consumer = Consumer()
        self._pause = Pause(1.0, 60.0)
        self._rows: Rows | None = None
        self._read_at = 0.0
        self._task = broker.spawn(self._run())

    def stop(self) -> None:
        """End; a batch under way is written again by whoever comes next."""
        self._task.cancel()

    async def _run(self) -> None:
        subscription, consumer = self._subscription, self._consumer
        subscription.attach(consumer)
        try:
            bigquery = client(self._broker, self._table)
            while not subscription.closed:
                await consumer.wait()
                while True:
                    await self._pause.over()
                    entries = subscription.lease(
                        consumer, BATCH_MESSAGES, LEASE_SECONDS, BATCH_BYTES
                    )
                    if not entries:
                        break
                    await self._deliver(bigquery, entries)
        finally:
            subscription.detach(consumer)

    async def _deliver(self, bigquery: Client, entries: list[Entry]) -> None:
        subscription = self._subscription
        refused: dict[int, str] = {}
        state = wire.ACTIVE
        try:
            rows = await self._layout(bigquery)
            ready: list[tuple[Entry, dict[str, Any]]] = []
            for entry in entries:
                try:
                    ready.append((entry, rows.row(entry.message, subscription.name)))
                except Mismatch as mismatch:
                    refused[entry.message.id] = str(mismatch)
            refused |= await self._insert(bigquery, ready)
        except Fault as fault:
            refused = {entry.message.id: fault.message for entry in entries}
            state = wire.NOT_FOUND if fault.code.name == "NOT_FOUND" else wire.SCHEMA_MISMATCH
            self._rows = None
        else:
            if len(refused) == len(entries):
                state = wire.SCHEMA_MISMATCH
                self._rows = None  # The table may be mended meanwhile.
        self._note(state)
        written = [e for e in entries if e.message.id not in refused]
        if written:
            subscription.acknowledge([subscription.token(e) for e in written])
        if not refused:
            self._pause.reset()
            return
        number, reason = next(iter(refused.items()))
        log.warning(
            "%s: %d of %d messages not written to %s; message %d: %s",
            subscription.name,
            len(refused),
            len(entries),
            self._table,
            number,
            reason,
        )
        if subscription.backlog.rules.backoff is None:
            self._pause.lengthen()
        subscription.modify([subscription.token(e) for e in entries if e.message.id in refused], 0)

    async def _layout(self, bigquery: Client) -> Rows:
        now = asyncio.get_running_loop().time()
        if self._rows is None or now - self._read_at > SCHEMA_SECONDS:
            columns = await _columns(bigquery, self._table)
            self._rows = await _rows(self._broker, self._subscription.config, columns)
            self._read_at = now
        return self._rows

    async def _insert(
        self, bigquery: Client, ready: Sequence[tuple[Entry, dict[str, Any]]]
    ) -> dict[int, str]:
        """Insert rows; gives the ids of messages whose row was refused, with the reason.

        Raises:
            Fault: the insert as a whole failed.
        """
        if not ready:
            return {}
        try:
            errors = await asyncio.to_thread(
                bigquery.insert_rows_json,
                self._table,
                [row for _, row in ready],
                # BigQuery takes a row whose id it has seen shortly before only once.
                row_ids=[str(entry.message.id) for entry, _ in ready],
                skip_invalid_rows=True,
                retry=NEVER,
                timeout=TIMEOUT_SECONDS,
            )
        except NotFound:
            raise not_found(self._table) from None
        except (GoogleAPICallError, RequestException) as error:
            raise unavailable(f"insert into {self._table} failed: {error}") from None
        return {
            ready[error["index"]][0].message.id: "; ".join(
                f"{one.get('location', '')} {one.get('message', '')}".strip()
                for one in error["errors"]
            )
            for error in errors
        }

    def _note(self, state: int) -> None:
        """Show in the subscription whether its table takes messages."""
        config = self._subscription.config
        config.bigquery_config.state = state
        config.state = wire.ACTIVE if state == wire.ACTIVE else wire.RESOURCE_ERROR
