"""Killed at any moment, an object is whole or absent, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from google.cloud import storage

from localcloud.home import Home
from localcloud.services.storage.clock import SECOND, wall_clock

from .conftest import PROJECT, client_of
from .recorder import Recorder

QUANTUM = 256 * 1024


class Process:
    """`python -m localcloud.services.storage`, started, killed and started again."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.url = home.reserve(PROJECT).url("storage")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "localcloud.services.storage", "--home", str(self.home.path)],
            stderr=subprocess.DEVNULL,
        )
        transport = httpx.HTTPTransport(retries=20)
        with httpx.Client(transport=transport) as http:
            assert http.get(f"{self.url}/healthz").status_code == 200

    def end(self, number: signal.Signals) -> int:
        """Send a signal and await the end."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(timeout=10)

    def close(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(Home(tmp_path))
    process.start()
    yield process
    process.close()


@pytest.fixture
def bucket(process: Process) -> storage.Bucket:
    return client_of(process.url).create_bucket("landing-zone")


def test_it_ends_when_told_to(process: Process) -> None:
    began = wall_clock()
    assert process.end(signal.SIGTERM) == 0
    assert wall_clock() - began < 3 * SECOND


def test_it_ends_though_a_download_is_under_way(process: Process, bucket: storage.Bucket) -> None:
    bucket.blob("a").upload_from_string(bytes(64 << 20))
    with httpx.stream("GET", f"{process.url}/landing-zone/a"):
        began = wall_clock()
        assert process.end(signal.SIGTERM) == 0
        assert wall_clock() - began < 3 * SECOND


def test_an_upload_goes_on_after_a_kill(process: Process, bucket: storage.Bucket) -> None:
    data = os.urandom(8 * QUANTUM + 123)
    session = bucket.blob("a").create_resumable_upload_session(size=len(data))
    span = f"bytes 0-{4 * QUANTUM - 1}/{len(data)}"
    answer = httpx.put(session, content=data[: 4 * QUANTUM], headers={"content-range": span})
    assert answer.status_code == 308

    process.end(signal.SIGKILL)
    process.start()

    asked = httpx.put(session, headers={"content-range": f"bytes */{len(data)}"})
    assert asked.status_code == 308
    kept = int(asked.headers["range"].rpartition("-")[2]) + 1
    assert kept == 4 * QUANTUM
    assert bucket.get_blob("a") is None
    span = f"bytes {kept}-{len(data) - 1}/{len(data)}"
    done = httpx.put(session, content=data[kept:], headers={"content-range": span})
    assert done.status_code == 200
    assert bucket.blob("a").download_as_bytes(checksum="md5") == data


def test_a_client_in_the_middle_of_a_piece_goes_on(
    process: Process, bucket: storage.Bucket
) -> None:
    data = os.urandom(16 * QUANTUM)
    session = bucket.blob("a").create_resumable_upload_session(size=len(data))
    sent = threading.Event()

    def half() -> Iterator[bytes]:
        yield data[: 8 * QUANTUM]
        sent.set()
        process.end(signal.SIGKILL)
        yield data[8 * QUANTUM :]

    span = f"bytes 0-{len(data) - 1}/{len(data)}"
    with pytest.raises(httpx.TransportError):
        httpx.put(session, content=half(), headers={"content-range": span})
    assert sent.is_set()
    process.start()
    asked = httpx.put(session, headers={"content-range": "bytes */*"})
    kept = int(asked.headers["range"].rpartition("-")[2]) + 1 if "range" in asked.headers else 0
    assert kept % QUANTUM == 0
    span = f"bytes {kept}-{len(data) - 1}/{len(data)}"
    assert httpx.put(session, content=data[kept:], headers={"content-range": span}).is_success
    assert bucket.blob("a").download_as_bytes(checksum="md5") == data


@pytest.mark.long
def test_killed_again_and_again_every_acknowledged_object_is_whole(
    process: Process, bucket: storage.Bucket
) -> None:
    """Writers overwrite objects with content that names itself; the process is killed often."""
    chance = random.Random(7)
    acknowledged: dict[str, int] = {}
    for round_ in range(4):
        stop = threading.Event()

        def write(worker: int, stop: threading.Event = stop, first: int = round_ * 100_000) -> None:
            number = first
            while not stop.is_set():
                number += 1
                name = f"{worker}-{number % 3}"
                try:
                    answer = httpx.post(
                        f"{process.url}/upload/storage/v1/b/landing-zone/o",
                        params={"uploadType": "media", "name": name},
                        content=_content(name, number),
                    )
                except httpx.TransportError:
                    return
                assert answer.status_code == 200, answer.text
                acknowledged[name] = number

        workers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for worker in workers:
            worker.start()
        stop.wait(chance.uniform(0.3, 0.8))
        process.end(signal.SIGKILL)
        stop.set()
        for worker in workers:
            worker.join()
        process.start()
        for name, number in acknowledged.items():
            data = bucket.blob(name).download_as_bytes(checksum="crc32c")
            kept = int(data.split(b":")[1])
            assert kept >= number
            assert data == _content(name, kept)
    assert len(acknowledged) == 9
    contents = process.home.path / "storage" / "contents"
    assert len(list(contents.glob("*/*"))) == len(list(bucket.list_blobs()))


def test_notifications_are_not_lost_by_a_kill(process: Process, bucket: storage.Bucket) -> None:
    topic = f"projects/{PROJECT}/topics/landed"
    port = process.home.endpoints().ports["pubsub"]
    with Recorder(topic, port=port) as recorder:
        bucket.notification("landed").create()
        recorder.failing.add(topic)
        for number in range(20):
            bucket.blob(str(number)).upload_from_string(b"")
        process.end(signal.SIGKILL)
        recorder.failing.clear()
        process.start()
        told = [one["objectId"] for _, one, _ in recorder.next(20)]
        assert told == [str(number) for number in range(20)]


def _content(name: str, number: int) -> bytes:
    size = 1 + number * 7919 % 300_000
    return f"{name}:{number}:".encode() + bytes([number % 251]) * size
