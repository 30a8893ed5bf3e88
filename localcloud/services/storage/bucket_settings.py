"""What a bucket may be told: names, the fields a caller sets, and their rules.

The rules are those of https://cloud.google.com/storage/docs/json_api/v1/buckets and
https://cloud.google.com/storage/docs/buckets. All functions here are pure.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

from localcloud.services.storage.clock import DAY, midnight, rfc3339
from localcloud.services.storage.errors import forbidden, invalid, unsupported

STORAGE_CLASSES: Final = (
    "STANDARD",
    "NEARLINE",
    "COLDLINE",
    "ARCHIVE",
    "MULTI_REGIONAL",
    "REGIONAL",
    "DURABLE_REDUCED_AVAILABILITY",
)
SETTABLE: Final = frozenset(
    {
        "autoclass",
        "billing",
        "cors",
        "customPlacementConfig",
        "defaultEventBasedHold",
        "encryption",
        "iamConfiguration",
        "labels",
        "lifecycle",
        "location",
        "logging",
        "objectRetention",
        "retentionPolicy",
        "rpo",
        "softDeletePolicy",
        "storageClass",
        "versioning",
        "website",
    }
)
_LIFECYCLE_ACTIONS: Final = ("Delete", "SetStorageClass", "AbortIncompleteMultipartUpload")
_ABORT_CONDITIONS: Final = {"age", "matchesPrefix", "matchesSuffix"}
_DUAL_REGIONS: Final = {"ASIA1", "EUR4", "EUR5", "EUR7", "EUR8", "NAM4"}
_MULTI_REGIONS: Final = {"US", "EU", "ASIA"}
_REGION: Final = re.compile(r"[A-Z]+-[A-Z]+\d{1,2}")
_LABEL_KEY: Final = re.compile(r"[^\W\dA-Z_][\w-]{0,62}")
_LABEL_VALUE: Final = re.compile(r"[\w-]{0,63}")
_MAX_RETENTION: Final = 3_155_760_000  # 100 years, in seconds
_SOFT_DELETE_DAYS: Final = (7, 90)


def check_name(name: str) -> None:
    """Check a bucket's name: https://cloud.google.com/storage/docs/buckets#naming.

    Raises:
        StorageError: 400, telling the rule that it breaks.
    """
    limit = 222 if "." in name else 63
    rule = None
    if not 3 <= len(name) <= limit or any(len(part) > 63 for part in name.split(".")):
        rule = "it has to be 3 to 63 characters long (222 with dots, 63 between two dots)"
    elif not re.fullmatch(r"[a-z0-9][a-z0-9._-]*[a-z0-9]", name):
        rule = (
            "only lower-case letters, digits, dashes, underscores and dots are allowed, "
            "and a letter or digit at both ends"
        )
    elif ".." in name or "-." in name or ".-" in name:
        rule = "dots may not touch each other or a dash"
    elif name.startswith("goog") or re.search(r"g[o0]{2}g[l1]e", name):
        rule = "it may not begin with 'goog' nor contain 'google' or a misspelling of it"
    else:
        try:
            ipaddress.IPv4Address(name)
            rule = "it may not be an IP address"
        except ValueError:
            pass
    if rule:
        raise invalid(f"Invalid bucket name: '{name}': {rule}.", "name")


def location_type(location: str) -> str:
    """`region`, `dual-region` or `multi-region`.

    Raises:
        StorageError: 400 for what cannot be a location.
    """
    if location in _MULTI_REGIONS:
        return "multi-region"
    if location in _DUAL_REGIONS:
        return "dual-region"
    if _REGION.fullmatch(location):
        return "region"
    raise invalid(
        f"The specified location constraint is not valid: '{location}'. Allowed: a region such as "
        f"US-CENTRAL1, {', '.join(sorted(_MULTI_REGIONS | _DUAL_REGIONS))}.",
        "location",
    )


def merge_patch(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7396: null removes, objects merge, all else replaces. Neither argument is changed."""
    merged = dict(target)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            before = merged.get(key)
            merged[key] = merge_patch(before if isinstance(before, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def settle(wanted: dict[str, Any], previous: dict[str, Any] | None, now: int) -> dict[str, Any]:
    """The settings that a bucket gets: what is wanted, checked, with defaults and server times.

    Args:
        wanted: the caller's fields, already of the right types.
        previous: the settings that the bucket had; None for a new one.
        now: microseconds since the epoch.

    Raises:
        StorageError: 400 for wrong values, 403 for a lock, 501 for what is unsupported.
    """
    _refuse_unsupported(wanted)
    settings = {key: value for key, value in wanted.items() if key in SETTABLE}
    settings["location"] = str(settings.get("location") or "US").upper()
    location_type(settings["location"])
    if previous and previous["location"] != settings["location"]:
        raise invalid(
            f"The location of a bucket cannot be changed from {previous['location']} to "
            f"{settings['location']}; delete it and create it anew.",
            "location",
        )
    settings["storageClass"] = storage_class(settings.get("storageClass") or "STANDARD")
    _check_labels(settings.get("labels", {}))
    _check_lifecycle(settings)
    before = previous or {}
    settings["iamConfiguration"] = _iam_configuration(
        settings.get("iamConfiguration", {}), before.get("iamConfiguration", {}), now
    )
    _settle_retention(settings, before, now)
    _settle_soft_delete(settings, before, now)
    if location_type(settings["location"]) != "region":
        settings.setdefault("rpo", "DEFAULT")
    for key in ("labels", "cors", "lifecycle", "logging", "website", "encryption"):
        if not settings.get(key, True):
            del settings[key]
    return settings


def storage_class(name: str) -> str:
    """A storage class that exists.

    Raises:
        StorageError: 400 for any other.
    """
    if name not in STORAGE_CLASSES:
        raise invalid(
            f"Invalid storage class: '{name}'. Allowed: {', '.join(STORAGE_CLASSES)}.",
            "storageClass",
        )
    return name


def _refuse_unsupported(wanted: dict[str, Any]) -> None:
    if wanted.get("acl") or wanted.get("defaultObjectAcl"):
        raise unsupported("Access control lists (acl, defaultObjectAcl) are")
    if wanted.get("hierarchicalNamespace", {}).get("enabled"):
        raise unsupported("Hierarchical namespaces (hierarchicalNamespace.enabled) are")
    if wanted.get("ipFilter"):
        raise unsupported("IP filters (ipFilter) are")
    if wanted.get("storageClass") == "RAPID":
        raise unsupported("The storage class RAPID is")


def _check_labels(labels: dict[str, str]) -> None:
    if len(labels) > 64:
        raise invalid(f"A bucket may have 64 labels, not {len(labels)}.", "labels")
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or key != key.lower():
            raise invalid(
                f"Invalid label key '{key}': a lower-case letter, then at most 62 lower-case "
                "letters, digits, underscores and dashes.",
                "labels",
            )
        if not _LABEL_VALUE.fullmatch(value) or value != value.lower():
            raise invalid(
                f"Invalid value '{value}' of label '{key}': at most 63 lower-case letters, "
                "digits, underscores and dashes.",
                "labels",
            )


def _check_lifecycle(settings: dict[str, Any]) -> None:
    rules = settings.get("lifecycle", {}).get("rule", [])
    if "lifecycle" in settings and not rules:
        del settings["lifecycle"]
    if len(rules) > 100:
        raise invalid(f"A bucket may have 100 lifecycle rules, not {len(rules)}.", "lifecycle")
    for index, rule in enumerate(rules):
        _check_rule(rule.get("action", {}), rule.get("condition", {}), f"lifecycle.rule[{index}]")


def _check_rule(action: dict[str, Any], condition: dict[str, Any], where: str) -> None:
    kind = action.get("type")
    if kind not in _LIFECYCLE_ACTIONS:
        raise invalid(
            f"{where}.action.type is {kind!r}. Allowed: {', '.join(_LIFECYCLE_ACTIONS)}.",
            "lifecycle",
        )
    if kind == "SetStorageClass":
        storage_class(action.get("storageClass", ""))
    elif "storageClass" in action:
        raise invalid(f"{where}.action.storageClass goes with SetStorageClass only.", "lifecycle")
    if not condition:
        raise invalid(f"{where}.condition has to hold at least one condition.", "lifecycle")
    if "matchesPattern" in condition:
        raise unsupported(f"{where}.condition.matchesPattern is")
    if kind == "AbortIncompleteMultipartUpload" and (other := set(condition) - _ABORT_CONDITIONS):
        raise invalid(
            f"{where}: {', '.join(sorted(other))} cannot go with {kind}. "
            f"Allowed: {', '.join(sorted(_ABORT_CONDITIONS))}.",
            "lifecycle",
        )
    for key, value in condition.items():
        if isinstance(value, int) and not isinstance(value, bool) and value < 0:
            raise invalid(f"{where}.condition.{key} is {value}; it may not be negative.")
        if key in ("createdBefore", "customTimeBefore", "noncurrentTimeBefore"):
            try:
                midnight(str(value))
            except ValueError:
                raise invalid(
                    f"{where}.condition.{key} is {value!r}; write a date as 2026-11-21."
                ) from None
    for name in condition.get("matchesStorageClass", []):
        storage_class(name)


def _iam_configuration(wanted: dict[str, Any], before: dict[str, Any], now: int) -> dict[str, Any]:
    prevention = wanted.get("publicAccessPrevention", "inherited")
    if prevention == "unspecified":
        prevention = "inherited"
    if prevention not in ("inherited", "enforced"):
        raise invalid(
            f"iamConfiguration.publicAccessPrevention is {prevention!r}. "
            "Allowed: inherited, enforced.",
            "iamConfiguration",
        )
    # bucketPolicyOnly is the older name of the same switch; the one that changed counts.
    new, old = wanted.get("uniformBucketLevelAccess"), wanted.get("bucketPolicyOnly")
    held = before.get("uniformBucketLevelAccess", {})
    enabled = bool((new or old or {}).get("enabled", False))
    if new is not None and old is not None and old.get("enabled") != new.get("enabled"):
        enabled = bool((old if new.get("enabled") == held.get("enabled") else new).get("enabled"))
    access: dict[str, Any] = {"enabled": enabled}
    if enabled:
        access["lockedTime"] = held.get("lockedTime") or rfc3339(now + 90 * DAY)
    return {
        "bucketPolicyOnly": dict(access),
        "uniformBucketLevelAccess": access,
        "publicAccessPrevention": prevention,
    }


def _settle_retention(settings: dict[str, Any], before: dict[str, Any], now: int) -> None:
    old = before.get("retentionPolicy")
    new = settings.get("retentionPolicy")
    period = int((new or {}).get("retentionPeriod", 0))
    if old and old.get("isLocked") and period < int(old["retentionPeriod"]):
        raise forbidden(
            "retentionPolicyLocked",
            "The retention policy is locked: it cannot be removed, nor its retentionPeriod "
            f"reduced from {old['retentionPeriod']} s.",
        )
    if not period:
        if new and "retentionPeriod" in new:
            raise invalid("retentionPolicy.retentionPeriod has to be at least 1 s.")
        settings.pop("retentionPolicy", None)
        return
    if not 0 < period <= _MAX_RETENTION:
        raise invalid(
            f"retentionPolicy.retentionPeriod is {period} s. Allowed: 1 to {_MAX_RETENTION} s.",
            "retentionPolicy",
        )
    same = old and old["retentionPeriod"] == str(period)
    settings["retentionPolicy"] = {
        "retentionPeriod": str(period),
        "effectiveTime": old["effectiveTime"] if old and same else rfc3339(now),
    }
    if old and old.get("isLocked"):
        settings["retentionPolicy"]["isLocked"] = True


def _settle_soft_delete(settings: dict[str, Any], before: dict[str, Any], now: int) -> None:
    # Google's default is seven days. Here it is none, so that a laptop's disk does not fill with
    # what programs have deleted; a bucket that asks for it gets it.
    seconds = int(settings.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0))
    low, high = (days * 86_400 for days in _SOFT_DELETE_DAYS)
    if seconds and not low <= seconds <= high:
        raise invalid(
            f"softDeletePolicy.retentionDurationSeconds is {seconds}. "
            f"Allowed: 0, or {low} to {high} (7 to 90 days).",
            "softDeletePolicy",
        )
    old = before.get("softDeletePolicy", {})
    same = old.get("retentionDurationSeconds") == str(seconds)
    settings["softDeletePolicy"] = {"retentionDurationSeconds": str(seconds)}
    if seconds:
        settings["softDeletePolicy"]["effectiveTime"] = (
            old["effectiveTime"] if same else rfc3339(now)
        )


def lock_retention(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with their retention policy locked.

    Raises:
        StorageError: 400 when there is none.
    """
    policy = settings.get("retentionPolicy")
    if not policy:
        raise invalid("The bucket has no retention policy to lock.")
    return settings | {"retentionPolicy": policy | {"isLocked": True}}


def no_acl(name: str, value: str | None, settings: dict[str, Any] | None = None) -> None:
    """Check a `predefinedAcl` parameter. Those that open nothing beyond the project pass.

    Raises:
        StorageError: 400 under uniform bucket-level access, else 501 for those that would open
            something.
    """
    if value is None:
        return
    access = (settings or {}).get("iamConfiguration", {})
    if access.get("uniformBucketLevelAccess", {}).get("enabled"):
        raise invalid(
            f"Cannot use {name} when uniform bucket-level access is enabled; leave it out.", name
        )
    if value not in ("private", "projectPrivate", "bucketOwnerFullControl", "bucketOwnerRead"):
        raise unsupported(f"{name}={value} is")
