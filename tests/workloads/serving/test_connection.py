"""What comes over a socket before there is a body, beside one, or not at all."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.workloads.serving.asking import GOOD, Halves
from workloads import product as products
from workloads.serving.app import build
from workloads.serving.connection import MOST_HEAD_BYTES, MOST_PIPELINED, Lines
from workloads.serving.server import Server
from workloads.serving.settings import ServingSettings

SECONDS = 0.5
BODY = json.dumps({"instances": [GOOD]}).encode()
POST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
WHOLE = POST % len(BODY) + BODY
CHUNKED = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"


class Running(Server):
    """A server on a thread of this process."""

    def __init__(self, **limits: Any) -> None:
        given = {
            "product": "flight-delay",
            "aip_storage_uri": "gs://b/m",
            "host": "127.0.0.1",
            "aip_http_port": 0,
            "max_body_bytes": 100_000,
            "body_seconds": SECONDS,
            "most_connections": 8,
            "grace_seconds": 1,
        }
        settings = ServingSettings.model_validate(given | limits)
        halves = Halves(products.load("flight-delay"))
        self.app = build(settings, lambda: halves)
        super().__init__(self.app, settings)
        self.thread = threading.Thread(target=self.run)

    @property
    def lines(self) -> Lines:
        assert isinstance(self.server_state, Lines)
        return self.server_state

    def __enter__(self) -> Running:
        self.thread.start()
        deadline = time.monotonic() + 20
        while not self.started and time.monotonic() < deadline:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.should_exit = True
        self.thread.join(20)

    def call(self) -> socket.socket:
        return socket.create_connection(self.servers[0].sockets[0].getsockname(), timeout=10)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with Running() as one:
        yield one


@pytest.fixture
def line(server: Running) -> Iterator[socket.socket]:
    with server.call() as one:
        yield one
    # Whatever became of it, nothing of it is left, and others are answered.
    deadline = time.monotonic() + 10
    while (server.lines.held or server.app.under_way) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (server.lines.held, server.app.under_way, server.app._bodies.arriving) == (0, 0, 0)
    with server.call() as other:
        other.sendall(WHOLE)
        assert answer(other)[0] == 200


def answer(line: socket.socket) -> tuple[int, Any, bytes]:
    """Status, document and what came after; 0 where the connection ended without an answer."""
    found = b""
    while True:
        head, end, rest = found.partition(b"\r\n\r\n")
        length = int(match[1]) if (match := re.search(rb"content-length: (\d+)", head)) else 0
        if end and len(rest) >= length:
            return int(head.split()[1]), json.loads(rest[:length]), rest[length:]
        try:
            piece = line.recv(65_536)
        except ConnectionError:
            piece = b""
        if not piece:
            return 0, found, b""
        found += piece


def ended(line: socket.socket) -> bool:
    """Whether the other side has closed it, within the time that it has."""
    line.settimeout(5)
    try:
        return line.recv(1) == b""
    except ConnectionError:
        return True


def pour(line: socket.socket, piece: bytes, times: int) -> None:
    """Send as long as anybody takes it."""
    for _ in range(times):
        try:
            line.sendall(piece)
        except ConnectionError:
            return


def test_of_a_header_without_end_no_more_is_kept_than_may_be(
    server: Running, line: socket.socket
) -> None:
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    line.sendall(b"GET /live HTTP/1.1\r\nX-Long: ")
    pour(line, b"x" * 65_536, 900)
    status, document, _ = answer(line)
    # Who goes on sending for long after the answer is reset, and may not see it.
    assert status in (431, 0)
    if status:
        assert f"more than {MOST_HEAD_BYTES} bytes" in document["error"]["message"]
    assert process.memory_info().rss - before < 20_000_000
    assert server.app.metrics.requests["http", 431] >= 1


@pytest.mark.parametrize(
    "head",
    [
        b"GET /live HTTP/1.1\r\nX-Long: " + b"x" * 70_000,
        b"GET /live HTTP/1.1\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET /live HTTP/1.1\r\n" + b"X-Short: 1\r\n" * 8_000 + b"\r\n",
        b"GET /" + b"x" * 65_500 + b" HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 100 + b"\r\n\r\n",
        WHOLE + b"GET /live HTTP/1.1\r\nX-Long: " + b"x" * 400_000,
    ],
    ids=["no end", "one header", "many headers", "a path", "the second request"],
)
def test_a_head_that_is_too_large(line: socket.socket, head: bytes) -> None:
    line.sendall(head)
    status, document, rest = answer(line)
    if head.startswith(WHOLE):
        # Its answer would have to wait for that of the first, and ends with it.
        assert (status, rest) == (200, b"")
    else:
        assert (status, document["error"]["code"]) == (431, 431)
    assert ended(line)


@pytest.mark.parametrize("sent", [b"G", b"POST /predict HTTP/1.1\r\nHost: x\r\n", WHOLE + b"POST"])
def test_half_a_head_is_given_up(line: socket.socket, sent: bytes) -> None:
    began = time.monotonic()
    line.sendall(sent)
    status, document, _ = answer(line)
    if sent.startswith(WHOLE):
        assert status == 200
        status, document, _ = answer(line)
    assert (status, document["error"]["status"]) == (408, "DEADLINE_EXCEEDED")
    assert ended(line)
    assert SECONDS <= time.monotonic() - began < 4 * SECONDS


def test_drop_by_drop_is_no_faster(line: socket.socket) -> None:
    began = time.monotonic()
    line.sendall(b"GET /live HTTP/1.1\r\n")
    line.settimeout(0.05)
    while time.monotonic() - began < 10:
        pour(line, b"X-A: 1\r\n", 1)
        try:
            if line.recv(1_000):
                break
        except TimeoutError:
            continue
    assert time.monotonic() - began < 4 * SECONDS


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (POST % len(BODY) + BODY[:20], 408),
        (CHUNKED + b"5\r\n" + BODY[:3], 408),
        (POST % 200_000, 413),
        (CHUNKED + b"30d40\r\n" + b"x" * 200_000 + b"\r\n0\r\n\r\n", 413),
        (b"POST /predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
    ids=["slow", "slow chunk", "declared too large", "too large", "no length", "TLS"],
)
def test_a_body_that_is_slow_or_too_large(line: socket.socket, sent: bytes, status: int) -> None:
    line.sendall(sent)
    found = line.recv(65_536)
    assert int(found.split()[1]) == status
    assert ended(line)


@pytest.mark.parametrize("sent", [b"", b"PO", POST % 100, POST % len(BODY) + BODY[:20]])
def test_who_goes_away_in_the_middle_leaves_nothing(line: socket.socket, sent: bytes) -> None:
    line.sendall(sent)
    line.shutdown(socket.SHUT_WR)
    assert ended(line)


def test_what_follows_a_body_is_bounded_too(line: socket.socket) -> None:
    line.sendall(CHUNKED + b"%x\r\n%s\r\n0\r\nX-Long: " % (len(BODY), BODY))
    pour(line, b"x" * 65_536, 20)
    assert answer(line)[0] in (431, 0)


def test_the_rest_of_a_body_is_thrown_away_for_as_long_and_no_longer(line: socket.socket) -> None:
    line.sendall(POST % 10_000_000 + b"x" * 200_000)
    assert answer(line)[0] == 413
    pour(line, b"x" * 65_536, 200)
    assert ended(line)


def test_an_empty_line_after_an_answer_keeps_no_connection(line: socket.socket) -> None:
    line.sendall(WHOLE + b"\r\n")
    assert answer(line)[0] == 200
    time.sleep(0.1)
    line.sendall(b"\r\n")
    assert ended(line)


def test_a_body_in_very_many_pieces_is_one(line: socket.socket) -> None:
    chunks = b"".join(b"1;note=%s\r\n%c\r\n" % (b"n" * 500, one) for one in BODY)
    line.sendall(CHUNKED + chunks + b"0\r\nX-After: 1\r\n\r\n" + LIVE)
    status, _, rest = answer(line)
    assert status == 200
    assert b" 200 " in rest or answer(line)[0] == 200


def test_pipelined_requests_are_answered_in_turn_and_only_so_many(line: socket.socket) -> None:
    line.sendall(LIVE * MOST_PIPELINED)
    found = b""
    while found.count(b'{"status":"alive"}') < MOST_PIPELINED:
        found += line.recv(65_536)
    line.sendall(LIVE * 5_000)
    deadline = time.monotonic() + 10
    while not ended(line) and time.monotonic() < deadline:
        pass
    assert ended(line)


def test_who_is_idle_longest_makes_room() -> None:
    with Running(most_connections=4, body_seconds=0.2) as server:
        idle = [server.call() for _ in range(2)]
        for one in idle:
            one.sendall(LIVE)
            assert answer(one)[0] == 200
        time.sleep(0.4)
        silent, busy = server.call(), server.call()
        busy.sendall(POST % len(BODY))
        with server.call() as fifth:
            fifth.sendall(WHOLE)
            assert answer(fifth)[0] == 200
            assert sum(_closed(one) for one in (*idle, silent)) == 1
            assert not _closed(silent)
            busy.sendall(BODY)
            assert answer(busy)[0] == 200
        for one in (*idle, silent, busy):
            one.close()


def test_where_nobody_is_idle_there_is_no_room() -> None:
    with Running(most_connections=2, body_seconds=2) as server:
        busy = [server.call() for _ in range(2)]
        for one in busy:
            one.sendall(POST % len(BODY))
        time.sleep(0.1)
        with server.call() as third:
            status, document, _ = answer(third)
        assert status == 429
        assert document["error"]["message"].startswith("2 connections are open")
        for one in busy:
            one.sendall(BODY)
            assert answer(one)[0] == 200
            one.close()


def test_heads_hold_no_more_than_they_may_together() -> None:
    with Running(most_body_bytes=100_000, body_seconds=5) as server:
        lines = [server.call() for _ in range(3)]
        for one in lines:
            one.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 40_000)
        time.sleep(0.2)
        assert server.lines.held <= 100_000
        assert server.app.metrics.requests["http", 429] == 1
        for one in lines:
            one.close()


def _closed(line: socket.socket) -> bool:
    line.settimeout(0.05)
    try:
        return line.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True
