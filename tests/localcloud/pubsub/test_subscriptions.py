"""Subscriptions as resources: settings, changes, refusals."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.protobuf.duration_pb2 import Duration

if TYPE_CHECKING:
    from tests.localcloud.pubsub.conftest import PubSub

DAY = 86_400


def seconds(value: int) -> Duration:
    return Duration(seconds=value)


def test_defaults_are_googles(pubsub: PubSub) -> None:
    name = pubsub.subscription(pubsub.topic())
    found = pubsub.subscriber.get_subscription(subscription=name)
    assert found.ack_deadline_seconds == 10
    assert found.message_retention_duration.total_seconds() == 7 * DAY
    assert found.expiration_policy.ttl.total_seconds() == 31 * DAY
    assert found.state.name == "ACTIVE"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"retry_policy": {}}, ("retry_policy.minimum_backoff.seconds", 10)),
        ({"retry_policy": {}}, ("retry_policy.maximum_backoff.seconds", 600)),
        ({"ack_deadline_seconds": 600}, ("ack_deadline_seconds", 600)),
        ({"expiration_policy": {}}, ("expiration_policy.ttl", timedelta(0))),
        ({"labels": {"a": "b"}}, ("labels", {"a": "b"})),
        ({"enable_exactly_once_delivery": True}, ("enable_exactly_once_delivery", True)),
    ],
)
def test_settings_are_kept(pubsub: PubSub, given: dict[str, Any], shown: tuple[str, Any]) -> None:
    found: Any = pubsub.subscriber.get_subscription(
        subscription=pubsub.subscription(pubsub.topic(), **given)
    )
    path, expected = shown
    for part in path.split("."):
        found = getattr(found, part)
    assert (dict(found) if isinstance(expected, dict) else found) == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"ack_deadline_seconds": 9}, "ack_deadline_seconds is 9; it must be 10 to 600"),
        ({"ack_deadline_seconds": 601}, "10 to 600"),
        ({"message_retention_duration": seconds(599)}, "message_retention_duration"),
        ({"message_retention_duration": seconds(32 * DAY)}, "message_retention_duration"),
        ({"expiration_policy": {"ttl": seconds(60)}}, "at least one day"),
        ({"retry_policy": {"minimum_backoff": seconds(601)}}, "minimum_backoff"),
        (
            {"retry_policy": {"minimum_backoff": seconds(20), "maximum_backoff": seconds(10)}},
            "must not be below",
        ),
        ({"labels": {"1a": "b"}}, "labels"),
        ({"filter": "attributes.x > 1"}, "filter"),
        ({"push_config": {"push_endpoint": "ftp://x"}}, "push_endpoint"),
        ({"push_config": {"no_wrapper": {}}}, "push_endpoint is missing"),
        (
            {
                "push_config": {"push_endpoint": "http://127.0.0.1:9"},
                "enable_exactly_once_delivery": True,
            },
            "only for pull",
        ),
        ({"bigquery_config": {"table": "a.b"}}, "PROJECT.DATASET.TABLE"),
        (
            {
                "bigquery_config": {
                    "table": "a.b.c",
                    "use_topic_schema": True,
                    "use_table_schema": True,
                }
            },
            "cannot both be true",
        ),
    ],
)
def test_wrong_settings_are_refused(
    pubsub: PubSub, settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=expected):
        pubsub.subscription(pubsub.topic(), **settings)


def test_dead_letter_policies_are_checked(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    for attempts in (4, 101):
        policy = {"dead_letter_topic": topic, "max_delivery_attempts": attempts}
        with pytest.raises(exceptions.InvalidArgument, match="5 to 100"):
            pubsub.subscription(topic, dead_letter_policy=policy)
    with pytest.raises(exceptions.NotFound):
        pubsub.subscription(topic, dead_letter_policy={"dead_letter_topic": pubsub.name("topics")})
    name = pubsub.subscription(topic, dead_letter_policy={"dead_letter_topic": topic})
    found = pubsub.subscriber.get_subscription(subscription=name)
    assert found.dead_letter_policy.max_delivery_attempts == 5


@pytest.mark.parametrize(
    "settings",
    [
        {"cloud_storage_config": {"bucket": "b"}},
        {"bigtable_config": {"table": "t"}},
        {"message_transforms": [{"javascript_udf": {"function_name": "f", "code": "x"}}]},
    ],
)
def test_what_is_not_supported_is_refused_by_name(pubsub: PubSub, settings: dict[str, Any]) -> None:
    (field,) = settings
    with pytest.raises(exceptions.MethodNotImplemented, match=field):
        pubsub.subscription(pubsub.topic(), **settings)


def test_names_and_topics_must_be_right(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    with pytest.raises(exceptions.NotFound):
        pubsub.subscription(pubsub.name("topics"))
    name = pubsub.subscription(topic)
    with pytest.raises(exceptions.AlreadyExists):
        pubsub.subscription(topic, name=name)
    with pytest.raises(exceptions.InvalidArgument):
        pubsub.subscription(topic, name="projects/p/subscriptions/1")
    for method in (pubsub.subscriber.get_subscription, pubsub.subscriber.delete_subscription):
        with pytest.raises(exceptions.NotFound):
            method(subscription=pubsub.name("subscriptions"))


@pytest.mark.parametrize(
    ("change", "paths", "shown"),
    [
        ({"ack_deadline_seconds": 60}, ["ack_deadline_seconds"], ("ack_deadline_seconds", 60)),
        ({"labels": {"new": "1"}}, ["labels"], ("labels", {"new": "1"})),
        ({}, ["labels"], ("labels", {})),
        (
            {"retain_acked_messages": True},
            ["retain_acked_messages"],
            ("retain_acked_messages", True),
        ),
    ],
)
def test_the_mask_says_what_changes(
    pubsub: PubSub, change: dict[str, Any], paths: list[str], shown: tuple[str, Any]
) -> None:
    name = pubsub.subscription(pubsub.topic(), labels={"old": "1"}, filter="attributes:x")
    changed = pubsub.subscriber.update_subscription(
        request={"subscription": {"name": name, **change}, "update_mask": {"paths": paths}}
    )
    field, expected = shown
    found = getattr(changed, field)
    assert (dict(found) if isinstance(expected, dict) else found) == expected
    assert changed.filter == "attributes:x"
    assert changed == pubsub.subscriber.get_subscription(subscription=name)


def test_a_policy_can_be_taken_away_again(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(
        topic, dead_letter_policy={"dead_letter_topic": topic}, retry_policy={}
    )
    changed = pubsub.subscriber.update_subscription(
        request={
            "subscription": {"name": name},
            "update_mask": {"paths": ["dead_letter_policy", "retry_policy"]},
        }
    )
    assert "dead_letter_policy" not in changed
    assert "retry_policy" not in changed


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([], "must be set"),
        (["ackDeadlineSeconds"], "not a known"),
        (["topic"], "not mutable"),
        (["filter"], "not mutable"),
        (["enable_message_ordering"], "not mutable"),
    ],
)
def test_a_wrong_mask_is_refused(pubsub: PubSub, paths: list[str], expected: str) -> None:
    name = pubsub.subscription(pubsub.topic())
    with pytest.raises(exceptions.InvalidArgument, match=expected):
        pubsub.subscriber.update_subscription(
            request={"subscription": {"name": name}, "update_mask": {"paths": paths}}
        )


def test_lists_come_in_pages(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    project = "projects/paged-subscriptions"
    made = sorted(f"{project}/subscriptions/sub-{i}" for i in range(3))
    for name in made:
        pubsub.subscription(topic, name=name)
    pager = pubsub.subscriber.list_subscriptions(request={"project": project, "page_size": 2})
    assert [[s.name for s in page.subscriptions] for page in pager.pages] == [made[:2], made[2:]]


def test_the_topics_retention_shows_in_its_subscriptions(pubsub: PubSub) -> None:
    name = pubsub.subscription(pubsub.topic(message_retention_duration=seconds(DAY)))
    found = pubsub.subscriber.get_subscription(subscription=name)
    assert found.topic_message_retention_duration.total_seconds() == DAY


def test_policies_are_kept_with_an_etag(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    binding = {"role": "roles/pubsub.publisher", "members": ["serviceAccount:a@b.example"]}
    for resource in (topic, pubsub.subscription(topic)):
        empty = pubsub.publisher.get_iam_policy(request={"resource": resource})
        assert not empty.bindings
        written = pubsub.publisher.set_iam_policy(
            request={
                "resource": resource,
                "policy": {"bindings": [binding], "etag": empty.etag},
            }
        )
        assert pubsub.subscriber.get_iam_policy(request={"resource": resource}) == written
        with pytest.raises(exceptions.Aborted, match="etag"):
            pubsub.publisher.set_iam_policy(
                request={"resource": resource, "policy": {"etag": empty.etag}}
            )
        asked = ["pubsub.topics.publish"]
        answer = pubsub.publisher.test_iam_permissions(
            request={"resource": resource, "permissions": asked}
        )
        assert list(answer.permissions) == asked
    with pytest.raises(exceptions.NotFound):
        pubsub.publisher.get_iam_policy(request={"resource": pubsub.name("topics")})
    with pytest.raises(exceptions.InvalidArgument, match="member"):
        pubsub.publisher.set_iam_policy(
            request={
                "resource": topic,
                "policy": {"bindings": [{"role": "roles/x", "members": ["nobody"]}]},
            }
        )


def test_a_policy_goes_with_its_resource(pubsub: PubSub) -> None:
    topic = pubsub.topic()
    policy = {"bindings": [{"role": "roles/pubsub.viewer", "members": ["allUsers"]}]}
    pubsub.publisher.set_iam_policy(request={"resource": topic, "policy": policy})
    pubsub.publisher.delete_topic(topic=topic)
    pubsub.publisher.create_topic(name=topic)
    assert not pubsub.publisher.get_iam_policy(request={"resource": topic}).bindings
