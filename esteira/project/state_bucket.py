"""The bucket of Pulumi's state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from esteira.project.calls import Calls
from esteira.project.clients import Google
from esteira.project.refusals import refused
from esteira.project.step import Change

SOFT_DELETE_SECONDS: Final = 7 * 86_400
"""Google's default, and the least there is: a deleted state can be restored for a week."""
OLD_VERSIONS_KEPT: Final = 20
OLD_VERSION_DAYS: Final = 90
LIFECYCLE: Final = {
    "rule": [
        {
            # Both have to hold: a stack that rests keeps its last versions for ever.
            "action": {"type": "Delete"},
            "condition": {
                "numNewerVersions": OLD_VERSIONS_KEPT,
                "daysSinceNoncurrentTime": OLD_VERSION_DAYS,
            },
        }
    ]
}
_OLD_ONLY: Final = (
    "daysSinceNoncurrentTime",
    "noncurrentTimeBefore",
    "numNewerVersions",
)


@final
@dataclass(kw_only=True)
class StateBucket:
    """The bucket exists where it should, keeps old versions, and is open to nobody by accident.

    Args:
        active: knows the project's number, save in the dry run of a project that tells nothing yet.
        kms_key: the key that encrypts it; empty for Google's own.
    """

    google: Google
    name: str
    location: str
    environment: str
    active: Any
    kms_key: str = ""
    subject: str = "State bucket"

    def look(self, calls: Calls) -> dict[str, Any] | None:
        return calls.read(self._buckets.get(bucket=self.name, projection="noAcl"))

    def changes(self, found: dict[str, Any] | None) -> Sequence[Change]:
        if found is None:
            request = self._buckets.insert(project=self.google.project, body=self._new())
            what = f"create gs://{self.name}"
            return [Change(what=what, request=request, taken=self._another())]
        self._check(found)
        patch, what = self._mends(found)
        if not patch:
            return ()
        request = self._buckets.patch(
            bucket=self.name,
            body=patch,
            # Whoever changes it at the same moment makes this fail, and be looked at again.
            ifMetagenerationMatch=found["metageneration"],
        )
        return [Change(what=f"gs://{self.name}: {', '.join(what)}", request=request)]

    def notes(self, found: dict[str, Any] | None) -> Sequence[str]:
        notes: list[str] = []
        key = (found or {}).get("encryption", {}).get("defaultKmsKeyName", "")
        if key and key != self.kms_key:
            notes.append(f"encrypted with {key}, which is left as it is")
        if found and found.get("lifecycle") != LIFECYCLE:
            notes.append("has lifecycle rules of its own, which are left as they are")
        return notes

    @property
    def _buckets(self) -> Any:
        return self.google.api("storage", "v1").buckets()

    def _new(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "name": self.name,
            "location": self.location.upper(),
            "storageClass": "STANDARD",
            "versioning": {"enabled": True},
            "iamConfiguration": {
                "uniformBucketLevelAccess": {"enabled": True},
                "publicAccessPrevention": "enforced",
            },
            "softDeletePolicy": {"retentionDurationSeconds": str(SOFT_DELETE_SECONDS)},
            "lifecycle": LIFECYCLE,
            "labels": {"environment": self.environment, "managed-by": "esteira-bootstrap"},
        }
        if self.kms_key:
            body["encryption"] = {"defaultKmsKeyName": self.kms_key}
        return body

    def _check(self, found: dict[str, Any]) -> None:
        another = self._another()
        owner = str(found.get("projectNumber", ""))
        if self.active.number and owner != self.active.number:
            raise refused(
                f"gs://{self.name} belongs to project {owner}, not to {self.google.project} "
                f"({self.active.number}): bucket names are shared by all of Google Cloud",
                another,
            )
        where = str(found.get("location", ""))
        if where.lower() != self.location:
            raise refused(
                f"gs://{self.name} is in {where}, not in {self.location.upper()}: the location "
                "of a bucket cannot be changed",
                another,
            )
        if found.get("retentionPolicy"):
            raise refused(
                f"gs://{self.name} has a retention policy: Pulumi could neither replace its "
                "state nor remove its locks",
                f"gcloud storage buckets update gs://{self.name} --clear-retention-period",
            )
        for rule in found.get("lifecycle", {}).get("rule", ()):
            condition = rule.get("condition", {})
            old = condition.get("isLive") is False or any(one in condition for one in _OLD_ONLY)
            if rule.get("action", {}).get("type") == "Delete" and not old:
                raise refused(
                    f"a lifecycle rule of gs://{self.name} deletes live objects, hence the state: "
                    f"{condition}",
                    f"gcloud storage buckets update gs://{self.name} --clear-lifecycle",
                )

    def _another(self) -> str:
        return (
            f"choose another name than {self.name}: `esteira bootstrap STACK --state-bucket NAME`"
        )

    def _mends(self, found: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Only what takes nothing from anyone who may use the bucket."""
        patch: dict[str, Any] = {}
        what: list[str] = []
        if not found.get("versioning", {}).get("enabled"):
            patch["versioning"] = {"enabled": True}
            what.append("switch versioning on")
        access = found.get("iamConfiguration", {})
        if not access.get("uniformBucketLevelAccess", {}).get("enabled"):
            patch.setdefault("iamConfiguration", {})["uniformBucketLevelAccess"] = {"enabled": True}
            what.append("switch uniform access on")
        if access.get("publicAccessPrevention") != "enforced":
            patch.setdefault("iamConfiguration", {})["publicAccessPrevention"] = "enforced"
            what.append("prevent public access")
        kept = int(found.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0))
        if kept < SOFT_DELETE_SECONDS:
            patch["softDeletePolicy"] = {"retentionDurationSeconds": str(SOFT_DELETE_SECONDS)}
            what.append("keep deleted objects for 7 days")
        if not found.get("lifecycle", {}).get("rule"):
            patch["lifecycle"] = LIFECYCLE
            what.append(f"delete old versions after {OLD_VERSION_DAYS} days")
        if self.kms_key and not found.get("encryption", {}).get("defaultKmsKeyName"):
            patch["encryption"] = {"defaultKmsKeyName": self.kms_key}
            what.append(f"encrypt new objects with {self.kms_key}")
        return patch, what
