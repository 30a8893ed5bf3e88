"""IAM policies of Cloud Run resources: kept as given. The local cloud has no callers to check."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from localcloud.rest.app import Request
from localcloud.rest.errors import Aborted
from localcloud.rest.store import Documents


class Policies:
    """Get, set and test.

    Args:
        documents: where they are kept.
        check_exists: raises NotFound for a resource that is not there.
    """

    def __init__(self, documents: Documents, check_exists: Callable[[str], object]) -> None:
        self._documents = documents
        self._check_exists = check_exists

    async def get(self, request: Request) -> dict[str, Any]:
        """The policy; an empty one where none was set."""
        resource = request.path["resource"]
        self._check_exists(resource)
        return self._documents.get(f"iam:{resource}") or {"etag": "ACAB"}

    async def set(self, request: Request) -> dict[str, Any]:
        """Replace the policy, if its etag is current or absent."""
        resource = request.path["resource"]
        self._check_exists(resource)
        policy: dict[str, Any] = dict((request.body or {}).get("policy") or {})
        current = self._documents.get(f"iam:{resource}") or {"etag": "ACAB"}
        if policy.get("etag") not in (None, current["etag"]):
            raise Aborted(
                "There were concurrent policy changes. Please retry the whole read-modify-write "
                "with exponential backoff."
            )
        policy.pop("etag", None)
        policy.setdefault("version", 1)
        digest = hashlib.sha256(msgspec.json.encode(policy, order="deterministic")).digest()
        policy["etag"] = base64.b64encode(digest[:8]).decode()
        self._documents.put(f"iam:{resource}", policy)
        return policy

    async def test(self, request: Request) -> dict[str, Any]:
        """Every permission asked for: whoever reaches the local cloud owns it."""
        self._check_exists(request.path["resource"])
        asked = (request.body or {}).get("permissions") or []
        return {"permissions": asked} if asked else {}

    def forget(self, resource: str) -> None:
        """Called when the resource is deleted."""
        self._documents.delete(f"iam:{resource}")
