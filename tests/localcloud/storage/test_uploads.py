"""Every way in which bytes come: whole, with metadata, in pieces, with and without checksums."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
from collections.abc import Iterator

import google_crc32c
import httpx
import pytest
from google.api_core import exceptions
from google.cloud import storage

from localcloud.services.storage.server import InProcess

QUANTUM = 256 * 1024


@pytest.fixture
def http(server: InProcess, bucket: storage.Bucket) -> Iterator[httpx.Client]:
    """Plain HTTP, for what Google's client cannot be made to say."""
    with httpx.Client(base_url=server.url, timeout=30) as plain:
        yield plain


def begin(http: httpx.Client, name: str = "a", **headers: str) -> str:
    """Begin a resumable upload; where it goes on."""
    answer = http.post(
        "/upload/storage/v1/b/landing-zone/o",
        params={"uploadType": "resumable", "name": name},
        json={"metadata": {"x": "y"}},
        headers=headers,
    )
    assert answer.status_code == 200
    return answer.headers["location"]


def send(http: httpx.Client, url: str, data: bytes, span: str, **headers: str) -> httpx.Response:
    return http.put(url, content=data, headers={"content-range": f"bytes {span}"} | headers)


def content(http: httpx.Client, name: str = "a") -> bytes:
    answer = http.get(f"/download/storage/v1/b/landing-zone/o/{name}")
    assert answer.status_code == 200
    return answer.content


class TestGooglesClient:
    @pytest.mark.parametrize("size", [0, 1, QUANTUM, 3 * 1024 * 1024 + 7])
    @pytest.mark.parametrize("checksum", ["md5", "crc32c", None])
    def test_a_blob_comes_back_as_it_went(
        self, bucket: storage.Bucket, size: int, checksum: str | None
    ) -> None:
        data = os.urandom(size)
        blob = bucket.blob("a")
        blob.upload_from_string(data, checksum=checksum)
        assert blob.md5_hash == base64.b64encode(hashlib.md5(data).digest()).decode()
        assert blob.crc32c == base64.b64encode(google_crc32c.Checksum(data).digest()).decode()
        assert blob.size == size
        assert blob.download_as_bytes() == data

    @pytest.mark.parametrize("size", [0, 2 * QUANTUM, 2 * QUANTUM + 1])
    def test_a_stream_of_unknown_length(self, bucket: storage.Bucket, size: int) -> None:
        data = os.urandom(size)
        blob = bucket.blob("a", chunk_size=QUANTUM)
        with blob.open("wb", ignore_flush=True) as stream:
            for start in range(0, size, 100_000):
                stream.write(data[start : start + 100_000])
        assert blob.download_as_bytes() == data

    def test_a_stream_is_read_and_sought(self, bucket: storage.Bucket) -> None:
        data = os.urandom(QUANTUM * 3)
        bucket.blob("a").upload_from_file(io.BytesIO(data), size=len(data))
        with bucket.blob("a", chunk_size=QUANTUM).open("rb") as stream:
            stream.seek(QUANTUM + 17)
            assert stream.read(1000) == data[QUANTUM + 17 : QUANTUM + 1017]

    def test_a_stream_that_may_only_create(self, bucket: storage.Bucket) -> None:
        with bucket.blob("a").open("wb", if_generation_match=0) as stream:
            stream.write(b"first")
        with pytest.raises(exceptions.PreconditionFailed):
            bucket.blob("a").create_resumable_upload_session(if_generation_match=0)
        assert bucket.blob("a").download_as_bytes() == b"first"


class TestWhole:
    def test_the_name_may_stand_in_the_query(self, http: httpx.Client) -> None:
        answer = http.post(
            "/upload/storage/v1/b/landing-zone/o",
            params={"uploadType": "media", "name": "x/y", "fields": "name,contentType"},
            content=b"hello",
            headers={"content-type": "text/plain"},
        )
        assert answer.json() == {"name": "x/y", "contentType": "text/plain"}

    def test_without_a_name_nothing_is_taken(self, http: httpx.Client) -> None:
        answer = http.post("/upload/storage/v1/b/landing-zone/o?uploadType=media", content=b"x")
        assert answer.status_code == 400
        assert "name" in answer.json()["error"]["message"]

    @pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
    @pytest.mark.parametrize(
        "data", [b"", b"data", b"\r\n--bound\r\n"[:9], b"ends with\r", b"\n\n", b"--boundary-not"]
    )
    def test_both_kinds_of_line_ends(self, http: httpx.Client, newline: bytes, data: bytes) -> None:
        lines = [
            b"--boundary",
            b"Content-Type: application/json",
            b"",
            b'{"name": "a", "metadata": {"x": "y"}}',
            b"--boundary",
            b"Content-Type: text/csv",
            b"",
            data,
            b"--boundary--",
            b"",
        ]
        answer = http.post(
            "/upload/storage/v1/b/landing-zone/o?uploadType=multipart",
            content=newline.join(lines),
            headers={"content-type": 'multipart/related; boundary="boundary"'},
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["contentType"] == "text/csv"
        assert content(http) == data

    def test_a_body_that_is_cut_off_leaves_nothing(
        self, http: httpx.Client, server: InProcess
    ) -> None:
        answer = http.post(
            "/upload/storage/v1/b/landing-zone/o?uploadType=multipart",
            content=b'--b\r\n\r\n{"name": "a"}\r\n--b\r\n\r\nhalf of it',
            headers={"content-type": "multipart/related; boundary=b"},
        )
        assert answer.status_code == 400
        assert http.get("/storage/v1/b/landing-zone/o/a").status_code == 404
        assert not list(server.storage.contents._folder.glob("*/*"))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"x-goog-hash": "crc32c=AAAAAA=="},
            {"x-goog-hash": "md5=AAAAAAAAAAAAAAAAAAAAAA=="},
            {"content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="},
        ],
    )
    def test_a_wrong_checksum_is_refused(
        self, http: httpx.Client, server: InProcess, wrong: dict[str, str]
    ) -> None:
        answer = http.post(
            "/upload/storage/v1/b/landing-zone/o?uploadType=media&name=a",
            content=b"data",
            headers=wrong,
        )
        assert answer.status_code == 400
        assert "doesn't match calculated" in answer.json()["error"]["message"]
        assert http.get("/storage/v1/b/landing-zone/o/a").status_code == 404
        assert not list(server.storage.contents._folder.glob("*/*"))

    def test_unknown_fields_are_refused(self, http: httpx.Client) -> None:
        answer = http.post(
            "/upload/storage/v1/b/landing-zone/o?uploadType=resumable",
            json={"name": "a", "contentTypo": "x"},
        )
        assert answer.status_code == 400
        assert "contentTypo" in answer.json()["error"]["message"]


class TestResumable:
    def test_pieces_make_a_whole(self, http: httpx.Client) -> None:
        data = os.urandom(2 * QUANTUM + 5)
        url = begin(http, **{"x-upload-content-type": "text/csv"})
        first = send(http, url, data[:QUANTUM], f"0-{QUANTUM - 1}/*")
        assert (first.status_code, first.headers["range"]) == (308, f"bytes=0-{QUANTUM - 1}")
        assert http.get("/storage/v1/b/landing-zone/o/a").status_code == 404
        last = send(http, url, data[QUANTUM:], f"{QUANTUM}-{len(data) - 1}/{len(data)}")
        assert last.status_code == 200
        assert last.json()["metadata"] == {"x": "y"}
        assert last.json()["contentType"] == "text/csv"
        assert content(http) == data

    def test_a_client_asks_how_much_is_there(self, http: httpx.Client) -> None:
        url = begin(http)
        none = send(http, url, b"", "*/*")
        assert none.status_code == 308
        assert "range" not in none.headers
        send(http, url, bytes(QUANTUM), f"0-{QUANTUM - 1}/*")
        some = send(http, url, b"", "*/1000000")
        assert (some.status_code, some.headers["range"]) == (308, f"bytes=0-{QUANTUM - 1}")
        done = send(http, url, b"", f"*/{QUANTUM}")
        assert done.status_code == 200
        asked_again = send(http, url, b"", "*/*")
        assert asked_again.json() == done.json()

    def test_bytes_that_came_before_are_skipped(self, http: httpx.Client) -> None:
        data = os.urandom(2 * QUANTUM)
        url = begin(http)
        send(http, url, data[:QUANTUM], f"0-{QUANTUM - 1}/*")
        again = send(http, url, data, f"0-{len(data) - 1}/{len(data)}")
        assert again.status_code == 200
        assert content(http) == data

    def test_a_gap_is_refused(self, http: httpx.Client) -> None:
        url = begin(http)
        answer = send(http, url, bytes(QUANTUM), f"{QUANTUM}-{2 * QUANTUM - 1}/*")
        assert answer.status_code == 400
        assert "exceeds already uploaded size of 0" in answer.json()["error"]["message"]

    def test_what_exceeds_a_quantum_comes_again(self, http: httpx.Client) -> None:
        data = os.urandom(QUANTUM + 1000)
        url = begin(http)
        answer = send(http, url, data, f"0-{len(data) - 1}/*")
        assert answer.headers["range"] == f"bytes=0-{QUANTUM - 1}"
        rest = send(http, url, data[QUANTUM:], f"{QUANTUM}-{len(data) - 1}/{len(data)}")
        assert rest.status_code == 200
        assert content(http) == data

    def test_everything_at_once_without_a_range(self, http: httpx.Client) -> None:
        url = begin(http)
        assert http.put(url, content=b"all of it").status_code == 200
        assert content(http) == b"all of it"

    def test_a_cancelled_upload_is_gone(self, http: httpx.Client, server: InProcess) -> None:
        url = begin(http)
        send(http, url, bytes(QUANTUM), f"0-{QUANTUM - 1}/*")
        assert http.delete(url).status_code == 499
        assert send(http, url, b"", "*/*").status_code == 404
        assert not list(server.storage.contents._folder.glob("*/*"))

    def test_a_wrong_checksum_at_the_end_is_refused(self, http: httpx.Client) -> None:
        url = begin(http)
        answer = send(http, url, b"data", "0-3/4", **{"x-goog-hash": "crc32c=AAAAAA=="})
        assert answer.status_code == 400
        assert http.get("/storage/v1/b/landing-zone/o/a").status_code == 404
        assert send(http, url, b"", "*/*").status_code == 404

    def test_the_length_is_what_was_promised(self, http: httpx.Client) -> None:
        url = begin(http, **{"x-upload-content-length": "10"})
        assert send(http, url, b"data", "0-3/4").status_code == 400

    def test_preconditions_hold_at_the_end(
        self, http: httpx.Client, bucket: storage.Bucket
    ) -> None:
        answer = http.post(
            "/upload/storage/v1/b/landing-zone/o",
            params={"uploadType": "resumable", "name": "a", "ifGenerationMatch": "0"},
        )
        bucket.blob("a").upload_from_string(b"faster")
        late = send(http, answer.headers["location"], b"slower", "0-5/6")
        assert late.status_code == 412
        assert content(http) == b"faster"

    def test_readers_see_the_old_object_until_the_end(
        self, http: httpx.Client, bucket: storage.Bucket
    ) -> None:
        bucket.blob("a").upload_from_string(b"old")
        url = begin(http)
        send(http, url, bytes(QUANTUM), f"0-{QUANTUM - 1}/*")
        assert content(http) == b"old"
        assert send(http, url, b"", f"*/{QUANTUM}").status_code == 200
        assert content(http) == bytes(QUANTUM)

    def test_an_upload_dies_with_its_bucket(
        self, http: httpx.Client, client: storage.Client, bucket: storage.Bucket
    ) -> None:
        url = begin(http)
        send(http, url, bytes(QUANTUM), f"0-{QUANTUM - 1}/*")
        bucket.delete()
        client.create_bucket(bucket.name)
        assert send(http, url, b"", f"*/{QUANTUM}").status_code == 404
        assert list(bucket.list_blobs()) == []

    @pytest.mark.parametrize("span", ["0-", "5-3/9", "0-9/5", "a-b/c"])
    def test_ranges_that_make_no_sense(self, http: httpx.Client, span: str) -> None:
        assert send(http, begin(http), b"data", span).status_code == 400


class TestDownloads:
    def test_ranges(self, bucket: storage.Bucket, http: httpx.Client) -> None:
        data = os.urandom(3 * 1024 * 1024)
        bucket.blob("a").upload_from_string(data)
        for header, expected in {
            "bytes=0-0": data[:1],
            "bytes=100-2000000": data[100:2000001],
            "bytes=3000000-": data[3000000:],
            "bytes=-5": data[-5:],
            "bytes=0-99999999": data,
        }.items():
            answer = http.get("/download/storage/v1/b/landing-zone/o/a", headers={"range": header})
            assert answer.status_code == 206
            assert answer.content == expected
            assert answer.headers["content-range"].endswith(f"/{len(data)}")

    @pytest.mark.parametrize("span", ["bytes=4-", "bytes=-0", "bytes=9-10"])
    def test_beyond_the_end(self, bucket: storage.Bucket, http: httpx.Client, span: str) -> None:
        bucket.blob("a").upload_from_string(b"data")
        answer = http.get("/storage/v1/b/landing-zone/o/a?alt=media", headers={"range": span})
        assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */4")

    def test_headers_tell_what_it_is(self, bucket: storage.Bucket, http: httpx.Client) -> None:
        blob = bucket.blob("a b/c")
        blob.cache_control = "no-store"
        blob.upload_from_string(b"data", content_type="text/csv")
        headers = http.get("/landing-zone/a%20b/c").headers
        assert headers["content-type"] == "text/csv"
        assert headers["cache-control"] == "no-store"
        assert headers["x-goog-generation"] == str(blob.generation)
        assert headers["x-goog-hash"] == f"crc32c={blob.crc32c},md5={blob.md5_hash}"
        assert headers["x-goog-stored-content-length"] == "4"
        head = http.head("/landing-zone/a%20b/c")
        assert (head.status_code, head.headers["content-length"], head.content) == (200, "4", b"")

    def test_gzip_is_undone_for_those_who_cannot(
        self, bucket: storage.Bucket, http: httpx.Client
    ) -> None:
        text = b"hello " * 1_000_000
        packed = gzip.compress(text)
        blob = bucket.blob("a")
        blob.content_encoding = "gzip"
        blob.upload_from_string(packed, content_type="text/plain")
        path = "/download/storage/v1/b/landing-zone/o/a"
        assert http.get(path, headers={"accept-encoding": "identity"}).content == text
        assert blob.download_as_bytes() == text
        assert blob.download_as_bytes(raw_download=True) == packed

    def test_a_generation_is_downloaded(self, bucket: storage.Bucket) -> None:
        bucket.versioning_enabled = True
        bucket.patch()
        blob = bucket.blob("a")
        blob.upload_from_string(b"1")
        old = blob.generation
        blob.upload_from_string(b"2")
        assert bucket.blob("a", generation=old).download_as_bytes() == b"1"

    def test_what_is_not_there(self, bucket: storage.Bucket) -> None:
        with pytest.raises(exceptions.NotFound, match="No such object: landing-zone/nothing"):
            bucket.blob("nothing").download_as_bytes()

    def test_a_download_outlives_the_object(
        self, bucket: storage.Bucket, http: httpx.Client
    ) -> None:
        data = os.urandom(8 * 1024 * 1024)
        bucket.blob("a").upload_from_string(data)
        with http.stream("GET", "/download/storage/v1/b/landing-zone/o/a") as answer:
            chunks = answer.iter_bytes(64 * 1024)
            received = next(chunks)
            bucket.delete_blob("a")
            received += b"".join(chunks)
        assert received == data


def test_encryption_keys_of_the_customer_are_refused(bucket: storage.Bucket) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="encryption keys"):
        bucket.blob("a", encryption_key=bytes(32)).upload_from_string(b"data")
