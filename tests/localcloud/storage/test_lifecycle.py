"""Lifecycle rules delete and move what they describe, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from google.cloud import storage

from localcloud.services.storage.server import InProcess

from .conftest import Time


def names(bucket: storage.Bucket, **options) -> list[str]:
    return [blob.name for blob in bucket.list_blobs(**options)]


def put(bucket: storage.Bucket, *wanted: str) -> None:
    for name in wanted:
        bucket.blob(name).upload_from_string(b"data")


def test_old_objects_go(server: InProcess, bucket: storage.Bucket, clock: Time) -> None:
    bucket.add_lifecycle_delete_rule(age=30)
    bucket.patch()
    put(bucket, "old")
    clock.forward(days=29)
    put(bucket, "new")
    server.sweep()
    assert names(bucket) == ["new", "old"]
    clock.forward(days=1.1)
    server.sweep()
    assert names(bucket) == ["new"]


def test_every_condition_of_a_rule_has_to_hold(
    server: InProcess, bucket: storage.Bucket, clock: Time
) -> None:
    bucket.add_lifecycle_delete_rule(age=1, matches_prefix=["tmp/"], matches_suffix=[".csv"])
    bucket.patch()
    put(bucket, "tmp/a.csv", "tmp/a.json", "kept/a.csv")
    clock.forward(days=2)
    put(bucket, "tmp/new.csv")
    server.sweep()
    assert names(bucket) == ["kept/a.csv", "tmp/a.json", "tmp/new.csv"]


def test_objects_move_to_the_coldest_class_only_downwards(
    server: InProcess, bucket: storage.Bucket, clock: Time
) -> None:
    bucket.add_lifecycle_set_storage_class_rule("NEARLINE", age=1)
    bucket.add_lifecycle_set_storage_class_rule("COLDLINE", age=2)
    bucket.patch()
    put(bucket, "a")
    archived = bucket.blob("archived")
    archived.storage_class = "ARCHIVE"
    archived.upload_from_string(b"")
    classes = []
    for _ in range(4):
        server.sweep()
        classes.append([blob.storage_class for blob in bucket.list_blobs()])
        clock.forward(days=1)
    assert classes == [
        ["STANDARD", "ARCHIVE"],
        ["NEARLINE", "ARCHIVE"],
        ["COLDLINE", "ARCHIVE"],
        ["COLDLINE", "ARCHIVE"],
    ]


def test_noncurrent_versions_are_counted_from_the_newest(
    server: InProcess, bucket: storage.Bucket
) -> None:
    bucket.versioning_enabled = True
    bucket.add_lifecycle_delete_rule(number_of_newer_versions=2)
    bucket.patch()
    for number in range(5):
        bucket.blob("a").upload_from_string(str(number))
    put(bucket, "b")
    server.sweep()
    kept = [(blob.name, blob.download_as_bytes()) for blob in bucket.list_blobs(versions=True)]
    assert kept == [("a", b"3"), ("a", b"4"), ("b", b"data")]


def test_in_a_versioned_bucket_the_live_one_becomes_noncurrent_first(
    server: InProcess, bucket: storage.Bucket, clock: Time
) -> None:
    bucket.versioning_enabled = True
    bucket.add_lifecycle_delete_rule(age=1, is_live=True)
    bucket.add_lifecycle_delete_rule(days_since_noncurrent_time=3)
    bucket.patch()
    put(bucket, "a")
    clock.forward(days=2)
    server.sweep()
    assert (names(bucket), names(bucket, versions=True)) == ([], ["a"])
    clock.forward(days=4)
    server.sweep()
    assert names(bucket, versions=True) == []


@pytest.mark.parametrize(("ahead", "left"), [(-1, ["a"]), (1, [])])
def test_a_date_is_a_limit(
    server: InProcess, bucket: storage.Bucket, ahead: int, left: list[str]
) -> None:
    bucket.add_lifecycle_delete_rule(
        created_before=datetime.now(UTC).date() + timedelta(days=ahead)
    )
    bucket.patch()
    put(bucket, "a")
    server.sweep()
    assert names(bucket) == left


def test_holds_go_before_rules(server: InProcess, bucket: storage.Bucket, clock: Time) -> None:
    bucket.add_lifecycle_delete_rule(age=0)
    bucket.patch()
    put(bucket, "a", "b")
    held = bucket.blob("a")
    held.temporary_hold = True
    held.patch()
    server.sweep()
    assert names(bucket) == ["a"]


def test_uploads_that_nobody_ends_are_aborted(
    server: InProcess, bucket: storage.Bucket, clock: Time
) -> None:
    bucket.add_lifecycle_abort_incomplete_multipart_upload_rule(age=1)
    bucket.patch()
    url = bucket.blob("a").create_resumable_upload_session()
    server.sweep()
    assert httpx.put(url, headers={"content-range": "bytes */*"}).status_code == 308
    clock.forward(days=1.1)
    server.sweep()
    assert httpx.put(url, headers={"content-range": "bytes */*"}).status_code == 404


def test_hundreds_of_objects_are_swept(
    server: InProcess, bucket: storage.Bucket, clock: Time
) -> None:
    bucket.add_lifecycle_delete_rule(age=0, matches_suffix=["5"])
    bucket.patch()
    put(bucket, *(f"{number:03}" for number in range(450)))
    server.sweep()
    assert names(bucket) == [f"{number:03}" for number in range(450) if number % 10 != 5]
