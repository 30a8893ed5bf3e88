"""What was delivered already: an empty object in a bucket for each notice.

Pub/Sub delivers at least once, budgets repeat themselves all day, and a service that scales to zero
forgets; so it is written down outside of it.
"""

from __future__ import annotations

import hashlib
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

from workloads import gcp

if TYPE_CHECKING:
    from google.cloud import storage

log: Final = logging.getLogger("esteira.notifications")


class Ledger(Protocol):
    """Remembers keys of notices."""

    def has(self, key: str) -> bool:
        """Whether the notice was delivered."""
        ...

    def add(self, key: str) -> None:
        """Remember that it was."""
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

    def add(self, key: str) -> None:
        """Remember it. That it cannot is logged: it was delivered all the same."""
        from google.api_core.exceptions import PreconditionFailed

        try:
            self._blob(key).upload_from_string(b"", if_generation_match=0, timeout=5)
        except PreconditionFailed:
            pass
        except self._trouble as error:
            log.warning("cannot write down what was delivered: %s", type(error).__name__)

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
        return self._bucket.blob(f"delivered/{key.partition('/')[0]}/{digest}")
