"""Batch requests, and those who send them: Google's clients and Beam."""

from __future__ import annotations

import httpx
import pytest
from apache_beam.io.gcp.gcsio import GcsIO
from google.api_core import exceptions
from google.cloud import storage

from localcloud.services.storage.server import InProcess


def put(bucket: storage.Bucket, *names: str) -> None:
    for name in names:
        bucket.blob(name).upload_from_string(name)


def test_calls_are_carried_out_in_one_request(
    client: storage.Client, bucket: storage.Bucket
) -> None:
    put(bucket, "a", "b ä/#?", "c")
    patched = bucket.blob("c")
    patched.metadata = {"ünï": "cödé"}
    with client.batch():
        bucket.delete_blob("a")
        bucket.delete_blob("b ä/#?")
        patched.patch()
        reloaded = bucket.get_blob("c")
    assert [blob.name for blob in bucket.list_blobs()] == ["c"]
    assert patched.metadata == {"ünï": "cödé"}
    assert patched.metageneration == 2
    assert reloaded is not None


def test_one_failure_leaves_the_others(client: storage.Client, bucket: storage.Bucket) -> None:
    put(bucket, "a", "b")
    batch = client.batch(raise_exception=False)
    with batch:
        bucket.delete_blob("a")
        bucket.delete_blob("nothing")
        bucket.delete_blob("b", if_generation_match=1)
        bucket.copy_blob(bucket.blob("b"), bucket, "c")
    assert [answer.status_code for answer in batch._responses] == [204, 404, 412, 200]
    assert "No such object" in batch._responses[1].json()["error"]["message"]
    assert [blob.name for blob in bucket.list_blobs()] == ["b", "c"]
    with pytest.raises(exceptions.NotFound), client.batch():
        bucket.delete_blob("nothing")


def test_contents_do_not_travel_in_batches(server: InProcess, bucket: storage.Bucket) -> None:
    put(bucket, "a")
    body = (
        "--b\nContent-Type: application/http\nContent-ID: <1>\n\n"
        "GET /storage/v1/b/landing-zone/o/a?alt=media HTTP/1.1\n\n\n--b--"
    )
    answer = httpx.post(
        f"{server.url}/batch/storage/v1",
        content=body,
        headers={"content-type": "multipart/mixed; boundary=b"},
    )
    assert answer.status_code == 200
    assert "HTTP/1.1 400 Bad Request" in answer.text
    assert "Content-ID: <response-1>" in answer.text


@pytest.mark.parametrize("body", ["", "no parts at all", "--b\n\nnonsense\n--b--"])
def test_a_body_that_is_no_batch(server: InProcess, body: str) -> None:
    answer = httpx.post(
        f"{server.url}/batch/storage/v1",
        content=body,
        headers={"content-type": "multipart/mixed; boundary=b"},
    )
    assert answer.status_code == 400


class TestBeam:
    @pytest.fixture
    def files(self, client: storage.Client, bucket: storage.Bucket) -> GcsIO:
        return GcsIO(storage_client=client)

    def test_files_are_written_and_read(self, files: GcsIO) -> None:
        lines = b"one\ntwo\n" * 300_000
        with files.open("gs://landing-zone/in/a.txt", "w") as file:
            file.write(lines)
        assert files.exists("gs://landing-zone/in/a.txt")
        assert not files.exists("gs://landing-zone/in/b.txt")
        assert files.size("gs://landing-zone/in/a.txt") == len(lines)
        with files.open("gs://landing-zone/in/a.txt") as file:
            file.seek(4)
            assert file.read(3) == b"two"
            assert file.read() == lines[7:]

    def test_files_are_copied_moved_and_deleted_in_batches(
        self, files: GcsIO, bucket: storage.Bucket
    ) -> None:
        put(bucket, *(f"in/{number:03}" for number in range(120)))
        pairs = [
            (f"gs://landing-zone/in/{number:03}", f"gs://landing-zone/out/{number:03}")
            for number in range(121)
        ]
        copied = files.copy_batch(pairs)
        assert [error for _, _, error in copied] == [None] * 120 + [404]
        assert len(list(files.list_files("gs://landing-zone/out/"))) == 120
        deleted = files.delete_batch([target for _, target in pairs])
        assert [error for _, error in deleted] == [None] * 121
        files.rename("gs://landing-zone/in/000", "gs://landing-zone/moved")
        assert files.exists("gs://landing-zone/moved")
        assert not files.exists("gs://landing-zone/in/000")

    def test_a_bucket_of_its_own(self, files: GcsIO) -> None:
        created = files.create_bucket("made-by-beam", "esteira-test", location="us-central1")
        assert created.location == "US-CENTRAL1"
        assert not files.is_soft_delete_enabled("gs://made-by-beam/x")
        assert files.get_bucket("not-made") is None
