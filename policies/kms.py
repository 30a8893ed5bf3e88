"""Keys of Cloud KMS."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from policies.checks import at, no_public_member, shown
from policies.rule import Level, Resource, Rule, Severity

KEY: Final = "gcp:kms/cryptoKey:CryptoKey"
RING: Final = "gcp:kms/keyRing:KeyRing"
SLOWEST: Final = 7_776_000
"""Seconds in 90 days."""


def _rotation(resource: Resource) -> Iterator[str]:
    period = at(resource.props, "rotationPeriod")
    try:
        seconds = float(str(period or "").removesuffix("s"))
    except ValueError:
        seconds = float("inf")
    if seconds > SLOWEST:
        yield f"`rotationPeriod` is {shown(period)}; it has to be at most `{SLOWEST}s`"


def _protected(resource: Resource) -> Iterator[str]:
    if not resource.protected:
        yield "the option `protect` is off; what it encrypts is lost with it"


def _not_symmetric(resource: Resource) -> str | None:
    purpose = at(resource.props, "purpose") or "ENCRYPT_DECRYPT"
    return None if purpose == "ENCRYPT_DECRYPT" else f"Google does not rotate {purpose} keys"


RULES: Final = (
    Rule(
        name="key-rotation",
        description="A key is replaced for new data at least every 90 days.",
        remedy=f"Set `rotationPeriod` to `{SLOWEST}s` or less (setting "
        "`security.keyRotationDays`).",
        references=("CIS 1.10", "CKV_GCP_43"),
        level=Level.MANDATORY,
        severity=Severity.MEDIUM,
        types=(KEY,),
        checks=(_rotation,),
        spared=_not_symmetric,
    ),
    Rule(
        name="key-no-public-member",
        description="No role on a key or key ring is granted to everyone.",
        remedy="Grant the role to the service agent that encrypts.",
        references=("CIS 1.9", "CKV_GCP_112"),
        level=Level.MANDATORY,
        severity=Severity.CRITICAL,
        types=(
            "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember",
            "gcp:kms/cryptoKeyIAMBinding:CryptoKeyIAMBinding",
            "gcp:kms/cryptoKeyIAMPolicy:CryptoKeyIAMPolicy",
            "gcp:kms/keyRingIAMMember:KeyRingIAMMember",
            "gcp:kms/keyRingIAMBinding:KeyRingIAMBinding",
            "gcp:kms/keyRingIAMPolicy:KeyRingIAMPolicy",
        ),
        checks=(no_public_member,),
    ),
    Rule(
        name="key-protected",
        description="A key cannot be destroyed by a change of the program.",
        remedy="Set the resource option `protect` (setting `security.protect`).",
        references=("CKV_GCP_82",),
        level=Level.MANDATORY,
        severity=Severity.CRITICAL,
        types=(KEY,),
        checks=(_protected,),
    ),
)
