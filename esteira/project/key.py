"""Key ring and keys that Pulumi's secrets and state are encrypted with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, final

from esteira.project.calls import Calls
from esteira.project.clients import Google
from esteira.project.refusals import refused
from esteira.project.step import Change

ROTATION: Final = 90 * 86_400
"""Seconds; the most that CIS Google Cloud Foundations 1.10 allows."""


@final
@dataclass(kw_only=True)
class Ring:
    """The key ring exists. Google keeps its name for ever, even when it is gone."""

    google: Google
    name: str
    subject: str = "Key ring"

    def look(self, calls: Calls) -> dict[str, Any] | None:
        return calls.read(_rings(self.google).get(name=self.name))

    def changes(self, found: dict[str, Any] | None) -> Sequence[Change]:
        if found is not None:
            return ()
        parent, _, ring = self.name.partition("/keyRings/")
        request = _rings(self.google).create(parent=parent, keyRingId=ring, body={})
        return [Change(what=f"create {self.name}", request=request)]

    def notes(self, found: Any) -> Sequence[str]:
        del found
        return ()


@final
@dataclass(kw_only=True)
class Key:
    """A key exists, can encrypt, and is rotated."""

    google: Google
    name: str
    subject: str

    def look(self, calls: Calls) -> dict[str, Any] | None:
        return calls.read(_keys(self.google).get(name=self.name))

    def changes(self, found: dict[str, Any] | None) -> Sequence[Change]:
        rotation = {
            "rotationPeriod": f"{ROTATION}s",
            "nextRotationTime": _rfc3339(datetime.now(UTC) + timedelta(seconds=ROTATION)),
        }
        if found is None:
            ring, _, key = self.name.partition("/cryptoKeys/")
            request = _keys(self.google).create(
                parent=ring, cryptoKeyId=key, body={"purpose": "ENCRYPT_DECRYPT", **rotation}
            )
            return [Change(what=f"create {self.name}, rotated every 90 days", request=request)]
        self._check(found)
        period = float(str(found.get("rotationPeriod", "inf")).removesuffix("s"))
        if period <= ROTATION:
            return ()
        request = _keys(self.google).patch(
            name=self.name, updateMask="rotationPeriod,nextRotationTime", body=rotation
        )
        return [Change(what=f"rotate {self.name} every 90 days", request=request)]

    def notes(self, found: Any) -> Sequence[str]:
        del found
        return ()

    def _check(self, found: dict[str, Any]) -> None:
        if found.get("purpose") != "ENCRYPT_DECRYPT":
            raise refused(
                f"{self.name} is for {found.get('purpose')}; Pulumi needs ENCRYPT_DECRYPT, and "
                "the purpose of a key cannot be changed, nor its name used again",
                "choose another stack name, or another project",
            )
        primary = found.get("primary") or {}
        state = primary.get("state", "missing")
        if state != "ENABLED":
            version = str(primary.get("name", f"{self.name}/cryptoKeyVersions/1"))
            verb = "restore" if state == "DESTROY_SCHEDULED" else "enable"
            # Someone took it out of use, and perhaps had a reason: not ours to undo.
            raise refused(
                f"the primary version of {self.name} is {state}: what it encrypted cannot be read",
                _gcloud(verb, version),
                *([_gcloud("enable", version)] if verb == "restore" else []),
                who="whoever has roles/cloudkms.admin on the key",
            )


def _gcloud(verb: str, version: str) -> str:
    parts = version.split("/")
    return (
        f"gcloud kms keys versions {verb} {parts[9]} --project={parts[1]} --location={parts[3]} "
        f"--keyring={parts[5]} --key={parts[7]}"
    )


def _rings(google: Google) -> Any:
    return google.api("cloudkms", "v1").projects().locations().keyRings()


def _keys(google: Google) -> Any:
    return _rings(google).cryptoKeys()


def _rfc3339(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
