"""Downloads: whole objects and ranges, streamed from their files.

https://cloud.google.com/storage/docs/json_api/v1/objects/get with `alt=media`, and the bare
`/BUCKET/OBJECT` of public links.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, BinaryIO, Final

from starlette.responses import Response, StreamingResponse

from localcloud.services.storage import preconditions
from localcloud.services.storage.clock import http_date
from localcloud.services.storage.content import BLOCK
from localcloud.services.storage.errors import unsupported
from localcloud.services.storage.object_methods import generation_of
from localcloud.services.storage.objects import StoredObject
from localcloud.services.storage.service import CloudStorage

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")
_FIELDS: Final = {
    "cacheControl": "cache-control",
    "contentDisposition": "content-disposition",
    "contentLanguage": "content-language",
}


class Media:
    """Gives out the contents of objects."""

    def __init__(self, storage: CloudStorage) -> None:
        self._storage = storage

    async def download(
        self,
        bucket: str,
        name: str,
        query: Mapping[str, Any],
        headers: Mapping[str, str],
        *,
        head: bool = False,
    ) -> Response:
        """The content of an object, or the range that the request asks for.

        Args:
            bucket: the bucket's name.
            name: the object's name.
            query: the request's parameters.
            headers: the request's, by lower-case name.
            head: leave out the body.

        Raises:
            StorageError: 404, 412, or 304.
        """
        place = self._storage.buckets.get(bucket)
        found = self._storage.objects.get(place.name, name, generation_of(query))
        preconditions.check(query, found, reading=True)
        preconditions.check_etag(headers, found.etag, reading=True)
        if query.get("softDeleted"):
            raise unsupported("Reading the content of soft-deleted objects (restore first) is")
        answer = _headers(found)
        if _to_gunzip(found, headers):
            # Decompressive transcoding: a range would be one of the compressed bytes.
            answer |= {"warning": '214 UploadServer "gunzipped"', "vary": "Accept-Encoding"}
            del answer["accept-ranges"]
            if head:
                return Response(headers=answer)
            file = self._storage.contents.open(found.content)
            return StreamingResponse(_gunzip(file), headers=answer)
        if found.fields.get("contentEncoding"):
            answer["content-encoding"] = found.fields["contentEncoding"]
        span = _span(headers.get("range"), found.size)
        status = 200
        if span is None:
            first, last = 0, found.size - 1
        elif span[0] > span[1]:
            answer = {"content-range": f"bytes */{found.size}", "content-type": "text/plain"}
            return Response("Requested range not satisfiable", 416, answer)
        else:
            first, last = span
            status = 206
            answer["content-range"] = f"bytes {first}-{last}/{found.size}"
        length = last - first + 1
        answer["content-length"] = str(length)
        if head:
            return Response(status_code=status, headers=answer)
        file = self._storage.contents.open(found.content)
        if length <= BLOCK:
            with file:
                file.seek(first)
                return Response(file.read(length), status, answer)
        return StreamingResponse(_stream(file, first, length), status, answer)


def _headers(found: StoredObject) -> dict[str, str]:
    hashes = f"crc32c={found.crc32c}" + (f",md5={found.md5}" if found.md5 else "")
    headers = {
        "content-type": found.fields.get("contentType", "application/octet-stream"),
        "etag": found.etag,
        "last-modified": http_date(found.updated),
        "accept-ranges": "bytes",
        "x-goog-generation": str(found.generation),
        "x-goog-metageneration": str(found.metageneration),
        "x-goog-hash": hashes,
        "x-goog-storage-class": found.storage_class,
        "x-goog-stored-content-encoding": found.fields.get("contentEncoding", "identity"),
        "x-goog-stored-content-length": str(found.size),
    }
    for field, name in _FIELDS.items():
        if field in found.fields:
            headers[name] = found.fields[field]
    return headers


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """The first and last byte; None for all; first beyond last when there are no such bytes."""
    found = _RANGE.fullmatch(header.strip()) if header else None
    if not found or not (found[1] or found[2]):
        # Several ranges, and what is no range of bytes, are answered with the whole.
        return None
    if not found[1]:
        count = int(found[2])
        return (max(0, size - count), size - 1) if count else (1, 0)
    first = int(found[1])
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    if found[2] and int(found[2]) < first:
        return None
    return (first, last) if first < size else (1, 0)


def _to_gunzip(found: StoredObject, headers: Mapping[str, str]) -> bool:
    return (
        found.fields.get("contentEncoding") == "gzip"
        and "gzip" not in headers.get("accept-encoding", "")
        and "no-transform" not in found.fields.get("cacheControl", "")
    )


async def _stream(file: BinaryIO, first: int, length: int) -> AsyncIterator[bytes]:
    with file:
        file.seek(first)
        while length:
            block = await asyncio.to_thread(file.read, min(BLOCK, length))
            if not block:
                return
            length -= len(block)
            yield block


async def _gunzip(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        inflater = zlib.decompressobj(wbits=31)
        while block := await asyncio.to_thread(file.read, BLOCK):
            while block:
                # Bounded: a megabyte may inflate to a gigabyte.
                yield await asyncio.to_thread(inflater.decompress, block, BLOCK)
                block = inflater.unconsumed_tail
        yield inflater.flush()
