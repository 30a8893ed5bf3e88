"""Methods that make objects of objects: copy, rewrite, compose and move.

Contents never change, so a copy shares its source's file and costs no bytes.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Final

import msgspec

from localcloud.services.storage import preconditions
from localcloud.services.storage.bucket_settings import no_acl, storage_class
from localcloud.services.storage.buckets import Bucket
from localcloud.services.storage.content import Stored
from localcloud.services.storage.database import transaction
from localcloud.services.storage.errors import StorageError, invalid, object_not_found, unsupported
from localcloud.services.storage.object_methods import generation_of
from localcloud.services.storage.object_rules import check_name
from localcloud.services.storage.objects import FIELDS, StoredObject
from localcloud.services.storage.service import Call, CloudStorage, Handler

_MAX_SOURCES: Final = 32
_MIB: Final = 1 << 20
_CHUNK: Final = 1024 * _MIB
"""How much one rewrite call moves between locations or classes, unless the caller says less."""
_NOT_COPIED: Final = {"eventBasedHold", "kmsKeyName", "retention", "temporaryHold"}


class CopyMethods:
    """Carries out `storage.objects.copy`, `.rewrite`, `.compose` and `.move`."""

    def __init__(self, storage: CloudStorage) -> None:
        self._storage = storage

    def handlers(self) -> dict[str, Handler]:
        """Method id -> what carries it out."""
        return {
            "storage.objects.compose": self.compose,
            "storage.objects.copy": self.copy,
            "storage.objects.move": self.move,
            "storage.objects.rewrite": self.rewrite,
        }

    async def copy(self, call: Call) -> dict[str, Any]:
        with transaction(self._storage.connection):
            source, bucket = self._ends(call)
            created, released = self._copy(call, source, bucket)
        self._storage.contents.release(self._storage.connection, released)
        return created.resource(self._storage.base_url, bucket)

    async def rewrite(self, call: Call) -> dict[str, Any]:
        released: list[str] = []
        with transaction(self._storage.connection):
            source, bucket = self._ends(call)
            rewritten = self._progress(call, source, bucket)
            done = rewritten == source.size
            result: dict[str, Any] = {
                "kind": "storage#rewriteResponse",
                "totalBytesRewritten": str(rewritten),
                "objectSize": str(source.size),
                "done": done,
            }
            if done:
                created, released = self._copy(call, source, bucket)
                result["resource"] = created.resource(self._storage.base_url, bucket)
            else:
                result["rewriteToken"] = self._remember(call, source, rewritten)
        self._storage.contents.release(self._storage.connection, released)
        return result

    async def compose(self, call: Call) -> dict[str, Any]:
        storage = self._storage
        bucket = storage.buckets.get(call.path["destinationBucket"])
        name = call.path["destinationObject"]
        check_name(name)
        parameter = "destinationPredefinedAcl"
        no_acl(parameter, call.query.get(parameter), bucket.settings)
        preconditions.check(call.query, storage.objects.find(bucket.name, name))
        sources = self._sources(bucket, call.body.get("sourceObjects", []))
        fields = _given(call.body.get("destination") or {})
        fields.setdefault("contentType", sources[0].fields.get("contentType", "") or None)
        if call.query.get("kmsKeyName"):
            fields["kmsKeyName"] = call.query["kmsKeyName"]
        with ExitStack() as stack:
            # Opened at once, so that deleting a source meanwhile does no harm.
            files = [stack.enter_context(storage.contents.open(one.content)) for one in sources]
            stored = await asyncio.to_thread(storage.contents.compose, files)
        try:
            with transaction(storage.connection):
                bucket = storage.buckets.get(bucket.name)
                created, released = storage.objects.create(
                    bucket,
                    name,
                    stored,
                    fields,
                    call.query,
                    components=sum(one.components or 1 for one in sources),
                )
                if call.body.get("deleteSourceObjects"):
                    for source in {one.name: one for one in sources}.values():
                        if source.name != name and storage.objects.find(
                            bucket.name, source.name, source.generation
                        ):
                            released += storage.objects.delete(bucket, source, permanently=False)
        except BaseException:
            storage.contents.path(stored.id).unlink(missing_ok=True)
            raise
        storage.contents.release(storage.connection, released)
        return created.resource(storage.base_url, bucket)

    async def move(self, call: Call) -> dict[str, Any]:
        storage = self._storage
        name, new = call.path["sourceObject"], call.path["destinationObject"]
        check_name(new)
        if name == new:
            raise invalid("The source and the destination of a move have to differ.")
        with transaction(storage.connection):
            bucket = storage.buckets.get(call.path["bucket"])
            generation = generation_of(call.query, "sourceGeneration")
            source = storage.objects.get(bucket.name, name, generation)
            preconditions.check(call.query, source, prefix="ifSource")
            created, released = storage.objects.create(
                bucket,
                new,
                _content(source),
                source.fields | {"storageClass": source.storage_class},
                call.query,
                components=source.components,
            )
            released += storage.objects.delete(bucket, source, permanently=False)
        storage.contents.release(storage.connection, released)
        return created.resource(storage.base_url, bucket)

    def _ends(self, call: Call) -> tuple[StoredObject, Bucket]:
        source = self._storage.objects.get(
            self._storage.buckets.get(call.path["sourceBucket"]).name,
            call.path["sourceObject"],
            generation_of(call.query, "sourceGeneration"),
        )
        preconditions.check(call.query, source, prefix="ifSource")
        bucket = self._storage.buckets.get(call.path["destinationBucket"])
        check_name(call.path["destinationObject"])
        parameter = "destinationPredefinedAcl"
        no_acl(parameter, call.query.get(parameter), bucket.settings)
        if call.body.get("acl"):
            raise unsupported("Access control lists (acl) are")
        return source, bucket

    def _copy(
        self, call: Call, source: StoredObject, bucket: Bucket
    ) -> tuple[StoredObject, list[str]]:
        fields = _given(call.body)
        if not FIELDS & fields.keys():
            # Metadata that the caller leaves out altogether comes from the source.
            kept = {key: item for key, item in source.fields.items() if key not in _NOT_COPIED}
            fields = kept | fields
        if call.query.get("destinationKmsKeyName"):
            fields["kmsKeyName"] = call.query["destinationKmsKeyName"]
        return self._storage.objects.create(
            bucket,
            call.path["destinationObject"],
            _content(source),
            fields,
            call.query,
            components=source.components,
        )

    def _progress(self, call: Call, source: StoredObject, bucket: Bucket) -> int:
        """How many bytes are rewritten after this call.

        Within one location and class all are at once. Elsewhere Cloud Storage takes several
        calls for a big object, and clients have to follow its tokens.
        """
        limit = call.query.get("maxBytesRewrittenPerCall")
        limit = int(limit) if limit is not None else _CHUNK
        if limit <= 0 or limit % _MIB:
            raise invalid(
                f"maxBytesRewrittenPerCall is {limit}; it has to be a multiple of {_MIB}.",
                "maxBytesRewrittenPerCall",
            )
        so_far = 0
        token = call.query.get("rewriteToken")
        if token:
            so_far = self._recall(call, source, token)
        origin = self._storage.buckets.get(source.bucket)
        target_class = call.body.get("storageClass") or bucket.settings["storageClass"]
        near = (
            origin.settings["location"] == bucket.settings["location"]
            and source.storage_class == target_class
        )
        return source.size if near else min(source.size, so_far + limit)

    def _recall(self, call: Call, source: StoredObject, token: str) -> int:
        row = self._storage.connection.execute(
            "DELETE FROM rewrites WHERE token = ? RETURNING request, generation, rewritten",
            (token,),
        ).fetchone()
        if row is None or row["request"] != _fingerprint(call):
            raise invalid(
                "Invalid rewriteToken: it is unknown, or belongs to a request with other "
                "parameters.",
                "rewriteToken",
            )
        if row["generation"] != source.generation:
            raise object_not_found(source.bucket, f"{source.name}#{row['generation']}")
        return row["rewritten"]

    def _remember(self, call: Call, source: StoredObject, rewritten: int) -> str:
        token = uuid.uuid4().hex
        self._storage.connection.execute(
            "INSERT INTO rewrites VALUES (?, ?, ?, ?, ?)",
            (token, _fingerprint(call), source.generation, rewritten, self._storage.clock()),
        )
        return token

    def _sources(self, bucket: Bucket, wanted: list[dict[str, Any]]) -> list[StoredObject]:
        if not 1 <= len(wanted) <= _MAX_SOURCES:
            raise invalid(
                f"The number of source components provided ({len(wanted)}) has to be 1 to "
                f"{_MAX_SOURCES}.",
                "sourceObjects",
            )
        sources: list[StoredObject] = []
        for one in wanted:
            if not one.get("name"):
                raise invalid("Each of sourceObjects needs a name.", "sourceObjects")
            generation = generation_of(one)
            source = self._storage.objects.find(bucket.name, one["name"], generation)
            if source is None:
                raise StorageError(
                    404, "notFound", f"Object {one['name']} ({bucket.name}) not found."
                )
            preconditions.check(one.get("objectPreconditions", {}), source)
            sources.append(source)
        return sources


def _content(source: StoredObject) -> Stored:
    return Stored(source.content, source.size, source.crc32c, source.md5)


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a body says about the new object."""
    fields = {key: body[key] for key in FIELDS if body.get(key) is not None}
    if body.get("storageClass"):
        fields["storageClass"] = storage_class(body["storageClass"])
    return fields


def _fingerprint(call: Call) -> str:
    query = {key: value for key, value in call.query.items() if key != "rewriteToken"}
    return msgspec.json.encode([dict(call.path), query, call.body], order="sorted").decode()
