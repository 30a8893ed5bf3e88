"""The properties that open, close or protect something, and what a change of one means."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from esteira.review.values import Hidden, shown
from localcloud.provider.values import UNKNOWN


class Direction(StrEnum):
    """Where a change leads, what a reviewer has to look at first."""

    WIDER = "wider"
    """More may be done, by more, with less protection."""
    CHANGED = "changed"
    """Something else is allowed; which is more, its values do not say."""
    NARROWER = "narrower"


class Area(StrEnum):
    """What kind of thing changes."""

    IAM = "access"
    NETWORK = "network"
    ENCRYPTION = "encryption"
    PUBLIC = "public access"
    IDENTITY = "identities"
    DELETION = "protection from deletion"


def judge(path: str, old: Any, new: Any) -> tuple[Direction, Area] | None:
    """Where a change of a property leads; None if it is of no interest to security.

    Args:
        path: The property's path.
        old, new: Its values; None where it is not set.
    """
    bare = re.sub(r"\[\d+\]", "", path)
    for pattern, area, rule in _PROPERTIES:
        if pattern.search(bare):
            where = Area.ENCRYPTION if bare.startswith("encryption") else area
            unsure = any(one is UNKNOWN or isinstance(one, Hidden) for one in (old, new))
            if unsure and not (rule is _present and None in (old, new)):
                return Direction.CHANGED, where
            return rule(old, new), where
    return None


type _Rule = Callable[[Any, Any], Direction]
"""Of the old and the new value, None where there is none: where the change leads."""


def _good(old: Any, new: Any) -> Direction:
    """A switch that protects."""
    del old
    return Direction.NARROWER if _on(new) else Direction.WIDER


def _bad(old: Any, new: Any) -> Direction:
    """A switch that opens."""
    del old
    return Direction.WIDER if _on(new) else Direction.NARROWER


def _present(old: Any, new: Any) -> Direction:
    """Something whose presence protects, such as a key."""
    if old is None:
        return Direction.NARROWER
    return Direction.WIDER if new is None else Direction.CHANGED


def _list_of_allowed(old: Any, new: Any) -> Direction:
    before, after = set(map(shown, _items(old))), set(map(shown, _items(new)))
    if after > before:
        return Direction.WIDER
    return Direction.NARROWER if after < before else Direction.CHANGED


def _ranked(*values: str) -> _Rule:
    """From the widest to the narrowest; what is not set is the widest."""

    def judge(old: Any, new: Any) -> Direction:
        before, after = (
            values.index(one) if one in values else (0 if one is None else None)
            for one in (old, new)
        )
        if before is None or after is None or before == after:
            return Direction.CHANGED
        return Direction.NARROWER if after > before else Direction.WIDER

    return judge


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _on(value: Any) -> bool:
    return str(value).lower() == "true" or value in ("enforced", "ENABLED", "DELETE_PROTECTION")


_PROPERTIES: Final[tuple[tuple[re.Pattern[str], Area, _Rule], ...]] = tuple(
    (re.compile(pattern), area, judge)
    for pattern, area, judge in (
        (r"publicAccessPrevention$", Area.PUBLIC, _good),
        (r"uniformBucketLevelAccess$", Area.PUBLIC, _good),
        (r"ipv4Enabled$|publicIp(?:Enabled)?$|enablePublic\w*$", Area.PUBLIC, _bad),
        (r"disablePublicIp$|noPublicIp$|enablePrivate(?:Nodes|Endpoint)$", Area.PUBLIC, _good),
        (r"accessConfigs\b", Area.PUBLIC, _list_of_allowed),
        (r"(?:^|\.)ingress$", Area.PUBLIC, _ranked(
            "INGRESS_TRAFFIC_ALL",
            "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER",
            "INGRESS_TRAFFIC_INTERNAL_ONLY",
            "INGRESS_TRAFFIC_NONE",
        )),
        (r"invokerIamDisabled$", Area.PUBLIC, _bad),
        (r"ipConfiguration$", Area.PUBLIC, _ranked("WORKER_IP_PUBLIC", "WORKER_IP_PRIVATE")),
        (r"(?:authorizedNetworks|projectAllowlists)\b", Area.NETWORK, _list_of_allowed),
        (r"enablePrivateServiceConnect$|privateIpGoogleAccess$", Area.NETWORK, _good),
        (r"vpcAccess\.egress$", Area.NETWORK, _ranked("PRIVATE_RANGES_ONLY", "ALL_TRAFFIC")),
        (r"requireSsl$", Area.NETWORK, _good),
        (r"sslMode$", Area.NETWORK, _ranked(
            "ALLOW_UNENCRYPTED_AND_ENCRYPTED",
            "ENCRYPTED_ONLY",
            "TRUSTED_CLIENT_CERTIFICATE_REQUIRED",
        )),
        (r"(?:^|\.)(?:network|subnetwork|privateNetwork)$", Area.NETWORK, _present),
        (r"attributeCondition$", Area.IDENTITY, _present),
        (r"(?i)(?:kmsKey|encryptionKey|cryptoKey)\w*$", Area.ENCRYPTION, _present),
        (r"rotationPeriod$|protectionLevel$", Area.ENCRYPTION, _present),
        (r"serviceAccount(?:Email)?$", Area.IDENTITY, lambda old, new: Direction.CHANGED),
        (r"[dD]eletionProtection\w*$|^protect$|preventDestroy$", Area.DELETION, _good),
        (r"enableDropProtection$|softDeletePolicy\b|retentionPolicy\b", Area.DELETION, _present),
        (r"forceDestroy$|deleteContentsOnDestroy$", Area.DELETION, _bad),
        (r"(?:^|\.)versioning\.enabled$|pointInTimeRecoveryEnabled$", Area.DELETION, _good),
        (r"^versioning$|^encryption\w*$|^encryptionSpec$", Area.DELETION, _present),
    )
)  # fmt: skip
