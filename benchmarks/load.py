"""A light load generator: `python -m benchmarks.load PORT CONNECTIONS SECONDS < bodies`.

Blocking sockets behind one epoll, requests prepared beforehand: a process of its own costs the
server nothing, and a request costs it a fraction of what it costs any server. Each connection sends
its next request when it has the answer to the last. Standard input holds the path in its first line
and a body in each other; standard output gets one JSON object.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_READ: Final = 1 << 16


class Connection:
    """One connection that is kept alive."""

    def __init__(self, port: int, requests: Sequence[bytes], first: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = requests
        self._next = first
        self._received = b""
        self._sent = 0.0

    def send(self) -> None:
        """Send the next request."""
        self._received = b""
        self._sent = time.perf_counter()
        self.socket.sendall(self._requests[self._next % len(self._requests)])
        self._next += 1

    def receive(self) -> tuple[int, float] | None:
        """Status and seconds of an answer that is whole now; none while it is not."""
        found = self.socket.recv(_READ)
        if not found:
            raise ConnectionError("the server closed the connection")
        self._received += found
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        length = _LENGTH.search(head)
        if length is not None:
            if len(body) < int(length[1]):
                return None
        elif not body.endswith(b"0\r\n\r\n"):
            return None
        return int(head[9:12]), time.perf_counter() - self._sent


def run(port: int, connections: int, seconds: float, requests: Sequence[bytes]) -> dict[str, Any]:
    """Keep so many requests under way for so long.

    Returns:
        Requests answered, how many of them not with 200, and percentiles of seconds.
    """
    selector = selectors.DefaultSelector()
    for number in range(connections):
        one = Connection(port, requests, number * 7)
        selector.register(one.socket, selectors.EVENT_READ, one)
        one.send()
    took: list[float] = []
    failed = 0
    began = time.perf_counter()
    ends = began + seconds
    while time.perf_counter() < ends:
        for key, _ in selector.select(timeout=1):
            answer = key.data.receive()
            if answer is None:
                continue
            failed += answer[0] != 200
            took.append(answer[1])
            key.data.send()
    took.sort()
    return {
        "requests": len(took),
        "failed": failed,
        "seconds": time.perf_counter() - began,
        "p50": _percentile(took, 0.5),
        "p99": _percentile(took, 0.99),
    }


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def main() -> int:
    """Run as the command line says."""
    path, *bodies = sys.stdin.buffer.read().splitlines()
    requests = [
        b"POST %s HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%s" % (path, len(body), body)
        for body in bodies
    ]
    found = run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), requests)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
