"""SchemaService: Avro schemas with revisions, and the check of each published message.

Protocol Buffers schemas are refused: judging them takes Google's own compiler.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from avro.schema import Schema as AvroSchema

from localcloud.services.pubsub import avro_codec, checks, names, wire
from localcloud.services.pubsub.errors import (
    already_exists,
    failed_precondition,
    invalid,
    not_found,
    unimplemented,
)
from localcloud.services.pubsub.wire import Pb

if TYPE_CHECKING:
    from localcloud.services.pubsub.broker import Broker

MAX_REVISIONS: Final = 20
SCHEMA_ATTRIBUTES: Final = (
    "googclient_schemaencoding",
    "googclient_schemaname",
    "googclient_schemarevisionid",
)
_ENCODINGS: Final = {wire.JSON: "JSON", wire.BINARY: "BINARY"}


class Schemas:
    """All schemas of the server: name -> revision id -> Schema, oldest first.

    Args:
        broker: gives the store and the clock.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._schemas: dict[str, dict[str, Pb]] = {}
        self._codecs: dict[tuple[str, str], avro_codec.Codec] = {}
        self._count = 0
        for name, revision, number, body in broker.store.rows(
            "SELECT name, revision, number, body FROM schemas ORDER BY number"
        ):
            self._schemas.setdefault(name, {})[revision] = wire.Schema.FromString(body)
            self._count = max(self._count, number)

    # What topics and exporters ask

    def exists(self, name: str) -> bool:
        return name in self._schemas

    def codec(self, name: str, revision: str = "") -> avro_codec.Codec:
        """The reader of a revision's messages; of the newest when none is named.

        Raises:
            Fault: NOT_FOUND.
        """
        revisions = self._revisions(name)
        revision = revision or next(reversed(revisions))
        if revision not in revisions:
            raise not_found(f"{name}@{revision}")
        codec = self._codecs.get((name, revision))
        if codec is None:
            codec = avro_codec.Codec(avro_codec.parse(revisions[revision].definition))
            self._codecs[name, revision] = codec
        return codec

    def check_settings(self, settings: Pb) -> None:
        """Judge a topic's schema settings.

        Raises:
            Fault: INVALID_ARGUMENT or NOT_FOUND.
        """
        names.check("schemas", settings.schema)
        if settings.encoding not in _ENCODINGS:
            raise invalid("schema_settings.encoding must be JSON or BINARY.")
        revisions = self._revisions(settings.schema)
        for field in ("first_revision_id", "last_revision_id"):
            revision = getattr(settings, field)
            if revision and revision not in revisions:
                raise invalid(
                    f"schema_settings.{field} is {revision}; the revisions of {settings.schema} "
                    f"are {', '.join(revisions)}."
                )

    def stamp(self, settings: Pb, data: bytes) -> tuple[str, str, str]:
        """Check one message against a topic's range of revisions, newest first.

        Returns:
            Values for SCHEMA_ATTRIBUTES: encoding, schema name, and the revision that fits.

        Raises:
            Fault: INVALID_ARGUMENT with what the newest revision objects to.
        """
        name = settings.schema
        if name not in self._schemas:
            raise invalid(
                f"The topic's schema ({name}) has been deleted; nothing can be published until "
                "the topic's schema settings are changed."
            )
        objection = ""
        for revision in self._range(settings):
            try:
                self._read(self.codec(name, revision), settings.encoding, data)
            except avro_codec.Mismatch as mismatch:
                objection = objection or str(mismatch)
                continue
            return _ENCODINGS[settings.encoding], name, revision
        raise invalid(
            f"Invalid data in message: Message failed schema validation ({objection}), "
            f"schema {name}, encoding {_ENCODINGS[settings.encoding]}."
        )

    def _range(self, settings: Pb) -> list[str]:
        order = list(self._revisions(settings.schema))
        first, last = settings.first_revision_id, settings.last_revision_id
        start = order.index(first) if first in order else 0
        end = order.index(last) + 1 if last in order else len(order)
        return list(reversed(order[start:end]))

    @staticmethod
    def _read(codec: avro_codec.Codec, encoding: int, data: bytes) -> dict[str, object]:
        return codec.from_json(data) if encoding == wire.JSON else codec.from_binary(data)

    def _revisions(self, name: str) -> dict[str, Pb]:
        revisions = self._schemas.get(name)
        if not revisions:
            raise not_found(name)
        return revisions

    # SchemaService

    async def create_schema(self, request: Pb) -> Pb:
        project = names.check_project(request.parent)
        name = names.check("schemas", f"{project}/schemas/{request.schema_id}")
        self._parsed(request.schema)
        if name in self._schemas:
            raise already_exists(name)
        return await self._add(name, request.schema)

    async def get_schema(self, request: Pb) -> Pb:
        name, revision = names.schema_and_revision(request.name)
        return _viewed(self._found(name, revision), request.view)

    async def list_schemas(self, request: Pb) -> Pb:
        project = names.check_project(request.parent)
        mine = [name for name in self._schemas if name.startswith(f"{project}/")]
        chosen, token = checks.page(mine, request.page_size, request.page_token)
        return wire.ListSchemasResponse(
            schemas=[_listed(self._found(name), request.view) for name in chosen],
            next_page_token=token,
        )

    async def list_schema_revisions(self, request: Pb) -> Pb:
        name, _ = names.schema_and_revision(request.name)
        newest_first = list(reversed(self._revisions(name).values()))
        # Pages go by position, which `checks.page` orders as text.
        numbered = {f"{at:06d}": schema for at, schema in enumerate(newest_first)}
        chosen, token = checks.page(numbered, request.page_size, request.page_token)
        return wire.ListSchemaRevisionsResponse(
            schemas=[_listed(numbered[at], request.view) for at in chosen], next_page_token=token
        )

    async def commit_schema(self, request: Pb) -> Pb:
        name, _ = names.schema_and_revision(request.name)
        revisions = self._revisions(name)
        if request.schema.name and request.schema.name != name:
            raise invalid(f"schema.name is {request.schema.name}; it must be {name}.")
        proposed = self._parsed(request.schema)
        newest = self.codec(name).schema
        if proposed.to_json() == newest.to_json():
            raise already_exists(name)
        if len(revisions) >= MAX_REVISIONS:
            raise failed_precondition(
                f"{name} has {len(revisions)} revisions, the most allowed; delete one first."
            )
        reasons = avro_codec.compatible(proposed, newest)
        if reasons:
            raise invalid(
                "The new revision is not compatible with the newest one: each must be able to "
                f"read the other's messages ({'; '.join(reasons)}). Add and remove only fields "
                "that have a default."
            )
        return await self._add(name, request.schema)

    async def rollback_schema(self, request: Pb) -> Pb:
        name, _ = names.schema_and_revision(request.name)
        if not request.revision_id:
            raise invalid("revision_id is missing; name the revision to go back to.")
        return await self._add(name, self._found(name, request.revision_id))

    async def delete_schema_revision(self, request: Pb) -> Pb:
        name, revision = names.schema_and_revision(request.name)
        revision = revision or request.revision_id
        if not revision:
            raise invalid("name has no revision; use projects/P/schemas/S@REVISION.")
        revisions = self._revisions(name)
        self._found(name, revision)
        if len(revisions) == 1:
            raise invalid(f"{revision} is the only revision of {name}; delete the schema instead.")
        del revisions[revision]
        self._codecs.pop((name, revision), None)
        await self._broker.store.write(
            ("DELETE FROM schemas WHERE name = ? AND revision = ?", [(name, revision)])
        )
        return self._found(name)

    async def delete_schema(self, request: Pb) -> None:
        name, _ = names.schema_and_revision(request.name)
        for revision in self._revisions(name):
            self._codecs.pop((name, revision), None)
        del self._schemas[name]
        await self._broker.store.write(
            ("DELETE FROM schemas WHERE name = ?", [(name,)]),
            ("DELETE FROM policies WHERE resource = ?", [(name,)]),
        )

    async def validate_schema(self, request: Pb) -> Pb:
        names.check_project(request.parent)
        self._parsed(request.schema)
        return wire.ValidateSchemaResponse()

    async def validate_message(self, request: Pb) -> Pb:
        names.check_project(request.parent)
        if request.encoding not in _ENCODINGS:
            raise invalid("encoding must be JSON or BINARY.")
        if request.HasField("name"):
            codec = self.codec(*names.schema_and_revision(request.name))
        elif request.HasField("schema"):
            codec = avro_codec.Codec(self._parsed(request.schema))
        else:
            raise invalid("Set name, an existing schema, or schema, one to try.")
        try:
            self._read(codec, request.encoding, request.message)
        except avro_codec.Mismatch as mismatch:
            raise invalid(f"Message failed schema validation: {mismatch}") from None
        return wire.ValidateMessageResponse()

    def _found(self, name: str, revision: str = "") -> Pb:
        revisions = self._revisions(name)
        if not revision:
            return next(reversed(revisions.values()))
        if revision not in revisions:
            raise not_found(f"{name}@{revision}")
        return revisions[revision]

    def _parsed(self, schema: Pb) -> AvroSchema:
        kind = schema.type_
        if kind == wire.PROTOCOL_BUFFER:
            raise unimplemented(
                "Schemas of type PROTOCOL_BUFFER are not supported by the local Pub/Sub; use AVRO."
            )
        if kind != wire.AVRO:
            raise invalid("schema.type must be AVRO.")
        try:
            return avro_codec.parse(schema.definition)
        except avro_codec.Mismatch as mismatch:
            raise invalid(f"Invalid schema definition: {mismatch}.") from None

    async def _add(self, name: str, schema: Pb) -> Pb:
        revision = secrets.token_hex(4)
        made = wire.Schema(
            name=name, type_=schema.type_, definition=schema.definition, revision_id=revision
        )
        made.revision_create_time.FromMicroseconds(self._broker.clock.now())
        self._count += 1
        self._schemas.setdefault(name, {})[revision] = made
        await self._broker.store.write(
            (
                "INSERT INTO schemas VALUES (?, ?, ?, ?)",
                [(name, revision, self._count, made.SerializeToString())],
            )
        )
        return made


def _viewed(schema: Pb, view: int) -> Pb:
    if view != wire.BASIC_VIEW:
        return schema
    brief = wire.Schema()
    brief.CopyFrom(schema)
    brief.ClearField("definition")
    return brief


def _listed(schema: Pb, view: int) -> Pb:
    """In lists the definition is left out unless it is asked for."""
    return _viewed(schema, view or wire.BASIC_VIEW)
