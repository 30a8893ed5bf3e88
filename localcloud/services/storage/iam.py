"""IAM policies of buckets: checked and kept word for word, not enforced (no caller has a name)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Final

from localcloud.services.storage.buckets import Bucket
from localcloud.services.storage.errors import StorageError, condition_not_met, invalid
from localcloud.services.storage.etag import short_etag

_ROLE: Final = re.compile(r"(roles|projects/[^/]+/roles|organizations/\d+/roles)/[A-Za-z0-9_.]+")
_MEMBER: Final = re.compile(
    r"allUsers|allAuthenticatedUsers"
    r"|(user|serviceAccount|group|domain|projectOwner|projectEditor|projectViewer|principal"
    r"|principalSet|deleted:user|deleted:serviceAccount|deleted:group|deleted:principal):\S+"
)
_PUBLIC: Final = {"allUsers", "allAuthenticatedUsers"}


def policy(bucket: Bucket) -> dict[str, Any]:
    """A bucket's policy in the JSON API's shape."""
    return bucket.policy | {
        "kind": "storage#policy",
        "resourceId": f"projects/_/buckets/{bucket.name}",
        "etag": short_etag(bucket.metageneration),
    }


def with_policy(bucket: Bucket, wanted: dict[str, Any]) -> Bucket:
    """The bucket with another policy.

    Raises:
        StorageError: 400 for wrong roles or members, 412 when the policy's etag says that someone
            else changed it meanwhile.
    """
    if wanted.get("etag") and wanted["etag"] != short_etag(bucket.metageneration):
        raise condition_not_met()
    version = wanted.get("version") or 1
    if version not in (1, 3):
        raise invalid(f"Policy version {version} does not exist. Allowed: 1, 3.", "version")
    bindings = wanted.get("bindings", [])
    for binding in bindings:
        _check(binding, version)
    prevention = bucket.settings["iamConfiguration"]["publicAccessPrevention"]
    members = {member for binding in bindings for member in binding.get("members", [])}
    if prevention == "enforced" and members & _PUBLIC:
        raise StorageError(
            412,
            "conditionNotMet",
            "The member bindings allUsers and allAuthenticatedUsers are not allowed since public "
            "access prevention is enforced.",
        )
    # Google drops bindings without members.
    kept = [binding for binding in bindings if binding.get("members")]
    return replace(bucket, policy={"version": version, "bindings": kept})


def _check(binding: dict[str, Any], version: int) -> None:
    role = binding.get("role", "")
    if not _ROLE.fullmatch(role):
        raise invalid(
            f"Role {role!r} is not supported for this resource; write it as "
            "roles/storage.objectViewer or projects/PROJECT/roles/NAME.",
            "bindings",
        )
    for member in binding.get("members", []):
        if not _MEMBER.fullmatch(member):
            raise invalid(
                f"Invalid member {member!r} of {role}: write it as user:MAIL, "
                "serviceAccount:MAIL, group:MAIL, domain:NAME, principalSet://..., allUsers.",
                "bindings",
            )
    if binding.get("condition"):
        if version != 3:
            raise invalid("A policy with conditions has to say version 3.", "version")
        if not binding["condition"].get("expression"):
            raise invalid(f"The condition of {role} lacks its expression.", "bindings")
