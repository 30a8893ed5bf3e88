"""`multipart/related` uploads: JSON metadata, then the content, parsed as it streams in.

Clients end their lines with CRLF or, as gcsfs and Python's own `email` do, with LF alone, which
parsers of forms do not take.
"""

from __future__ import annotations

import email.message
from collections.abc import AsyncIterator
from typing import Final

from localcloud.services.storage.errors import StorageError, invalid, unsupported

_MAX_HEAD: Final = 4 << 20  # bytes of metadata and headers


def boundary_of(content_type: str) -> str:
    """The boundary that a `multipart/...` content type names.

    Raises:
        StorageError: 400 when it names none.
    """
    message = email.message.Message()
    message["content-type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_maintype() != "multipart" or not boundary:
        raise invalid(
            f"Content-Type is {content_type!r}; it has to be multipart/related with a boundary."
        )
    return boundary


def headers_of(raw: bytes) -> dict[str, str]:
    """The headers of a part, by lower-case name."""
    headers: dict[str, str] = {}
    for line in raw.decode("latin-1").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return headers


class Related:
    """An upload of two parts. Read `metadata()` first, then iterate over `content()`.

    Args:
        chunks: the body as it arrives.
        boundary: what separates the parts.
    """

    def __init__(self, chunks: AsyncIterator[bytes], boundary: str) -> None:
        self._chunks = chunks
        self._delimiter = b"--" + boundary.encode()
        self._newline = b"\r\n"
        self._buffer = bytearray()

    async def metadata(self) -> bytes:
        """The first part's body: the object's JSON.

        Raises:
            StorageError: 400 for a malformed body.
        """
        await self._until(self._delimiter)
        line = await self._until(b"\n")
        # The first line tells how this client ends its lines.
        self._newline = b"\r\n" if line.endswith(b"\r") else b"\n"
        await self._headers()
        body = await self._until(self._newline + self._delimiter)
        await self._until(b"\n")
        return body

    async def content(self) -> tuple[dict[str, str], AsyncIterator[bytes]]:
        """The second part's headers, and its bytes as they arrive.

        Raises:
            StorageError: 400 for a malformed body, 501 for an encoded one.
        """
        headers = await self._headers()
        encoding = headers.get("content-transfer-encoding", "binary").lower()
        if encoding not in ("binary", "8bit", "7bit"):
            raise unsupported(f"Content-Transfer-Encoding: {encoding} is")
        return headers, self._rest()

    async def _rest(self) -> AsyncIterator[bytes]:
        end = self._newline + self._delimiter
        while True:
            found = self._buffer.find(end)
            if found >= 0:
                if found:
                    yield bytes(self._buffer[:found])
                break
            # All but what may be the beginning of the end.
            safe = len(self._buffer) - len(end) + 1
            if safe > 0:
                yield bytes(self._buffer[:safe])
                del self._buffer[:safe]
            if not await self._more():
                raise _cut_short()
        async for _ in self._chunks:
            pass

    async def _headers(self) -> dict[str, str]:
        lines = bytearray()
        while True:
            line = await self._until(b"\n")
            if not line.rstrip(b"\r"):
                return headers_of(bytes(lines))
            lines += line + b"\n"

    async def _until(self, mark: bytes) -> bytes:
        start = 0
        while True:
            found = self._buffer.find(mark, start)
            if found >= 0:
                part = bytes(self._buffer[:found])
                del self._buffer[: found + len(mark)]
                return part
            start = max(0, len(self._buffer) - len(mark) + 1)
            if len(self._buffer) > _MAX_HEAD:
                raise invalid(f"The metadata of an upload may be {_MAX_HEAD} bytes long.")
            if not await self._more():
                raise _cut_short()

    async def _more(self) -> bool:
        async for chunk in self._chunks:
            if chunk:
                self._buffer += chunk
                return True
        return False


def _cut_short() -> StorageError:
    return invalid("Malformed multipart body: its boundary is missing or its end was cut off.")
