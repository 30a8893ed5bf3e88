"""A customer-managed key, and the service agents that may encrypt with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_gcp as gcp

from components import checks
from components.child_opts import child_opts

ROTATION_DAYS: Final = 90
"""The most that CIS Google Cloud Foundations 1.10 allows."""


@dataclass(frozen=True, kw_only=True)
class EncryptionKeyArgs:
    """What a key needs.

    Raises:
        InvalidArgs: at construction, when the rotation is too slow.
    """

    location: str
    """The region of all that it encrypts."""
    encrypters: Mapping[str, pulumi.Input[str]]
    """Members that may encrypt and decrypt, by a short name."""
    rotation_days: int = ROTATION_DAYS
    protect: bool = True
    """A destroyed key makes what it encrypted unreadable for ever."""

    def __post_init__(self) -> None:
        checks.between(
            "EncryptionKey", "rotation_days", self.rotation_days, 1, ROTATION_DAYS, "days"
        )


class EncryptionKey(pulumi.ComponentResource):
    """Key ring and key `<name>`. Google keeps the name of a ring for ever, even when it is gone."""

    ring: gcp.kms.KeyRing
    key: gcp.kms.CryptoKey
    id: pulumi.Output[str]
    """The key's name, known once every encrypter may use it."""

    def __init__(
        self, name: str, *, args: EncryptionKeyArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("esteira:encryption_key:EncryptionKey", name, {}, opts)
        self.ring = gcp.kms.KeyRing(
            name,
            name=name,
            location=args.location,
            opts=child_opts(self, protect=args.protect),
        )
        self.key = gcp.kms.CryptoKey(
            name,
            name=name,
            key_ring=self.ring.id,
            purpose="ENCRYPT_DECRYPT",
            rotation_period=f"{args.rotation_days * 86_400}s",
            opts=child_opts(self, protect=args.protect),
        )
        grants = [
            gcp.kms.CryptoKeyIAMMember(
                f"{name}-{who}",
                crypto_key_id=self.key.id,
                role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
                member=member,
                opts=child_opts(self),
            )
            for who, member in args.encrypters.items()
        ]
        self.id = pulumi.Output.all(self.key.id, *[grant.urn for grant in grants]).apply(
            lambda known: str(known[0])
        )
        self.register_outputs({"id": self.id})
