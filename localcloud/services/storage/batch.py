"""Batch requests: many calls in one `multipart/mixed` body.

https://cloud.google.com/storage/docs/batch
"""

from __future__ import annotations

import asyncio
import email
import http
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from localcloud.services.storage.errors import invalid
from localcloud.services.storage.multipart import boundary_of, headers_of

MAX_CALLS: Final = 1000
"""What Google's Python client sends at most; the documentation asks for 100."""


@dataclass(frozen=True)
class Part:
    """One call of a batch."""

    id: str
    method: str
    target: str
    """Path and query; some clients write a whole URL."""
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Outcome:
    """What one call was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def parse(content_type: str, body: bytes) -> list[Part]:
    """The calls of a batch.

    Raises:
        StorageError: 400 for a malformed or too big one.
    """
    boundary_of(content_type)
    head = f"Content-Type: {content_type}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    message = email.message_from_bytes(head + body)
    parts = message.get_payload()
    if not isinstance(parts, list):
        raise invalid("Failed to parse batch request: its body holds no parts.")
    if len(parts) > MAX_CALLS:
        raise invalid(f"A batch may hold {MAX_CALLS} calls, not {len(parts)}.")
    return [
        _part(part.get("Content-ID", ""), part.get_payload(decode=True) or b"")  # pyright: ignore
        for part in parts
    ]


def _part(content_id: str, raw: bytes) -> Part:
    line, _, rest = raw.lstrip(b"\r\n").partition(b"\n")
    words = line.decode("latin-1").split()
    if len(words) not in (2, 3):
        raise invalid(f"Failed to parse batch request: {line[:100]!r} is no request line.")
    newline = b"\r\n" if line.endswith(b"\r") else b"\n"
    if rest.startswith(newline):
        head, body = b"", rest[len(newline) :]
    else:
        head, _, body = rest.partition(newline * 2)
    return Part(content_id, words[0].upper(), words[1], headers_of(head), body.strip())


async def answer(
    parts: list[Part], carry_out: Callable[[Part], Awaitable[Outcome]]
) -> tuple[str, bytes]:
    """Carry out the calls in order.

    Returns:
        The content type and the body of the response.
    """
    boundary = f"batch_{uuid.uuid4().hex}"
    lines: list[bytes] = []
    for part in parts:
        outcome = await carry_out(part)
        # A thousand calls in a row would keep everyone else waiting.
        await asyncio.sleep(0)
        try:
            reason = http.HTTPStatus(outcome.status).phrase
        except ValueError:
            reason = "Unknown"
        head = [f"--{boundary}", "Content-Type: application/http"]
        if part.id:
            # Clients find their call by this: `<ID>` is answered by `<response-ID>`.
            head.append(f"Content-ID: <response-{part.id.strip().strip('<>')}>")
        head += ["", f"HTTP/1.1 {outcome.status} {reason}"]
        head += [f"{name}: {value}" for name, value in outcome.headers.items()]
        head += [f"Content-Length: {len(outcome.body)}", "", ""]
        lines.append("\r\n".join(head).encode() + outcome.body + b"\r\n")
    lines.append(f"--{boundary}--\r\n".encode())
    return f"multipart/mixed; boundary={boundary}", b"".join(lines)
