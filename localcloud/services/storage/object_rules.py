"""What an object may be told and when it may go: names, fields, holds, retention.

All functions here are pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localcloud.services.storage.clock import parse_rfc3339, rfc3339
from localcloud.services.storage.errors import forbidden, invalid

if TYPE_CHECKING:
    from localcloud.services.storage.buckets import Bucket
    from localcloud.services.storage.objects import StoredObject


def check_name(name: str) -> None:
    """Check an object's name: https://cloud.google.com/storage/docs/objects#naming.

    Raises:
        StorageError: 400.
    """
    size = len(name.encode())
    if not 1 <= size <= 1024:
        raise invalid(f"An object's name is 1 to 1024 bytes of UTF-8, not {size}.", "name")
    if name in (".", "..") or name.startswith(".well-known/acme-challenge/"):
        raise invalid(f"Invalid object name: '{name}'.", "name")
    if "\n" in name or "\r" in name:
        raise invalid("An object's name may not hold line feeds or carriage returns.", "name")


def check_fields(
    fields: dict[str, Any], bucket: Bucket, before: StoredObject | None = None
) -> dict[str, Any]:
    """The fields to keep, without those that say nothing.

    Raises:
        StorageError: 400.
    """
    kept = {key: value for key, value in fields.items() if value not in (None, {}, "")}
    for key in ("eventBasedHold", "temporaryHold"):
        # Google shows a hold that was released as false, one that never was not at all.
        if not kept.get(key) and not (before and key in before.fields):
            kept.pop(key, None)
    if "customTime" in kept:
        moment = _moment(kept["customTime"], "customTime")
        earlier = before.fields.get("customTime") if before else None
        if earlier and moment < parse_rfc3339(earlier):
            raise invalid("customTime can neither be removed nor set to an earlier time.")
        kept["customTime"] = rfc3339(moment)
    elif before and "customTime" in before.fields:
        raise invalid("customTime can neither be removed nor set to an earlier time.")
    if "retention" in kept:
        if bucket.settings.get("objectRetention", {}).get("mode") != "Enabled":
            raise invalid(
                "Object retention is not enabled for this bucket; create the bucket with "
                "enableObjectRetention=true.",
                "retention",
            )
        retention = kept["retention"]
        if retention.get("mode") not in ("Locked", "Unlocked"):
            raise invalid("retention.mode has to be Locked or Unlocked.", "retention")
        until = _moment(retention.get("retainUntilTime", ""), "retention.retainUntilTime")
        kept["retention"] = retention | {"retainUntilTime": rfc3339(until)}
    size = sum(
        len(key.encode()) + len(value.encode()) for key, value in kept.get("metadata", {}).items()
    )
    if size > 8192:
        raise invalid(f"Custom metadata may be 8192 bytes long, not {size}.", "metadata")
    return kept


def guard(bucket: Bucket, target: StoredObject, now: int, what: str) -> None:
    """Check that neither hold nor retention forbids that an object goes.

    Raises:
        StorageError: 403.
    """
    guard_holds(target, what)
    until = _retained_until(target)
    if bucket.retention:
        until = max(until, target.retention_from + bucket.retention)
    if until > now:
        raise forbidden(
            "retentionPolicyNotMet",
            f"Object '{target.bucket}/{target.name}' is subject to bucket's retention policy or "
            f"object retention and cannot be {what} until {rfc3339(until)}",
        )


def guard_holds(target: StoredObject, what: str) -> None:
    """Check that no hold forbids that an object goes.

    Raises:
        StorageError: 403.
    """
    for key, name in (("temporaryHold", "Temporary"), ("eventBasedHold", "Event-Based")):
        if target.fields.get(key):
            raise forbidden(
                "objectUnderActiveHold",
                f"Object '{target.bucket}/{target.name}' is under active {name} hold and cannot "
                f"be {what} until hold is removed.",
            )


def _retained_until(target: StoredObject) -> int:
    retention = target.fields.get("retention")
    return parse_rfc3339(retention["retainUntilTime"]) if retention else 0


def check_retention_change(before: StoredObject, kept: dict[str, Any], now: int) -> None:
    """Check that a locked retention is only prolonged.

    Raises:
        StorageError: 403.
    """
    old = before.fields.get("retention", {})
    if old.get("mode") != "Locked" or _retained_until(before) <= now:
        return
    new = kept.get("retention", {})
    if new.get("mode") != "Locked" or new["retainUntilTime"] < old["retainUntilTime"]:
        raise forbidden(
            "retentionPolicyNotMet",
            f"The retention of '{before.bucket}/{before.name}' is locked and can only be "
            f"prolonged beyond {old['retainUntilTime']}.",
        )


def _moment(text: str, field: str) -> int:
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise invalid(
            f"Invalid value for {field}: {text!r}; write it as 2026-11-21T10:15:30Z.", field
        ) from None
