"""What becomes of one message: a row, a dead letter, or an event that came too late.

Functions without Beam, shared by the streaming and the batch pipeline and by the replay of
dead letters, so that a message is judged alike wherever it comes from.

Attributes of a message that are understood:

- `event_timestamp` (RFC 3339): when the event happened on the publisher's clock. Without it, the
  contract's own event time counts.
- `idempotency_key`: set by a publisher that may have to publish the same message twice, because it
  was cut off before it knew; both count as one message.
- `replay_of`, `replay_publish_time`: set by the replay of dead letters. The message stands for the
  one that failed, so it is neither a new message nor late for having waited.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from workloads import contracts, telemetry
from workloads.contracts import Contract, ContractViolation
from workloads.product import Source

log: Final = logging.getLogger("esteira.ingestion")

EVENT_TIMESTAMP: Final = "event_timestamp"
IDEMPOTENCY_KEY: Final = "idempotency_key"
REPLAY_OF: Final = "replay_of"
REPLAY_PUBLISH_TIME: Final = "replay_publish_time"
PUBSUB: Final = "pubsub"

# BigQuery takes streamed rows of up to 10 MB, and bytes travel as base64.
_RAW_LIMIT: Final = 6 * 1024 * 1024

Row = dict[str, Any]


class Message(NamedTuple):
    """One message as Pub/Sub delivers it."""

    data: bytes
    attributes: Mapping[str, str]
    message_id: str
    publish_time: datetime


class Verdict(NamedTuple):
    """What became of a message, and the row that records it."""

    outcome: Literal["row", "dead", "late"]
    row: Row
    """As BigQuery's API takes it: instants as RFC 3339, bytes as base64."""
    identity: str = ""
    event_time: datetime = datetime.min.replace(tzinfo=UTC)


def judge(source: Source, message: Message, now: datetime) -> Verdict:
    """Hold a message to the contract of its source, and to its allowed lateness."""
    contract = source.contract
    message_id = origin_id(message.attributes, message.message_id)
    published = _published(message)
    try:
        row = contracts.decode(contract, message.data)
        happened = _event_time(contract, row, message.attributes)
    except ContractViolation as violation:
        dead = dead_letter(
            message_id=message_id,
            received_at=published,
            source=PUBSUB,
            raw=message.data,
            attributes=message.attributes,
            violation=violation,
        )
        return Verdict("dead", dead)
    identity = contracts.identity(row)
    if published - happened > source.allowed_lateness:
        late = discarded(contract, "late", message_id, identity, happened, published)
        return Verdict("late", late, identity, happened)
    return Verdict("row", raw_row(row, message_id, published, now, PUBSUB), identity, happened)


def origin_id(attributes: Mapping[str, str], message_id: str) -> str:
    """The id that a message's outcome carries: of a replay, that of the message it stands for."""
    return attributes.get(REPLAY_OF) or attributes.get(IDEMPOTENCY_KEY) or message_id


def _published(message: Message) -> datetime:
    """The publish time that counts: of a replay, that of the message it stands for."""
    if REPLAY_OF in message.attributes:
        try:
            return _instant(message.attributes[REPLAY_PUBLISH_TIME])
        except (KeyError, ValueError):
            return message.publish_time
    return message.publish_time


def _event_time(contract: type[Contract], row: Contract, attributes: Mapping[str, str]) -> datetime:
    text = attributes.get(EVENT_TIMESTAMP)
    if text is None:
        return contracts.event_time(row)
    try:
        return _instant(text)
    except ValueError:
        raise ContractViolation(
            contract,
            f"attributes.{EVENT_TIMESTAMP}",
            text,
            "an RFC 3339 timestamp with a time zone, or no such attribute",
        ) from None


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return instant.astimezone(UTC)


def rfc3339(instant: datetime) -> str:
    """An instant as BigQuery and Pub/Sub attributes write it."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def raw_row(row: Contract, message_id: str, published: datetime, now: datetime, source: str) -> Row:
    """A valid row, with where it came from."""
    return contracts.to_row(row) | {
        "message_id": message_id,
        "publish_time": rfc3339(published),
        "ingested_at": rfc3339(now),
        "source": source,
    }


def dead_letter(
    *,
    message_id: str,
    received_at: datetime,
    source: str,
    raw: bytes,
    attributes: Mapping[str, str],
    violation: ContractViolation,
) -> Row:
    """The record of a message that its contract does not allow."""
    return refused(
        message_id=message_id,
        received_at=received_at,
        source=source,
        raw=raw,
        attributes=attributes,
        field=violation.field,
        value=violation.value,
        reason=str(violation),
        contract=violation.contract,
        version=violation.version,
    )


def refused(
    *,
    message_id: str,
    received_at: datetime,
    source: str,
    raw: bytes,
    attributes: Mapping[str, str],
    field: str,
    value: str,
    reason: str,
    contract: str | None = None,
    version: int | None = None,
) -> Row:
    """The record of something that could not be stored, or not even be held to a contract.

    It is also logged, for alerts and dashboards to count.
    """
    log.info(telemetry.DEAD_LETTER, field, PUBSUB if source == PUBSUB else "file")
    if len(raw) > _RAW_LIMIT:
        reason += f"; of its {len(raw)} bytes the first {_RAW_LIMIT} are kept"
    return {
        "message_id": message_id,
        "contract": contract,
        "contract_version": version,
        "received_at": rfc3339(received_at),
        "source": source,
        "raw": base64.b64encode(raw[:_RAW_LIMIT]).decode(),
        "attributes": msgspec.json.encode(dict(attributes)).decode(),
        "field": field,
        "value": value,
        "reason": reason,
        "recorded_at": rfc3339(datetime.now(UTC)),
        "replayed_at": None,
    }


def discarded(
    contract: type[Contract],
    outcome: Literal["duplicate", "late"],
    message_id: str,
    identity: str,
    happened: datetime,
    published: datetime,
) -> Row:
    """The record of a valid message that was set aside."""
    return {
        "message_id": message_id,
        "contract": contract.NAME,
        "identity": identity,
        "outcome": outcome,
        "event_time": rfc3339(happened),
        "publish_time": rfc3339(published),
        "source": PUBSUB,
    }
