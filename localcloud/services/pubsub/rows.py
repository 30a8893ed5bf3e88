"""From a message to a BigQuery row."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final

import msgspec
from google.cloud.bigquery import SchemaField

from localcloud.services.pubsub import wire
from localcloud.services.pubsub.avro_codec import Codec, Mismatch
from localcloud.services.pubsub.messages import Message
from localcloud.services.pubsub.wire import Pb

METADATA: Final[tuple[str, ...]] = ("subscription_name", "message_id", "publish_time", "attributes")
DATA: Final = "data"
RECORDS: Final = frozenset({"RECORD", "STRUCT"})


class Rows:
    """How one subscription lays its messages out in a table.

    Args:
        config: the subscription.
        columns: the table's schema.
        schema: the topic's Avro schema when `use_topic_schema` is true.
        encoding: of the topic's messages, `wire.JSON` or `wire.BINARY`.
    """

    def __init__(
        self,
        config: Pb,
        columns: Sequence[SchemaField],
        schema: Any,
        encoding: int,
    ) -> None:
        settings = config.bigquery_config
        self._columns = {column.name.lower(): column for column in columns}
        self._schema = schema
        self._codec = Codec(schema, native=True) if schema is not None else None
        self._encoding = encoding
        self._table_schema: bool = settings.use_table_schema
        self._metadata: bool = settings.write_metadata
        self._drop: bool = settings.drop_unknown_fields

    def problem(self) -> str:
        """Why no message could ever be written; empty when the schemas go together."""
        if self._metadata:
            missing = [name for name in METADATA if name not in self._columns]
            if missing:
                return f"write_metadata is true, but the table lacks {', '.join(missing)}"
        filled: set[str] = set(METADATA) if self._metadata else set()
        if self._schema is not None:
            fields = {field.name.lower() for field in self._schema.fields}
            unknown = sorted(fields - set(self._columns))
            if unknown and not self._drop:
                return (
                    f"the topic's schema has {', '.join(unknown)}, which the table lacks "
                    "(drop_unknown_fields would leave them out)"
                )
            filled |= fields
        elif self._table_schema:
            return ""
        elif DATA not in self._columns:
            return "the table has no column data for the payload"
        else:
            filled.add(DATA)
        required = [
            name
            for name, column in self._columns.items()
            if column.mode == "REQUIRED" and name not in filled
        ]
        if required:
            return f"the table requires {', '.join(required)}, which no message fills"
        return ""

    def row(self, message: Message, subscription: str) -> dict[str, Any]:
        """The row of one message, as streaming inserts take it.

        Raises:
            Mismatch: the message does not fit the table.
        """
        pb = message.parse()
        if self._codec is not None:
            decode = (
                self._codec.from_json if self._encoding == wire.JSON else self._codec.from_binary
            )
            row = self._record(decode(pb.data), self._columns, "$")
        elif self._table_schema:
            try:
                value = msgspec.json.decode(pb.data)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise Mismatch(f"not JSON: {error}") from None
            if not isinstance(value, dict):
                raise Mismatch("the payload is not a JSON object")
            row = self._record(value, self._columns, "$")
        else:
            row = {DATA: _payload(pb.data, self._columns[DATA])}
        if self._metadata:
            row |= self._metadata_of(pb, subscription)
        return row

    def _metadata_of(self, pb: Pb, subscription: str) -> dict[str, Any]:
        attributes = dict(pb.attributes)
        if pb.ordering_key:
            attributes["ordering_key"] = pb.ordering_key
        return {
            "subscription_name": subscription,
            "message_id": pb.message_id,
            "publish_time": pb.publish_time.ToJsonString(),
            "attributes": json.dumps(attributes),
        }

    def _record(
        self, value: Mapping[str, Any], columns: Mapping[str, SchemaField], path: str
    ) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for key, inner in value.items():
            column = columns.get(key.lower())
            if column is None:
                if self._drop:
                    continue
                raise Mismatch(f"{path}.{key} is not a column of the table")
            if inner is not None:
                row[column.name] = self._value(inner, column, f"{path}.{key}")
        for column in columns.values():
            if column.mode == "REQUIRED" and column.name not in row and not self._is_meta(column):
                raise Mismatch(f"{path}.{column.name} is missing, and the table requires it")
        return row

    def _is_meta(self, column: SchemaField) -> bool:
        return self._metadata and column.name.lower() in METADATA

    def _value(self, value: Any, column: SchemaField, path: str) -> Any:
        if column.mode != "REPEATED":
            return self._single(value, column, path)
        if isinstance(value, Mapping):
            # An Avro map: BigQuery has it as pairs.
            value = [{"key": key, "value": inner} for key, inner in value.items()]
        if not isinstance(value, list):
            raise Mismatch(f"{path} is one value, and the column is repeated")
        return [self._single(one, column, f"{path}[{i}]") for i, one in enumerate(value)]

    def _single(self, value: Any, column: SchemaField, path: str) -> Any:
        if column.field_type in RECORDS:
            if not isinstance(value, Mapping):
                raise Mismatch(f"{path} is {type(value).__name__}, and the column is a record")
            return self._record(value, _by_name(column.fields), path)
        if column.field_type == "JSON":
            return value if isinstance(value, str) else msgspec.json.encode(value).decode()
        return _scalar(value, path)


def _by_name(columns: Iterable[SchemaField]) -> dict[str, SchemaField]:
    return {column.name.lower(): column for column in columns}


def _scalar(value: Any, path: str) -> Any:
    """A value as BigQuery's JSON has it."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal():
            return format(value, "f")
        case float() if not math.isfinite(value):
            return str(value)
        case list() | dict():
            raise Mismatch(f"{path} is a {type(value).__name__}, and the column is not repeated")
        case _:
            return value


def _payload(data: bytes, column: SchemaField) -> str:
    if column.field_type == "BYTES":
        return base64.b64encode(data).decode()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Mismatch(f"the payload is not text, and {DATA} is {column.field_type}") from None
    if column.field_type == "JSON":
        try:
            msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            raise Mismatch(f"the payload is not JSON: {error}") from None
    return text
