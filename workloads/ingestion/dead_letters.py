"""Lists dead letters, and sends them again after a fix.

A replay holds each dead letter to today's contract first; what is still not allowed stays where it
is. A message from Pub/Sub is published again, its bytes unchanged, with the id and time of the
message that failed; a line of a file is loaded as the batch job would have. Either way it stands
for the message that failed: sent twice, it still counts once. When a letter was sent is recorded
by a row of its own, because BigQuery cannot change rows that were streamed in lately.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from workloads import contracts, gcp, product
from workloads.contracts import ContractViolation
from workloads.ingestion import tables
from workloads.ingestion.judging import (
    EVENT_TIMESTAMP,
    PUBSUB,
    REPLAY_OF,
    REPLAY_PUBLISH_TIME,
    Row,
    raw_row,
    rfc3339,
)
from workloads.ingestion.loading import load
from workloads.product import InvalidProduct, Product, Source

_BATCH: Final = 500


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """One message that no contract allowed, as it stands."""

    message_id: str
    contract: str | None
    contract_version: int | None
    received_at: datetime
    source: str
    raw: bytes
    attributes: dict[str, str]
    field: str
    value: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What a replay did."""

    sent: int = 0
    """Published or loaded again."""
    still_broken: tuple[ContractViolation, ...] = ()
    """Not sent, because today's contract does not allow them either."""
    refused: tuple[str, ...] = ()
    """Not sent, because there is no contract or topic that takes them; why."""


@dataclass
class _Sorted:
    """Letters by what can be done with them."""

    publish: dict[str, list[tuple[DeadLetter, Source]]] = field(default_factory=dict)
    load: dict[str, list[tuple[DeadLetter, Row]]] = field(default_factory=dict)
    still_broken: list[ContractViolation] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def listed(
    product_name: str,
    contract: str = "",
    field: str = "",
    limit: int = 1000,
    message_ids: Sequence[str] = (),
) -> list[DeadLetter]:
    """The dead letters that have not been sent again since they last failed, newest first.

    Args:
        contract: name or plural; empty: all.
        field: only those that this field made invalid; empty: all.
        message_ids: only these; empty: all.

    Raises:
        InvalidProduct: no such product, or no such contract of it.
    """
    from google.cloud import bigquery

    declared = product.load(product_name)
    name = declared.source(contract).contract.NAME if contract else ""
    table = f"{tables.dataset(declared)}.{tables.DEAD_LETTERS}"
    # Of several rows of one message the newest tells: a failure, or the replay that followed it.
    text = f"""SELECT * FROM (
  SELECT * FROM `{table}`
  WHERE (@contract = '' OR contract = @contract)
    AND (@field = '' OR field = @field)
    AND (@all OR message_id IN UNNEST(@ids))
  QUALIFY ROW_NUMBER() OVER (
    PARTITION BY message_id ORDER BY recorded_at DESC, replayed_at DESC
  ) = 1
)
WHERE replayed_at IS NULL
ORDER BY received_at DESC, message_id
LIMIT @limit"""  # noqa: S608 - the table's name comes from the product's declaration
    config = bigquery.QueryJobConfig(
        query_parameters=[
            bigquery.ScalarQueryParameter("contract", "STRING", name),
            bigquery.ScalarQueryParameter("field", "STRING", field),
            bigquery.ScalarQueryParameter("all", "BOOL", not message_ids),
            bigquery.ArrayQueryParameter("ids", "STRING", list(message_ids)),
            bigquery.ScalarQueryParameter("limit", "INT64", limit),
        ]
    )
    rows = gcp.bigquery_client().query(text, job_config=config).result()
    return [_letter(row) for row in rows]


def _letter(row: Any) -> DeadLetter:
    return DeadLetter(
        message_id=row["message_id"],
        contract=row["contract"],
        contract_version=row["contract_version"],
        received_at=row["received_at"],
        source=row["source"],
        raw=row["raw"],
        attributes=msgspec.json.decode(row["attributes"] or "{}"),
        field=row["field"],
        value=row["value"],
        reason=row["reason"],
    )


def replay(product_name: str, letters: Iterable[DeadLetter] | None = None) -> Replay:
    """Send dead letters again, those that today's contract allows.

    Args:
        letters: which; by default all that `listed` gives.

    Raises:
        InvalidProduct: no such product.
    """
    declared = product.load(product_name)
    chosen = _sort(declared, listed(product_name) if letters is None else letters)
    sent = 0
    for topic, pairs in chosen.publish.items():
        for part in _parts(pairs):
            done, refusals = _publish(topic, [letter for letter, _ in part])
            chosen.refused += refusals
            _mark(declared, done)
            sent += len(done)
    for plural, pairs in chosen.load.items():
        for part in _parts(sorted(pairs, key=lambda pair: pair[0].message_id)):
            _load(declared, plural, part)
            _mark(declared, [letter for letter, _ in part])
            sent += len(part)
    return Replay(sent=sent, still_broken=tuple(chosen.still_broken), refused=tuple(chosen.refused))


def _parts[T](items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _sort(declared: Product, letters: Iterable[DeadLetter]) -> _Sorted:
    chosen = _Sorted()
    now = datetime.now(UTC)
    for letter in letters:
        try:
            source = declared.source(letter.contract or "")
        except InvalidProduct as error:
            chosen.refused.append(f"{letter.message_id}: {error}")
            continue
        try:
            row = contracts.decode(source.contract, letter.raw)
        except ContractViolation as violation:
            chosen.still_broken.append(violation)
            continue
        if letter.source == PUBSUB:
            topic = f"{declared.name}-{source.contract.PLURAL}"
            chosen.publish.setdefault(topic, []).append((letter, source))
        else:
            loadable = raw_row(row, letter.message_id, letter.received_at, now, letter.source)
            chosen.load.setdefault(source.contract.PLURAL, []).append((letter, loadable))
    return chosen


def _publish(topic: str, letters: list[DeadLetter]) -> tuple[list[DeadLetter], list[str]]:
    """Publish one by one: a topic refuses a whole request for one message in it."""
    from google.api_core import exceptions

    client = gcp.publisher()
    path = client.topic_path(gcp.project(), topic)
    done = list[DeadLetter]()
    refusals = list[str]()
    for letter in letters:
        attributes = letter.attributes | {
            REPLAY_OF: letter.message_id,
            REPLAY_PUBLISH_TIME: rfc3339(letter.received_at),
        }
        if letter.field == f"attributes.{EVENT_TIMESTAMP}":
            # It could not be read, so the time of publishing is all that is known.
            attributes[EVENT_TIMESTAMP] = rfc3339(letter.received_at)
        message = {"data": letter.raw, "attributes": attributes}
        try:
            gcp.publish(client, path, [message])
        except exceptions.InvalidArgument as error:
            refusals.append(f"{letter.message_id}: the topic refuses it: {error.message}")
            continue
        done.append(letter)
    return done, refusals


def _load(declared: Product, plural: str, pairs: list[tuple[DeadLetter, Row]]) -> None:
    table = next(one for one in tables.tables(declared) if one.name == plural)
    load(
        gcp.project(),
        tables.dataset(declared),
        table,
        b"\n".join(msgspec.json.encode(row) for _, row in pairs),
        product=declared.name,
        what="replay of " + "\n".join(letter.message_id for letter, _ in pairs),
    )


def _mark(declared: Product, letters: list[DeadLetter]) -> None:
    """Append, for each letter, the row that says when it was sent again."""
    import base64

    if not letters:
        return
    now = rfc3339(datetime.now(UTC))
    rows = [
        {
            "message_id": letter.message_id,
            "contract": letter.contract,
            "contract_version": letter.contract_version,
            "received_at": rfc3339(letter.received_at),
            "source": letter.source,
            "raw": base64.b64encode(letter.raw).decode(),
            "attributes": msgspec.json.encode(letter.attributes).decode(),
            "field": letter.field,
            "value": letter.value,
            "reason": letter.reason,
            "recorded_at": now,
            "replayed_at": now,
        }
        for letter in letters
    ]
    table = f"{gcp.project()}.{tables.dataset(declared)}.{tables.DEAD_LETTERS}"
    errors = gcp.bigquery_client().insert_rows_json(table, rows)
    if errors:
        raise RuntimeError(f"{len(letters)} letters were sent but not marked as such: {errors}")
