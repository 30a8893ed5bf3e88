"""`gcp:storage:BucketObject` in the local Cloud Storage; a changed content is a new generation."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from localcloud.provider.assets import content
from localcloud.provider.clients import TIMEOUT, Clients
from localcloud.provider.values import Asset

if TYPE_CHECKING:
    from google.cloud.storage import Blob

_SECONDS: Final = int(TIMEOUT)
_SETTINGS: Final = {
    "cacheControl": "cache_control",
    "contentDisposition": "content_disposition",
    "contentEncoding": "content_encoding",
    "contentLanguage": "content_language",
    "metadata": "metadata",
}


class BucketObject:
    """An object; its id is `bucket-name`."""

    changing: Final = ("crc32c", "generation", "md5hash", "md5hexhash")

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def locate(self, properties: Mapping[str, Any]) -> str | None:
        return _id(properties) if self._get(properties) is not None else None

    def create(self, properties: Mapping[str, Any]) -> str:
        blob = self._blob(properties)
        for name, attribute in _SETTINGS.items():
            if properties.get(name):
                setattr(blob, attribute, properties[name])
        if properties.get("storageClass"):
            blob.storage_class = properties["storageClass"]
        kind = properties.get("contentType") or (
            "text/plain; charset=utf-8" if "content" in properties else "application/octet-stream"
        )
        blob.upload_from_string(self._content(properties), content_type=kind, timeout=_SECONDS)
        return _id(properties)

    def read(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        if not state:
            # pulumi-gcp: "This resource does not support import."
            return None
        seen = self.describe(id, state)
        if seen is None or seen["md5hash"] == state.get("md5hash"):
            return seen
        # Somebody wrote something else there: show it, so that `up` writes ours again.
        if "content" in state:
            blob = self._blob(state)
            seen["content"] = blob.download_as_bytes(timeout=_SECONDS).decode(errors="replace")
        elif "source" in state:
            digest = seen["md5hash"]
            seen["source"] = Asset(archive=False, form={"text": f"md5 {digest}", "hash": digest})
        return seen

    def describe(self, id: str, state: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: A002
        """The object as it is after our own writing."""
        blob = self._get(state)
        if blob is None:
            return None
        digest = blob.md5_hash or ""
        seen: dict[str, Any] = {
            "md5hash": digest,
            "md5hexhash": base64.b64decode(digest).hex(),
            "crc32c": blob.crc32c,
            "generation": int(blob.generation or 0),
            "contentType": blob.content_type,
            "storageClass": blob.storage_class,
        }
        seen |= {name: getattr(blob, attribute) or None for name, attribute in _SETTINGS.items()}
        return seen

    def update(self, id: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:  # noqa: A002
        return self.create(new)

    def delete(self, id: str, state: Mapping[str, Any]) -> None:  # noqa: A002
        blob = self._get(state)
        if blob is not None:
            blob.delete(timeout=_SECONDS)

    def _blob(self, properties: Mapping[str, Any]) -> Blob:
        bucket = self._clients.storage.bucket(str(properties["bucket"]))
        return bucket.blob(str(properties["name"]))

    def _get(self, properties: Mapping[str, Any]) -> Blob | None:
        bucket = self._clients.storage.bucket(str(properties["bucket"]))
        return bucket.get_blob(str(properties["name"]), timeout=_SECONDS)

    def _content(self, properties: Mapping[str, Any]) -> bytes:
        source = properties.get("source")
        if isinstance(source, Asset):
            return content(source, self._clients.roots)
        return str(properties.get("content", "")).encode()


def _id(properties: Mapping[str, Any]) -> str:
    return f"{properties['bucket']}-{properties['name']}"
