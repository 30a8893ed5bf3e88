"""The JSON API's methods on objects, content apart."""

from __future__ import annotations

from typing import Any

from localcloud.services.storage import preconditions
from localcloud.services.storage.bucket_settings import merge_patch, no_acl
from localcloud.services.storage.buckets import Bucket
from localcloud.services.storage.content import Stored
from localcloud.services.storage.database import transaction
from localcloud.services.storage.errors import invalid, required, unsupported
from localcloud.services.storage.glob import compile_glob
from localcloud.services.storage.listing import MAX_RESULTS, Listing, list_objects
from localcloud.services.storage.objects import StoredObject
from localcloud.services.storage.service import Call, CloudStorage, Handler


def generation_of(query: Any, name: str = "generation") -> int | None:
    """The generation that a request names, if it names one."""
    value = query.get(name)
    return None if value is None else int(value)


class ObjectMethods:
    """Carries out those methods `storage.objects.*` that move no content."""

    def __init__(self, storage: CloudStorage) -> None:
        self._storage = storage
        self._buckets = storage.buckets
        self._objects = storage.objects

    def handlers(self) -> dict[str, Handler]:
        """Method id -> what carries it out."""
        return {
            "storage.objects.delete": self.delete,
            "storage.objects.get": self.get,
            "storage.objects.list": self.list,
            "storage.objects.patch": self.patch,
            "storage.objects.restore": self.restore,
            "storage.objects.update": self.update,
        }

    def _find(self, call: Call) -> tuple[Bucket, StoredObject]:
        bucket = self._buckets.get(call.path["bucket"])
        generation = generation_of(call.query)
        return bucket, self._objects.get(bucket.name, call.path["object"], generation)

    async def get(self, call: Call) -> dict[str, Any]:
        if call.query.get("softDeleted"):
            generation = generation_of(call.query)
            if generation is None:
                raise required("generation")
            bucket = self._buckets.get(call.path["bucket"])
            found = self._objects.soft_deleted(bucket.name, call.path["object"], generation)
        else:
            bucket, found = self._find(call)
        preconditions.check(call.query, found, reading=True)
        preconditions.check_etag(call.headers, found.etag, reading=True)
        return found.resource(self._storage.base_url, bucket)

    async def list(self, call: Call) -> dict[str, Any]:
        bucket = self._buckets.get(call.path["bucket"])
        query = call.query
        if query.get("filter"):
            raise unsupported("Listing by filter is")
        which = "live"
        if query.get("softDeleted"):
            which = "soft"
        elif query.get("versions"):
            which = "versions"
        limit = query.get("maxResults", MAX_RESULTS)
        if limit < 0:
            raise invalid(f"Invalid maxResults {limit}: it may not be negative.", "maxResults")
        page = list_objects(
            self._storage.connection,
            Listing(
                bucket=bucket.name,
                which=which,
                prefix=query.get("prefix", ""),
                delimiter=query.get("delimiter", ""),
                trailing_delimiter=bool(query.get("includeTrailingDelimiter")),
                start=query.get("startOffset", ""),
                end=query.get("endOffset", ""),
                glob=compile_glob(query["matchGlob"]) if query.get("matchGlob") else None,
                limit=min(limit or MAX_RESULTS, MAX_RESULTS),
                token=query.get("pageToken", ""),
            ),
        )
        base_url = self._storage.base_url
        result: dict[str, Any] = {"kind": "storage#objects"}
        if page.token:
            result["nextPageToken"] = page.token
        if page.prefixes:
            result["prefixes"] = page.prefixes
        if page.items:
            result["items"] = [item.resource(base_url, bucket) for item in page.items]
        return result

    async def patch(self, call: Call) -> dict[str, Any]:
        return self._change(call, lambda found: merge_patch(found.fields, call.body))

    async def update(self, call: Call) -> dict[str, Any]:
        return self._change(call, lambda _: merge_patch({}, call.body))

    def _change(self, call: Call, wanted: Any) -> dict[str, Any]:
        with transaction(self._storage.connection):
            bucket, found = self._find(call)
            preconditions.check(call.query, found)
            preconditions.check_etag(call.headers, found.etag, reading=False)
            no_acl("predefinedAcl", call.query.get("predefinedAcl"), bucket.settings)
            if call.body.get("acl"):
                raise unsupported("Access control lists (acl) are")
            if call.body.get("name", found.name) != found.name:
                raise invalid("An object cannot be renamed; use objects.move.", "name")
            wanted_class = call.body.get("storageClass", found.storage_class)
            if wanted_class != found.storage_class:
                raise invalid(
                    "The storage class of an object is changed by rewriting it, not by a patch.",
                    "storageClass",
                )
            changed = self._objects.change(bucket, found, wanted(found))
            _check_override(call, found, changed)
        return changed.resource(self._storage.base_url, bucket)

    async def delete(self, call: Call) -> None:
        with transaction(self._storage.connection):
            bucket, found = self._find(call)
            preconditions.check(call.query, found)
            preconditions.check_etag(call.headers, found.etag, reading=False)
            released = self._objects.delete(
                bucket, found, permanently=call.query.get("generation") is not None
            )
        self._storage.contents.release(self._storage.connection, released)

    async def restore(self, call: Call) -> dict[str, Any]:
        generation = generation_of(call.query)
        if generation is None:
            raise required("generation")
        with transaction(self._storage.connection):
            bucket = self._buckets.get(call.path["bucket"])
            deleted = self._objects.soft_deleted(bucket.name, call.path["object"], generation)
            stored = Stored(deleted.content, deleted.size, deleted.crc32c, deleted.md5)
            restored, released = self._objects.create(
                bucket,
                deleted.name,
                stored,
                deleted.fields | {"storageClass": deleted.storage_class},
                call.query,
                components=deleted.components,
            )
        self._storage.contents.release(self._storage.connection, released)
        return restored.resource(self._storage.base_url, bucket)


def _check_override(call: Call, before: StoredObject, after: StoredObject) -> None:
    old, new = before.fields.get("retention", {}), after.fields.get("retention", {})
    if old.get("mode") != "Unlocked" or call.query.get("overrideUnlockedRetention"):
        return
    if new.get("retainUntilTime", "") < old["retainUntilTime"]:
        raise invalid(
            "To shorten or remove an unlocked retention, say overrideUnlockedRetention=true.",
            "overrideUnlockedRetention",
        )
