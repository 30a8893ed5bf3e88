"""What changes in a bucket is told to Pub/Sub, once at least and whatever happens meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import pubsub_v1, storage
from google.cloud.storage.notification import BucketNotification
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from localcloud.home import Home
from localcloud.services.pubsub.server import PubSubServer
from localcloud.services.storage.server import InProcess

from .conftest import PROJECT, Time, client_of
from .recorder import Recorder

TOPIC = f"projects/{PROJECT}/topics/landed"
OTHER = f"projects/{PROJECT}/topics/other"


@pytest.fixture
def pubsub() -> Iterator[Recorder]:
    with Recorder(TOPIC, OTHER) as running:
        yield running


@pytest.fixture
def server(tmp_path: Path, clock: Time, pubsub: Recorder) -> Iterator[InProcess]:
    with InProcess(tmp_path / "storage", clock=clock, pubsub=pubsub.address) as running:
        yield running


def notify(bucket: storage.Bucket, topic: str = "landed", **options) -> BucketNotification:
    options.setdefault("payload_format", "JSON_API_V1")
    notification = bucket.notification(topic, **options)
    notification.create()
    return notification


class TestConfigurations:
    def test_they_are_kept(self, bucket: storage.Bucket) -> None:
        made = notify(
            bucket,
            custom_attributes={"origin": "test"},
            event_types=["OBJECT_FINALIZE"],
            blob_name_prefix="in/",
        )
        [kept] = bucket.list_notifications()
        assert kept.notification_id == made.notification_id
        assert kept.topic_name == "landed"
        assert kept.topic_project == PROJECT
        assert kept.custom_attributes == {"origin": "test"}
        assert kept.event_types == ["OBJECT_FINALIZE"]
        assert kept.blob_name_prefix == "in/"
        assert kept.payload_format == "JSON_API_V1"
        assert bucket.get_notification(made.notification_id).etag == kept.etag

    def test_they_are_deleted(self, bucket: storage.Bucket) -> None:
        made = notify(bucket)
        made.delete()
        assert list(bucket.list_notifications()) == []
        with pytest.raises(exceptions.NotFound):
            bucket.get_notification(made.notification_id)

    def test_a_topic_has_to_exist(self, bucket: storage.Bucket) -> None:
        with pytest.raises(exceptions.Forbidden, match="that topic does not exist"):
            notify(bucket, "misspelt")

    def test_an_event_has_to_exist(self, bucket: storage.Bucket) -> None:
        with pytest.raises(exceptions.BadRequest, match="OBJECT_EXPLODE"):
            notify(bucket, event_types=["OBJECT_EXPLODE"])

    def test_ten_for_one_event_are_enough(self, bucket: storage.Bucket) -> None:
        for _ in range(10):
            notify(bucket, event_types=["OBJECT_DELETE"])
        with pytest.raises(exceptions.BadRequest, match="10 notifications for OBJECT_DELETE"):
            notify(bucket)
        notify(bucket, event_types=["OBJECT_FINALIZE"])

    def test_without_pubsub_none_is_accepted(
        self, bucket: storage.Bucket, pubsub: Recorder
    ) -> None:
        pubsub.stop()
        with pytest.raises(exceptions.ServiceUnavailable, match="Pub/Sub"):
            bucket.notification("landed").create(retry=None)


class TestEvents:
    def test_a_new_object_is_told_with_its_metadata(
        self, bucket: storage.Bucket, pubsub: Recorder
    ) -> None:
        made = notify(bucket, custom_attributes={"origin": "test"})
        blob = bucket.blob("in/a.csv")
        blob.metadata = {"x": "y"}
        blob.upload_from_string(b"1,2", content_type="text/csv")
        [(topic, attributes, data)] = pubsub.next()
        assert topic == TOPIC
        event_time = attributes.pop("eventTime")
        assert event_time.endswith("Z")
        assert attributes == {
            "notificationConfig": (
                f"projects/_/buckets/{bucket.name}/notificationConfigs/{made.notification_id}"
            ),
            "eventType": "OBJECT_FINALIZE",
            "payloadFormat": "JSON_API_V1",
            "bucketId": bucket.name,
            "objectId": "in/a.csv",
            "objectGeneration": str(blob.generation),
            "origin": "test",
        }
        resource = json.loads(data)
        assert resource["metadata"] == {"x": "y"}
        assert resource["contentType"] == "text/csv"
        assert resource["size"] == "3"
        assert resource["generation"] == str(blob.generation)

    def test_overwriting_tells_of_both(self, bucket: storage.Bucket, pubsub: Recorder) -> None:
        notify(bucket, payload_format="NONE")
        blob = bucket.blob("a")
        blob.upload_from_string(b"1")
        old = str(blob.generation)
        blob.upload_from_string(b"2")
        new = str(blob.generation)
        told = [
            (
                one["eventType"],
                one["objectGeneration"],
                one.get("overwroteGeneration"),
                one.get("overwrittenByGeneration"),
                data,
            )
            for _, one, data in pubsub.next(3)
        ]
        assert told == [
            ("OBJECT_FINALIZE", old, None, None, b""),
            ("OBJECT_DELETE", old, None, new, b""),
            ("OBJECT_FINALIZE", new, old, None, b""),
        ]

    def test_versions_are_archived_then_deleted(
        self, bucket: storage.Bucket, pubsub: Recorder
    ) -> None:
        bucket.versioning_enabled = True
        bucket.patch()
        notify(bucket)
        blob = bucket.blob("a")
        blob.upload_from_string(b"1")
        blob.metadata = {"x": "y"}
        blob.patch()
        generation = blob.generation
        bucket.delete_blob("a")
        bucket.delete_blob("a", generation=generation)
        assert [one["eventType"] for _, one, _ in pubsub.next(4)] == [
            "OBJECT_FINALIZE",
            "OBJECT_METADATA_UPDATE",
            "OBJECT_ARCHIVE",
            "OBJECT_DELETE",
        ]

    def test_only_what_was_asked_for_is_told(
        self, bucket: storage.Bucket, pubsub: Recorder
    ) -> None:
        notify(bucket, event_types=["OBJECT_FINALIZE"], blob_name_prefix="in/")
        for name in ("out/a", "in/b"):
            bucket.blob(name).upload_from_string(b"")
        bucket.delete_blob("in/b")
        bucket.copy_blob(bucket.blob("out/a"), bucket, "in/c")
        bucket.blob("in/d").compose([bucket.blob("out/a")])
        told = [(one["eventType"], one["objectId"]) for _, one, _ in pubsub.next(3)]
        assert told == [("OBJECT_FINALIZE", f"in/{name}") for name in "bcd"]

    def test_a_failed_upload_is_not_told(self, bucket: storage.Bucket, pubsub: Recorder) -> None:
        notify(bucket)
        bucket.blob("a").upload_from_string(b"")
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.blob("a").upload_from_string(b"", if_generation_match=0)
        bucket.blob("b").upload_from_string(b"")
        assert [one["objectId"] for _, one, _ in pubsub.next(2)] == ["a", "b"]


class TestDelivery:
    def test_what_pubsub_missed_comes_in_order(
        self, bucket: storage.Bucket, pubsub: Recorder
    ) -> None:
        notify(bucket)
        pubsub.stop()
        for number in range(150):
            bucket.blob(f"{number:03}").upload_from_string(b"")
        with Recorder(TOPIC, port=pubsub.port) as again:
            told = [one["objectId"] for _, one, _ in again.next(150)]
        assert list(dict.fromkeys(told)) == [f"{number:03}" for number in range(150)]

    def test_a_topic_that_fails_holds_up_no_other(
        self, bucket: storage.Bucket, pubsub: Recorder
    ) -> None:
        notify(bucket, "landed")
        notify(bucket, "other")
        pubsub.failing.add(TOPIC)
        bucket.blob("a").upload_from_string(b"")
        assert [topic for topic, _, _ in pubsub.next()] == [OTHER]
        pubsub.failing.clear()
        assert [topic for topic, _, _ in pubsub.next()] == [TOPIC]

    def test_what_was_not_delivered_outlives_the_process(
        self, server: InProcess, bucket: storage.Bucket, pubsub: Recorder, tmp_path: Path
    ) -> None:
        notify(bucket)
        pubsub.failing.add(TOPIC)
        bucket.blob("a").upload_from_string(b"")
        server.stop()
        pubsub.failing.clear()
        with InProcess(tmp_path / "storage", pubsub=pubsub.address) as again:
            assert [one["objectId"] for _, one, _ in pubsub.next()] == ["a"]
            client_of(again.url).bucket(bucket.name).blob("b").upload_from_string(b"")
            assert [one["objectId"] for _, one, _ in pubsub.next()] == ["b"]


def test_the_local_pubsub_gets_them(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.reserve(PROJECT)
    pubsub = PubSubServer(home).start()
    channel = grpc.insecure_channel(pubsub.address)
    publisher = pubsub_v1.PublisherClient(transport=PublisherGrpcTransport(channel=channel))
    subscriber = pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
    subscription = f"projects/{PROJECT}/subscriptions/landed"
    try:
        publisher.create_topic(name=TOPIC)
        subscriber.create_subscription(name=subscription, topic=TOPIC)
        with InProcess(tmp_path / "storage", pubsub=lambda: pubsub.address) as server:
            bucket = client_of(server.url).create_bucket("landing-zone")
            notify(bucket)
            bucket.blob("in/a.csv").upload_from_string(b"1,2")
            [received] = subscriber.pull(
                subscription=subscription, max_messages=10, timeout=20
            ).received_messages
        assert received.message.attributes["objectId"] == "in/a.csv"
        assert received.message.attributes["eventType"] == "OBJECT_FINALIZE"
        assert json.loads(received.message.data)["bucket"] == "landing-zone"
    finally:
        channel.close()
        pubsub.stop()
