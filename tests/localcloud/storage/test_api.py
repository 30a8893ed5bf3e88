"""The API as its discovery document describes it: what is known, unknown and not supported."""

from __future__ import annotations

import io
import os
from typing import Any

import httpx
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from googleapiclient.discovery import build
from googleapiclient.http import MediaIoBaseDownload, MediaIoBaseUpload

from localcloud.rest.discovery import Api
from localcloud.services.storage.bucket_methods import BucketMethods
from localcloud.services.storage.copy_methods import CopyMethods
from localcloud.services.storage.object_methods import ObjectMethods
from localcloud.services.storage.server import InProcess

API = Api.load("storage", "v1")


def supported(server: InProcess) -> set[str]:
    methods = (BucketMethods, ObjectMethods, CopyMethods)
    return {key for one in methods for key in one(server.storage).handlers()}


def test_it_is_ready(server: InProcess) -> None:
    assert httpx.get(f"{server.url}/healthz").status_code == 200


def test_every_method_is_carried_out_or_refused_by_name(
    server: InProcess, bucket: storage.Bucket
) -> None:
    known = supported(server) | {"storage.objects.insert"}
    assert known < set(API.methods)
    for method in API.methods.values():
        if method.id in known:
            continue
        path = method.template
        for name in method.names:
            path = path.replace("{" + name + "}", "landing-zone")
        answer = httpx.request(method.http_method, server.url + path)
        assert answer.status_code == 501, method.id
        assert method.id in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("storage.buckets.get", "b/landing-zone"),
        ("storage.buckets.list", "b?project=esteira-test"),
        ("storage.buckets.getIamPolicy", "b/landing-zone/iam"),
        ("storage.buckets.getStorageLayout", "b/landing-zone/storageLayout"),
        (
            "storage.buckets.testIamPermissions",
            "b/landing-zone/iam/testPermissions?permissions=storage.objects.get",
        ),
        ("storage.objects.get", "b/landing-zone/o/a%2Fb"),
        ("storage.objects.list", "b/landing-zone/o"),
        ("storage.notifications.list", "b/landing-zone/notificationConfigs"),
        ("storage.projects.serviceAccount.get", "projects/p/serviceAccount"),
    ],
)
def test_answers_are_those_of_the_document(
    server: InProcess, bucket: storage.Bucket, method: str, path: str
) -> None:
    bucket.versioning_enabled = True
    bucket.labels = {"a": "b"}
    bucket.add_lifecycle_delete_rule(age=3)
    bucket.patch()
    blob = bucket.blob("a/b")
    blob.metadata = {"x": "y"}
    blob.upload_from_string(b"data")
    answer = httpx.get(f"{server.url}/storage/v1/{path}")
    assert answer.status_code == 200
    assert API.violations_of_response(method, answer.json()) == []


@pytest.mark.parametrize(
    ("http_method", "path", "body", "told"),
    [
        ("GET", "b?projekt=p", None, "projekt"),
        ("GET", "b", None, "project"),
        ("GET", "b/landing-zone/o?maxResults=many", None, "max_results"),
        ("GET", "b/landing-zone/o?projection=everything", None, "projection"),
        ("PATCH", "b/landing-zone", {"labels": ["a"]}, "labels"),
        ("PATCH", "b/landing-zone", {"label": {"a": "b"}}, "label"),
        ("PATCH", "b/landing-zone", [], "list"),
        ("PATCH", "b/landing-zone/o/a", {"metadata": {"x": 1}}, "metadata"),
        ("PATCH", "b/landing-zone/o/a", {"contenttype": "x"}, "contenttype"),
        ("PATCH", "b/landing-zone/o/a?ifGenerationMatch=x", {}, "if_generation_match"),
        ("POST", "b/landing-zone/o/a/compose", {"sources": []}, "sources"),
        ("POST", "b/landing-zone/notificationConfigs", {"topic": "x"}, "topic"),
    ],
)
def test_wrong_requests_are_told_what_is_wrong(
    server: InProcess, bucket: storage.Bucket, http_method: str, path: str, body: Any, told: str
) -> None:
    bucket.blob("a").upload_from_string(b"")
    answer = httpx.request(http_method, f"{server.url}/storage/v1/{path}", json=body)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]


def test_json_that_is_none(server: InProcess) -> None:
    answer = httpx.post(f"{server.url}/storage/v1/b?project=p", content=b"{")
    assert answer.status_code == 400
    assert answer.json()["error"]["errors"][0]["reason"] == "invalid"


def test_paths_that_lead_nowhere(server: InProcess) -> None:
    assert httpx.get(f"{server.url}/storage/v1/buckets").status_code == 404
    assert httpx.get(f"{server.url}/").status_code == 501
    assert httpx.put(f"{server.url}/bucket/object", content=b"x").status_code == 501


def test_googles_older_client(server: InProcess) -> None:
    with build(
        "storage",
        "v1",
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": f"{server.url}/storage/v1/"},
        static_discovery=True,
    ) as service:
        service.buckets().insert(project="p", body={"name": "older"}).execute()
        data = os.urandom(1_500_000)
        for name, resumable in (("whole", False), ("pieces", True)):
            media = MediaIoBaseUpload(
                io.BytesIO(data), "text/csv", resumable=resumable, chunksize=512 * 1024
            )
            request = service.objects().insert(
                bucket="older", name=name, body={"metadata": {"x": "y"}}, media_body=media
            )
            # The client insists on https for uploads, whatever the endpoint says.
            request.uri = request.uri.replace("https:", "http:")
            assert request.execute()["contentType"] == "text/csv"
            received = io.BytesIO()
            download = MediaIoBaseDownload(
                received, service.objects().get_media(bucket="older", object=name), 700_000
            )
            done = False
            while not done:
                _, done = download.next_chunk()
            assert received.getvalue() == data
        listed = service.objects().list(bucket="older", fields="items/name").execute()
        assert listed == {"items": [{"name": "pieces"}, {"name": "whole"}]}
