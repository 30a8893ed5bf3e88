"""Generations, preconditions, versions, holds, retention, copies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.api_core import exceptions
from google.cloud import storage

from localcloud.services.storage.server import InProcess

from .conftest import Time


def put(bucket: storage.Bucket, name: str, data: bytes = b"data", **options) -> storage.Blob:
    blob = bucket.blob(name)
    blob.upload_from_string(data, **options)
    return blob


@pytest.fixture
def versioned(bucket: storage.Bucket) -> storage.Bucket:
    bucket.versioning_enabled = True
    bucket.patch()
    return bucket


class TestMetadata:
    def test_all_that_is_said_is_kept(self, bucket: storage.Bucket) -> None:
        blob = bucket.blob("a/b ä#?.csv")
        blob.metadata = {"origin": "test", "ünï": "cödé"}
        blob.cache_control = "no-store"
        blob.content_disposition = "attachment"
        blob.content_encoding = "identity"
        blob.content_language = "pt"
        blob.custom_time = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        blob.storage_class = "COLDLINE"
        blob.upload_from_string("a,b", content_type="text/csv")

        kept = bucket.get_blob("a/b ä#?.csv")
        assert kept is not None
        assert kept.metadata == {"origin": "test", "ünï": "cödé"}
        assert kept.cache_control == "no-store"
        assert kept.content_disposition == "attachment"
        assert kept.content_language == "pt"
        assert kept.content_type == "text/csv"
        assert kept.custom_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        assert kept.storage_class == "COLDLINE"
        assert (kept.size, kept.metageneration) == (3, 1)
        assert kept.id == f"{bucket.name}/a/b ä#?.csv/{kept.generation}"

    def test_a_patch_merges_metadata(self, bucket: storage.Bucket) -> None:
        blob = put(bucket, "a")
        blob.metadata = {"x": "1", "y": "2"}
        blob.patch()
        generation = blob.generation
        blob.metadata = {"x": None, "y": "3", "z": "4"}
        blob.cache_control = "no-cache"
        blob.patch()
        kept = bucket.get_blob("a")
        assert kept is not None
        assert kept.metadata == {"y": "3", "z": "4"}
        assert kept.cache_control == "no-cache"
        assert (kept.generation, kept.metageneration) == (generation, 3)

    def test_an_update_drops_what_it_leaves_out(self, bucket: storage.Bucket) -> None:
        blob = bucket.blob("a")
        blob.cache_control = "no-cache"
        blob.upload_from_string("x")
        bare = bucket.blob("a")
        bare.content_type = "text/plain"
        bare.update()
        kept = bucket.get_blob("a")
        assert kept is not None
        assert kept.cache_control is None

    def test_custom_time_only_moves_forward(self, bucket: storage.Bucket) -> None:
        blob = put(bucket, "a")
        blob.custom_time = datetime(2026, 5, 1, tzinfo=UTC)
        blob.patch()
        blob.custom_time = datetime(2026, 4, 1, tzinfo=UTC)
        with pytest.raises(exceptions.BadRequest, match="customTime"):
            blob.patch()

    def test_objects_carry_the_key_of_their_bucket(self, bucket: storage.Bucket) -> None:
        bucket.default_kms_key_name = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
        bucket.patch()
        assert put(bucket, "a").kms_key_name == f"{bucket.default_kms_key_name}/cryptoKeyVersions/1"

    @pytest.mark.parametrize("name", ["", "x" * 1025, "..", "a\nb"])
    def test_names_that_cannot_be(self, bucket: storage.Bucket, name: str) -> None:
        with pytest.raises(exceptions.BadRequest):
            put(bucket, name)


class TestPreconditions:
    def test_generation_0_means_that_nothing_is_there(self, bucket: storage.Bucket) -> None:
        put(bucket, "a", b"first", if_generation_match=0)
        with pytest.raises(exceptions.PreconditionFailed):
            put(bucket, "a", b"second", if_generation_match=0)
        assert bucket.blob("a").download_as_bytes() == b"first"

    def test_overwriting_needs_the_generation_that_was_read(self, bucket: storage.Bucket) -> None:
        old = put(bucket, "a", b"1").generation
        new = put(bucket, "a", b"2", if_generation_match=old).generation
        assert new > old
        with pytest.raises(exceptions.PreconditionFailed):
            put(bucket, "a", b"3", if_generation_match=old)
        with pytest.raises(exceptions.PreconditionFailed):
            put(bucket, "a", b"3", if_generation_not_match=new)
        with pytest.raises(exceptions.PreconditionFailed):
            put(bucket, "a", b"3", if_metageneration_match=7)
        assert bucket.blob("a").download_as_bytes() == b"2"

    def test_readers_are_told_that_nothing_changed(self, bucket: storage.Bucket) -> None:
        blob = put(bucket, "a")
        for options in (
            {"if_generation_not_match": blob.generation},
            {"if_metageneration_not_match": 1},
            {"if_etag_not_match": blob.etag},
        ):
            with pytest.raises(exceptions.NotModified):
                blob.reload(**options)
        for options in (
            {"if_generation_match": 1},
            {"if_metageneration_match": 2},
            {"if_etag_match": "CAE="},
        ):
            with pytest.raises(exceptions.PreconditionFailed):
                blob.reload(**options)
        blob.reload(if_generation_match=blob.generation, if_etag_match=blob.etag)
        with pytest.raises(exceptions.PreconditionFailed):
            blob.download_as_bytes(if_generation_match=1)

    def test_changes_and_deletions_are_guarded(self, bucket: storage.Bucket) -> None:
        blob = put(bucket, "a")
        blob.metadata = {"x": "y"}
        with pytest.raises(exceptions.PreconditionFailed):
            blob.patch(if_metageneration_match=2)
        with pytest.raises(exceptions.PreconditionFailed):
            blob.delete(if_generation_match=1)
        blob.delete(if_generation_match=blob.generation)
        assert not blob.exists()

    def test_copies_are_guarded_at_both_ends(self, bucket: storage.Bucket) -> None:
        source = put(bucket, "a")
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.copy_blob(source, bucket, "b", if_source_generation_match=1)
        bucket.copy_blob(source, bucket, "b", if_generation_match=0)
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.copy_blob(source, bucket, "b", if_generation_match=0)
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.blob("c").rewrite(source, if_source_metageneration_match=5)

    def test_only_one_of_many_writers_creates(self, bucket: storage.Bucket) -> None:
        def create(number: int) -> bool:
            try:
                put(bucket, "lock", str(number).encode() * 100_000, if_generation_match=0)
            except exceptions.PreconditionFailed:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(create, range(16))) == 1


class TestVersions:
    def test_what_is_overwritten_stays(self, versioned: storage.Bucket) -> None:
        first = put(versioned, "a", b"1").generation
        second = put(versioned, "a", b"2").generation
        versions = list(versioned.list_blobs(versions=True))
        assert [blob.generation for blob in versions] == [first, second]
        assert [blob.time_deleted is not None for blob in versions] == [True, False]
        assert versioned.blob("a", generation=first).download_as_bytes() == b"1"
        assert versioned.blob("a").download_as_bytes() == b"2"

    def test_deleting_makes_noncurrent_and_naming_the_generation_deletes(
        self, versioned: storage.Bucket
    ) -> None:
        generation = put(versioned, "a").generation
        versioned.delete_blob("a")
        assert versioned.get_blob("a") is None
        assert [one.generation for one in versioned.list_blobs(versions=True)] == [generation]
        versioned.delete_blob("a", generation=generation)
        assert not list(versioned.list_blobs(versions=True))

    def test_a_noncurrent_version_is_brought_back_by_a_copy(
        self, versioned: storage.Bucket
    ) -> None:
        first = put(versioned, "a", b"1").generation
        put(versioned, "a", b"2")
        versioned.copy_blob(versioned.blob("a"), versioned, "a", source_generation=first)
        assert versioned.blob("a").download_as_bytes() == b"1"
        assert len(list(versioned.list_blobs(versions=True))) == 3

    def test_without_versioning_the_old_content_goes(
        self, server: InProcess, bucket: storage.Bucket
    ) -> None:
        for number in range(5):
            put(bucket, "a", bytes([number]))
        assert len(list(bucket.list_blobs(versions=True))) == 1
        assert len(_contents(server)) == 1


class TestHoldsAndRetention:
    @pytest.mark.parametrize("hold", ["temporary_hold", "event_based_hold"])
    def test_a_hold_keeps_an_object(self, bucket: storage.Bucket, hold: str) -> None:
        blob = put(bucket, "a")
        setattr(blob, hold, True)
        blob.patch()
        with pytest.raises(exceptions.Forbidden, match="hold"):
            blob.delete()
        with pytest.raises(exceptions.Forbidden, match="hold"):
            put(bucket, "a", b"other")
        setattr(blob, hold, False)
        blob.patch()
        blob.delete()

    def test_a_retention_policy_keeps_objects_for_its_time(
        self, bucket: storage.Bucket, clock: Time
    ) -> None:
        bucket.retention_period = 3600
        bucket.patch()
        blob = put(bucket, "a")
        blob.reload()
        assert blob.retention_expiration_time == blob.time_created + timedelta(hours=1)
        with pytest.raises(exceptions.Forbidden, match="retention"):
            blob.delete()
        with pytest.raises(exceptions.Forbidden, match="retention"):
            put(bucket, "a", b"other")
        clock.forward(seconds=3601)
        blob.delete()

    def test_retention_begins_when_the_event_has_happened(
        self, bucket: storage.Bucket, clock: Time
    ) -> None:
        bucket.retention_period = 3600
        bucket.default_event_based_hold = True
        bucket.patch()
        blob = put(bucket, "a")
        assert blob.event_based_hold
        clock.forward(seconds=7200)
        blob.event_based_hold = False
        blob.patch()
        with pytest.raises(exceptions.Forbidden, match="retention"):
            blob.delete()
        clock.forward(seconds=3601)
        blob.delete()

    def test_an_object_may_have_its_own_retention(
        self, client: storage.Client, clock: Time
    ) -> None:
        bucket = client.create_bucket("with-retention", enable_object_retention=True)
        blob = put(bucket, "a")
        blob.retention.mode = "Unlocked"
        blob.retention.retain_until_time = datetime.now(UTC) + timedelta(days=2)
        blob.patch()
        with pytest.raises(exceptions.Forbidden, match="retention"):
            blob.delete()
        blob.retention.retain_until_time = datetime.now(UTC) + timedelta(days=1)
        with pytest.raises(exceptions.BadRequest, match="overrideUnlockedRetention"):
            blob.patch()
        blob.patch(override_unlocked_retention=True)
        clock.forward(days=1.1)
        blob.delete()

    def test_retention_of_objects_has_to_be_enabled_first(self, bucket: storage.Bucket) -> None:
        blob = put(bucket, "a")
        blob.retention.mode = "Locked"
        blob.retention.retain_until_time = datetime.now(UTC) + timedelta(days=1)
        with pytest.raises(exceptions.BadRequest, match="not enabled"):
            blob.patch()


class TestSoftDelete:
    @pytest.fixture
    def soft(self, bucket: storage.Bucket) -> storage.Bucket:
        bucket.soft_delete_policy.retention_duration_seconds = 7 * 86_400
        bucket.patch()
        return bucket

    def test_a_deleted_object_is_restored(self, soft: storage.Bucket) -> None:
        generation = put(soft, "a", b"precious").generation
        soft.delete_blob("a")
        assert soft.get_blob("a") is None
        deleted = list(soft.list_blobs(soft_deleted=True))
        assert [blob.generation for blob in deleted] == [generation]
        assert deleted[0].hard_delete_time - deleted[0].soft_delete_time == timedelta(days=7)
        soft.restore_blob("a", generation=generation)
        assert soft.blob("a").download_as_bytes() == b"precious"

    def test_it_is_gone_when_its_time_is_over(
        self, soft: storage.Bucket, server: InProcess, clock: Time
    ) -> None:
        put(soft, "a")
        soft.delete_blob("a")
        clock.forward(days=7.1)
        server.sweep()
        assert not list(soft.list_blobs(soft_deleted=True))
        assert not _contents(server)

    def test_by_default_nothing_is_kept(self, bucket: storage.Bucket, server: InProcess) -> None:
        put(bucket, "a")
        bucket.delete_blob("a")
        assert not _contents(server)


class TestCopies:
    def test_a_copy_takes_the_metadata_along(self, bucket: storage.Bucket) -> None:
        source = bucket.blob("a")
        source.metadata = {"x": "y"}
        source.upload_from_string(b"data", content_type="text/csv")
        copied = bucket.copy_blob(source, bucket, "b")
        copied.reload()
        assert (copied.metadata, copied.content_type) == ({"x": "y"}, "text/csv")
        source.delete()
        assert copied.download_as_bytes() == b"data"

    def test_copies_share_one_content(self, server: InProcess, bucket: storage.Bucket) -> None:
        source = put(bucket, "a")
        for name in "bcd":
            bucket.copy_blob(source, bucket, name)
        assert len(_contents(server)) == 1
        bucket.delete_blobs(list("abc"))
        assert bucket.blob("d").download_as_bytes() == b"data"
        bucket.delete_blob("d")
        assert not _contents(server)

    def test_what_is_not_there_cannot_be_copied(self, bucket: storage.Bucket) -> None:
        with pytest.raises(exceptions.NotFound, match="No such object"):
            bucket.copy_blob(bucket.blob("nothing"), bucket, "b")

    def test_a_rewrite_changes_the_storage_class(self, bucket: storage.Bucket) -> None:
        blob = put(bucket, "a", b"data", content_type="text/csv")
        blob.update_storage_class("ARCHIVE")
        kept = bucket.get_blob("a")
        assert kept is not None
        assert (kept.storage_class, kept.content_type) == ("ARCHIVE", "text/csv")

    def test_a_big_rewrite_takes_several_calls(
        self, client: storage.Client, bucket: storage.Bucket
    ) -> None:
        far = client.create_bucket("far-away", location="europe-west1")
        source = put(bucket, "a", bytes(3 * 1024 * 1024 - 1))
        target = far.blob("a")
        path = f"{source.path}/rewriteTo{target.path}"
        query = {"maxBytesRewrittenPerCall": "1048576"}
        steps, token = [], None
        while True:
            answer = client._connection.api_request(
                method="POST",
                path=path,
                query_params=query | ({"rewriteToken": token} if token else {}),
            )
            steps.append((int(answer["totalBytesRewritten"]), answer["done"]))
            token = answer.get("rewriteToken")
            if answer["done"]:
                break
            assert not target.exists()
        assert steps == [(1 << 20, False), (2 << 20, False), ((3 << 20) - 1, True)]
        assert target.download_as_bytes() == bytes(3 * 1024 * 1024 - 1)

    def test_a_token_belongs_to_its_request(
        self, client: storage.Client, bucket: storage.Bucket
    ) -> None:
        source = put(bucket, "a")
        with pytest.raises(exceptions.BadRequest, match="rewriteToken"):
            bucket.blob("b").rewrite(source, token="made-up")

    def test_objects_are_composed(self, bucket: storage.Bucket) -> None:
        parts = [put(bucket, f"part{number}", bytes([number]) * 100) for number in range(3)]
        whole = bucket.blob("whole")
        whole.content_type = "application/x-parts"
        whole.compose(parts)
        assert whole.component_count == 3
        assert whole.md5_hash is None
        assert whole.download_as_bytes() == b"".join(bytes([n]) * 100 for n in range(3))
        again = bucket.blob("again")
        again.compose([whole, parts[0]], if_generation_match=0)
        assert again.component_count == 4
        with pytest.raises(exceptions.PreconditionFailed):
            again.compose(parts, if_generation_match=0)
        with pytest.raises(exceptions.PreconditionFailed):
            again.compose(parts, if_source_generation_match=[1, None, None])

    def test_composition_has_its_limits(self, bucket: storage.Bucket) -> None:
        part = put(bucket, "part")
        with pytest.raises(exceptions.BadRequest, match="32"):
            bucket.blob("whole").compose([part] * 33)
        with pytest.raises(exceptions.NotFound, match="missing"):
            bucket.blob("whole").compose([part, bucket.blob("missing")])

    def test_a_move_leaves_nothing_behind(self, bucket: storage.Bucket) -> None:
        blob = put(bucket, "a", b"data", content_type="text/csv")
        moved = bucket.move_blob(blob, "b/c")
        assert moved.content_type == "text/csv"
        assert [one.name for one in bucket.list_blobs()] == ["b/c"]
        assert moved.download_as_bytes() == b"data"


def _contents(server: InProcess) -> list[Path]:
    folder = server.storage.contents._folder
    return [file for file in folder.glob("*/*") if file.is_file()]
