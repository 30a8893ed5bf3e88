"""Google's own protobuf classes, named once.

`google.pubsub_v1.types` wraps them in proto-plus, which costs some ten times as much per field
access; a server that touches each message wants the classes underneath.
"""

from __future__ import annotations

from typing import Any, Final

from google.pubsub_v1 import types

# The stubs know only the wrappers, so what lies underneath is typed as Any.
Pb = Any


def _raw(name: str) -> Pb:
    return getattr(types, name).pb()


Topic: Final = _raw("Topic")
Subscription: Final = _raw("Subscription")
Snapshot: Final = _raw("Snapshot")
Schema: Final = _raw("Schema")
SchemaSettings: Final = _raw("SchemaSettings")
PubsubMessage: Final = _raw("PubsubMessage")
ReceivedMessage: Final = _raw("ReceivedMessage")
PullResponse: Final = _raw("PullResponse")
PublishResponse: Final = _raw("PublishResponse")
StreamingPullResponse: Final = _raw("StreamingPullResponse")
ValidateSchemaResponse: Final = _raw("ValidateSchemaResponse")
ValidateMessageResponse: Final = _raw("ValidateMessageResponse")
DetachSubscriptionResponse: Final = _raw("DetachSubscriptionResponse")
SeekResponse: Final = _raw("SeekResponse")
ListTopicsResponse: Final = _raw("ListTopicsResponse")
ListTopicSubscriptionsResponse: Final = _raw("ListTopicSubscriptionsResponse")
ListTopicSnapshotsResponse: Final = _raw("ListTopicSnapshotsResponse")
ListSubscriptionsResponse: Final = _raw("ListSubscriptionsResponse")
ListSnapshotsResponse: Final = _raw("ListSnapshotsResponse")
ListSchemasResponse: Final = _raw("ListSchemasResponse")
ListSchemaRevisionsResponse: Final = _raw("ListSchemaRevisionsResponse")

# Enum numbers, as google/pubsub/v1/schema.proto and pubsub.proto assign them.
JSON: Final = 1
BINARY: Final = 2
PROTOCOL_BUFFER: Final = 1
AVRO: Final = 2
BASIC_VIEW: Final = 1
ACTIVE: Final = 1
RESOURCE_ERROR: Final = 2
NOT_FOUND: Final = 3
SCHEMA_MISMATCH: Final = 4


def request(name: str) -> Pb:
    """The request class of a method, such as `request("Publish")`."""
    return _raw(f"{name}Request")
