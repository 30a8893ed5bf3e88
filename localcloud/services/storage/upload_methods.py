"""`storage.objects.insert`: simple, multipart and resumable uploads.

https://cloud.google.com/storage/docs/uploads-downloads
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from localcloud.rest.discovery import decode_json
from localcloud.services.storage import preconditions
from localcloud.services.storage.bucket_settings import no_acl, storage_class
from localcloud.services.storage.content import Draft
from localcloud.services.storage.database import transaction
from localcloud.services.storage.errors import StorageError, invalid, required, unsupported
from localcloud.services.storage.multipart import Related, boundary_of
from localcloud.services.storage.object_rules import check_fields, check_name
from localcloud.services.storage.service import CloudStorage
from localcloud.services.storage.uploads import (
    QUANTUM,
    Upload,
    expected_checksums,
    receive,
    verify,
)
from localcloud.services.storage.wire import Validator

_CONTENT_RANGE: Final = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_DEFAULT_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True)
class Answer:
    """What an upload request is answered: a status, a JSON body or none, headers."""

    status: int = 200
    body: dict[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Range:
    """A `Content-Range`. `first` is None when the request only asks, or ends the upload."""

    first: int | None
    last: int
    total: int | None
    whole: bool = False
    """There was no `Content-Range`: the request carries all."""


class UploadMethods:
    """Takes in the contents of objects."""

    def __init__(self, storage: CloudStorage, validator: Validator) -> None:
        self._storage = storage
        self._validator = validator

    async def insert(
        self,
        bucket: str,
        query: Mapping[str, Any],
        headers: Mapping[str, str],
        chunks: AsyncIterator[bytes],
    ) -> Answer:
        """A new upload, whole or the beginning of a resumable one.

        Args:
            bucket: the bucket's name.
            query: the request's parameters, checked.
            headers: the request's, by lower-case name.
            chunks: the request's body as it arrives.
        """
        settings = self._storage.buckets.get(bucket).settings
        no_acl("predefinedAcl", query.get("predefinedAcl"), settings)
        kind = query.get("uploadType") or "media"
        if kind == "resumable":
            return await self._begin(bucket, query, headers, chunks)
        if kind == "multipart":
            related = Related(chunks, boundary_of(headers.get("content-type", "")))
            fields = self._fields(await related.metadata(), query)
            part, chunks = await related.content()
            media_type = part.get("content-type")
        elif kind == "media":
            fields = self._fields(b"", query)
            media_type = headers.get("content-type")
            if headers.get("content-encoding"):
                fields.setdefault("contentEncoding", headers["content-encoding"])
        else:
            raise invalid(
                f"Invalid uploadType {kind!r}. Allowed: media, multipart, resumable.", "uploadType"
            )
        fields.setdefault("contentType", media_type or _DEFAULT_TYPE)
        name = self._name(fields)
        draft = self._storage.contents.draft()
        try:
            await receive(draft, chunks)
            stored = draft.stored()
            verify(stored, expected_checksums(fields, headers))
            with transaction(self._storage.connection):
                place = self._storage.buckets.get(bucket)
                created, released = self._storage.objects.create(place, name, stored, fields, query)
        except BaseException:
            self._storage.contents.discard(draft)
            raise
        self._storage.contents.release(self._storage.connection, released)
        return Answer(body=created.resource(self._storage.base_url, place))

    async def _begin(
        self,
        bucket: str,
        query: Mapping[str, Any],
        headers: Mapping[str, str],
        chunks: AsyncIterator[bytes],
    ) -> Answer:
        fields = self._fields(b"".join([chunk async for chunk in chunks]), query)
        fields.setdefault("contentType", headers.get("x-upload-content-type") or _DEFAULT_TYPE)
        name = self._name(fields)
        conditions = {key: query[key] for key in preconditions.NAMES if key in query}
        place = self._storage.buckets.get(bucket)
        # Tell now what would fail only after all bytes have come.
        preconditions.check(conditions, self._storage.objects.find(bucket, name))
        check_fields(dict(fields), place)
        length = headers.get("x-upload-content-length")
        total = int(length) if length and length.isdigit() else None
        key = self._storage.uploads.begin(bucket, name, conditions, fields, total)
        location = (
            f"{self._storage.base_url}/upload/storage/v1/b/{bucket}/o"
            f"?uploadType=resumable&upload_id={key}"
        )
        return Answer(headers={"location": location, "x-guploader-uploadid": key})

    async def resume(
        self, key: str, headers: Mapping[str, str], chunks: AsyncIterator[bytes]
    ) -> Answer:
        """More bytes of a resumable upload, the question how many there are, or its end."""
        uploads = self._storage.uploads
        uploads.get(key)
        async with uploads.lock(key):
            upload = uploads.get(key)
            if upload.finished is not None:
                async for _ in chunks:
                    pass
                return Answer(body=upload.finished)
            span = _span(headers)
            total = self._total(upload, span)
            if span.first is None:
                return await self._ask_or_end(upload, total, headers)
            kept = self._storage.contents.size(key) if span.whole else uploads.persisted(key)
            first = 0 if span.whole else span.first
            if first > kept:
                raise invalid(
                    "Invalid request. According to the Content-Range header, the upload offset "
                    f"is {first} byte(s), which exceeds already uploaded size of {kept} byte(s)."
                )
            draft = await uploads.draft(key, 0 if span.whole else kept)
            # Bytes that came before are skipped, those beyond a quantum come again.
            limit = None if span.whole else span.last + 1
            if limit is not None and total is None:
                limit = limit // QUANTUM * QUANTUM
            try:
                await receive(draft, _skip(chunks, draft.size - first), limit)
            except BaseException:
                uploads.keep(draft)
                raise
            if limit is not None and draft.size < limit:
                uploads.keep(draft)
                raise invalid(
                    f"Content-Range promises bytes up to {span.last}, the body ended after "
                    f"{draft.size - 1}."
                )
            if span.whole or draft.size == total:
                return self._finish(upload, draft, headers)
            uploads.keep(draft)
            return _incomplete(draft.size // QUANTUM * QUANTUM)

    def cancel(self, key: str) -> Answer:
        """Give up a resumable upload. Cloud Storage answers 499, which says that it is gone."""
        self._storage.uploads.get(key)
        self._storage.uploads.cancel(key)
        return Answer(status=499)

    async def _ask_or_end(
        self, upload: Upload, total: int | None, headers: Mapping[str, str]
    ) -> Answer:
        size = self._storage.contents.size(upload.id)
        if total is not None and "*/*" not in headers.get("content-range", "") and size == total:
            return self._finish(upload, await self._storage.uploads.draft(upload.id, size), headers)
        return _incomplete(self._storage.uploads.persisted(upload.id))

    def _finish(self, upload: Upload, draft: Draft, headers: Mapping[str, str]) -> Answer:
        storage = self._storage
        try:
            stored = draft.stored()
            verify(stored, expected_checksums(upload.fields, headers))
            with transaction(storage.connection):
                # A lifecycle rule or the deletion of the bucket may have taken its bytes away.
                storage.uploads.get(upload.id)
                bucket = storage.buckets.get(upload.bucket)
                created, released = storage.objects.create(
                    bucket, upload.name, stored, upload.fields, upload.conditions
                )
                resource = created.resource(storage.base_url, bucket)
                storage.uploads.finish(upload.id, resource)
        except StorageError:
            # As with Cloud Storage, an upload that was refused at its end is over.
            storage.uploads.cancel(upload.id)
            raise
        storage.uploads.forget(upload.id)
        storage.contents.release(storage.connection, released)
        return Answer(body=resource)

    def _total(self, upload: Upload, span: _Range) -> int | None:
        if span.total is not None and upload.total not in (None, span.total):
            raise invalid(
                f"Content-Range says {span.total} bytes in all, X-Upload-Content-Length said "
                f"{upload.total}."
            )
        return span.total if span.total is not None else upload.total

    def _fields(self, raw: bytes, query: Mapping[str, Any]) -> dict[str, Any]:
        body = decode_json(raw) if raw.strip() else {}
        fields = self._validator.body("Object", body)
        if fields.get("acl"):
            raise unsupported("Access control lists (acl) are")
        for key in ("name", "contentEncoding", "kmsKeyName"):
            if query.get(key):
                fields[key] = query[key]
        if fields.get("storageClass"):
            storage_class(fields["storageClass"])
        return {key: value for key, value in fields.items() if value is not None}

    def _name(self, fields: Mapping[str, Any]) -> str:
        name = fields.get("name")
        if not name:
            raise required("name")
        check_name(name)
        return name


def _span(headers: Mapping[str, str]) -> _Range:
    header = headers.get("content-range")
    if header is None:
        return _Range(first=0, last=0, total=None, whole=True)
    found = _CONTENT_RANGE.fullmatch(header.strip())
    if not found:
        raise invalid(
            f"Failed to parse Content-Range header {header!r}: write bytes FIRST-LAST/TOTAL, with "
            "* for what is not known."
        )
    first, last, total = found.groups()
    whole = None if total == "*" else int(total)
    if first is None:
        return _Range(first=None, last=0, total=whole)
    if int(last) < int(first) or (whole is not None and int(last) >= whole):
        raise invalid(f"Content-Range {header!r} ends before it begins, or beyond its total.")
    return _Range(first=int(first), last=int(last), total=whole)


async def _skip(chunks: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        if count >= len(chunk):
            count -= len(chunk)
        else:
            yield chunk[count:]
            count = 0


def _incomplete(size: int) -> Answer:
    headers = {"range": f"bytes=0-{size - 1}"} if size else {}
    return Answer(status=308, headers=headers)
