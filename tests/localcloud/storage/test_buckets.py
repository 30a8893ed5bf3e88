"""Buckets keep every word of their metadata, and refuse what Cloud Storage would refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from google.api_core import exceptions
from google.cloud import storage

from localcloud.services.storage.server import InProcess

from .conftest import PROJECT, client_of


class TestMetadata:
    def test_all_that_is_said_at_creation_is_kept(self, client: storage.Client) -> None:
        bucket = client.bucket("all-of-it")
        bucket.labels = {"environment": "local", "product": "flight-delay"}
        bucket.storage_class = "NEARLINE"
        bucket.versioning_enabled = True
        bucket.cors = [{"origin": ["*"], "method": ["GET"], "maxAgeSeconds": 60}]
        bucket.add_lifecycle_delete_rule(age=30, matches_prefix=["tmp/"])
        bucket.add_lifecycle_set_storage_class_rule("COLDLINE", number_of_newer_versions=2)
        bucket.iam_configuration.uniform_bucket_level_access_enabled = True
        bucket.iam_configuration.public_access_prevention = "enforced"
        bucket.default_kms_key_name = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
        bucket.soft_delete_policy.retention_duration_seconds = 604800
        bucket.retention_period = 5
        bucket.requester_pays = True
        bucket.default_event_based_hold = False
        bucket.enable_logging("logs-of-it", object_prefix="access")
        client.create_bucket(bucket, location="europe-west1")

        kept = client.get_bucket("all-of-it")
        assert kept.labels == {"environment": "local", "product": "flight-delay"}
        assert kept.storage_class == "NEARLINE"
        assert kept.versioning_enabled
        assert kept.cors == [{"origin": ["*"], "method": ["GET"], "maxAgeSeconds": 60}]
        assert [rule["action"] for rule in kept.lifecycle_rules] == [
            {"type": "Delete"},
            {"type": "SetStorageClass", "storageClass": "COLDLINE"},
        ]
        assert kept.iam_configuration.uniform_bucket_level_access_enabled
        assert kept.iam_configuration.uniform_bucket_level_access_locked_time is not None
        assert kept.iam_configuration.public_access_prevention == "enforced"
        assert kept.default_kms_key_name == "projects/p/locations/l/keyRings/r/cryptoKeys/k"
        assert kept.soft_delete_policy.retention_duration_seconds == 604800
        assert kept.retention_period == 5
        assert kept.requester_pays
        assert kept.get_logging() == {"logBucket": "logs-of-it", "logObjectPrefix": "access"}
        assert (kept.location, kept.location_type) == ("EUROPE-WEST1", "region")
        assert kept.metageneration == 1
        assert kept.time_created == pytest.approx(datetime.now(UTC), abs=timedelta(minutes=1))

    def test_a_patch_changes_what_it_names_and_nothing_else(
        self, client: storage.Client, bucket: storage.Bucket
    ) -> None:
        bucket.labels = {"a": "1", "b": "2"}
        bucket.versioning_enabled = True
        bucket.patch()
        bucket.labels = {"b": "3"}
        bucket.patch()
        kept = client.get_bucket(bucket.name)
        assert kept.labels == {"b": "3"}
        assert kept.versioning_enabled
        assert kept.metageneration == 3

    def test_an_update_replaces_everything(
        self, client: storage.Client, bucket: storage.Bucket
    ) -> None:
        bucket.labels = {"a": "1"}
        bucket.versioning_enabled = True
        bucket.patch()
        fresh = client.get_bucket(bucket.name)
        del fresh._properties["versioning"]
        fresh.update()
        assert not client.get_bucket(bucket.name).versioning_enabled
        assert client.get_bucket(bucket.name).labels == {"a": "1"}

    def test_a_patch_that_changes_nothing_keeps_the_metageneration(
        self, client: storage.Client, bucket: storage.Bucket
    ) -> None:
        bucket.storage_class = "STANDARD"
        bucket.patch()
        assert client.get_bucket(bucket.name).metageneration == 1

    def test_metadata_outlives_the_process(
        self, server: InProcess, bucket: storage.Bucket, tmp_path: Path
    ) -> None:
        bucket.labels = {"a": "1"}
        bucket.patch()
        bucket.blob("kept").upload_from_string(b"bytes")
        server.stop()
        with InProcess(tmp_path / "storage") as again:
            kept = client_of(again.url).get_bucket(bucket.name)
            assert kept.labels == {"a": "1"}
            assert kept.blob("kept").download_as_bytes() == b"bytes"


class TestExistence:
    def test_a_name_is_taken_once(self, client: storage.Client, bucket: storage.Bucket) -> None:
        with pytest.raises(exceptions.Conflict, match="you already own it"):
            client.create_bucket(bucket.name)

    def test_the_namespace_is_shared_by_all_projects(
        self, server: InProcess, bucket: storage.Bucket
    ) -> None:
        with pytest.raises(exceptions.Conflict, match="not available"):
            client_of(server.url, "another-project").create_bucket(bucket.name)

    def test_projects_see_their_own_buckets_only(
        self, server: InProcess, client: storage.Client, bucket: storage.Bucket
    ) -> None:
        other = client_of(server.url, "another-project")
        other.create_bucket("elsewhere")
        assert [one.name for one in client.list_buckets()] == [bucket.name]
        assert [one.name for one in other.list_buckets(prefix="else")] == ["elsewhere"]
        assert bucket.project_number != other.get_bucket("elsewhere").project_number

    def test_buckets_are_listed_in_pages(self, client: storage.Client) -> None:
        names = [f"bucket-{number:02}" for number in range(7)]
        for name in names:
            client.create_bucket(name)
        pages = client.list_buckets(page_size=3).pages
        assert [[one.name for one in page] for page in pages] == [
            names[:3],
            names[3:6],
            names[6:],
        ]

    def test_what_is_not_there_is_not_found(self, client: storage.Client) -> None:
        assert client.lookup_bucket("nowhere") is None
        assert not client.bucket("nowhere").exists()
        with pytest.raises(exceptions.NotFound, match="nowhere"):
            client.get_bucket("nowhere")

    def test_a_bucket_that_holds_objects_cannot_be_deleted(self, bucket: storage.Bucket) -> None:
        bucket.blob("a").upload_from_string(b"a")
        with pytest.raises(exceptions.Conflict, match="not empty"):
            bucket.delete()
        bucket.delete(force=True)
        assert not bucket.exists()

    def test_noncurrent_versions_count_as_objects(self, bucket: storage.Bucket) -> None:
        bucket.versioning_enabled = True
        bucket.patch()
        bucket.blob("a").upload_from_string(b"a")
        bucket.blob("a").delete()
        with pytest.raises(exceptions.Conflict, match="versions"):
            bucket.delete()

    def test_preconditions_guard_a_bucket(self, bucket: storage.Bucket) -> None:
        bucket.labels = {"a": "1"}
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.patch(if_metageneration_match=9)
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.patch(if_metageneration_not_match=1)
        with pytest.raises(exceptions.NotModified):
            bucket.reload(if_metageneration_not_match=1)


@pytest.mark.parametrize(
    "name",
    [
        "ab",
        "UPPER",
        "-dash",
        "dash-",
        "a..b",
        "a.-b",
        "192.168.1.1",
        "goog-x",
        "my-google",
        "x" * 64,
    ],
)
def test_names_that_cloud_storage_refuses(server: InProcess, name: str) -> None:
    answer = httpx.post(f"{server.url}/storage/v1/b?project=p", json={"name": name})
    assert answer.status_code == 400
    assert name in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"labels": {"Upper": "x"}}, "Upper"),
        ({"labels": {"a": "No Spaces"}}, "No Spaces"),
        ({"location": "moon"}, "MOON"),
        ({"storageClass": "GOLD"}, "GOLD"),
        ({"iamConfiguration": {"publicAccessPrevention": "maybe"}}, "maybe"),
        ({"softDeletePolicy": {"retentionDurationSeconds": "60"}}, "604800"),
        ({"retentionPolicy": {"retentionPeriod": "0"}}, "at least 1"),
        ({"lifecycle": {"rule": [{"action": {"type": "Burn"}, "condition": {"age": 1}}]}}, "Burn"),
        ({"lifecycle": {"rule": [{"action": {"type": "Delete"}, "condition": {}}]}}, "condition"),
        (
            {
                "lifecycle": {
                    "rule": [{"action": {"type": "Delete"}, "condition": {"createdBefore": "soon"}}]
                }
            },
            "soon",
        ),
        ({"versionning": {"enabled": True}}, "versionning"),
        ({"versioning": {"enabled": "perhaps"}}, "versioning.enabled"),
        ({"lifecycle": {"rules": []}}, "rules"),
    ],
)
def test_wrong_values_are_named(server: InProcess, body: dict, told: str) -> None:
    answer = httpx.post(f"{server.url}/storage/v1/b?project=p", json={"name": "wrong"} | body)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]
    assert httpx.get(f"{server.url}/storage/v1/b/wrong").status_code == 404


class TestLocks:
    def test_the_location_is_final(self, bucket: storage.Bucket) -> None:
        bucket._patch_property("location", "EU")
        with pytest.raises(exceptions.BadRequest, match="location"):
            bucket.patch()

    def test_a_locked_retention_policy_only_grows(self, bucket: storage.Bucket) -> None:
        bucket.retention_period = 100
        bucket.patch()
        bucket.lock_retention_policy()
        assert bucket.retention_policy_locked
        bucket.retention_period = 50
        with pytest.raises(exceptions.Forbidden, match="locked"):
            bucket.patch()
        bucket.reload()
        bucket.retention_period = 200
        bucket.patch()
        assert bucket.retention_period == 200
        assert bucket.retention_policy_locked


class TestPolicy:
    def test_a_new_bucket_belongs_to_its_project(self, bucket: storage.Bucket) -> None:
        policy = bucket.get_iam_policy()
        assert policy["roles/storage.legacyBucketOwner"] == {
            f"projectEditor:{PROJECT}",
            f"projectOwner:{PROJECT}",
        }

    def test_bindings_are_kept(self, bucket: storage.Bucket) -> None:
        policy = bucket.get_iam_policy(requested_policy_version=3)
        policy.version = 3
        policy.bindings.append(
            {
                "role": "roles/storage.objectViewer",
                "members": {"serviceAccount:a@p.iam.gserviceaccount.com"},
                "condition": {"title": "t", "expression": "request.time < timestamp('2030')"},
            }
        )
        bucket.set_iam_policy(policy)
        kept = bucket.get_iam_policy(requested_policy_version=3)
        assert [binding["role"] for binding in kept.bindings][-1] == "roles/storage.objectViewer"
        assert kept.bindings[-1]["condition"]["title"] == "t"

    def test_a_stale_policy_is_refused(self, bucket: storage.Bucket) -> None:
        first, second = bucket.get_iam_policy(), bucket.get_iam_policy()
        bucket.set_iam_policy(first)
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.set_iam_policy(second)

    def test_wrong_members_are_named(self, bucket: storage.Bucket) -> None:
        policy = bucket.get_iam_policy()
        policy["roles/storage.objectViewer"] = {"somebody"}
        with pytest.raises(exceptions.BadRequest, match="somebody"):
            bucket.set_iam_policy(policy)

    def test_public_access_prevention_keeps_the_public_out(self, bucket: storage.Bucket) -> None:
        bucket.iam_configuration.public_access_prevention = "enforced"
        bucket.patch()
        policy = bucket.get_iam_policy()
        policy["roles/storage.objectViewer"] = {"allUsers"}
        with pytest.raises(exceptions.PreconditionFailed, match="public access prevention"):
            bucket.set_iam_policy(policy)

    def test_every_caller_may_do_everything(self, bucket: storage.Bucket) -> None:
        asked = ["storage.objects.get", "storage.objects.create"]
        assert bucket.test_iam_permissions(asked) == asked

    def test_uniform_access_knows_no_acl(self, client: storage.Client) -> None:
        bucket = client.bucket("uniform")
        bucket.iam_configuration.uniform_bucket_level_access_enabled = True
        client.create_bucket(bucket)
        with pytest.raises(exceptions.BadRequest, match="uniform"):
            bucket.blob("a").upload_from_string(b"a", predefined_acl="private")


def test_access_control_lists_are_refused_not_pretended(bucket: storage.Bucket) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="bucketAccessControls"):
        bucket.acl.reload()
    with pytest.raises(exceptions.MethodNotImplemented, match="publicRead"):
        bucket.blob("a").upload_from_string(b"a", predefined_acl="publicRead")


def test_the_service_agent_of_a_project(client: storage.Client, bucket: storage.Bucket) -> None:
    assert (
        client.get_service_account_email()
        == f"service-{bucket.project_number}@gs-project-accounts.iam.gserviceaccount.com"
    )
