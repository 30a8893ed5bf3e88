"""Buckets, objects, notifications and their grants on the real engine."""

from __future__ import annotations

import pulumi
import pytest
from pulumi_gcp import organizations, pubsub, storage

from localcloud.provider.clients import Clients

from .conftest import Cloud, Deployment, changes

pytestmark = pytest.mark.engine


@pytest.fixture
def clients(cloud: Cloud) -> Clients:
    return Clients(cloud.home)


def program(name: str, content: str = "one", days: int = 30) -> None:
    bucket = storage.Bucket(
        "landing",
        name=name,
        location="US-CENTRAL1",
        uniform_bucket_level_access=True,
        public_access_prevention="enforced",
        labels={"owner": "sales"},
        versioning={"enabled": True},
        force_destroy=True,
        lifecycle_rules=[
            {"action": {"type": "Delete"}, "condition": {"age": days, "with_state": "ANY"}},
            {
                "action": {"type": "SetStorageClass", "storage_class": "NEARLINE"},
                "condition": {"age": 10, "matches_prefixes": ["raw/"]},
            },
        ],
        soft_delete_policy={"retention_duration_seconds": 0},
    )
    text = storage.BucketObject("text", bucket=bucket.name, name="a/text.txt", content=content)
    storage.BucketObject(
        "file",
        bucket=bucket.name,
        name="file.bin",
        source=pulumi.StringAsset(f"file {content}"),
        content_type="application/json",
    )
    topic = pubsub.Topic("landed", name=f"{name}-landed")
    agent = organizations.get_project_output().number.apply(
        lambda number: (
            f"serviceAccount:service-{number}@gs-project-accounts.iam.gserviceaccount.com"
        )
    )
    grant = pubsub.TopicIAMMember(
        "agent", topic=topic.id, role="roles/pubsub.publisher", member=agent
    )
    storage.Notification(
        "landed",
        bucket=bucket.name,
        topic=topic.id,
        payload_format="JSON_API_V1",
        event_types=["OBJECT_FINALIZE"],
        opts=pulumi.ResourceOptions(depends_on=[grant]),
    )
    storage.BucketIAMMember(
        "reader",
        bucket=bucket.name,
        role="roles/storage.objectViewer",
        member="serviceAccount:train@p.iam.gserviceaccount.com",
    )
    pulumi.export("generation", text.generation)
    pulumi.export("url", bucket.url)


def test_whole_life(deploy: Deployment, clients: Clients) -> None:
    name = f"{deploy.config['gcp:project']}-landing"
    made = deploy.up(lambda: program(name))
    assert made.outputs["url"] == f"gs://{name}"
    held = clients.storage_rest.get(f"/storage/v1/b/{name}")
    assert held["labels"]["owner"] == "sales"
    assert len(held["lifecycle"]["rule"]) == 2
    assert clients.storage.bucket(name).blob("a/text.txt").download_as_bytes() == b"one"
    assert clients.storage.bucket(name).blob("file.bin").download_as_bytes() == b"file one"
    policy = clients.storage_rest.get(f"/storage/v1/b/{name}/iam")
    assert any(one["role"] == "roles/storage.objectViewer" for one in policy["bindings"])

    assert changes(deploy.up(lambda: program(name))) == {}
    assert set(deploy.refresh()) == {"same"}

    changed = deploy.up(lambda: program(name, content="two", days=7))
    assert changes(changed) == {"update": 3}
    assert changed.outputs["generation"] > made.outputs["generation"]
    assert clients.storage.bucket(name).blob("a/text.txt").download_as_bytes() == b"two"

    # Somebody writes over them: `refresh` finds that out and `up` writes them again.
    for path in ("a/text.txt", "file.bin"):
        clients.storage.bucket(name).blob(path).upload_from_string("somebody else")
    assert deploy.refresh()["update"] == 2
    assert changes(deploy.up(lambda: program(name, content="two", days=7))) == {"update": 2}
    assert clients.storage.bucket(name).blob("file.bin").download_as_bytes() == b"file two"

    deploy.destroy()
    assert clients.storage_rest.find(f"/storage/v1/b/{name}") is None


def test_a_bucket_is_replaced_when_moved_and_with_objects_not_destroyed_unless_told(
    deploy: Deployment, clients: Clients
) -> None:
    name = f"{deploy.config['gcp:project']}-kept"

    def kept(force: bool, location: str = "US") -> None:
        storage.Bucket("kept", name=name, location=location, force_destroy=force)

    deploy.up(lambda: kept(False))
    assert deploy.preview(lambda: kept(False, "EU")) == {"same": 1, "replace": 1}
    clients.storage.bucket(name).blob("x").upload_from_string("x")
    with pytest.raises(pulumi.automation.CommandError, match="forceDestroy=True"):
        deploy.destroy()
    deploy.up(lambda: kept(True))
    deploy.destroy()
