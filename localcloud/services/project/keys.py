"""Cloud KMS, v1: key rings, keys, the state of their versions, and their policies.

Nothing is encrypted here: `encrypt`, `decrypt` and the like answer 501.
"""

from __future__ import annotations

import re
from typing import Any, Final

from localcloud.rest.app import Handler, Request
from localcloud.rest.discovery import Api
from localcloud.rest.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from localcloud.rest.operations import now, seconds
from localcloud.rest.store import Documents
from localcloud.services.listing import apply_mask, mask_paths
from localcloud.services.project.guard import Guard
from localcloud.services.project.iam import Policies

_RINGS: Final = "cloudkms.projects.locations.keyRings"
_KEYS: Final = f"{_RINGS}.cryptoKeys"
_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,63}")
_DAY: Final = 86_400


class Keys:
    """The methods."""

    def __init__(self, api: Api, documents: Documents, guard: Guard, policies: Policies) -> None:
        self._api = api
        self._documents = documents
        self._guard = guard
        self._policies = policies

    def handlers(self) -> dict[str, Handler]:
        """Handlers by method id."""
        return {
            f"{_RINGS}.create": self._create_ring,
            f"{_RINGS}.get": self._get_ring,
            f"{_KEYS}.create": self._create,
            f"{_KEYS}.get": self._get,
            f"{_KEYS}.patch": self._patch,
            f"{_KEYS}.getIamPolicy": self._get_policy,
            f"{_KEYS}.setIamPolicy": self._set_policy,
            f"{_KEYS}.testIamPermissions": self._test,
            f"{_KEYS}.cryptoKeyVersions.destroy": self._destroy,
        }

    async def _create_ring(self, request: Request) -> dict[str, Any]:
        parent = request.path["parent"]
        self._allow(parent, "keyRings.create")
        _, project, _, location = parent.split("/")
        self._guard.check_location(project, location)
        name = f"{parent}/keyRings/{_checked_id(request.query.get('keyRingId', ''), 'key_ring_id')}"
        return self._add(f"ring:{name}", {"name": name, "createTime": now()})

    async def _get_ring(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        self._allow(name, "keyRings.get")
        return self._existing(f"ring:{name}")

    async def _create(self, request: Request) -> dict[str, Any]:
        ring = request.path["parent"]
        self._allow(ring, "cryptoKeys.create")
        self._existing(f"ring:{ring}")
        key_id = _checked_id(request.query.get("cryptoKeyId", ""), "crypto_key_id")
        name = f"{ring}/cryptoKeys/{key_id}"
        if not request.body.get("purpose"):
            raise InvalidArgument("crypto_key.purpose is required.")
        _check_rotation(request.body)
        version = {
            "name": f"{name}/cryptoKeyVersions/1",
            "state": "ENABLED",
            "protectionLevel": "SOFTWARE",
            "algorithm": "GOOGLE_SYMMETRIC_ENCRYPTION",
            "createTime": now(),
        }
        key = {**request.body, "name": name, "createTime": now(), "primary": version}
        return self._add(f"key:{name}", key)

    async def _get(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        self._allow(name, "cryptoKeys.get")
        return self._existing(f"key:{name}")

    async def _patch(self, request: Request) -> dict[str, Any]:
        name = request.path["name"]
        self._allow(name, "cryptoKeys.update")
        old = self._existing(f"key:{name}")
        mask = request.query.get("updateMask", "")
        if not mask:
            raise InvalidArgument("update_mask is required: name the fields of the key to change.")
        key = apply_mask(old, request.body, mask_paths(self._api, "CryptoKey", mask))
        _check_rotation(key)
        self._documents.put(f"key:{name}", key)
        return key

    async def _destroy(self, request: Request) -> dict[str, Any]:
        version = request.path["name"]
        name = version.partition("/cryptoKeyVersions/")[0]
        self._allow(name, "cryptoKeyVersions.destroy")
        key = self._existing(f"key:{name}")
        if key["primary"]["name"] != version:
            raise NotFound(f"CryptoKeyVersion {version} not found.")
        if key["primary"]["state"] != "ENABLED":
            raise FailedPrecondition(f"{version} is {key['primary']['state']}, not ENABLED.")
        key["primary"]["state"] = "DESTROY_SCHEDULED"
        self._documents.put(f"key:{name}", key)
        return key["primary"]

    async def _get_policy(self, request: Request) -> dict[str, Any]:
        name = request.path["resource"]
        self._allow(name, "cryptoKeys.getIamPolicy")
        self._existing(f"key:{name}")
        return self._policies.get(name)

    async def _set_policy(self, request: Request) -> dict[str, Any]:
        name = request.path["resource"]
        self._allow(name, "cryptoKeys.setIamPolicy")
        self._existing(f"key:{name}")
        return self._policies.set(name.split("/")[1], name, request.body)

    async def _test(self, request: Request) -> dict[str, Any]:
        name = request.path["resource"]
        self._allow(name, "")
        self._existing(f"key:{name}")
        denied = self._guard.denied(name.split("/")[1])
        held = [one for one in request.body.get("permissions", []) if one not in denied]
        return {"permissions": held} if held else {}

    def _allow(self, name: str, verb: str) -> None:
        self._guard.allow(name.split("/")[1], "cloudkms", f"cloudkms.{verb}", name)

    def _existing(self, key: str) -> dict[str, Any]:
        found = self._documents.get(key)
        if found is None:
            raise NotFound(f"{key.partition(':')[2]} not found.")
        return found

    def _add(self, key: str, value: dict[str, Any]) -> dict[str, Any]:
        if self._documents.get(key) is not None:
            raise AlreadyExists(f"{value['name']} already exists.")
        self._documents.put(key, value)
        return value


def _checked_id(given: str, field: str) -> str:
    if not _ID.fullmatch(given):
        raise InvalidArgument(
            f"{field}: '{given}' must have 1 to 63 letters, digits, hyphens and underscores."
        )
    return given


def _check_rotation(key: dict[str, Any]) -> None:
    period = key.get("rotationPeriod")
    if period is not None and not _DAY <= seconds(period) <= 876_000 * 3600:
        raise InvalidArgument(f"rotation_period: {period} is not between 86400s and 3153600000s.")
    if period is not None and "nextRotationTime" not in key:
        raise InvalidArgument("next_rotation_time is required with rotation_period.")
