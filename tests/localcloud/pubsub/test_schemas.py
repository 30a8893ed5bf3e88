"""SchemaService, and topics that check what is published."""

from __future__ import annotations

import io
import json
import uuid
from typing import TYPE_CHECKING, Any

import avro.io
import avro.schema
import pytest
from google.api_core import exceptions
from google.pubsub_v1.types import Encoding, SchemaView

if TYPE_CHECKING:
    from tests.localcloud.pubsub.conftest import PubSub

PROJECT = "projects/test-project"
FIELDS = [
    {"name": "id", "type": "string"},
    {"name": "delay", "type": ["null", "int"], "default": None},
]
OPTIONAL = {"name": "gate", "type": ["null", "string"], "default": None}
GOOD = b'{"id": "AA1", "delay": {"int": 3}}'


def definition(*more: dict[str, Any]) -> str:
    return json.dumps({"type": "record", "name": "Flight", "fields": [*FIELDS, *more]})


def commit(pubsub: PubSub, schema: str, text: str) -> str:
    request = {"name": schema, "schema": {"name": schema, "type_": "AVRO", "definition": text}}
    return pubsub.schemas.commit_schema(request=request).revision_id


def checked(pubsub: PubSub, schema: str, encoding: str = "JSON", **more: str) -> str:
    return pubsub.topic(schema_settings={"schema": schema, "encoding": encoding, **more})


def test_a_schema_is_created_read_listed_and_deleted(pubsub: PubSub) -> None:
    name = pubsub.schema(definition())
    found = pubsub.schemas.get_schema(name=name)
    assert json.loads(found.definition) == json.loads(definition())
    assert len(found.revision_id) == 8
    assert pubsub.schemas.get_schema(name=f"{name}@{found.revision_id}") == found
    brief = pubsub.schemas.get_schema(request={"name": name, "view": SchemaView.BASIC})
    assert brief.definition == ""
    assert name in [s.name for s in pubsub.schemas.list_schemas(parent=PROJECT)]
    pubsub.schemas.delete_schema(name=name)
    with pytest.raises(exceptions.NotFound):
        pubsub.schemas.get_schema(name=name)


@pytest.mark.parametrize(
    ("schema", "error", "expected"),
    [
        (
            {"type_": "AVRO", "definition": '{"type": "nothing"}'},
            exceptions.InvalidArgument,
            "nothing",
        ),
        ({"type_": "AVRO", "definition": '"string"'}, exceptions.InvalidArgument, "record"),
        ({"definition": "x"}, exceptions.InvalidArgument, "must be AVRO"),
        (
            {"type_": "PROTOCOL_BUFFER", "definition": 'syntax = "proto3";'},
            exceptions.MethodNotImplemented,
            "use AVRO",
        ),
    ],
)
def test_a_wrong_schema_is_refused(
    pubsub: PubSub, schema: dict[str, Any], error: type[Exception], expected: str
) -> None:
    with pytest.raises(error, match=expected):
        pubsub.schemas.validate_schema(request={"parent": PROJECT, "schema": schema})
    with pytest.raises(error, match=expected):
        pubsub.schemas.create_schema(
            request={
                "parent": PROJECT,
                "schema_id": f"s{uuid.uuid4().hex}",
                "schema": schema,
            }
        )


@pytest.mark.parametrize(
    ("message", "fine"),
    [
        (GOOD, True),
        (b'{"id": "AA1", "delay": null}', True),
        (b'{"id": "AA1", "delay": 3}', False),
        (b'{"id": "AA1"}', False),
        (b"not json", False),
    ],
)
def test_a_message_is_judged_before_and_while_it_is_published(
    pubsub: PubSub, message: bytes, fine: bool
) -> None:
    schema = pubsub.schema(definition())
    topic = checked(pubsub, schema)
    subscription = pubsub.subscription(topic)
    by_name = {"parent": PROJECT, "name": schema, "message": message, "encoding": Encoding.JSON}
    inline = {
        "parent": PROJECT,
        "schema": {"type_": "AVRO", "definition": definition()},
        "message": message,
        "encoding": Encoding.JSON,
    }
    if fine:
        pubsub.schemas.validate_message(request=by_name)
        pubsub.schemas.validate_message(request=inline)
        pubsub.publisher.publish(topic, message).result(10)
        (received,) = pubsub.take(subscription, 1)
        newest = pubsub.schemas.get_schema(name=schema)
        assert dict(received.message.attributes) == {
            "googclient_schemaencoding": "JSON",
            "googclient_schemaname": schema,
            "googclient_schemarevisionid": newest.revision_id,
        }
        return
    for request in (by_name, inline):
        with pytest.raises(exceptions.InvalidArgument, match="failed schema validation"):
            pubsub.schemas.validate_message(request=request)
    with pytest.raises(exceptions.InvalidArgument, match="failed schema validation"):
        pubsub.publisher.publish(topic, message).result(10)
    assert pubsub.texts(subscription) == []


def test_binary_messages_are_judged_too(pubsub: PubSub) -> None:
    topic = checked(pubsub, pubsub.schema(definition()), "BINARY")
    stream = io.BytesIO()
    writer = avro.io.DatumWriter(avro.schema.parse(definition()))
    writer.write({"id": "AA1", "delay": 3}, avro.io.BinaryEncoder(stream))
    assert pubsub.publisher.publish(topic, stream.getvalue()).result(10)
    with pytest.raises(exceptions.InvalidArgument, match="encoding BINARY"):
        pubsub.publisher.publish(topic, GOOD).result(10)


def test_revisions_grow_are_listed_and_go(pubsub: PubSub) -> None:
    schema = pubsub.schema(definition())
    first = pubsub.schemas.get_schema(name=schema).revision_id
    second = commit(pubsub, schema, definition(OPTIONAL))
    with pytest.raises(exceptions.AlreadyExists):
        commit(pubsub, schema, definition(OPTIONAL))

    def listed() -> list[str]:
        return [r.revision_id for r in pubsub.schemas.list_schema_revisions(name=schema)]

    assert listed() == [second, first]
    back = pubsub.schemas.rollback_schema(request={"name": schema, "revision_id": first})
    assert "gate" not in back.definition
    assert listed() == [back.revision_id, second, first]
    pubsub.schemas.delete_schema_revision(name=f"{schema}@{second}")
    pubsub.schemas.delete_schema_revision(name=f"{schema}@{first}")
    assert listed() == [back.revision_id]
    with pytest.raises(exceptions.InvalidArgument, match="only revision"):
        pubsub.schemas.delete_schema_revision(name=f"{schema}@{back.revision_id}")


@pytest.mark.parametrize(
    "text",
    [
        definition({"name": "gate", "type": "string"}),
        definition().replace('"string"', '"long"'),
        '{"type": "record", "name": "Flight", "fields": [{"name": "delay", "type": "int"}]}',
    ],
)
def test_a_revision_that_breaks_readers_or_writers_is_refused(pubsub: PubSub, text: str) -> None:
    schema = pubsub.schema(definition())
    with pytest.raises(exceptions.InvalidArgument, match="not compatible"):
        commit(pubsub, schema, text)


def test_a_schema_keeps_at_most_twenty_revisions(pubsub: PubSub) -> None:
    schema = pubsub.schema(definition())
    for number in range(19):
        commit(pubsub, schema, definition({**OPTIONAL, "name": f"f{number}"}))
    with pytest.raises(exceptions.FailedPrecondition, match="20 revisions"):
        commit(pubsub, schema, definition(OPTIONAL))


def test_a_topic_accepts_the_revisions_of_its_range(pubsub: PubSub) -> None:
    schema = pubsub.schema(definition())
    first = pubsub.schemas.get_schema(name=schema).revision_id
    second = commit(pubsub, schema, definition(OPTIONAL))
    newer = b'{"id": "AA1", "delay": null, "gate": {"string": "B2"}}'
    both = checked(pubsub, schema)
    only_second = checked(pubsub, schema, first_revision_id=second)
    only_first = checked(pubsub, schema, last_revision_id=first)
    subscription = pubsub.subscription(both)
    pubsub.publisher.publish(both, GOOD).result(10)
    pubsub.publisher.publish(both, newer).result(10)
    fits = [
        r.message.attributes["googclient_schemarevisionid"] for r in pubsub.take(subscription, 2)
    ]
    assert sorted(fits) == sorted([first, second])
    with pytest.raises(exceptions.InvalidArgument, match="gate is missing"):
        pubsub.publisher.publish(only_second, GOOD).result(10)
    pubsub.publisher.publish(only_first, GOOD).result(10)
    with pytest.raises(exceptions.InvalidArgument, match="first_revision_id"):
        checked(pubsub, schema, first_revision_id="00000000")


def test_topics_need_a_schema_that_is_there(pubsub: PubSub) -> None:
    with pytest.raises(exceptions.NotFound):
        checked(pubsub, f"{PROJECT}/schemas/not-there")
    with pytest.raises(exceptions.InvalidArgument, match="encoding"):
        pubsub.topic(schema_settings={"schema": pubsub.schema(definition())})
    schema = pubsub.schema(definition())
    topic = checked(pubsub, schema)
    pubsub.schemas.delete_schema(name=schema)
    shown = pubsub.publisher.get_topic(topic=topic)
    assert shown.schema_settings.schema == "_deleted-schema_"
    with pytest.raises(exceptions.InvalidArgument, match="has been deleted"):
        pubsub.publisher.publish(topic, GOOD).result(10)
    pubsub.publisher.update_topic(
        request={"topic": {"name": topic}, "update_mask": {"paths": ["schema_settings"]}}
    )
    assert pubsub.publisher.publish(topic, b"anything").result(10)
