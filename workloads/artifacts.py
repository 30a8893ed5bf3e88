"""Objects of a product's bucket of models: artefacts, snapshots, decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from workloads import gcp
from workloads.product import Product

if TYPE_CHECKING:
    from google.cloud import storage


class ArtifactNotFound(LookupError):
    """An object that should be there is not."""


@dataclass(frozen=True)
class Folder:
    """A prefix in a bucket, `gs://bucket/prefix` without a slash at its end."""

    uri: str

    def __post_init__(self) -> None:
        bucket, _, prefix = self.uri.removeprefix("gs://").partition("/")
        if not self.uri.startswith("gs://") or not bucket or self.uri.endswith("/") or not prefix:
            raise ValueError(f"folder is {self.uri!r}; allowed: gs://bucket/prefix")

    @classmethod
    def of(cls, product: Product, *path: str) -> Folder:
        """A folder in the product's bucket of models."""
        return cls("/".join([f"gs://{gcp.project()}-{product.name}-models", *path]))

    def _blob(self, name: str) -> storage.Blob:
        bucket, _, prefix = self.uri.removeprefix("gs://").partition("/")
        return gcp.storage_client().bucket(bucket).blob(f"{prefix}/{name}")

    def write(self, name: str, content: bytes | str, content_type: str) -> None:
        """Write an object, over the old one if there is one."""
        self._blob(name).upload_from_string(content, content_type=content_type)

    def write_json(self, name: str, document: Any) -> None:
        """Write a document as readable JSON; msgspec structs and dataclasses are understood."""
        self.write(name, msgspec.json.format(msgspec.json.encode(document)), "application/json")

    def write_once(self, name: str, content: bytes | str, content_type: str) -> None:
        """Write an object unless one of that name exists, which then stays."""
        from google.api_core.exceptions import PreconditionFailed

        try:
            self._blob(name).upload_from_string(
                content, content_type=content_type, if_generation_match=0
            )
        except PreconditionFailed:
            return

    def read(self, name: str) -> bytes:
        """The content of an object.

        Raises:
            ArtifactNotFound: there is none of that name.
        """
        from google.api_core.exceptions import NotFound

        try:
            return self._blob(name).download_as_bytes()
        except NotFound:
            raise ArtifactNotFound(f"no object {self.uri}/{name}") from None

    def remove(self, name: str) -> None:
        """Delete an object; nothing happens where there is none."""
        from google.api_core.exceptions import NotFound

        try:
            self._blob(name).delete()
        except NotFound:
            return

    def listed(self) -> dict[str, str]:
        """The names of its objects, those of folders in it too, and a checksum of each content."""
        bucket, _, prefix = self.uri.removeprefix("gs://").partition("/")
        found = gcp.storage_client().list_blobs(bucket, prefix=f"{prefix}/")
        return {str(one.name).removeprefix(f"{prefix}/"): str(one.crc32c) for one in found}

    def read_json[T](self, name: str, kind: type[T]) -> T:
        """A document, as the class it was written from."""
        return msgspec.json.decode(self.read(name), type=kind)
