"""What was delivered already: an object in a bucket for each notice, with the message it became.

Pub/Sub delivers at least once, budgets repeat themselves all day, and a service that scales to zero
forgets; so it is written down outside of it.
"""

from __future__ import annotations

import hashlib
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from workloads import gcp

if TYPE_CHECKING:
    from google.cloud import storage

log: Final = logging.getLogger("esteira.notifications")

DELIVERED: Final = "delivered/"
_STATE: Final = "groups/"


class Ledger(Protocol):
    """Remembers keys of notices."""

    def has(self, key: str) -> bool:
        """Whether the notice was delivered."""
        ...

    def add(self, key: str, message: bytes = b"") -> None:
        """Remember that it was, and what was said."""
        ...

    def state(self, name: str) -> bytes | None:
        """What was kept under a name; None where nothing was."""
        ...

    def keep(self, name: str, state: bytes) -> None:
        """Keep something under a name, in place of what was there."""
        ...


class BucketLedger:
    """In Cloud Storage. Where that fails, a notice is told once more rather than not at all."""

    def __init__(self, bucket: str) -> None:
        """`bucket` is written `gs://name`."""
        self._name = bucket.removeprefix("gs://")

    def has(self, key: str) -> bool:
        """Whether the notice was delivered; no, where that cannot be found out."""
        try:
            return bool(self._blob(key).exists(timeout=5))
        except self._trouble as error:
            log.warning("cannot look up what was delivered: %s", type(error).__name__)
            return False

    def add(self, key: str, message: bytes = b"") -> None:
        """Remember it. That it cannot is logged: it was delivered all the same."""
        from google.api_core.exceptions import PreconditionFailed

        try:
            self._blob(key).upload_from_string(
                message, content_type="application/json", if_generation_match=0, timeout=5
            )
        except PreconditionFailed:
            pass
        except self._trouble as error:
            log.warning("cannot write down what was delivered: %s", type(error).__name__)

    def state(self, name: str) -> bytes | None:
        """What was kept; None where nothing was, or it cannot be found out."""
        from google.api_core.exceptions import NotFound

        try:
            return bytes(self._bucket.blob(_STATE + name).download_as_bytes(timeout=5))
        except NotFound:
            return None
        except self._trouble as error:
            log.warning("cannot look up what people know: %s", type(error).__name__)
            return None

    def keep(self, name: str, state: bytes) -> None:
        """Keep it. That it cannot is logged."""
        try:
            self._bucket.blob(_STATE + name).upload_from_string(
                state, content_type="application/json", timeout=5
            )
        except self._trouble as error:
            log.warning("cannot write down what people know: %s", type(error).__name__)

    def told(self, most: int) -> list[dict[str, Any]]:
        """The messages that were delivered, the newest last.

        Raises:
            google.api_core.exceptions.GoogleAPIError: the bucket cannot be read.
        """
        blobs = [one for one in self._bucket.list_blobs(prefix=DELIVERED) if one.size]
        blobs.sort(key=lambda one: one.updated)
        return [msgspec.json.decode(one.download_as_bytes()) for one in blobs[-most:]]

    @cached_property
    def _trouble(self) -> tuple[type[Exception], ...]:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError

        return (GoogleAPIError, GoogleAuthError, OSError)

    @cached_property
    def _bucket(self) -> storage.Bucket:
        return gcp.storage_client().bucket(self._name)

    def _blob(self, key: str) -> Any:
        digest = hashlib.sha256(key.encode()).hexdigest()
        return self._bucket.blob(f"{DELIVERED}{key.partition('/')[0]}/{digest}")
